//! A cgroup, with limits, that the command is in from its first instruction.

use std::time::Duration;

use runtime_core::cgroup::resources::Limit;
use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Resources};
use runtime_core::{Exit, Sandbox};

use crate::Result;

/// How long the end of what the command leaves behind may take.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn run() -> Result<Exit> {
    let cgroup = limited()?;
    let process = cgroup.spawn(Sandbox::new("sh").args(["-c", "sleep 600 & cat /proc/self/cgroup"]))?;
    let exit = process.wait()?;
    end(&cgroup)?;
    Ok(exit)
}

/// A new cgroup with 64 MiB and 20 processes at most.
pub(crate) fn limited() -> Result<Cgroup> {
    let name = format!("sandbox-{}", std::process::id());
    let mut resources = Resources::default();
    resources.memory.limit = Some(Limit::Of(64 << 20));
    resources.pids = Some(Limit::Of(20));
    let hierarchies = Hierarchies::detect()?;
    let plan = CgroupPlan::compile(hierarchies.view(), Some(&format!("/{name}")), &name, &resources)?;
    let cgroup = Cgroup::create(&hierarchies, &plan)?;
    cgroup.apply(&plan)?;
    Ok(cgroup)
}

/// Also what the command left running ends here.
pub(crate) fn end(cgroup: &Cgroup) -> Result<()> {
    cgroup.kill_all()?;
    cgroup.wait_empty(LIMIT)?;
    Ok(cgroup.remove()?)
}
