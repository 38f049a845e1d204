//! pause and resume.

use std::time::Duration;

use super::Container;
use crate::error::Result;
use crate::state::Status;

/// How long the freezer may take. A process in an uninterruptible call delays it.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

impl Container {
    /// Freezes all processes.
    ///
    /// # Errors
    ///
    /// The container does not run, or has no cgroup to freeze.
    pub fn pause(&self) -> Result<()> {
        let _lock = self.entry.lock()?;
        match self.status()? {
            Status::Running | Status::Created => self.cgroup(&self.entry.record()?)?.freeze(FREEZE_LIMIT),
            _ => Err(self.wrong_state("container not running or created")),
        }
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    ///
    /// The container is not paused.
    pub fn resume(&self) -> Result<()> {
        let _lock = self.entry.lock()?;
        match self.status()? {
            Status::Paused => self.cgroup(&self.entry.record()?)?.thaw(),
            _ => Err(self.wrong_state("container not paused")),
        }
    }
}
