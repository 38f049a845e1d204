//! The start gate, from the side of `start`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::failure::{StepKind, StepText, describe};
use super::listener::{self, Receiver};
use super::wait::time_until;
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{process, socket, userfault};
use runtime_init::hold::PAGE;
use runtime_init::report::{GO, REPORT_BYTES, Report};

/// A seccomp listener to hand over, and the init that it is in.
pub(crate) struct Handover<'a> {
    pub(crate) receiver: Receiver<'a>,
    pub(crate) pid: i32,
    pub(crate) pidfd: BorrowedFd<'a>,
}

/// An init that waits for `start` behind its filter: its userfaultfd.
pub(crate) struct Held(OwnedFd);

/// Lets a created container run that waits behind its filter, and waits until the program is executed: the init never
/// accepts the connection, which is reset when execve(2) closes the gate. `limit` bounds the wait, if given.
pub(crate) fn end_hold(
    connection: &OwnedFd,
    steps: &[StepText],
    limit: Option<Duration>,
    held: &Held,
) -> Result<()> {
    held.fill()?;
    await_readable(connection, limit.map(deadline::after))?;
    let mut bytes = [0; REPORT_BYTES];
    match socket::receive(connection.as_fd(), &mut bytes) {
        // Executed, or ended by the filter: as with every other container the status tells.
        Err(Errno::ECONNRESET) => Ok(()),
        Ok(mut received) if received.len == REPORT_BYTES => {
            let report = Report::from_bytes(&bytes);
            let step = steps.iter().find(|step| step.step == report.step);
            Err(describe(report, step, received.fds.pop()))
        }
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::system("hear from the init", errno)),
    }
}

impl Held {
    /// Takes the userfaultfd with this number out of the init.
    pub(crate) fn take(init: BorrowedFd<'_>, number: i32) -> Result<Self> {
        let call = |name: &str| format!("{name} of the userfaultfd {number} of the init");
        let fd = match process::pidfd_getfd(init, number) {
            Ok(fd) => fd,
            Err(Errno::ESRCH) => return Err(never_started()),
            Err(Errno::EPERM) => {
                return Err(Error::system(call("pidfd_getfd"), Errno::EPERM)
                    .with_hint("it takes CAP_SYS_PTRACE in the user namespace where the init was executed"));
            }
            Err(errno) => return Err(Error::system(call("pidfd_getfd"), errno)),
        };
        match userfault::is_userfaultfd(fd.as_fd()) {
            Ok(true) => Ok(Self(fd)),
            Ok(false) => Err(Error::system(call("verify the type"), Errno::EPROTO)
                .reason("the init has another descriptor with this number")),
            Err(errno) => Err(Error::system(call("verify the type"), errno)),
        }
    }

    /// Fills the page that the init reads.
    fn fill(&self) -> Result<()> {
        match userfault::fill(self.0.as_fd(), PAGE) {
            // Filled by a `start` that was killed.
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(Errno::ESRCH) => Err(never_started()),
            Err(errno) => Err(Error::system("UFFDIO_ZEROPAGE in the init", errno)),
        }
    }
}

/// Lets a created container run over a connection to its gate, and waits until the program is
/// executed: then the init's end of the connection closes. `limit` bounds the wait, if given.
///
/// After an error about the listener the init may wait for ever: the caller kills it.
pub(crate) fn open_gate(
    connection: &OwnedFd,
    steps: &[StepText],
    limit: Option<Duration>,
    handover: Option<&Handover<'_>>,
) -> Result<()> {
    let gone = match socket::send(connection.as_fd(), &[GO], &[]) {
        Ok(()) => false,
        // Ended meanwhile: what it said, if anything, is still there.
        Err(Errno::EPIPE) => true,
        Err(errno) => return Err(Error::system("open the start gate", errno)),
    };
    let deadline = limit.map(deadline::after);
    let mut handed_over = handover.is_none();
    loop {
        await_readable(connection, deadline)?;
        let mut bytes = [0; REPORT_BYTES];
        let mut received = match socket::receive(connection.as_fd(), &mut bytes) {
            // It has not read the word.
            Err(Errno::ECONNRESET) => return Err(never_started()),
            other => other.map_err(|errno| Error::system("hear from the init", errno))?,
        };
        if received.len != REPORT_BYTES {
            break;
        }
        let report = Report::from_bytes(&bytes);
        let step = steps.iter().find(|step| step.step == report.step);
        match (step, handover) {
            (Some(step), Some(handover))
                if step.kind == StepKind::Listener && report.errno == 0 && !handed_over =>
            {
                let init = listener::Init {
                    pid: handover.pid,
                    pidfd: handover.pidfd,
                    socket: connection.as_fd(),
                    deadline: deadline.unwrap_or_else(|| deadline::after(LISTENER_LIMIT)),
                };
                handed_over = handover.receiver.hand_over(&init, report.detail)?;
            }
            _ => return Err(describe(report, step, received.fds.pop())),
        }
    }
    match () {
        () if gone => Err(never_started()),
        () if handed_over => Ok(()),
        () => Err(listener::lost()),
    }
}

fn never_started() -> Error {
    Error::new(ErrorKind::WrongState, "cannot start a container that has stopped")
        .reason("its init was ended while it waited")
}

/// How long the listener is waited for if the hooks before have no limit.
const LISTENER_LIMIT: Duration = Duration::from_secs(60);

fn await_readable(connection: &OwnedFd, deadline: Option<Instant>) -> Result<()> {
    loop {
        deadline::check("wait for the program to be executed")?;
        match poll(&mut [PollFd::new(connection.as_fd(), PollFlags::POLLIN)], time_until(deadline)) {
            Ok(0) if deadline.is_none_or(|deadline| deadline > Instant::now()) => {}
            Ok(0) => {
                return Err(Error::new(ErrorKind::Timeout, "wait for the program to be executed")
                    .with_hint("a file system of the container, or a seccomp agent, may hang"));
            }
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("poll", errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `start` says of an init that does this with its end of the connection.
    fn started(init: impl FnOnce(OwnedFd) + Send) -> Result<()> {
        let (ours, theirs) = socket::pair(false).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || init(theirs));
            open_gate(&ours, &[], None, None)
        })
    }

    #[test]
    fn an_init_that_ends_before_it_has_its_word_is_not_started() {
        let read = |socket: OwnedFd| drop(socket::receive(socket.as_fd(), &mut [0; 1]));
        started(read).unwrap();
        let unread = |socket: OwnedFd| await_readable(&socket, None).unwrap();
        assert_eq!(started(unread).unwrap_err().kind(), ErrorKind::WrongState);
        assert_eq!(started(drop).unwrap_err().kind(), ErrorKind::WrongState);
    }

    /// A descriptor of the init that has the number of its userfaultfd is not asked to fill a page. Control: one of that call
    /// is taken, and has no page.
    #[test]
    fn only_a_userfaultfd_is_filled() {
        let own = process::pidfd_open(std::process::id() as i32).unwrap();
        let take = |fd: BorrowedFd<'_>| Held::take(own.as_fd(), std::os::fd::AsRawFd::as_raw_fd(&fd));
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = take(null.as_fd()).map(drop).unwrap_err().to_string();
        assert!(error.contains("another descriptor with this number"), "{error}");
        if let Some(userfault) = userfault::open() {
            let error = take(userfault.as_fd()).unwrap().fill().unwrap_err().to_string();
            assert!(error.contains("UFFDIO_ZEROPAGE"), "{error}");
        }
    }
}
