//! The parts of the plan of a container, each a pure function of its configuration.

use std::path::Path;

use crate::cgroup::devices::DeviceRules;
use crate::cgroup::{CgroupPlan, Hierarchies, Location, Mode, View};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::plan::{CreateOptions, LaunchPlan};
use crate::runtime::Shared;
use crate::spec::ValidSpec;

pub(super) fn location(plan: Option<&CgroupPlan>) -> Option<Location> {
    plan.map(|plan| plan.location.clone())
}

pub(super) fn launch_plan(
    shared: &Shared,
    id: &ContainerId,
    bundle: &Path,
    spec: &ValidSpec,
    options: &CreateOptions,
    cgroup: Option<Location>,
) -> Result<LaunchPlan> {
    let mut options = options.clone();
    options.cgroup = cgroup;
    options.id = id.to_string();
    options.bundle = bundle.to_string_lossy().into_owned();
    LaunchPlan::create(spec, &shared.host, &options)
}

/// The plan of the cgroup; all that is wrong with `linux.resources` in one error.
pub(in crate::container) fn compile_cgroup(
    hierarchies: &Hierarchies,
    spec: &ValidSpec,
    path: Option<&str>,
    id: &ContainerId,
    devices: &DeviceRules,
) -> Result<CgroupPlan> {
    let lines = devices.v1_lines().into_iter().map(|(file, line)| (file.to_owned(), line));
    CgroupPlan::compile(hierarchies.view(), path, id.as_str(), &spec.resources)
        .map(|plan| plan.with_device_lines(lines))
}

/// Sees to it that a container that gets no cgroup asks for no limits.
pub(super) fn without_limits(
    hierarchies: Option<&Hierarchies>,
    spec: &ValidSpec,
    id: &ContainerId,
) -> Result<Option<CgroupPlan>> {
    let nothing = View::new(Mode::Unified, &[], &[]);
    let view = hierarchies.map_or(&nothing, Hierarchies::view);
    let plan = CgroupPlan::compile(view, None, id.as_str(), &spec.resources)?;
    match plan.writes.first() {
        None => Ok(None),
        Some(write) => {
            Err(Error::new(ErrorKind::Unsupported, format!("cannot set {} limit", write.controller))
                .reason("the container gets no cgroup")
                .origin(write.origin.clone())
                .with_hint("remove the limit, or choose another cgroup manager"))
        }
    }
}

pub(super) fn device_rules(spec: &ValidSpec) -> Result<DeviceRules> {
    DeviceRules::from_resources(spec.resources.devices.as_deref())
}
