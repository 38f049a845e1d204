//! ps.

use super::Container;
use crate::confinement::Explained;
use crate::error::Result;

impl Container {
    /// Pids of all processes, in the caller's pid namespace.
    pub fn processes(&self) -> Result<Vec<i32>> {
        self.pids().explained()
    }

    fn pids(&self) -> Result<Vec<i32>> {
        let record = self.record()?;
        let cgroup = self.cgroup(&record)?;
        if !cgroup.is_none() {
            return cgroup.processes(true);
        }
        let init = self.live_init(&record)?.and(record.init);
        Ok(init.map(|init| init.pid).into_iter().collect())
    }
}
