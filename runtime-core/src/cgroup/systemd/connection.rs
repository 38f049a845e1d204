//! A connection to a service manager.
//!
//! To a bus, authentication, `Hello` and the first call go out in one write. systemd itself does not look
//! at a call that it has read together with the authentication before something else comes (version 252),
//! so there the call is sent when the authentication was answered. Every wait ends at the connection's deadline, and nothing that comes is believed before its
//! length was checked.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, connect, recv, send, socket};

use super::Manager;
use super::address::{Address, candidates};
use super::message::{Call, FIXED_BYTES, Kind, Message, length};
use super::value::Value;
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::retry;

/// Authentication by what the kernel says of the sender ("EXTERNAL"). The identity is left open: in a
/// user namespace the caller does not know the uid that the other end sees.
const AUTHENTICATION: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// The lines that answer it: `DATA` and `OK`, or `OK` twice.
const ANSWERS: usize = 2;

/// No answer of the authentication is longer.
const LINE_BYTES: usize = 512;

/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";

/// An authenticated connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    is_bus: bool,
    /// For a call together with its job.
    limit: Duration,
    deadline: Instant,
    serial: u32,
    /// What goes out before the next call.
    preamble: Vec<u8>,
    /// Answers of the authentication that have not come yet.
    answers: usize,
    received: Vec<u8>,
    /// The unit whose jobs are of interest.
    unit: String,
    /// Its jobs that have ended, by path, with their results.
    jobs: Vec<(String, String)>,
}

/// A call that the other end refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The name of the error, such as `org.freedesktop.systemd1.UnitExists`.
    pub(super) name: String,
    text: String,
}

impl Refusal {
    /// Whether it is the error of systemd or D-Bus with this last component.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.rsplit('.').next() == Some(name)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn error(&self, operation: String) -> Error {
        Error::new(ErrorKind::Cgroup, operation).reason(format!("{}: {}", self.name, self.text))
    }
}

impl Connection {
    /// Connects to the manager; nothing is sent before the first call. The jobs of `unit` can be
    /// waited for.
    pub(super) fn open(manager: Manager, unit: &str, limit: Duration) -> Result<Self> {
        Self::open_any(&candidates(manager), manager, unit, limit)
    }

    pub(super) fn open_any(
        addresses: &[Address],
        manager: Manager,
        unit: &str,
        limit: Duration,
    ) -> Result<Self> {
        let deadline = deadline::after(limit);
        let mut reasons = Vec::new();
        for address in addresses {
            match connect_to(address, deadline) {
                Ok(socket) => return Self::new(socket, address.is_bus, unit, limit, deadline),
                Err(errno) => {
                    reasons.push(format!("{}: {}", address.text(), crate::error::errno_text(errno)));
                }
            }
        }
        let (whose, hint) = match manager {
            Manager::System => {
                ("", "systemd does not run here, or its sockets are not reachable; use cgroupfs instead")
            }
            Manager::User => (
                " of the user",
                "log in with a session of systemd (dbus-user-session), or enable lingering, and set XDG_RUNTIME_DIR",
            ),
        };
        if reasons.is_empty() {
            reasons.push("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set".to_owned());
        }
        let error = Error::new(ErrorKind::Cgroup, format!("connect to systemd{whose}"));
        Err(error.reason(reasons.join(", ")).with_hint(hint))
    }

    fn new(socket: OwnedFd, is_bus: bool, unit: &str, limit: Duration, deadline: Instant) -> Result<Self> {
        let mut connection = Self {
            socket,
            is_bus,
            limit,
            deadline,
            serial: 0,
            preamble: AUTHENTICATION.to_vec(),
            answers: ANSWERS,
            received: Vec::new(),
            unit: unit.to_owned(),
            jobs: Vec::new(),
        };
        if is_bus {
            connection.introduce(unit)?;
        }
        Ok(connection)
    }

    /// What a bus wants to hear first. systemd tells a job's end to who has asked for the job; the bus
    /// has to be told to pass it on. The name of a unit needs no quoting: see `name`.
    fn introduce(&mut self, unit: &str) -> Result<()> {
        let rule = Value::text(format!(
            "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
             interface='org.freedesktop.systemd1.Manager',member='JobRemoved',arg2='{unit}'"
        ));
        for (member, arguments) in [("Hello", &[][..]), ("AddMatch", &[rule][..])] {
            let call =
                Call { destination: BUS, path: "/org/freedesktop/DBus", interface: BUS, member, arguments };
            let bytes = self.number(&call)?.1;
            self.preamble.extend(bytes);
        }
        Ok(())
    }

    fn number(&mut self, call: &Call<'_>) -> Result<(u32, Vec<u8>)> {
        self.serial = self.serial.wrapping_add(1);
        let bytes = call
            .bytes(self.serial)
            .ok_or_else(|| Error::system(format!("send {} to systemd", call.member), Errno::EMSGSIZE))?;
        Ok((self.serial, bytes))
    }

    /// Calls, and waits for the answer.
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<Result<Message, Refusal>> {
        self.deadline = deadline::after(self.limit);
        let (serial, bytes) = self.number(call)?;
        let failed = |error: Error| error.context(format!("call {} of systemd", call.member));
        let mut out = std::mem::take(&mut self.preamble);
        if !self.is_bus && !out.is_empty() {
            self.send(&out).and_then(|()| self.authenticate()).map_err(failed)?;
            out.clear();
        }
        out.extend(bytes);
        self.send(&out).map_err(failed)?;
        loop {
            let message = self.receive().map_err(failed)?;
            match &message.kind {
                Kind::Reply(to) if *to == serial => return Ok(Ok(message)),
                Kind::Error(to, name) => {
                    let text = message.error_text().unwrap_or_default().to_owned();
                    let refusal = Refusal { name: name.clone(), text };
                    // What comes before the call is answered too; only a bus that refuses us says so.
                    if *to == serial {
                        return Ok(Err(refusal));
                    }
                    return Err(refusal.error("register with the bus".to_owned()));
                }
                _ => {}
            }
        }
    }

    /// Waits for the end of a job of the unit; its result, `done` if all went well.
    pub(super) fn wait_for_job(&mut self, job: &str) -> Result<String> {
        loop {
            if let Some((_, result)) = self.jobs.iter().find(|(path, _)| path == job) {
                return Ok(result.clone());
            }
            let unit = &self.unit;
            let operation = format!("wait for systemd's job of {unit:?}");
            self.receive().map_err(|error| error.context(operation))?;
        }
    }

    /// The next message; the end of a job is noted on the way.
    fn receive(&mut self) -> Result<Message> {
        self.authenticate()?;
        let fixed = self.peek::<FIXED_BYTES>()?;
        let whole = length(&fixed).ok_or_else(malformed)?;
        self.fill(whole)?;
        let rest = self.received.split_off(whole);
        let bytes = std::mem::replace(&mut self.received, rest);
        let message = Message::parse(bytes).ok_or_else(malformed)?;
        if message.kind == Kind::Signal("JobRemoved".to_owned()) {
            let (job, unit, result) = job_removed(&message).ok_or_else(malformed)?;
            if unit == self.unit {
                let ended = (job.to_owned(), result.to_owned());
                self.jobs.push(ended);
            }
        }
        Ok(message)
    }

    /// Reads the answers of the authentication, once.
    fn authenticate(&mut self) -> Result<()> {
        while self.answers > 0 {
            self.read_answer()?;
        }
        Ok(())
    }

    fn read_answer(&mut self) -> Result<()> {
        let line = loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.received.split_off(end.saturating_add(2));
                break std::mem::replace(&mut self.received, rest);
            }
            if self.received.len() > LINE_BYTES {
                return Err(malformed());
            }
            self.fill(self.received.len().saturating_add(1))?;
        };
        self.answers = self.answers.saturating_sub(1);
        let accepted = line.starts_with(b"OK") || (self.answers > 0 && line.starts_with(b"DATA"));
        if accepted {
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&line).trim_end().to_owned();
        Err(Error::new(ErrorKind::Cgroup, "authenticate").reason(format!("the answer is {answer:?}")))
    }

    fn peek<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.fill(N)?;
        self.received.first_chunk().copied().ok_or_else(malformed)
    }

    /// Reads until there are `wanted` bytes.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        let mut buffer = [0; 4096];
        while self.received.len() < wanted {
            match retry(|| recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)) {
                Ok(0) => {
                    return Err(Error::new(ErrorKind::Cgroup, "receive").reason("the connection was closed"));
                }
                Ok(count) => self.received.extend(buffer.iter().take(count)),
                Err(Errno::EAGAIN) => self.await_event(PollFlags::POLLIN)?,
                Err(errno) => return Err(Error::new(ErrorKind::Cgroup, "receive").with_errno(errno)),
            }
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        while !rest.is_empty() {
            match retry(|| send(self.socket.as_raw_fd(), rest, flags)) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::EAGAIN) => self.await_event(PollFlags::POLLOUT)?,
                Err(errno) => return Err(Error::new(ErrorKind::Cgroup, "send").with_errno(errno)),
            }
        }
        Ok(())
    }

    fn await_event(&self, events: PollFlags) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // Rounded up: the last part of a millisecond would be waited for by spinning.
        let left =
            PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        match retry(|| poll(&mut [PollFd::new(self.socket.as_fd(), events)], left)) {
            Ok(0) => Err(Error::new(ErrorKind::Timeout, "wait")
                .reason(format!("no answer within {} s", self.limit.as_secs_f32()))
                .with_hint("systemd or the bus hangs: see systemctl list-jobs")),
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::system("poll", errno)),
        }
    }
}

/// Job, unit and result of a `JobRemoved`.
fn job_removed(message: &Message) -> Option<(&str, &str, &str)> {
    let mut body = message.body("uoss")?;
    body.u32()?;
    Some((body.text()?, body.text()?, body.text()?))
}

fn malformed() -> Error {
    Error::new(ErrorKind::Cgroup, "receive").reason("it is not a message of D-Bus").with_errno(Errno::EPROTO)
}

/// Does not block: a manager that hangs may have a full backlog.
fn connect_to(address: &Address, deadline: Instant) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let target = address.socket()?;
    loop {
        match connect(socket.as_raw_fd(), &target) {
            Err(Errno::EAGAIN) if Instant::now() < deadline => sleep(Duration::from_millis(1)),
            Err(Errno::EINTR) => {}
            other => return other.map(|()| socket),
        }
    }
}
