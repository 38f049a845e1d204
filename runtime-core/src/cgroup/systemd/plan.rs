//! Units that are to be made.

use std::collections::BTreeMap;

use super::Manager;
use super::message::Message;
use super::name::UnitName;
use super::place::{control_group, is_of_unit, location, path_of_process};
use super::properties::{self, Property, put};
use super::value::Value;
use super::{
    Begun, DESCRIPTION, Link, Refusal, Unit, UnitPlan, annotation, devices, limits, manager_call, pids,
    with_optional,
};
use crate::cgroup::{Cgroup, CgroupPlan, Hierarchies, Location, Mode};
use crate::error::{Error, Result};

impl UnitPlan {
    /// The unit for `linux.cgroupsPath` and the limits of `cgroup`, which are rounded to what a unit
    /// can say.
    ///
    /// # Errors
    ///
    /// A path that is not `slice:prefix:name`, or an annotation that is no property.
    pub(crate) fn compile(
        manager: Manager,
        path: Option<&str>,
        id: &str,
        annotations: &BTreeMap<String, String>,
        cgroup: &mut CgroupPlan,
    ) -> Result<Self> {
        let name = parse_name(manager, path, id)?;
        properties::round_quotas(&mut cgroup.writes);
        let mode = cgroup.location.mode;
        let mut all = basic_properties(&name, id, mode);
        for property in properties::of_limits(limits(cgroup)) {
            put(&mut all, property);
        }
        if let Some(policy) = properties::oom_policy(&cgroup.writes) {
            put(&mut all, policy);
        }
        devices::of_lines(&cgroup.devices).into_iter().for_each(|property| put(&mut all, property));
        for (name, value) in annotation::properties(annotations)? {
            if ["PIDs", "Slice"].contains(&&*name) {
                let origin = format!("annotations[\"org.systemd.property.{name}\"]");
                return Err(Error::invalid(origin, "the runtime sets this property itself"));
            }
            put(&mut all, Property::new(name, value));
        }
        let described = all.iter().find(|property| property.name == DESCRIPTION);
        let description = match described.map(|property| &property.value) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        Ok(Self { unit: Unit { name: name.unit.clone(), manager, description }, name, properties: all, mode })
    }

    /// Where the cgroup will be, as `cgroupsPath` of the cgroupfs driver. Below the user's manager it is
    /// not known before it is there.
    pub(crate) fn expected_path(manager: Manager, path: Option<&str>, id: &str) -> Result<String> {
        Ok(format!("/{}", parse_name(manager, path, id)?.cgroup()))
    }

    /// The unit, for the state file.
    pub(crate) fn unit(&self) -> &Unit {
        &self.unit
    }

    /// Connects to systemd.
    pub(crate) fn connect(&self) -> Result<Link> {
        self.unit.connect()
    }

    /// Asks for the unit, with the process in it.
    ///
    /// # Errors
    ///
    /// The inner error: systemd refuses, kind `ErrorKind::Cgroup`, and what exists under the name is
    /// somebody else's. The outer: no answer, so the unit may exist: [`Unit::stop`] it.
    pub(crate) fn begin(&self, link: &mut Link, pid: i32) -> Result<Result<Begun>> {
        let mut all = self.properties.clone();
        if !self.name.is_slice() {
            all.push(Property::new("PIDs", pids(pid)?));
        }
        let started = match self.start_without_unknown(link, &all)? {
            // A unit of this name that has failed is in the way until somebody has noticed it.
            Err(refusal) if refusal.is("UnitExists") => {
                // If it cannot be reset, the second attempt says so.
                drop(link.0.call(&manager_call("ResetFailedUnit", &[Value::text(&*self.unit.name)]))?);
                self.start_without_unknown(link, &all)?
            }
            other => other,
        };
        Ok(started.map(Begun).map_err(|refusal| self.unit.refused("start", &refusal)))
    }

    /// Waits for the unit, and finds its cgroup.
    ///
    /// # Errors
    ///
    /// `ErrorKind::Timeout`, or the job fails. The unit may exist then: [`Unit::stop`] it.
    pub(crate) fn finish(
        &self,
        link: &mut Link,
        begun: &Begun,
        pid: i32,
        hierarchies: &Hierarchies,
    ) -> Result<Location> {
        link.0.finish_job(&self.unit, &begun.0)?;
        if self.name.is_slice() {
            return location(hierarchies, &control_group(link, &self.unit)?);
        }
        let path = path_of_process(pid, self.mode)?;
        if !is_of_unit(&path, &self.unit.name) {
            return Err(self
                .unit
                .failed("find the cgroup of")
                .reason(format!("systemd has made it, and process {pid} is in {path:?}")));
        }
        location(hierarchies, &path)
    }

    /// Opens the unit's cgroup. systemd knows half of the controllers of v1: the cgroup is made in the
    /// hierarchies of the others, for the writes of `plan`.
    pub(crate) fn open(
        &self,
        hierarchies: &Hierarchies,
        location: &Location,
        plan: &CgroupPlan,
    ) -> Result<Cgroup> {
        match self.mode {
            Mode::Unified => Cgroup::open(location),
            Mode::Hybrid | Mode::Legacy => {
                Cgroup::complete(hierarchies, &CgroupPlan { location: location.clone(), ..plan.clone() })
            }
        }
    }

    /// Puts the process into what systemd did not put it into.
    pub(crate) fn enter(&self, cgroup: &Cgroup, pid: i32) -> Result<()> {
        if self.name.is_slice() { cgroup.attach(pid) } else { cgroup.join(pid) }
    }

    fn start_without_unknown(&self, link: &mut Link, all: &[Property]) -> Result<Result<Message, Refusal>> {
        with_optional(all, |properties| {
            // The last argument is for auxiliary units, which nobody makes.
            let auxiliary = Value::Array("(sa(sv))".into(), Vec::new());
            let arguments = [Value::text(&*self.unit.name), Value::text("fail"), properties, auxiliary];
            link.0.call(&manager_call("StartTransientUnit", &arguments))
        })
    }
}

fn parse_name(manager: Manager, path: Option<&str>, id: &str) -> Result<UnitName> {
    let default_slice = match manager {
        Manager::System => "system.slice",
        Manager::User => "user.slice",
    };
    UnitName::parse(path, id, default_slice)
}

/// What every unit has, whatever its limits.
fn basic_properties(name: &UnitName, id: &str, mode: Mode) -> Vec<Property> {
    let mut properties = vec![Property::new(DESCRIPTION, Value::text(format!("container {id}")))];
    if name.is_slice() {
        properties.push(Property::new("Wants", Value::texts([name.slice.clone()])));
    } else {
        properties.push(Property::new("Slice", Value::text(&*name.slice)));
        // systemd keeps away from what the container makes below, and gives it all controllers.
        properties.push(Property::new("Delegate", Value::Bool(true)));
    }
    let switches = [
        ("MemoryAccounting", true),
        ("CPUAccounting", true),
        // What v1 calls it.
        (if mode == Mode::Unified { "IOAccounting" } else { "BlockIOAccounting" }, true),
        ("TasksAccounting", true),
        // An engine stops its containers; the end of the machine is not to wait for each.
        ("DefaultDependencies", false),
    ];
    properties.extend(switches.map(|(name, on)| Property::new(name, Value::Bool(on))));
    properties
}
