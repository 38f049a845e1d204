//! What is done while the container stands still for a moment.

use super::Container;
use crate::cgroup::Cgroup;
use crate::error::Result;

impl Container {
    /// Does something that freezes the cgroup and thaws it again. It is not paused meanwhile; and if this
    /// process is killed on the way, the next call on the container thaws it.
    pub(super) fn standing_still<T>(&self, cgroup: &Cgroup, act: impl FnOnce() -> Result<T>) -> Result<T> {
        // A paused container stays paused.
        if cgroup.is_none() || cgroup.is_frozen()? {
            return act();
        }
        // A full disk is no reason to leave it undone.
        let mark = self.entry.begin_standstill().ok();
        let done = act()?;
        if let Some(mark) = mark {
            self.entry.end_standstill(mark)?;
        }
        Ok(done)
    }
}
