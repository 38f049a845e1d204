//! The processes of containers that this program waits for, and what became of them.
//!
//! One [`Tracked`] stands for one process, whichever handles there are of it: the first that asks reaps it, and all have its
//! status. Children of this program are listed until they are reaped, also when their handle has been dropped: their zombies
//! would keep a PID namespace, and with it the container's init, from ending (pid_namespaces(7)).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::deadline;
use crate::error::Error;
use crate::exits::{Exit, ExitSource};
use crate::state::Identity;
use crate::sys::process::{self, Kept};

/// How long the status of a process that has ended may take, when somebody else has it: a reaper of this program's, that
/// reports it, or the process's parent, which has not reaped it.
const STATUS_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks for it.
const STATUS_STEP: Duration = Duration::from_millis(1);
/// After this time a wait looks again which other processes the container has.
const LOOK_STEP: Duration = Duration::from_millis(500);

/// A process that is waited for.
#[derive(Debug)]
pub(crate) struct Tracked {
    pid: i32,
    pidfd: OwnedFd,
    /// The init of its container; a hook belongs to none.
    container: Option<Identity>,
    /// It is a child of this process.
    is_child: bool,
    source: Option<ExitSource>,
    seen: Mutex<Seen>,
}

/// Why an end was not waited for.
pub(crate) enum Stop {
    /// A system call failed.
    Errno(Errno),
    /// The caller's deadline is over, or the call was cancelled.
    Caller(Error),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Stop::Errno(errno)
    }
}

#[derive(Debug, Default)]
struct Seen {
    exit: Option<Exit>,
    /// When its end was seen first, for one whose status is somewhere else.
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Table {
    /// Not reaped yet, by pid.
    children: BTreeMap<i32, Arc<Tracked>>,
    /// Inits that have been reaped and have handles still.
    ended: Vec<Weak<Tracked>>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { children: BTreeMap::new(), ended: Vec::new() });

fn table() -> MutexGuard<'static, Table> {
    // All changes are whole.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists a new child of this process, of the container with this init.
pub(crate) fn add(pid: i32, pidfd: OwnedFd, container: Identity, source: Option<ExitSource>) -> Arc<Tracked> {
    if let Some(source) = &source {
        source.want(pid, || is_ready(pidfd.as_fd()));
    }
    let tracked =
        Tracked { pid, pidfd, container: Some(container), is_child: true, source, seen: Mutex::default() };
    let tracked = Arc::new(tracked);
    table().children.insert(pid, tracked.clone());
    reap_dropped();
    tracked
}

/// The init of a container that somebody made, as long as there is something of it: it may be a zombie.
pub(crate) fn find(
    init: Identity,
    source: Option<&ExitSource>,
) -> crate::error::Result<Option<Arc<Tracked>>> {
    let known = |table: &Table| {
        let children = table.children.values().cloned();
        let mut all = children.chain(table.ended.iter().filter_map(Weak::upgrade));
        all.find(|tracked| tracked.container == Some(init) && tracked.is_init())
    };
    if let Some(tracked) = known(&table()) {
        return Ok(Some(tracked));
    }
    let Some(pidfd) = init.open()? else { return Ok(None) };
    if process::is_own_child(pidfd.as_fd()) {
        return Ok(Some(add(init.pid, pidfd, init, source.cloned())));
    }
    let pid = init.pid;
    let seen = Mutex::default();
    Ok(Some(Arc::new(Tracked { pid, pidfd, container: Some(init), is_child: false, source: None, seen })))
}

/// Reaps all children of a container that have ended, and says whether there were any. Handles of them keep their status.
pub(crate) fn reap_of(container: Identity) -> bool {
    // One that cannot be waited for is not there any more.
    of(container).iter().filter(|child| child.try_exit().is_ok_and(|exit| exit.is_some())).count() > 0
}

/// As [`reap_of`], for a container whose processes are about to end; those that have not ended within `limit` stay.
pub(crate) fn await_all_of(container: Identity, limit: Duration) {
    let deadline = deadline::after(limit);
    for child in of(container) {
        child.end(Some(deadline)).ok();
    }
}

fn of(container: Identity) -> Vec<Arc<Tracked>> {
    table().children.values().filter(|tracked| tracked.container == Some(container)).cloned().collect()
}

/// Reaps the children without a handle that have ended.
fn reap_dropped() {
    let dropped: Vec<_> = {
        let table = table();
        table.children.values().filter(|child| Arc::strong_count(child) == 1).cloned().collect()
    };
    for child in dropped {
        // One that cannot be waited for is not there any more.
        child.try_exit().ok();
    }
}

fn is_ready(pidfd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

impl Tracked {
    /// A hook, which the caller waits for at once.
    pub(crate) fn hook(pid: i32, pidfd: OwnedFd, source: Option<&ExitSource>) -> Arc<Self> {
        if let Some(source) = source {
            source.want(pid, || is_ready(pidfd.as_fd()));
        }
        let (source, seen) = (source.cloned(), Mutex::default());
        Arc::new(Self { pid, pidfd, container: None, is_child: true, source, seen })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn is_init(&self) -> bool {
        self.container.is_some_and(|init| init.pid == self.pid)
    }

    /// How it ended; `None` while it runs, or for a moment while its status is somewhere else.
    pub(crate) fn try_exit(self: &Arc<Self>) -> Result<Option<Exit>, Errno> {
        let mut seen = lock(&self.seen);
        if seen.exit.is_some() {
            return Ok(seen.exit);
        }
        let exit = match process::reaped(self.pidfd())? {
            None => return Ok(None),
            Some(Kept::Status(ended)) => ended.into(),
            Some(kept) => {
                let since = *seen.ended.get_or_insert_with(Instant::now);
                match self.status_elsewhere() {
                    Some(exit) => exit,
                    None if self.may_come(kept) && since.elapsed() < STATUS_LIMIT => return Ok(None),
                    None => Exit::Unknown,
                }
            }
        };
        seen.exit = Some(exit);
        drop(seen);
        self.has_ended();
        Ok(Some(exit))
    }

    fn status_elsewhere(&self) -> Option<Exit> {
        self.source.as_ref().and_then(|source| source.of(self.pid))
    }

    /// Whether a status that is not there may still come.
    fn may_come(&self, kept: Kept) -> bool {
        match kept {
            Kept::Status(_) => true,
            // It is a zombie, whose parent the kernel waits for.
            Kept::NotYet => !self.is_child || self.source.is_some(),
            Kept::Never => self.source.is_some(),
        }
    }

    fn has_ended(self: &Arc<Self>) {
        if !self.is_child {
            return;
        }
        if let Some(source) = &self.source {
            source.forget(self.pid);
        }
        let mut table = table();
        // Another process may have the pid by now.
        if table.children.get(&self.pid).is_some_and(|listed| Arc::ptr_eq(listed, self)) {
            table.children.remove(&self.pid);
        }
        if self.is_init() {
            table.ended.retain(|ended| ended.strong_count() > 0);
            table.ended.push(Arc::downgrade(self));
        }
    }

    /// Waits until it has ended and its status is known, until `deadline`.
    pub(crate) fn wait(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Option<Exit>, Errno> {
        if !self.end(deadline)? {
            return Ok(None);
        }
        loop {
            let exit = self.try_exit()?;
            if exit.is_some() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(exit);
            }
            std::thread::sleep(STATUS_STEP);
        }
    }

    /// As [`wait`](Self::wait), for a call of the library: its deadline and a cancellation end the wait too.
    pub(crate) fn wait_in_call(self: &Arc<Self>, limit: Option<Instant>) -> Result<Option<Exit>, Stop> {
        loop {
            let step = deadline::step(limit).map(deadline::after);
            let exit = self.wait(step)?;
            if exit.is_some() || limit.is_some_and(|limit| limit <= Instant::now()) {
                return Ok(exit);
            }
            deadline::check("wait for its end").map_err(Stop::Caller)?;
        }
    }

    /// Waits for its end, until `deadline`; whether it has ended.
    pub(crate) fn end(self: &Arc<Self>, deadline: Option<Instant>) -> Result<bool, Errno> {
        loop {
            let others = self.others();
            for other in &others {
                other.try_exit()?;
            }
            if lock(&self.seen).exit.is_some() || is_ready(self.pidfd()) {
                self.try_exit()?;
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let step = self.is_init().then_some(LOOK_STEP);
            self.sleep(&others, [left, step].into_iter().flatten().min())?;
        }
    }

    /// The children of the container beside its init: while they are zombies, it does not end.
    fn others(&self) -> Vec<Arc<Tracked>> {
        let mut others = self.container.filter(|_| self.is_init()).map(of).unwrap_or_default();
        others.retain(|other| other.pid != self.pid);
        others
    }

    /// Until one of the processes ends, at most `limit`.
    fn sleep(&self, others: &[Arc<Tracked>], limit: Option<Duration>) -> Result<(), Errno> {
        let all = std::iter::once(self.pidfd()).chain(others.iter().map(|other| other.pidfd()));
        let mut polled: Vec<_> = all.map(|pidfd| PollFd::new(pidfd, PollFlags::POLLIN)).collect();
        // A limit that poll(2) cannot have is reached in several steps.
        let limit = limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit.saturating_add(Duration::from_micros(999)))
                .unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut polled, limit) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}
