//! The listener of a seccomp filter: from the init's descriptor table to the agent.
//!
//! The filter may hold back every call of the init, so the init says nothing after it has loaded it: it
//! tells the listener's number before, and waits in a call that only the listener can answer (see
//! [`crate::seccomp::handover`]). All the rest is done from outside.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::time::TimeSpec;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Agent, ValidSpec};
use crate::state::{OCI_VERSION, State, Status};
use crate::sys::seccomp::{answer_notification, is_listener, receive_notification};
use crate::sys::{process, retry, socket};
use runtime_init::ops::HANDOVER;

const ORIGIN: &str = "linux.seccomp.listenerPath";

/// How long the agent may take to accept a connection and a message, in seconds.
const AGENT_SECONDS: i64 = 10;

/// Between two looks for the listener: loading a filter takes the init some ten microseconds.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LAST_PAUSE: Duration = Duration::from_millis(5);

/// Who gets the listener, and the state of the container that goes with it.
#[derive(Debug)]
pub(crate) struct Receiver<'a> {
    agent: &'a Agent,
    state: State,
}

/// The process whose listener is handed over.
pub(crate) struct Init<'a> {
    pub(crate) pid: i32,
    pub(crate) pidfd: BorrowedFd<'a>,
    /// Readable when the process says something, or ends, or executes its program.
    pub(crate) socket: BorrowedFd<'a>,
    /// All of it has an end then.
    pub(crate) deadline: Instant,
}

/// The container process state (config-linux.md, "The Container Process State").
#[derive(Serialize)]
struct ProcessState<'a> {
    #[serde(rename = "ociVersion")]
    oci_version: &'static str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: ContainerState<'a>,
}

/// The state as the specification has it (runtime.md, "State"), without what we add to it elsewhere.
#[derive(Serialize)]
struct ContainerState<'a> {
    #[serde(rename = "ociVersion")]
    oci_version: &'static str,
    id: &'a str,
    status: Status,
    pid: i32,
    bundle: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> Receiver<'a> {
    /// The agent of a configuration, if its filter has a listener.
    pub(crate) fn new(spec: &'a ValidSpec, state: impl FnOnce() -> State) -> Option<Self> {
        spec.seccomp_agent.as_ref().map(|agent| Self { agent, state: state() })
    }

    /// Takes the listener that has, or will have, this number in the init, and gives it to the agent;
    /// then the init goes on. False if the init has ended or failed meanwhile: its socket says how.
    pub(crate) fn hand_over(&self, init: &Init<'_>, number: u32) -> Result<bool> {
        let Some(listener) = init.take(number)? else { return Ok(false) };
        let Some(mut held) = init.await_held(listener.as_fd())? else { return Ok(false) };
        self.send(init.pid, listener.as_fd())?;
        loop {
            match answer_notification(listener.as_fd(), held) {
                Ok(()) => return Ok(true),
                // A signal interrupted the call (a stop, the freezer), and it is made again.
                Err(Errno::ENOENT) => match init.await_held(listener.as_fd())? {
                    Some(again) => held = again,
                    None => return Ok(true),
                },
                Err(errno) => return Err(Error::system("let the init go on", errno).origin(ORIGIN)),
            }
        }
    }

    /// One connection for one state, as the specification says.
    fn send(&self, pid: i32, listener: BorrowedFd<'_>) -> Result<()> {
        let path = &self.agent.path;
        let state = serde_json::to_vec(&self.process_state(pid))
            .map_err(|_| Error::system("write the container process state", Errno::EINVAL))?;
        // runc's words.
        let stream = socket::connect_stream(path, AGENT_SECONDS).map_err(|errno| {
            Error::system(format!("failed to connect with seccomp agent at {path:?}"), errno)
                .origin(ORIGIN)
                .with_hint("the agent has to listen before the container is started")
        })?;
        socket::write_all(stream.as_fd(), &state, &[listener.as_raw_fd()]).map_err(|errno| {
            Error::system(format!("send the seccomp listener to the agent at {path:?}"), errno)
                .origin(ORIGIN)
                .with_hint("the agent has to read the state with the descriptor")
        })
    }

    fn process_state(&self, pid: i32) -> ProcessState<'_> {
        ProcessState {
            oci_version: OCI_VERSION,
            fds: ["seccompFd"],
            pid,
            metadata: &self.agent.metadata,
            state: ContainerState {
                oci_version: self.state.oci_version,
                id: &self.state.id,
                status: self.state.status,
                pid: self.state.pid,
                bundle: &self.state.bundle,
                annotations: &self.state.annotations,
            },
        }
    }
}

impl Init<'_> {
    /// A copy of the listener as soon as it is there.
    ///
    /// Nothing announces that: the init makes no call any more, and poll(2) knows nothing of its table.
    fn take(&self, number: u32) -> Result<Option<OwnedFd>> {
        let call = || format!("pidfd_getfd of the seccomp listener {number}");
        let mut pause = FIRST_PAUSE;
        loop {
            match process::pidfd_getfd(self.pidfd, number as i32) {
                Ok(fd) => return verified(fd).map(Some),
                // Not loaded yet, or failed or ended: then the socket says so.
                Err(Errno::EBADF) => {}
                Err(Errno::ESRCH) => return Ok(None),
                Err(Errno::EPERM) => {
                    return Err(Error::system(call(), Errno::EPERM).origin(ORIGIN).with_hint(
                        "it takes CAP_SYS_PTRACE in the user namespace where the init was executed",
                    ));
                }
                Err(errno) => return Err(Error::system(call(), errno).origin(ORIGIN)),
            }
            if self.has_spoken(pause)? {
                return Ok(None);
            }
            if Instant::now() >= self.deadline {
                return Err(self.timeout());
            }
            pause = pause.saturating_mul(2).min(LAST_PAUSE);
        }
    }

    /// Waits for the init's socket, at most `pause`.
    fn has_spoken(&self, pause: Duration) -> Result<bool> {
        let mut fds = [PollFd::new(self.socket, PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(pause)), None) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(errno) => Err(Error::system("poll", errno)),
        }
    }

    /// Waits until the init makes the call by which it waits for us: the id of that.
    fn await_held(&self, listener: BorrowedFd<'_>) -> Result<Option<u64>> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds =
                [PollFd::new(listener, PollFlags::POLLIN), PollFd::new(self.socket, PollFlags::POLLIN)];
            let ready = retry(|| poll(&mut fds, left)).map_err(|errno| Error::system("poll", errno))?;
            match fds[0].revents() {
                Some(events) if events.contains(PollFlags::POLLIN) => {}
                _ if ready == 0 => return Err(self.timeout()),
                _ => return Ok(None),
            }
            match receive_notification(listener) {
                Ok(call) if self.is_handover(&call) => return Ok(Some(call.id)),
                // Somebody else's listener, or somebody else's process.
                Ok(_) => return Err(foreign()),
                // The call was interrupted, and is made again.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(errno) => {
                    return Err(Error::system("receive from the seccomp listener", errno).origin(ORIGIN));
                }
            }
        }
    }

    fn is_handover(&self, call: &crate::sys::seccomp::Notification) -> bool {
        i64::from(call.number) == libc::SYS_sched_yield
            && call.first_argument == HANDOVER
            && i64::from(call.pid) == i64::from(self.pid)
    }

    fn timeout(&self) -> Error {
        Error::new(ErrorKind::Timeout, "wait for the seccomp listener")
            .origin(ORIGIN)
            .with_hint("the container's cgroup may be frozen")
    }
}

/// The descriptor, if it is a listener: who may trace the init can put another in its place.
fn verified(fd: OwnedFd) -> Result<OwnedFd> {
    match is_listener(fd.as_fd()) {
        Ok(true) => Ok(fd),
        Ok(false) => Err(foreign()),
        Err(errno) => Err(Error::system("verify the seccomp listener", errno).origin(ORIGIN)),
    }
}

fn foreign() -> Error {
    Error::system("verify the seccomp listener", Errno::EPROTO)
        .reason("what the init has is not the listener of its filter")
        .origin(ORIGIN)
}

/// The program runs without a listener that anyone has.
pub(super) fn lost() -> Error {
    Error::system("take the seccomp listener", Errno::EBADF)
        .reason("it was closed before it could be handed over")
        .origin(ORIGIN)
        .with_hint("a seccomp filter around the runtime may deny sched_yield")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{FLAG_NEW_LISTENER, Filter};
    use crate::sys::seccomp::set_filter;

    const PROFILE: &[u8] = br#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["sched_yield", "getppid"], "action": "SCMP_ACT_NOTIFY"}]}"#;

    /// A listener, and the id of a thread that makes one call behind its filter.
    fn listener(call: impl FnOnce() + Send + 'static) -> Option<(OwnedFd, i32)> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let profile = crate::spec::parse_profile(PROFILE, "profile").unwrap();
        let filter = Filter::from_profile(&profile).unwrap().with_handover().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let listener = set_filter(filter.program(), FLAG_NEW_LISTENER).unwrap().unwrap();
            sender.send((listener, nix::unistd::gettid().as_raw())).unwrap();
            call();
        });
        Some(receiver.recv().unwrap())
    }

    /// Control: a listener is taken.
    #[test]
    fn only_a_listener_is_taken() {
        for path in ["/dev/null", "/proc/self/ns/user", "/"] {
            let file = OwnedFd::from(std::fs::File::open(path).unwrap());
            assert_eq!(verified(file).unwrap_err().raw_errno(), Some(Errno::EPROTO), "{path}");
        }
        let Some((listener, _)) = listener(|| ()) else { return };
        assert!(verified(listener).is_ok());
    }

    /// Another call, another argument or another process is not the init that waits for its listener to be handed over.
    /// Control: that init is known.
    #[test]
    fn only_the_call_of_the_init_is_the_handover() {
        let yielding = |first: u64| {
            move || {
                // SAFETY: plain numbers.
                unsafe { libc::syscall(libc::SYS_sched_yield, first) };
            }
        };
        let other = || {
            // SAFETY: no arguments.
            unsafe { libc::syscall(libc::SYS_getppid) };
        };
        assert!(held(yielding(HANDOVER), 0).is_none_or(|held| held.is_ok()));
        for wrong in [held(yielding(HANDOVER ^ 1), 0), held(other, 0), held(yielding(HANDOVER), 1)] {
            assert!(wrong.is_none_or(|held| held.unwrap_err().raw_errno() == Some(Errno::EPROTO)));
        }
    }

    /// What the wait for a call finds; `beside` is added to the pid that the init has.
    fn held(call: impl FnOnce() + Send + 'static, beside: i32) -> Option<Result<Option<u64>>> {
        let (listener, pid) = listener(call)?;
        let pidfd = process::pidfd_open(std::process::id() as i32).unwrap();
        let (socket, _theirs) = socket::pair(false).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let init = Init { pid: pid + beside, pidfd: pidfd.as_fd(), socket: socket.as_fd(), deadline };
        Some(init.await_held(listener.as_fd()))
    }
}
