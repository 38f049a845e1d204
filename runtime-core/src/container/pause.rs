//! pause and resume.

use std::time::Duration;

use super::Container;
use crate::confinement::Explained;
use crate::error::Result;
use crate::state::Status;

/// How long the freezer may take. A process in an uninterruptible call delays it.
pub(super) const FREEZE_LIMIT: Duration = Duration::from_secs(10);

impl Container {
    /// Freezes all processes.
    ///
    /// # Errors
    ///
    /// The container does not run, or has no cgroup to freeze.
    pub fn pause(&self) -> Result<()> {
        self.freeze().explained()
    }

    fn freeze(&self) -> Result<()> {
        let lock = self.lock()?;
        let record = self.entry.record()?;
        match self.status_under(&lock, &record)? {
            Status::Running | Status::Created => {
                self.freeze_for_good(|| self.cgroup(&record)?.freeze(FREEZE_LIMIT))
            }
            _ => Err(self.wrong_state("container not running or created")),
        }
    }

    /// Lets frozen processes go on.
    ///
    /// # Errors
    ///
    /// The container is not paused.
    pub fn resume(&self) -> Result<()> {
        self.thaw_paused().explained()
    }

    fn thaw_paused(&self) -> Result<()> {
        let lock = self.lock()?;
        let record = self.entry.record()?;
        match self.status_under(&lock, &record)? {
            Status::Paused => self.cgroup(&record)?.thaw(),
            _ => Err(self.wrong_state("container not paused")),
        }
    }
}
