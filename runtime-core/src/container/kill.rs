//! kill.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::Container;
use crate::confinement::Explained;
use crate::error::{Error, Result};
use crate::signal::Signal;
use crate::spec::Kind;
use crate::state::{Record, thaw_leftover};
use crate::sys::process;

/// Sends a signal by pidfd.
pub(super) fn signal_process(pidfd: &OwnedFd, signal: Signal) -> Result<()> {
    match process::pidfd_send_signal(pidfd.as_fd(), signal.number()) {
        Err(Errno::ESRCH) => Err(not_running()),
        other => other
            .map_err(|errno| Error::system(format!("send signal {signal} to the container's init"), errno)),
    }
}

fn not_running() -> Error {
    Error::new(crate::ErrorKind::WrongState, "container not running")
}

impl Container {
    /// Sends a signal to the init.
    ///
    /// SIGKILL to a container without a pid namespace of its own reaches all its processes: there
    /// the end of the init does not end the others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`](crate::ErrorKind::WrongState), "container not running", when the
    /// init has ended.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        self.signal(signal).explained()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let record = self.record()?;
        if self.entry.standstill()?.is_some() {
            thaw_leftover(&self.entry, &record)?;
        }
        let all_end =
            || record.own_pid_namespace.map_or_else(|| Ok(self.spec()?.namespaces.makes(Kind::Pid)), Ok);
        if signal == Signal::KILL && !all_end()? {
            return self.signal_everything(&record, signal);
        }
        let init = self.live_init(&record)?.ok_or_else(not_running)?;
        signal_process(&init, signal)?;
        if signal == Signal::KILL {
            self.thaw(&record)?;
        }
        Ok(())
    }

    /// Sends a signal to every process of the container's cgroup.
    ///
    /// # Errors
    ///
    /// "container not running" when there is none.
    pub fn kill_all(&self, signal: Signal) -> Result<()> {
        self.record().and_then(|record| self.signal_everything(&record, signal)).explained()
    }

    fn signal_everything(&self, record: &Record, signal: Signal) -> Result<()> {
        let cgroup = self.cgroup(record)?;
        thaw_leftover(&self.entry, record)?;
        let mut reached = match signal {
            // It thaws whatever it finds.
            Signal::KILL => cgroup.signal_all(signal)?,
            _ => self.standing_still(&cgroup, || cgroup.signal_all(signal))?,
        };
        if cgroup.is_none()
            && let Some(init) = self.live_init(record)?
        {
            signal_process(&init, signal)?;
            reached = reached.saturating_add(1);
        }
        if signal == Signal::KILL {
            self.thaw(record)?;
        }
        match reached {
            0 => Err(not_running()),
            _ => Ok(()),
        }
    }

    /// A process of a frozen v1 cgroup dies only when it is thawed.
    fn thaw(&self, record: &Record) -> Result<()> {
        let cgroup = self.cgroup(record)?;
        // An error: no freezer, or the cgroup has gone with its processes. Nothing holds them then.
        if matches!(cgroup.is_frozen(), Ok(true)) {
            cgroup.thaw()?;
        }
        cgroup.thaw_v1()
    }
}
