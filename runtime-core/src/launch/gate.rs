//! The start gate, from the side of `start`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::failure::{StepText, describe};
use crate::child::report::{GO, REPORT_BYTES, Report};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::socket;

/// Lets a created container run over a connection to its gate, and waits until the program is
/// executed: then the init's end of the connection closes. `limit` bounds the wait, if given.
pub(crate) fn open_gate(connection: &OwnedFd, steps: &[StepText], limit: Option<Duration>) -> Result<()> {
    match socket::send(connection.as_fd(), &[GO], &[]) {
        // Ended meanwhile: what it said, if anything, is still there.
        Ok(()) | Err(Errno::EPIPE) => {}
        Err(errno) => return Err(Error::system("open the start gate", errno)),
    }
    await_readable(connection, limit)?;
    let mut bytes = [0; REPORT_BYTES];
    let mut received = match socket::receive(connection.as_fd(), &mut bytes) {
        Err(Errno::ECONNRESET) => return Ok(()),
        other => other.map_err(|errno| Error::system("hear from the init", errno))?,
    };
    if received.len != REPORT_BYTES {
        return Ok(());
    }
    let report = Report::from_bytes(&bytes);
    let step = steps.iter().find(|step| step.step == report.step);
    Err(describe(report, step, received.fds.pop()))
}

fn await_readable(connection: &OwnedFd, limit: Option<Duration>) -> Result<()> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = deadline.map_or(PollTimeout::NONE, |deadline| {
            PollTimeout::try_from(deadline.saturating_duration_since(Instant::now()))
                .unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(connection.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => {
                return Err(Error::new(ErrorKind::Timeout, "wait for the program to be executed")
                    .hint("a file system of the container may hang"));
            }
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("poll", errno)),
        }
    }
}
