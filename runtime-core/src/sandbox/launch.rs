//! The launch of a sandbox: that of a container, without a state, hooks and limits.

use std::os::fd::OwnedFd;

use super::{Sandbox, compile};
use crate::cgroup::Cgroup;
use crate::confinement::Explained;
use crate::error::{Call, Error, Result};
use crate::host::Host;
use crate::launch::{self, Inputs, ParentLane};
use crate::plan::LaunchPlan;
use crate::process::Process;
use crate::spec::BARE_ORIGIN;
use crate::state::Identity;
use crate::stdio::Given;
use crate::sys::process;
use runtime_init::ops::Point;

pub(super) fn spawn(mut sandbox: Sandbox<'_>) -> Result<Process> {
    let plan = compile::plan(&sandbox)?;
    process::can_be_ended()?;
    let (given, pipes) = std::mem::take(&mut sandbox.descriptors).open(plan.terminal)?;
    let none = Cgroup::none();
    let cgroup = sandbox.cgroup.unwrap_or(&none);
    let process = launch(&plan, &given, cgroup).map_err(in_sandbox).explained()?;
    Ok(process.with_pipes(pipes))
}

/// In a cgroup that was killed once by `cgroup.kill`, kernels from 6.14 on (6.18 is one) kill each process that is cloned into
/// it: cgroup_css_set_fork() compares the count of kills of the parent's cgroup with that of the new one. A process may
/// still enter it.
fn launch(plan: &LaunchPlan, given: &Given, cgroup: &Cgroup) -> Result<Process> {
    let host = Host::new();
    let clones = cgroup.directory().is_some() && host.clone3();
    match attempt(plan, given, cgroup, clones, host.is_privileged()) {
        Err(error) if clones && error.is_of(Call::Kill) => {
            attempt(plan, given, cgroup, false, host.is_privileged()).map_err(|_| error)
        }
        other => other,
    }
}

/// One launch: the init is cloned into the cgroup of v2, or enters it.
fn attempt(
    plan: &LaunchPlan,
    given: &Given,
    cgroup: &Cgroup,
    clones: bool,
    privileged: bool,
) -> Result<Process> {
    let inputs = Inputs {
        stdio: given.stdio(),
        passed: given.passed(),
        preserved: plan.preserved,
        cgroup: cgroup.clone_target().filter(|_| clones),
        tasks: cgroup.entrances(!clones)?,
        gate: None,
        target: None,
        privileged,
        timings: None,
    };
    let explained = |error| cgroup.explain_memory(None, cgroup.explain_clone(error));
    let mut child = launch::spawn(plan, &inputs, None).map_err(explained)?;
    launch::run(plan, &mut child, &mut Lane { privileged })
        .and_then(|()| child.expect_executed(None))
        .map_err(explained)?;
    let init = child.keep()?;
    let identity = Identity::of(init.pid)?;
    Ok(Process::new(init, plan.warnings.clone(), identity, None))
}

/// The caller's lane: what it does has been done by who made the cgroup.
struct Lane {
    privileged: bool,
}

impl ParentLane for Lane {
    fn join_cgroup(&mut self, _: i32) -> Result<()> {
        Ok(())
    }

    fn apply_limits(&mut self) -> Result<()> {
        Ok(())
    }

    fn attach_devices(&mut self) -> Result<()> {
        Ok(())
    }

    fn join_resctrl(&mut self, _: i32) -> Result<()> {
        Ok(())
    }

    fn privileged(&self) -> bool {
        self.privileged
    }

    fn reached(&mut self, _: Point, _: i32) -> Result<Vec<OwnedFd>> {
        Ok(Vec::new())
    }
}

/// The fields of a sandbox that are others in `config.json`.
const FIELDS: &[(&str, &str)] = &[
    ("root.readonly", "read_only_root"),
    ("root.path", "root"),
    ("root", "root"),
    ("linux.namespaces", "namespaces"),
    ("linux.uidMappings", "id_maps.users"),
    ("linux.gidMappings", "id_maps.groups"),
    ("linux.rootfsPropagation", "namespaces"),
    ("linux.seccomp", "filter"),
    ("hostname", "hostname"),
    ("sandbox.noNewPrivileges", "no_new_privileges"),
];

/// The same error with the sandbox's name of the field.
pub(super) fn in_sandbox(error: Error) -> Error {
    error.with_origin(|origin| match FIELDS.iter().find(|(field, _)| *field == origin) {
        Some((_, ours)) => Some(format!("{BARE_ORIGIN}{ours}")),
        // They are the first of the namespaces.
        None if origin.starts_with("linux.namespaces[") => {
            Some(origin.trim_end_matches(".path").replace("linux.namespaces", "sandbox.joins"))
        }
        None if origin.starts_with("mounts[") => Some(format!("{BARE_ORIGIN}{origin}")),
        None => None,
    })
}
