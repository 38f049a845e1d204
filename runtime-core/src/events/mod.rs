//! What happens to a container: its statistics in intervals, and that it ran out of memory.
//!
//! The JSON form is the one that containerd's go-runc reads (runc's `types/events.go`).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::cgroup::Cgroup;
pub use crate::cgroup::OomWatch;
use crate::cgroup::stats::Statistics;
use crate::error::{Error, Result};

/// One event; serialized, one line of `events`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Event {
    /// What the container uses.
    Stats {
        /// The container's id.
        id: String,
        /// The numbers.
        data: Box<Statistics>,
    },
    /// The kernel killed a process of the container for want of memory, or, where that is switched
    /// off (cgroup v1), lets it wait.
    Oom {
        /// The container's id.
        id: String,
    },
}

/// The events of a running container, made by [`Container::events`](crate::Container::events).
///
/// It holds no thread and no timer: the time passes in [`Events::wait`].
#[derive(Debug)]
pub struct Events {
    id: String,
    cgroup: Cgroup,
    init: OwnedFd,
    oom: Option<OomWatch>,
    interval: Duration,
    next: Instant,
}

/// What ended a wait.
struct Woken {
    ended: bool,
    oom: bool,
}

impl Events {
    pub(crate) fn new(id: String, cgroup: Cgroup, init: OwnedFd, interval: Duration) -> Result<Self> {
        let oom = cgroup.watch_oom()?;
        Ok(Self { id, cgroup, init, oom, interval, next: later(interval) })
    }

    /// Waits for the next event: statistics each interval, the first after one interval; out of
    /// memory at once. `None` when the container has ended.
    ///
    /// # Errors
    ///
    /// Statistics that cannot be read; the next call goes on.
    pub fn wait(&mut self) -> Result<Option<Event>> {
        loop {
            let woken = self.sleep()?;
            if woken.oom && self.out_of_memory()? {
                return Ok(Some(Event::Oom { id: self.id.clone() }));
            }
            if woken.ended {
                return Ok(None);
            }
            if Instant::now() >= self.next {
                self.next = later(self.interval);
                let data = Box::new(self.cgroup.statistics()?);
                // The numbers of a cgroup that may have gone meanwhile are worth nothing.
                if !self.has_ended()? {
                    return Ok(Some(Event::Stats { id: self.id.clone(), data }));
                }
            }
        }
    }

    /// Sleeps until something happens or is due. The end of the container comes with a last look at
    /// the counters: a kill of the init is both.
    fn sleep(&self) -> Result<Woken> {
        let patience = self.oom.as_ref().and_then(OomWatch::patience);
        let left = self.next.saturating_duration_since(Instant::now());
        let left = patience.map_or(left, |patience| patience.min(left));
        let mut fds = vec![PollFd::new(self.init.as_fd(), PollFlags::POLLIN)];
        if let Some((fd, flags)) = self.oom.as_ref().map(OomWatch::source) {
            fds.push(PollFd::new(fd, flags));
        }
        wait_for(&mut fds, left)?;
        let ready =
            |index: usize| fds.get(index).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
        let ended = ready(0);
        Ok(Woken { ended, oom: ended || ready(1) || patience.is_some() })
    }

    fn out_of_memory(&mut self) -> Result<bool> {
        match self.oom.as_mut().map(OomWatch::grown).transpose()?.flatten() {
            Some(grown) => Ok(grown),
            None => {
                self.oom = None;
                Ok(false)
            }
        }
    }

    fn has_ended(&self) -> Result<bool> {
        let mut fds = [PollFd::new(self.init.as_fd(), PollFlags::POLLIN)];
        wait_for(&mut fds, Duration::ZERO)?;
        Ok(fds.iter().any(|fd| fd.any().unwrap_or(false)))
    }
}

/// poll(2); a signal ends it early. The kernel counts whole milliseconds: rounded up, or the end of
/// an interval would be a busy loop.
fn wait_for(fds: &mut [PollFd<'_>], limit: Duration) -> Result<()> {
    let milliseconds = limit.as_micros().div_ceil(1000);
    let timeout = i32::try_from(milliseconds).ok().and_then(|limit| PollTimeout::try_from(limit).ok());
    match poll(fds, timeout.unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(Error::system("poll", errno)),
    }
}

/// The end of an interval that begins now; one beyond the clock's end is a century.
fn later(interval: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(interval.min(CENTURY)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_engines_read_them() {
        let line = |event: Event| serde_json::to_string(&event).expect("JSON");
        assert_eq!(line(Event::Oom { id: "web".into() }), r#"{"type":"oom","id":"web"}"#);
        let stats = line(Event::Stats { id: "web".into(), data: Box::default() });
        assert!(stats.starts_with(r#"{"type":"stats","id":"web","data":{"cpu":"#), "{stats}");
    }
}
