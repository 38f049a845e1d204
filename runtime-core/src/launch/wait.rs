//! Waits with an end.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::deadline;
use crate::error::{Error, ErrorKind, Result};

/// How long one step of the init may take: file systems of an image can hang (FUSE), and the
/// runtime must not hang with them.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(60);

/// Waits until one of the descriptors, sockets or pidfds, is readable; the answer has an entry for each.
pub(super) fn await_readable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> Result<Vec<bool>> {
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    loop {
        deadline::check("wait for the init")?;
        match poll(&mut polled, time_until(deadline)) {
            Ok(0) if deadline.is_none_or(|deadline| deadline > Instant::now()) => {}
            Ok(0) => {
                return Err(Error::new(ErrorKind::Timeout, "wait for the init")
                    .reason(format!("nothing for {} s", STEP_LIMIT.as_secs()))
                    .with_hint(
                        "a file system of the bundle may hang, or the container's cgroup may be frozen",
                    ));
            }
            Ok(_) => return Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("poll", errno)),
        }
    }
}

pub(super) fn time_until(deadline: Option<Instant>) -> PollTimeout {
    // Not less than a millisecond, poll(2)'s unit, unless the time is over.
    let left = deadline::step(deadline).map(|left| left.saturating_add(Duration::from_micros(999)));
    let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
    let left = if over { Some(Duration::ZERO) } else { left };
    left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
}
