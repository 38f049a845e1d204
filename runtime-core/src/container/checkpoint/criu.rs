//! The program CRIU, and the conversation with it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::request::{self, Feature, Notification, Response, kind};
use super::{MINIMUM_VERSION, log};
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{process, socket};

/// A response is never longer.
const RESPONSE_LIMIT: usize = 64 << 10;
/// How long CRIU may take to say what it can.
const QUESTION_LIMIT: Duration = Duration::from_secs(60);

/// What hears CRIU's notifications; descriptors may come with them.
pub(super) type Listener<'a> = dyn FnMut(&Notification, Vec<OwnedFd>) -> Result<()> + 'a;

/// A running `criu swrk`. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Criu {
    program: PathBuf,
    child: Child,
    socket: Option<OwnedFd>,
    limit: Option<Duration>,
}

/// The standard streams of CRIU.
pub(super) enum Streams<'a> {
    /// `/dev/null`.
    Quiet,
    /// These; `None` is the caller's own.
    Of([Option<BorrowedFd<'a>>; 3]),
}

impl Streams<'_> {
    fn set(&self, command: &mut Command) -> Result<()> {
        let Self::Of([stdin, stdout, stderr]) = self else {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            return Ok(());
        };
        let copy = |fd: &BorrowedFd<'_>| {
            let copied = fd.try_clone_to_owned().map(Stdio::from);
            copied.map_err(|error| Error::io("copy a standard stream", &error))
        };
        if let Some(fd) = stdin {
            command.stdin(copy(fd)?);
        }
        if let Some(fd) = stdout {
            command.stdout(copy(fd)?);
        }
        if let Some(fd) = stderr {
            command.stderr(copy(fd)?);
        }
        Ok(())
    }
}

impl Criu {
    /// Starts CRIU. It gets the descriptors of `inherit` under their own numbers, and `streams`. Each of its
    /// answers has to come within `limit`.
    pub(super) fn start(
        program: &Path,
        inherit: &[BorrowedFd<'_>],
        streams: Streams<'_>,
        limit: Option<Duration>,
    ) -> Result<Self> {
        let failed = |errno| Error::system(format!("start {program:?}"), errno);
        let (ours, theirs) = socket::pair(false).map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("swrk").arg(theirs.as_raw_fd().to_string());
        streams.set(&mut command)?;
        let mut passed: Vec<RawFd> = inherit.iter().map(AsRawFd::as_raw_fd).collect();
        passed.push(theirs.as_raw_fd());
        process::pass_descriptors(&mut command, passed);
        let child = command.spawn().map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let error = Error::io(format!("start {program:?}"), &error);
            match missing {
                true => error
                    .kind_of(ErrorKind::Unsupported)
                    .with_hint("checkpoint and restore need CRIU: criu.org"),
                false => error,
            }
        })?;
        Ok(Self { program: program.to_owned(), child, socket: Some(ours), limit })
    }

    /// Its pid.
    pub(super) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a request and hears notifications until its response comes.
    ///
    /// CRIU has limits of its own, but not for a process that does not run what CRIU has put into it.
    pub(super) fn ask(&self, request: &[u8], listener: &mut Listener<'_>) -> Result<Response> {
        self.send(request)?;
        loop {
            let (response, descriptors) = self.receive()?;
            if !response.success {
                return Err(self.refused(&response));
            }
            if response.kind != kind::NOTIFY {
                return Ok(response);
            }
            listener(&response.notification, descriptors)?;
            self.send(&request::acknowledgement())?;
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let socket = self.socket.as_ref().ok_or_else(|| self.broken(Errno::ENOTCONN))?;
        socket::send(socket.as_fd(), bytes, &[]).map_err(|errno| self.broken(errno))
    }

    fn receive(&self) -> Result<(Response, Vec<OwnedFd>)> {
        let socket = self.socket.as_ref().ok_or_else(|| self.broken(Errno::ENOTCONN))?;
        let mut buffer = vec![0; RESPONSE_LIMIT];
        self.await_end_of_silence(socket.as_fd())?;
        let received = socket::receive(socket.as_fd(), &mut buffer).map_err(|errno| self.broken(errno))?;
        if received.len == 0 {
            return Err(self.broken(Errno::EPIPE).with_hint("it ended in the middle of the request"));
        }
        let bytes = buffer.get(..received.len).filter(|bytes| bytes.len() < RESPONSE_LIMIT);
        let response = bytes.and_then(Response::parse).ok_or_else(|| self.broken(Errno::EBADMSG))?;
        Ok((response, received.fds))
    }

    /// Waits until there is something to read, or the limit has passed.
    fn await_end_of_silence(&self, file: BorrowedFd<'_>) -> Result<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        let deadline = deadline::after(limit);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Timeout, format!("wait for {:?}", self.program))
                    .reason(format!("no answer within {} s", limit.as_secs_f64()))
                    .with_hint("it was ended; CriuOptions::answer_limit sets another limit"));
            }
            let timeout = PollTimeout::try_from(left.max(Duration::from_millis(1)));
            match poll(&mut [PollFd::new(file, PollFlags::POLLIN)], timeout.unwrap_or(PollTimeout::MAX)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(self.broken(errno)),
            }
        }
    }

    fn broken(&self, errno: Errno) -> Error {
        Error::system(format!("talk to {:?}", self.program), errno)
    }

    fn refused(&self, response: &Response) -> Error {
        let reason = format!("type {} errno {}", kind::name(response.kind), response.errno);
        let error = Error::new(ErrorKind::System, "criu failed").reason(reason);
        // Errors of every kind that CRIU met, also of those that did not matter: the log is better.
        match response.message.trim() {
            "" => error,
            message => error.with_hint(message.replace('\n', "; ")),
        }
    }

    /// Waits for its end, and returns whether it succeeded.
    pub(super) fn finish(mut self) -> Result<bool> {
        self.socket = None;
        let pidfd = process::pidfd_open(self.pid()).map_err(|errno| self.broken(errno))?;
        self.await_end_of_silence(pidfd.as_fd())?;
        let ended = self.child.wait();
        ended
            .map(|status| status.success())
            .map_err(|error| Error::io(format!("wait for {:?}", self.program), &error))
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        // After `finish` it has been reaped, which `Child` remembers: both do nothing then.
        self.socket = None;
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// CRIU's version: 31701 is 3.17.1.
///
/// # Errors
///
/// It is older than `least`, which `wanted` needs.
pub(super) fn require_version(program: &Path, least: u32, wanted: &'static str) -> Result<u32> {
    let criu = Criu::start(program, &[], Streams::Quiet, Some(QUESTION_LIMIT))?;
    let version = criu.ask(&request::version(), &mut |_, _| Ok(()))?.version;
    criu.finish()?;
    match version >= least.max(MINIMUM_VERSION) {
        true => Ok(version),
        false => Err(Error::new(ErrorKind::Unsupported, wanted)
            .reason(format!("CRIU version {version} must be {} or higher", least.max(MINIMUM_VERSION)))),
    }
}

/// Refuses what CRIU or the kernel cannot do.
pub(super) fn require_feature(program: &Path, feature: Feature, wanted: &'static str) -> Result<()> {
    let criu = Criu::start(program, &[], Streams::Quiet, Some(QUESTION_LIMIT))?;
    let features = criu.ask(&request::feature_check(feature), &mut |_, _| Ok(()))?.features;
    criu.finish()?;
    match features & (1 << feature as u32) {
        0 => Err(Error::new(ErrorKind::Unsupported, wanted)
            .reason(format!("criu is missing features: {feature:?}"))
            .with_hint("the kernel lacks it, or this CRIU does")),
        _ => Ok(()),
    }
}

/// The error of a failed request, with the end of CRIU's log and where all of it is.
pub(super) fn explain(error: Error, log: &Path) -> Error {
    let place = format!("see {log:?}");
    match log::last_words(log) {
        Some(words) => {
            let operation = error.to_string();
            let operation = operation.split("; hint: ").next().unwrap_or_default().to_owned();
            Error::new(error.kind(), operation).reason(words).with_hint(place)
        }
        None => error,
    }
}
