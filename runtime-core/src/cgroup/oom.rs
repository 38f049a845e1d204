//! Hearing that the kernel killed a process for want of memory.
//!
//! cgroup2 counts in `memory.events` and wakes a poll(2) of it after each change. v1 writes to an
//! eventfd when memory has run out, before it kills, and also when the cgroup is removed; what it
//! counts in `memory.oom_control` tells the two apart.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::uio::pread;

use super::directory::failed;
use super::{Cgroup, Member};
use crate::deadline;
use crate::error::{Error, Result};

/// How long after its announcement a v1 kill is waited for, and how often it is looked for.
const V1_WINDOW: Duration = Duration::from_secs(1);
const V1_STEP: Duration = Duration::from_millis(10);

/// Room for either file: a few short lines.
const FILE_BYTES: usize = 1024;

/// Watches one cgroup for kills of the kernel for lack of memory, made by [`Container::watch_oom`](crate::Container::watch_oom).
///
/// Its descriptor ([`AsFd`]) goes into any event loop; see [`is_urgent`](Self::is_urgent) and [`patience`](Self::patience).
#[derive(Debug)]
pub struct OomWatch {
    /// The counters; open, so that they can be read for as long as the cgroup lives.
    counters: OwnedFd,
    /// v1's announcements.
    announcements: Option<EventFd>,
    seen: Seen,
    /// Until when an announced kill is looked for.
    expected: Option<Instant>,
}

/// What the counters said last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    kills: u64,
    /// Out of memory with the killer switched off: the processes wait. v1 only.
    stuck: bool,
}

impl Cgroup {
    /// Begins to watch; `None` where nobody counts.
    pub(crate) fn watch_oom(&self) -> Result<Option<OomWatch>> {
        match self.member("memory") {
            Some(member) if member.is_unified() => unified(member).map(Some),
            Some(member) => legacy(member).map(Some),
            None => Ok(None),
        }
    }
}

impl Cgroup {
    /// Adds the lack of memory to the error of a process in the cgroup, if the kernel has killed for it since it
    /// had killed `before` processes. Only the kernel's count tells: a signal may be anybody's.
    pub(crate) fn explain_memory(&self, before: Option<u64>, error: Error) -> Error {
        match self.oom_kills() {
            Ok(Some(kills)) if kills > before.unwrap_or_default() => error.with_hint(
                "the kernel killed a process of the cgroup for lack of memory: its memory limit is too low",
            ),
            Ok(_) | Err(_) => error,
        }
    }
}

fn unified(member: &Member) -> Result<OomWatch> {
    OomWatch::new(open(member, "memory.events")?, None)
}

fn legacy(member: &Member) -> Result<OomWatch> {
    const CONTROL: &str = "cgroup.event_control";
    let counters = open(member, "memory.oom_control")?;
    let announcements = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|errno| failed("eventfd".to_owned(), errno))?;
    let pair = format!("{} {} ", announcements.as_fd().as_raw_fd(), counters.as_raw_fd());
    member.directory.write(CONTROL, &pair).map_err(|errno| {
        failed(format!("write {pair:?} to {:?}", member.directory.path_of(CONTROL)), errno)
    })?;
    OomWatch::new(counters, Some(announcements))
}

fn open(member: &Member, file: &str) -> Result<OwnedFd> {
    member
        .directory
        .open_file(file, OFlag::O_RDONLY)
        .map_err(|errno| failed(format!("open {:?}", member.directory.path_of(file)), errno))
}

impl OomWatch {
    fn new(counters: OwnedFd, announcements: Option<EventFd>) -> Result<Self> {
        let mut watch = Self { counters, announcements, seen: Seen::default(), expected: None };
        watch.seen = watch.read()?.unwrap_or_default();
        Ok(watch)
    }

    /// What to poll, and for what.
    pub(crate) fn source(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.announcements {
            Some(announcements) => (announcements.as_fd(), PollFlags::POLLIN),
            None => (self.counters.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Whether the descriptor is to be polled for POLLPRI alone (cgroup v2: it is always readable), and not for POLLIN (v1).
    pub fn is_urgent(&self) -> bool {
        self.announcements.is_none()
    }

    /// How many processes the kernel had killed in the cgroup at the last look.
    pub fn kills(&self) -> u64 {
        self.seen.kills
    }

    /// After how long to call [`grown`](Self::grown) although the descriptor says nothing: on v1 the kernel announces a kill
    /// before it is done.
    pub fn patience(&self) -> Option<Duration> {
        self.expected.map(|_| V1_STEP)
    }

    /// Whether the kernel has killed since the last call, or, with the killer switched off (v1), lets processes wait. `None`: the
    /// cgroup has gone, and there is nothing more to watch.
    ///
    /// # Errors
    ///
    /// The counters cannot be read.
    pub fn grown(&mut self) -> Result<Option<bool>> {
        match self.announcements.as_ref().map(EventFd::read) {
            Some(Ok(_)) => self.expected = Some(deadline::after(V1_WINDOW)),
            Some(Err(Errno::EAGAIN | Errno::EINTR)) | None => {}
            Some(Err(errno)) => return Err(failed("read an eventfd".to_owned(), errno)),
        }
        let Some(now) = self.read()? else { return Ok(None) };
        let grown = now.kills > self.seen.kills || (now.stuck && !self.seen.stuck);
        self.seen = now;
        if grown || self.expected.is_some_and(|end| Instant::now() > end) {
            self.expected = None;
        }
        Ok(Some(grown))
    }

    fn read(&self) -> Result<Option<Seen>> {
        let mut buffer = [0; FILE_BYTES];
        match pread(&self.counters, &mut buffer, 0) {
            Ok(length) => Ok(Some(parse(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default())))),
            Err(Errno::ENODEV | Errno::ENOENT) => Ok(None),
            Err(errno) => Err(failed("read the out-of-memory counters".to_owned(), errno)),
        }
    }
}

/// Both files are lines of a name and a number.
pub(super) fn parse(text: &str) -> Seen {
    let get = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    Seen { kills: get("oom_kill"), stuck: get("oom_kill_disable") == 1 && get("under_oom") == 1 }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files() {
        let v2 = "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 0\n";
        assert_eq!(parse(v2), Seen { kills: 3, stuck: false });
        let v1 =
            |disable: u8, under: u8| format!("oom_kill_disable {disable}\nunder_oom {under}\noom_kill 2\n");
        assert_eq!(parse(&v1(0, 1)), Seen { kills: 2, stuck: false });
        assert_eq!(parse(&v1(1, 1)), Seen { kills: 2, stuck: true });
    }
}
