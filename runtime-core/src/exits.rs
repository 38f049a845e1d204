//! How processes end, and what a program with a reaper of its own tells of that.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::signal::Signal;
use crate::sys::process::Ended;

/// How a process ended.
///
/// ```no_run
/// use runtime_core::Exit;
///
/// # fn ended(process: runtime_core::Process) -> runtime_core::Result<()> {
/// match process.wait()? {
///     Exit::Code(code) => println!("exit status {code}"),
///     Exit::Signal(signal) => println!("killed by {signal}"),
///     Exit::Unknown => println!("another part of this program has reaped it"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it.
    Signal(Signal),
    /// It has ended, and how is not known: something else in this program, such as a reaper that waits for every child, or
    /// the process's own parent has taken its status, and the kernel (before Linux 6.15) does not keep it. See
    /// [`ExitSource`].
    Unknown,
}

impl Exit {
    /// Whether it exited with status 0.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }

    /// The status as shells have it: the exit status, or 128 and the signal's number; 255 if it is unknown.
    pub fn shell_status(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => signal.number().saturating_add(128),
            Exit::Unknown => 255,
        }
    }

    /// The meaning of the status word that wait(2) and waitpid(2) fill in, for a process that has ended.
    pub fn from_wait_status(status: i32) -> Self {
        ExitStatus::from_raw(status).into()
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(Signal::of_kernel(signal)),
            (None, None) => Exit::Unknown,
        }
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(code) => Exit::Code(code),
            Ended::Killed(signal) => Exit::Signal(Signal::of_kernel(signal)),
            Ended::Unknown => Exit::Unknown,
        }
    }
}

/// Where a program that reaps every child itself (waitpid(-1)) tells the library which statuses it took.
///
/// The program gives a clone to [`RuntimeBuilder::exit_source`](crate::RuntimeBuilder::exit_source) and reports each child
/// that it reaps, its own ones too: what is not the library's is forgotten at once. [`Process::wait`](crate::Process::wait)
/// and hooks then have the status on every kernel. See [`docs::reaping`](crate::docs::reaping).
///
/// ```
/// use runtime_core::{Exit, ExitSource, Runtime};
///
/// # fn main() -> Result<(), runtime_core::Error> {
/// let exits = ExitSource::new();
/// let runtime = Runtime::builder().exit_source(exits.clone()).build()?;
/// // In the program's reaper, after `pid = waitpid(-1, &status, WNOHANG)`:
/// # let (pid, status) = (4_194_304, 0);
/// exits.report(pid, Exit::from_wait_status(status));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExitSource(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// Launches and hooks under way: a child of theirs may end before its pid is known here.
    under_way: usize,
    /// What was reported of pids that nobody wants yet.
    early: BTreeMap<i32, Exit>,
    /// The pids of the library's children, and what was reported of them.
    wanted: BTreeMap<i32, Option<Exit>>,
}

impl ExitSource {
    /// A source without reports.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells that the program has reaped the child `pid`, which ended so. It never waits for more than a moment, but it
    /// takes a lock: a signal handler must not call it.
    pub fn report(&self, pid: i32, exit: impl Into<Exit>) {
        let mut told = self.told();
        let Told { under_way, early, wanted } = &mut *told;
        match wanted.get_mut(&pid) {
            Some(place) => *place = Some(exit.into()),
            None if *under_way > 0 => {
                early.insert(pid, exit.into());
            }
            None => {}
        }
    }

    /// From here on, until the guard is dropped, reports of all pids are kept.
    pub(crate) fn begin(&self) -> UnderWay {
        let mut told = self.told();
        told.under_way = told.under_way.saturating_add(1);
        drop(told);
        UnderWay(self.clone())
    }

    /// Keeps reports of a child until [`forget`](Self::forget). `ended`: its end has been seen, so an earlier report is its
    /// own and not of another process that had this pid.
    pub(crate) fn want(&self, pid: i32, ended: impl Fn() -> bool) {
        let mut told = self.told();
        // Asked with the lock: a report that comes later finds the pid wanted.
        let early = told.early.remove(&pid).filter(|_| ended());
        told.wanted.insert(pid, early);
    }

    pub(crate) fn of(&self, pid: i32) -> Option<Exit> {
        self.told().wanted.get(&pid).copied().flatten()
    }

    pub(crate) fn forget(&self, pid: i32) {
        self.told().wanted.remove(&pid);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // All changes are whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A launch or a hook, for as long as it is under way.
#[derive(Debug)]
pub(crate) struct UnderWay(ExitSource);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut told = self.0.told();
        told.under_way = told.under_way.saturating_sub(1);
        if told.under_way == 0 {
            told.early.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_kept_for_a_child_of_the_library_alone() {
        let source = ExitSource::new();
        source.report(7, Exit::Code(1));
        source.want(7, || true);
        assert_eq!(source.of(7), None, "reported when nothing was under way");
        source.report(7, Exit::Code(2));
        assert_eq!(source.of(7), Some(Exit::Code(2)));
        source.forget(7);
        assert_eq!(source.of(7), None);
    }

    #[test]
    fn a_report_may_come_before_the_pid_is_known() {
        let source = ExitSource::new();
        let under_way = source.begin();
        source.report(7, Exit::Code(3));
        source.report(8, Exit::Code(4));
        source.want(7, || true);
        // Another process had the pid before.
        source.want(8, || false);
        drop(under_way);
        assert_eq!((source.of(7), source.of(8)), (Some(Exit::Code(3)), None));
        assert!(source.told().early.is_empty());
    }

    #[test]
    fn words_of_wait() {
        assert_eq!(Exit::from_wait_status(0x300), Exit::Code(3));
        assert_eq!(Exit::from_wait_status(9), Exit::Signal(Signal::KILL));
        assert_eq!(Exit::from_wait_status(0x8b), Exit::Signal(Signal::SEGV));
    }
}
