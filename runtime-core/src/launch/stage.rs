//! Stage 0, from the side of the caller.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::clone::{self, Request};
use super::descriptors::Descriptors;
use super::image::InitImage;
use super::wait::await_readable;
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::process::{self, Ended};
use crate::sys::socket;
use runtime_init::ops::Slot;
use runtime_init::report::{REPORT_BYTES, Report};

/// How long the end of a process is waited for that ends by itself, or has been killed.
pub(super) const END_LIMIT: Duration = Duration::from_secs(10);

/// Stage 0, which waits for its plan or walks it. Dropping it kills and reaps it.
#[derive(Debug)]
pub(super) struct Stage {
    pidfd: OwnedFd,
    /// Taken at the end: stage 0 ends without it.
    control: Option<OwnedFd>,
    base: i32,
}

/// What stage 0 says.
pub(super) enum Said {
    /// A report, and the descriptor that came with it.
    Report(Report, Option<OwnedFd>),
    /// It has come to its end.
    End,
}

impl Stage {
    /// Clones stage 0 with these descriptors. With `network` it makes a network namespace while it waits for its plan.
    pub(super) fn spawn(descriptors: &Descriptors, network: bool) -> Result<Self> {
        let program = InitImage::new()?;
        let (control, theirs) = socket::pair(false).map_err(|errno| Error::system("socketpair", errno))?;
        let cloned = clone::clone(&Request {
            program: program.as_fd(),
            control: theirs.as_fd(),
            descriptors,
            network,
        })?;
        Ok(Self { pidfd: cloned.pidfd, control: Some(control), base: descriptors.base })
    }

    /// Number of the first slot's descriptor.
    pub(super) fn base(&self) -> i32 {
        self.base
    }

    /// The socket, readable when stage 0 says something.
    #[expect(clippy::unreachable, reason = "nothing calls it after the drop, which alone takes the socket")]
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        match &self.control {
            Some(control) => control.as_fd(),
            None => unreachable!("the socket is taken by the drop alone"),
        }
    }

    /// Sends the plan with all descriptors that the launch takes.
    pub(super) fn send(&self, mut gives: Vec<(Slot, BorrowedFd<'_>)>) -> Result<()> {
        gives.sort_by_key(|(slot, _)| slot.0);
        let bits = gives.iter().fold(0, |bits, (slot, _)| bits | slot.bit());
        let fds: Vec<_> = gives.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        match socket::send(self.socket(), &bits.to_ne_bytes(), &fds) {
            Ok(()) => Ok(()),
            // It has ended: what it said last tells why.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(Error::system("send the plan", errno)),
        }
    }

    /// Waits for what it says next.
    pub(super) fn hear(&self, deadline: Option<Instant>) -> Result<Said> {
        await_readable(&[self.socket()], deadline)?;
        let mut bytes = [0; REPORT_BYTES];
        match socket::receive(self.socket(), &mut bytes) {
            // It has ended without reading the plan.
            Err(Errno::ECONNRESET) => Ok(Said::End),
            Err(errno) => Err(Error::system("receive from the init's first stage", errno)),
            Ok(received) if received.len == 0 => Ok(Said::End),
            Ok(mut received) if received.len == REPORT_BYTES => {
                Ok(Said::Report(Report::from_bytes(&bytes), received.fds.pop()))
            }
            Ok(_) => Err(Error::system("understand the init's first stage", Errno::EPROTO)),
        }
    }

    /// How it ended, for one that has said nothing.
    pub(super) fn ended(&self) -> Error {
        let error = Error::new(ErrorKind::System, "start the init's first stage");
        await_readable(&[self.pidfd.as_fd()], Some(deadline::after(END_LIMIT))).ok();
        match process::ended(self.pidfd.as_fd(), false) {
            Ok(Some(Ended::Exited(status))) => error.reason(format!("it exited with status {status}")),
            Ok(Some(Ended::Killed(signal))) => error.reason(format!("it was killed by signal {signal}")),
            Ok(Some(Ended::Unknown) | None) | Err(_) => error.reason("it ended"),
        }
    }

    /// Kills it and waits for its end; what it has said can still be heard.
    pub(super) fn kill(&self) {
        // An end that has already come is as good.
        process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL).ok();
        await_readable(&[self.pidfd.as_fd()], Some(deadline::after(END_LIMIT))).ok();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It may still wait for its plan, and a filter around this process may deny the signal.
        self.control = None;
        deadline::suspended(|| self.kill());
        process::wait(self.pidfd.as_fd(), false).ok();
    }
}
