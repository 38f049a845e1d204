//! Signalling every process of the cgroup.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Cgroup;
use super::directory::failed;
use super::walk::{Visit, walk};
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::signal::Signal;
use crate::sys::process::{pidfd_open, pidfd_send_signal};

/// How long a freeze on the way to a signal may take. Without it the signal is sent all the same.
const FREEZE_LIMIT: Duration = Duration::from_millis(500);

/// How long the fallback of [`Cgroup::kill_all`] goes on killing.
const KILL_LIMIT: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Kills every process of the cgroup and its sub-cgroups, frozen ones too; does not wait for their
    /// end ([`wait_empty`](Self::wait_empty)).
    ///
    /// One write to `cgroup.kill` (Linux 5.14), against which forking does not help. On v1: freeze,
    /// kill all, thaw, until nobody is left.
    pub fn kill_all(&self) -> Result<()> {
        let Some(principal) = self.principal() else {
            return Ok(());
        };
        if principal.is_unified() {
            match principal.directory.write("cgroup.kill", "1") {
                // A v1 freezer holds even the killed; v2's does not, so this costs hybrid machines only.
                Ok(()) => return self.thaw_v1(),
                Err(Errno::ENODEV) => return Ok(()),
                // No such file before 5.14, and not in threaded cgroups.
                Err(Errno::ENOENT | Errno::EOPNOTSUPP) => {}
                Err(errno) => {
                    return Err(failed(
                        format!("write \"1\" to {:?}", principal.directory.path_of("cgroup.kill")),
                        errno,
                    ));
                }
            }
        }
        let deadline = deadline::after(KILL_LIMIT);
        let mut pause = Duration::from_micros(100);
        loop {
            if self.signal_round(Signal::KILL)? == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!("kill all of {:?}", principal.directory.text()),
                )
                .reason("processes are left after the deadline"));
            }
            deadline::check("wait for the end of killed processes")?;
            sleep(pause);
            pause = pause.saturating_mul(2).min(Duration::from_millis(20));
        }
    }

    /// Sends `signal` to every process of the cgroup and its sub-cgroups; returns how many got it.
    ///
    /// The cgroup is frozen meanwhile, as far as it can be, so that a fork does not escape; one that was
    /// frozen before stays frozen.
    ///
    /// # Errors
    ///
    /// Those of pidfd_send_signal(2), such as `EPERM`; and of the files of the cgroup.
    pub fn signal_all(&self, signal: Signal) -> Result<usize> {
        if signal == Signal::KILL {
            let count = self.processes(true)?.len();
            return self.kill_all().map(|()| count);
        }
        let was_frozen = self.is_frozen()?;
        let frozen = !was_frozen && self.freeze(FREEZE_LIMIT).is_ok();
        let result = self.signal_listed(signal);
        if frozen {
            self.thaw()?;
        }
        result
    }

    fn signal_round(&self, signal: Signal) -> Result<usize> {
        let frozen = self.freeze(FREEZE_LIMIT).is_ok();
        let result = self.signal_listed(signal);
        if frozen {
            self.thaw()?;
        }
        // What was frozen by somebody else has to run to die.
        if signal == Signal::KILL {
            self.thaw()?;
            self.thaw_v1()?;
        }
        result
    }

    /// Signals by pidfd. A number is signalled only if it is listed both before and after its pidfd was
    /// opened: then the pidfd is that of a process of the cgroup, or of one that has ended, and never of
    /// a stranger that got the number meanwhile.
    fn signal_listed(&self, signal: Signal) -> Result<usize> {
        let mut opened: Vec<(i32, OwnedFd)> = Vec::new();
        for pid in self.processes(true)? {
            match pidfd_open(pid) {
                Ok(pidfd) => opened.push((pid, pidfd)),
                Err(Errno::ESRCH) => {}
                // Not a thread group leader: a threaded sub-cgroup lists threads; their leader is
                // in the domain above.
                Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(errno) => return Err(failed(format!("pidfd_open {pid}"), errno)),
            }
        }
        let listed = self.processes(true)?;
        let mut count = 0usize;
        for (pid, pidfd) in opened {
            if listed.binary_search(&pid).is_err() {
                continue;
            }
            match pidfd_send_signal(pidfd.as_fd(), signal.number()) {
                Ok(()) => count = count.saturating_add(1),
                Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed(format!("send signal {signal} to process {pid}"), errno)),
            }
        }
        Ok(count)
    }

    /// Waits until no process is left; a zombie does not count on v2.
    ///
    /// # Errors
    ///
    /// Kind [`ErrorKind::Timeout`] after `limit`.
    pub fn wait_empty(&self, limit: Duration) -> Result<()> {
        let deadline = deadline::after(limit);
        let Some(member) = self.principal() else {
            return Ok(());
        };
        if member.is_unified() {
            return match member.wait_event("populated 0", deadline) {
                Err(error) if matches!(error.raw_errno(), Some(Errno::ENOENT | Errno::ENODEV)) => Ok(()),
                other => other,
            };
        }
        while !member.processes(true)?.is_empty() {
            if Instant::now() >= deadline {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    format!("wait for {:?} to empty", member.directory.text()),
                )
                .reason("processes are left after the deadline"));
            }
            deadline::check("wait for an empty cgroup")?;
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Thaws what a v1 freezer holds, so that killed processes end: also sub-cgroups, which the container may
    /// have frozen by itself.
    pub(crate) fn thaw_v1(&self) -> Result<()> {
        const FILE: &str = "freezer.state";
        let freezer = self.members.iter().find(|member| !member.is_unified() && member.holds("freezer"));
        let Some(member) = freezer else { return Ok(()) };
        let thawed = walk(&member.directory, |visit| {
            match visit {
                Visit::Enter(directory) => match directory.write(FILE, "THAWED") {
                    Err(Errno::ENOENT | Errno::ENODEV) => {}
                    other => other?,
                },
                Visit::Leave(..) => {}
            }
            Ok(ControlFlow::Continue(()))
        });
        let operation = || format!("write \"THAWED\" to {:?}", member.directory.path_of(FILE));
        thawed.map_err(|errno| failed(operation(), errno))
    }
}
