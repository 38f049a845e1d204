//! What happens to a container: its statistics in intervals, and that it ran out of memory.
//!
//! The JSON form is the one that containerd's go-runc reads (runc's `types/events.go`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
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
/// It holds no thread. A program waits in [`Events::wait`], or has its descriptor ([`AsFd`], [`AsRawFd`]), which is an
/// epoll(7), in an event loop of its own, asynchronous or not: while that is readable, and once before, it calls
/// [`Events::try_next`] until the answer is [`Polled::Pending`].
///
/// ```no_run
/// use std::time::Duration;
/// use runtime_core::events::Polled;
///
/// # fn watch(container: &runtime_core::Container) -> Result<(), runtime_core::Error> {
/// let mut events = container.events(Duration::from_secs(5))?;
/// loop {
///     match events.try_next()? {
///         Polled::Event(event) => println!("{event:?}"),
///         Polled::Pending => { /* wait until the descriptor is readable */ }
///         Polled::Ended => return Ok(()),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    /// Readable when one of the sources is: the init, the counters, the timer.
    epoll: Epoll,
    timer: TimerFd,
    id: String,
    cgroup: Cgroup,
    init: OwnedFd,
    oom: Option<OomWatch>,
    interval: Duration,
    next: Instant,
}

/// What [`Events::try_next`] finds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Polled {
    /// An event; there may be more.
    Event(Event),
    /// Nothing for now.
    Pending,
    /// The container has ended, and no event will come.
    Ended,
}

/// What ended a wait.
struct Woken {
    ended: bool,
    oom: bool,
}

impl Events {
    pub(crate) fn new(id: String, cgroup: Cgroup, init: OwnedFd, interval: Duration) -> Result<Self> {
        let oom = cgroup.watch_oom()?;
        let failed = |errno| Error::system("make an epoll of the container's events", errno);
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
                .map_err(failed)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(&init, readable).map_err(failed)?;
        epoll.add(&timer, readable).map_err(failed)?;
        if let Some(oom) = &oom {
            let flags = if oom.is_urgent() { EpollFlags::EPOLLPRI } else { EpollFlags::EPOLLIN };
            epoll.add(oom, EpollEvent::new(flags, 0)).map_err(failed)?;
        }
        let events = Self { epoll, timer, id, cgroup, init, oom, interval, next: later(interval) };
        events.arm()?;
        Ok(events)
    }

    /// The next event, if there is one by now; it does not wait.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_next(&mut self) -> Result<Polled> {
        // The statistics that are due come in the next look after those of a lack of memory.
        let found = self.look(Duration::ZERO)?;
        if matches!(found, Polled::Pending) {
            self.arm()?;
        }
        Ok(found)
    }

    /// The timer ends when there is something to look at although no source says so.
    fn arm(&self) -> Result<()> {
        let left = self.left().max(Duration::from_micros(1));
        self.timer
            .set(Expiration::OneShot(left.into()), TimerSetTimeFlags::empty())
            .map_err(|errno| Error::system("timerfd_settime", errno))
    }

    /// The time until a source has to be looked at that says nothing.
    fn left(&self) -> Duration {
        let left = self.next.saturating_duration_since(Instant::now());
        self.oom.as_ref().and_then(OomWatch::patience).map_or(left, |patience| patience.min(left))
    }

    /// Waits for the next event: statistics each interval, the first after one interval; out of
    /// memory at once. `None` when the container has ended.
    ///
    /// # Errors
    ///
    /// Statistics that cannot be read; the next call goes on.
    pub fn wait(&mut self) -> Result<Option<Event>> {
        loop {
            match self.look(self.left())? {
                Polled::Event(event) => return Ok(Some(event)),
                Polled::Ended => return Ok(None),
                Polled::Pending => {}
            }
        }
    }

    /// Waits at most `limit` and looks what there is.
    fn look(&mut self, limit: Duration) -> Result<Polled> {
        let woken = self.sleep(limit)?;
        if woken.oom && self.out_of_memory()? {
            return Ok(Polled::Event(Event::Oom { id: self.id.clone() }));
        }
        if woken.ended {
            return Ok(Polled::Ended);
        }
        if Instant::now() < self.next {
            return Ok(Polled::Pending);
        }
        self.next = later(self.interval);
        let data = Box::new(self.cgroup.statistics()?);
        // The numbers of a cgroup that may have gone meanwhile are worth nothing.
        if self.has_ended()? {
            return self.look(Duration::ZERO);
        }
        Ok(Polled::Event(Event::Stats { id: self.id.clone(), data }))
    }

    /// Sleeps until something happens or is due. The end of the container comes with a last look at
    /// the counters: a kill of the init is both.
    fn sleep(&self, limit: Duration) -> Result<Woken> {
        let patience = self.oom.as_ref().and_then(OomWatch::patience);
        let mut fds = vec![PollFd::new(self.init.as_fd(), PollFlags::POLLIN)];
        if let Some((fd, flags)) = self.oom.as_ref().map(OomWatch::source) {
            fds.push(PollFd::new(fd, flags));
        }
        wait_for(&mut fds, limit)?;
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

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
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
