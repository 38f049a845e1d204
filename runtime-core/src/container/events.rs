//! events.

use std::time::Duration;

use super::Container;
use crate::cgroup::OomWatch;
use crate::cgroup::stats::Statistics;
use crate::confinement::Explained;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::state::{Status, status_of};

impl Container {
    /// What the container uses now.
    ///
    /// # Errors
    ///
    /// The container has stopped, or a file of its cgroup cannot be read.
    pub fn statistics(&self) -> Result<Statistics> {
        self.statistics_now().explained()
    }

    fn statistics_now(&self) -> Result<Statistics> {
        let record = self.record()?;
        match status_of(&self.entry, &record)? {
            Status::Stopped => Err(self.not_running()),
            _ => self.cgroup(&record)?.statistics(),
        }
    }

    /// The container's events: its statistics each `interval`, and each time that it runs out of
    /// memory.
    ///
    /// # Errors
    ///
    /// The container has stopped; the interval is zero.
    pub fn events(&self, interval: Duration) -> Result<Events> {
        self.watch(interval).explained()
    }

    fn watch(&self, interval: Duration) -> Result<Events> {
        if interval.is_zero() {
            return Err(Error::invalid("interval", "duration interval must be greater than 0"));
        }
        let record = self.record()?;
        let init = self.live_init(&record)?.ok_or_else(|| self.not_running())?;
        Events::new(self.id.to_string(), self.cgroup(&record)?, init, interval)
    }

    /// Begins to watch for lack of memory, for an event loop of the caller's: nothing waits here. `None` where nobody counts: the
    /// container has no memory controller.
    ///
    /// # Errors
    ///
    /// The cgroup's counters cannot be opened.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        self.record().and_then(|record| self.cgroup(&record)?.watch_oom()).explained()
    }

    fn not_running(&self) -> Error {
        self.wrong_state(format!("container with id {} is not running", self.id))
    }
}
