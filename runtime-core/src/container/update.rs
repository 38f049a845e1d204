//! update.

mod merge;

use super::{Container, unit};
use crate::cgroup::devices::DeviceRules;
use crate::cgroup::{Cgroup, CgroupPlan, Resources};
use crate::confinement::Explained;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{ValidSpec, forget_zero_pids, parse_resources};
use crate::state::{Record, Status};
use merge::{Merged, merge};

impl Container {
    /// Changes limits of a container that is created, running or paused. It runs on meanwhile; only as a unit
    /// of systemd on cgroup v1 it stands still for a moment, since systemd writes its device rules anew.
    ///
    /// What `resources` leaves out stays as it is, and so does what it sets to 0 where 0 means
    /// "unset" (memory in bytes, CPU shares, quota and period in microseconds, weights). Lists and
    /// maps replace the entries of the same device, page size or file. Devices, if given, are the new
    /// list of rules as a whole. A limit of 0 processes is "unset" if the container's `ociVersion` is below 1.3.
    ///
    /// # Errors
    ///
    /// "container not running"; a limit that this host does not have or that
    /// the kernel refuses, with its place below `linux.resources`. The old limits are then in force
    /// again, as far as the kernel takes them back.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        self.limit(resources).explained()
    }

    fn limit(&self, resources: &Resources) -> Result<()> {
        let lock = self.lock()?;
        let record = self.entry.record()?;
        match self.status_under(&lock, &record)? {
            Status::Created | Status::Running | Status::Paused => {}
            _ => return Err(self.wrong_state("container not running")),
        }
        let spec = self.spec()?;
        // Resources have no version of their own: they mean what they mean in the container's configuration.
        let mut resources = resources.clone();
        forget_zero_pids(spec.minor, &mut resources);
        let present = self.resources(spec)?;
        let merged = merge(&present, &resources);
        let mut plan = self.update_plan(&record, &merged)?;
        let devices = DeviceChange::between(&present, &resources)?;
        let rules = DeviceRules::from_resources(present.devices.as_deref())?;
        let stored =
            serde_json::to_vec(&merged.all).map_err(|error| Error::json("linux.resources", error))?;

        let cgroup = self.cgroup(&record)?;
        let old = cgroup.snapshot(&plan);
        let privileged = self.shared.host.is_privileged();
        let told =
            self.frozen_by_systemd(&record, &cgroup, || unit::update(&record, &cgroup, &mut plan, &rules));
        let limited = told.and_then(|()| cgroup.apply(&plan));
        let changed = limited.and_then(|()| match &devices {
            Some(devices) => devices
                .make(self, &record, &cgroup, privileged)
                .and_then(|()| self.entry.write_resources(&stored))
                .map_err(|error| match devices.undo(self, &record, &cgroup, privileged) {
                    Ok(()) => error,
                    Err(second) => error.with_hint(format!("the old device rules: {second}")),
                }),
            None => self.entry.write_resources(&stored),
        });
        changed.map_err(|error| {
            let told = self
                .frozen_by_systemd(&record, &cgroup, || Ok(unit::restore(&record, &cgroup, &old, &rules)));
            match told.unwrap_or(false) && cgroup.restore(&old) {
                true => error,
                false => error.with_hint("not all limits could be set back to what they were"),
            }
        })
    }

    /// With the v1 devices controller, a container stands still while systemd hears of a change.
    fn frozen_by_systemd<T>(
        &self,
        record: &Record,
        cgroup: &Cgroup,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match record.unit.is_some() && cgroup.device_list()?.is_some() {
            true => self.standing_still(cgroup, act),
            false => act(),
        }
    }

    /// The resources as the last update or the creation left them.
    fn resources(&self, spec: ValidSpec) -> Result<Resources> {
        match self.entry.resources()? {
            Some(bytes) => parse_resources(&bytes, "the stored resources").map(|(resources, _)| resources),
            None => Ok(spec.resources),
        }
    }

    fn update_plan(&self, record: &Record, merged: &Merged) -> Result<CgroupPlan> {
        let hierarchies = self.shared.host.hierarchies(None)?;
        let (Some(hierarchies), Some(location)) = (hierarchies, record.cgroup.clone()) else {
            return Err(Error::new(ErrorKind::Cgroup, "update cgroup").reason("the container has no cgroup"));
        };
        CgroupPlan::update(hierarchies.view(), location, &merged.changed)
    }
}

/// Another list of device rules.
struct DeviceChange {
    old: DeviceRules,
    new: DeviceRules,
}

impl DeviceChange {
    /// `None` if the request has no devices or the same: an engine sends all of a container's
    /// resources to change one, and what someone added to the rules meanwhile shall stay.
    fn between(present: &Resources, request: &Resources) -> Result<Option<Self>> {
        if request.devices.is_none() {
            return Ok(None);
        }
        let old = DeviceRules::from_resources(present.devices.as_deref())?;
        let new = DeviceRules::from_resources(request.devices.as_deref())?;
        Ok((old != new).then_some(Self { old, new }))
    }

    fn make(&self, container: &Container, record: &Record, cgroup: &Cgroup, privileged: bool) -> Result<()> {
        container.set_devices(record, cgroup, &self.new, privileged)
    }

    fn undo(&self, container: &Container, record: &Record, cgroup: &Cgroup, privileged: bool) -> Result<()> {
        container.set_devices(record, cgroup, &self.old, privileged)
    }
}

impl Container {
    /// As at the creation: the v1 controller where there is one, else a program for privileged callers.
    fn set_devices(
        &self,
        record: &Record,
        cgroup: &Cgroup,
        rules: &DeviceRules,
        privileged: bool,
    ) -> Result<()> {
        let write = || match cgroup.device_list()? {
            Some(list) => cgroup.write_devices(&rules.v1_changes(&list)?),
            None => Ok(()),
        };
        match cgroup.device_list()? {
            Some(_) => self.frozen_by_systemd(record, cgroup, || {
                unit::update_devices(record, cgroup, &rules.v1_lines(), write)
            }),
            None => match cgroup.directory() {
                Some(directory) if privileged => rules.replace(directory),
                _ => Ok(()),
            },
        }
    }
}
