//! Containers whose cgroup is a unit of systemd.

use std::time::Duration;

use super::create::compile_cgroup;
use crate::cgroup::devices::DeviceRules;
use crate::cgroup::systemd::{self, Link, Manager, Unit, UnitPlan};
use crate::cgroup::{Cgroup, CgroupPlan, Hierarchies, Location, Snapshot};
use crate::error::{ErrorKind, Result};
use crate::id::ContainerId;
use crate::spec::ValidSpec;
use crate::state::Record;

/// How long the processes may take to stop while device rules change.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

/// The plans of the unit and of its cgroup.
pub(super) fn plan(
    hierarchies: &Hierarchies,
    spec: &ValidSpec,
    id: &ContainerId,
    devices: &DeviceRules,
    privileged: bool,
) -> Result<(UnitPlan, CgroupPlan)> {
    let manager = if privileged { Manager::System } else { Manager::User };
    systemd::check_mode(hierarchies.mode(), manager)?;
    let path = spec.cgroups_path.as_deref();
    let expected = UnitPlan::expected_path(manager, path, id.as_str())?;
    let mut cgroup = compile_cgroup(hierarchies, spec, Some(&expected), id, devices)?;
    let unit = UnitPlan::compile(manager, path, id.as_str(), &spec.annotations, &mut cgroup)?;
    Ok((unit, cgroup))
}

/// A unit on its way: planned, and begun as soon as a process is there to be in it.
pub(super) struct Starting<'a> {
    plan: &'a UnitPlan,
    link: Link,
    hierarchies: &'a Hierarchies,
}

impl<'a> Starting<'a> {
    /// Connects to systemd: what is out of reach is known before anything is made. So is a cgroup that is
    /// in use already.
    pub(super) fn connect(
        plan: &'a UnitPlan,
        cgroup: Option<&CgroupPlan>,
        hierarchies: &'a Hierarchies,
    ) -> Result<Self> {
        let mut link = plan.connect()?;
        if let Some(cgroup) = cgroup {
            check_unused(plan.unit(), &mut link, &cgroup.location, hierarchies)?;
        }
        Ok(Self { plan, link, hierarchies })
    }

    /// Makes the unit with the process in it, and says where its cgroup is. `made` gets the unit if it may be
    /// there afterwards, also when this fails.
    pub(super) fn start(&mut self, pid: i32, made: &mut Option<Unit>) -> Result<Location> {
        *made = Some(self.plan.unit().clone());
        let begun = self.plan.begin(&mut self.link, pid)?.inspect_err(|_| *made = None)?;
        self.plan.finish(&mut self.link, &begun, pid, self.hierarchies)
    }

    /// Opens the cgroup, and makes it where systemd does not.
    pub(super) fn open(&self, location: &Location, plan: &CgroupPlan) -> Result<Cgroup> {
        self.plan.open(self.hierarchies, location, plan)
    }

    /// Puts the process into what systemd did not put it into.
    pub(super) fn enter(&self, cgroup: &Cgroup, pid: i32) -> Result<()> {
        self.plan.enter(cgroup, pid)
    }
}

/// Refuses a cgroup that is in use where the scope will be. systemd would take one that somebody has frozen,
/// and of another's it would say only that the unit exists. The processes of a slice are in units below it.
fn check_unused(unit: &Unit, link: &mut Link, expected: &Location, hierarchies: &Hierarchies) -> Result<()> {
    if unit.name.ends_with(".slice") {
        return Ok(());
    }
    let location = match (unit.manager, expected.unified()) {
        (Manager::User, Some(place)) => {
            let path = format!("{}/{}", link.manager_cgroup()?, place.path);
            Location::compile(hierarchies.view(), Some(&path), "")?
        }
        _ => expected.clone(),
    };
    Cgroup::open(&location)?.check_unused()
}

/// Takes back a unit whose container did not come to be. The failure that led to it is the one to tell.
pub(super) fn undo(made: Option<Unit>) {
    if let Some(unit) = made {
        unit.stop(true).ok();
    }
}

/// Stops the unit of a container that is deleted; its processes have been killed if its cgroup was known.
pub(super) fn stop(record: &Record) -> Result<()> {
    record.unit.as_ref().map_or(Ok(()), |unit| unit.stop(record.cgroup.is_none()))
}

/// Removes what systemd leaves of the slices that the unit was in.
pub(super) fn remove_slices(record: &Record) {
    if let (Some(_), Some(location)) = (&record.unit, &record.cgroup) {
        location.remove_orphans();
    }
}

/// Tells systemd the new limits of a container, if its cgroup is of a unit. Before they are written: what
/// systemd writes for them on its own is then there already. `rules` are those of the container's devices.
pub(super) fn update(
    record: &Record,
    cgroup: &Cgroup,
    plan: &mut CgroupPlan,
    rules: &DeviceRules,
) -> Result<()> {
    let Some(unit) = &record.unit else { return Ok(()) };
    cgroup.check_guards(plan)?;
    match systemd::has_property(systemd::limits(plan)) {
        true => keeping_devices(cgroup, rules, || unit.update(plan)),
        false => unit.update(plan),
    }
}

/// Tells systemd the old limits again; whether that succeeded.
pub(super) fn restore(record: &Record, cgroup: &Cgroup, old: &Snapshot, rules: &DeviceRules) -> bool {
    let (Some(unit), Some(location)) = (&record.unit, &record.cgroup) else { return true };
    let limits = || old.values().filter(|(file, _)| systemd::has_word(location, file));
    !systemd::has_property(limits()) || keeping_devices(cgroup, rules, || unit.set(limits())).is_ok()
}

/// Changes the rules of the v1 devices controller to those of `lines`, which `write` writes. systemd
/// is told first, since it would write the old ones again.
pub(super) fn update_devices(
    record: &Record,
    cgroup: &Cgroup,
    lines: &[(&'static str, String)],
    write: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Some(unit) = &record.unit else { return write() };
    while_frozen(cgroup, || unit.set_devices(lines).and_then(|()| write()))
}

/// Makes a `change` of the unit's properties. With the v1 devices controller, systemd then writes all it knows of
/// the rules anew, whatever the change is about: it denies everything for a moment, and afterwards what it has
/// no words for. So the container stands still until its `rules` are in force again.
fn keeping_devices(cgroup: &Cgroup, rules: &DeviceRules, change: impl FnOnce() -> Result<()>) -> Result<()> {
    if rules.allows_everything() || cgroup.device_list()?.is_none() {
        return change();
    }
    while_frozen(cgroup, || {
        // Also after a change that failed: systemd may have written before.
        let changed = change();
        let list = cgroup.device_list()?.unwrap_or_default();
        changed.and(cgroup.write_devices(&rules.v1_changes(&list)?))
    })
}

/// Does something while the container stands still; one that is paused stays so. Without a freezer it is
/// done all the same.
fn while_frozen(cgroup: &Cgroup, action: impl FnOnce() -> Result<()>) -> Result<()> {
    let was_frozen = cgroup.is_frozen()?;
    let froze = match was_frozen {
        true => false,
        false => match cgroup.freeze(FREEZE_LIMIT) {
            Err(error) if error.kind() == ErrorKind::Unsupported => false,
            frozen => frozen.map(|()| true)?,
        },
    };
    let done = action();
    done.and(if froze { cgroup.thaw() } else { Ok(()) })
}

/// The unit whose manager has to move processes into it: a user may not take a process from his session
/// to where his service manager has its cgroups (cgroups(7), "Delegation containment").
pub(super) fn mover(record: &Record) -> Option<&Unit> {
    record.unit.as_ref().filter(|unit| unit.manager == Manager::User)
}

/// Moves a process into `cgroup`, the unit's or one below it.
pub(super) fn attach(unit: &Unit, record: &Record, cgroup: &Cgroup, pid: i32) -> Result<()> {
    let (of_unit, chosen) = (record.cgroup.as_ref(), cgroup.location());
    let path = |location: Option<&crate::cgroup::Location>| {
        location.and_then(|location| location.unified()).map(|place| place.path.clone()).unwrap_or_default()
    };
    let chosen = path(Some(&chosen));
    let sub = chosen.strip_prefix(&path(of_unit)).unwrap_or_default();
    unit.attach(sub.trim_start_matches('/'), pid)
}
