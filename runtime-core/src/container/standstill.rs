//! What is done while the container stands still for a moment.

use super::Container;
use crate::cgroup::Cgroup;
use crate::error::{ErrorKind, Result};

impl Container {
    /// Does something that freezes the cgroup and thaws it again. It is not paused meanwhile; and if this
    /// process is killed on the way, the next call on the container thaws it.
    pub(super) fn standing_still<T>(&self, cgroup: &Cgroup, act: impl FnOnce() -> Result<T>) -> Result<T> {
        // A paused container stays paused.
        if cgroup.is_none() || cgroup.is_frozen()? {
            return act();
        }
        // A full disk is no reason to leave it undone. Who pauses it meanwhile waits for the mark.
        let mark = self.entry.begin_standstill().ok();
        let mark = match mark {
            Some(mark) if cgroup.is_frozen()? => self.entry.end_standstill(mark).map(|()| None)?,
            other => other,
        };
        let done = act();
        match mark {
            // After a failure it may still be frozen: for the next call the mark stays.
            Some(mark) if done.is_ok() || !cgroup.is_frozen().unwrap_or(true) => {
                let ended = self.entry.end_standstill(mark);
                done.and_then(|done| ended.map(|()| done))
            }
            _ => done,
        }
    }

    /// Freezes the container for good, not while somebody does so for a moment: that thaws it again.
    pub(super) fn freeze_for_good(&self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        // It takes the place of what a killed runtime has left, too, which would end the pause.
        let mark = match self.entry.begin_standstill() {
            Err(error) if error.kind() == ErrorKind::Timeout => return Err(error),
            mark => mark.ok(),
        };
        let done = act();
        mark.map_or(Ok(()), |mark| self.entry.end_standstill(mark)).and(done)
    }

    /// Takes away what a killed runtime has left: another's freezing would be taken for its.
    pub(super) fn clear_standstill(&self) -> Result<()> {
        self.freeze_for_good(|| Ok(()))
    }
}
