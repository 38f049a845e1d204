//! delete.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::kill::signal_process;
use super::{Container, reap, unit};
use crate::children;
use crate::confinement::Explained;
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::launch;
use crate::resctrl;
use crate::signal::Signal;
use crate::state::{Record, State, Status, is_ending};

/// How long the end of killed processes is waited for.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How long processes that have left the cgroup may take until they can be reaped.
const REAP_LIMIT: Duration = Duration::from_secs(1);

impl Container {
    /// Deletes a container that has stopped, or that was never started: its cgroup, its state; then
    /// its poststop hooks run. Processes that this program has started in it are reaped; their handles keep the status.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`] for a container that runs. [`ErrorKind::Hook`] if poststop hooks failed: the container
    /// is deleted all the same, and a program should only warn then (runtime.md, "Lifecycle", step 13).
    pub fn delete(self) -> Result<()> {
        self.delete_ended().explained()
    }

    fn delete_ended(self) -> Result<()> {
        let lock = self.lock()?;
        let record = self.entry.record()?;
        match self.status_under(&lock, &record)? {
            Status::Stopped => {}
            // As runc: engines delete containers that they never started.
            Status::Created => self.end(&record)?,
            // Zombies of this process kept it from ending.
            Status::Running if reap(&record) && record.init.map_or(Ok(true), is_ending)? => {
                self.await_end(&record)?;
            }
            status => {
                return Err(self.wrong_state(format!(
                    "cannot delete container {} that is not stopped: {status}",
                    self.id
                )));
            }
        }
        self.remove(Some(&record))
    }

    /// Deletes a container whatever its state, also what a killed runtime has left of one.
    ///
    /// Another call that has not ended after a second, such as a start whose hook hangs, loses the
    /// container's init, which it may wait for. If another call has deleted the container meanwhile, there is nothing left to do.
    ///
    /// # Errors
    ///
    /// As [`delete`](Self::delete) for poststop hooks. Kind [`ErrorKind::Timeout`] if that other call goes on for 30 s nevertheless; the text says which process it is in.
    pub fn delete_force(self) -> Result<()> {
        self.end_and_delete().explained()
    }

    fn end_and_delete(self) -> Result<()> {
        let locked = self.entry.lock(&|holder| {
            self.waits_for(holder);
            // What cannot be killed now is tried again with the lock, and told then.
            self.entry.record().and_then(|record| self.kill_init(&record)).ok();
        });
        let _lock = match locked {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let record = match self.entry.record() {
            Ok(record) => Some(record),
            Err(error) if is_lost(&error) => None,
            Err(error) => return Err(error),
        };
        if let Some(record) = &record {
            self.end(record)?;
        }
        self.remove(record.as_ref())
    }

    /// Kills everything and waits for the end.
    fn end(&self, record: &Record) -> Result<()> {
        if let Some(init) = self.live_init(record)? {
            kill(&init)?;
        }
        let cgroup = self.cgroup(record)?;
        if !cgroup.is_none() {
            cgroup.kill_all()?;
        }
        self.await_end(record)
    }

    /// Kills the init and waits for its end.
    pub(super) fn end_init(&self, record: &Record) -> Result<()> {
        self.live_init(record)?.map_or(Ok(()), |init| kill(&init))?;
        self.await_end(record)
    }

    /// Waits for the end of the init, which is about to come. Children of this process in the container are reaped.
    fn await_end(&self, record: &Record) -> Result<()> {
        let Some(identity) = record.init else { return Ok(()) };
        let Some(init) = children::find(identity, self.shared.exits.as_ref())? else { return Ok(()) };
        let limit = deadline::after(END_LIMIT);
        let ended = loop {
            let step = deadline::step(Some(limit)).map_or(limit, deadline::after);
            match init.end(Some(step)) {
                Ok(false) if Instant::now() < limit => {
                    deadline::check("wait for the end of the container's init")?
                }
                other => break other,
            }
        };
        match ended {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(ErrorKind::Timeout, "wait for the end of the container's init")
                .reason(format!("it was killed {} s ago", END_LIMIT.as_secs()))
                .with_hint(
                    "it may hang in the kernel (see /proc/PID/stack), or a process that another program has started in \
                     the container has ended and that program has not waited for it",
                )),
            Err(errno) => Err(Error::system("wait for the end of the container's init", errno)),
        }
    }

    fn remove(&self, record: Option<&Record>) -> Result<()> {
        let Some(record) = record else {
            return self.entry.remove();
        };
        let cgroup = self.cgroup(record)?;
        if record.unit.is_some() || !cgroup.remove_if_empty() {
            // Without a private pid namespace processes may outlive the init.
            if !cgroup.is_none() {
                cgroup.kill_all()?;
            }
            unit::stop(record)?;
            cgroup.remove()?;
        }
        // What was killed here leaves its cgroup before it can be reaped.
        if let Some(init) = record.init {
            let limit = if cgroup.is_none() { Duration::ZERO } else { REAP_LIMIT };
            children::await_all_of(init, limit);
        }
        unit::remove_slices(record);
        self.leave_resctrl(record)?;
        let hooks =
            if record.poststop { self.spec().map(|spec| spec.hooks.poststop) } else { Ok(Vec::new()) };
        // A configuration that cannot be read is no reason to keep the rest.
        self.entry.remove()?;
        launch::run_poststop(&hooks?, &State::new(record, Status::Stopped), self.shared.exits.as_ref())
    }
}

impl Container {
    /// A machine without resctrl has nothing to remove: it may have been unmounted.
    fn leave_resctrl(&self, record: &Record) -> Result<()> {
        let Some(place) = &record.resctrl else { return Ok(()) };
        match resctrl::mounted() {
            Ok(root) => place.remove(&root),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Kills a process; one that has ended meanwhile is as good.
fn kill(init: &OwnedFd) -> Result<()> {
    match signal_process(init, Signal::KILL) {
        Err(error) if error.kind() == ErrorKind::WrongState => Ok(()),
        other => other,
    }
}
/// Whether a state file is damaged (EINVAL), no file, or not there: it names nothing that could be ended. One that could not be read
/// for want of descriptors, memory or rights, or for a fault of the disk, may still name what runs.
fn is_lost(error: &Error) -> bool {
    const LOST: [i32; 5] = [libc::EINVAL, libc::ENOENT, libc::ENOTDIR, libc::EISDIR, libc::ELOOP];
    error.errno().is_none_or(|errno| LOST.contains(&errno))
}
