//! The systemd driver: a container's cgroup is a transient scope (or slice) that systemd makes, and its
//! limits are properties of that unit.
//!
//! The client for D-Bus is our own: `value` and `message` are the format, `connection` the talk, `address`
//! the sockets. `name` makes names of units, `properties` and `annotation` their properties; here are the
//! calls. A unit is made by one call that has everything, the end of its job is waited for, and nothing
//! is kept open afterwards.

mod address;
mod annotation;
mod connection;
#[cfg(test)]
mod fake;
mod message;
mod name;
mod properties;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use address::Manager;
use connection::{Connection, Refusal};
use message::{Call, Message};
use name::UnitName;
pub(crate) use properties::Property;
use properties::{list, put};
use value::Value;

use super::{Cgroup, CgroupPlan, Hierarchies, Location, Mode, mountinfo};
use crate::error::{Error, ErrorKind, Result};

/// How long systemd may take for a call and its job.
const LIMIT: Duration = Duration::from_secs(30);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const DESCRIPTION: &str = "Description";

/// A unit that is or was made, as the state file keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Its name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) manager: Manager,
    /// Its description, by which one that systemd may have made is known to be the container's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
}

/// The unit of a container that is to be made. Computing it does no input or output.
#[derive(Debug)]
pub(crate) struct UnitPlan {
    unit: Unit,
    name: UnitName,
    properties: Vec<Property>,
}

/// A unit that systemd is making.
#[derive(Debug)]
pub(crate) struct Begun(Message);

/// A connection made early, so that a container is not begun where systemd cannot be reached.
#[derive(Debug)]
pub(crate) struct Link(Connection);

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
        let mut all = basic_properties(&name, id);
        for property in properties::of_limits(limits(cgroup)) {
            put(&mut all, property);
        }
        if let Some(policy) = properties::oom_policy(&cgroup.writes) {
            put(&mut all, policy);
        }
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
        Ok(Self { unit: Unit { name: name.unit.clone(), manager, description }, name, properties: all })
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
    /// The inner error: systemd refuses, kind [`ErrorKind::Cgroup`], and what exists under the name is
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
    /// [`ErrorKind::Timeout`], or the job fails. The unit may exist then: [`Unit::stop`] it.
    pub(crate) fn finish(
        &self,
        link: &mut Link,
        begun: &Begun,
        pid: i32,
        hierarchies: &Hierarchies,
    ) -> Result<Cgroup> {
        link.0.finish_job(&self.unit, &begun.0)?;
        if self.name.is_slice() {
            let path = control_group(link, &self.unit)?;
            let cgroup = Cgroup::open(&location(hierarchies, &path)?)?;
            cgroup.attach(pid)?;
            return Ok(cgroup);
        }
        let path = path_of_process(pid)?;
        if !is_of_unit(&path, &self.unit.name) {
            return Err(self
                .unit
                .failed("find the cgroup of")
                .reason(format!("systemd has made it, and process {pid} is in {path:?}")));
        }
        Cgroup::open(&location(hierarchies, &path)?)
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

impl Unit {
    /// Changes limits, to those of `plan`; its quotas are rounded to what a unit can say.
    pub(crate) fn update(&self, plan: &mut CgroupPlan) -> Result<()> {
        properties::round_quotas(&mut plan.writes);
        self.set(limits(plan))
    }

    /// Changes limits: control files and their values. What has no property is left out.
    pub(crate) fn set<'a>(&self, limits: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<()> {
        let properties = properties::of_limits(limits);
        if properties.is_empty() {
            return Ok(());
        }
        let mut link = self.connect()?;
        let set = with_optional(&properties, |properties| {
            // Until the unit goes: `true` is for "runtime".
            let arguments = [Value::text(&*self.name), Value::Bool(true), properties];
            link.0.call(&manager_call("SetUnitProperties", &arguments))
        })?;
        set.map(drop).map_err(|refusal| self.refused("set properties of", &refusal))
    }

    /// Moves a process into the unit's cgroup, or into `sub` below it: for who may not do it himself.
    pub(crate) fn attach(&self, sub: &str, pid: i32) -> Result<()> {
        let arguments = [Value::text(&*self.name), Value::text(format!("/{sub}")), pids(pid)?];
        let attached = self.connect()?.0.call(&manager_call("AttachProcessesToUnit", &arguments))?;
        attached.map(drop).map_err(|refusal| self.refused(&format!("move process {pid} into"), &refusal))
    }

    /// Stops the unit and waits for its end; a failed one is forgotten. One that has gone is fine.
    ///
    /// With `unsure`, it is not known whether the unit was made for the container: one that is somebody
    /// else's is left alone. Nor is its cgroup known then, so its processes are killed first: systemd
    /// itself would ask them to end, and wait.
    pub(crate) fn stop(&self, unsure: bool) -> Result<()> {
        self.stop_by(&mut self.connect()?, unsure)
    }

    fn stop_by(&self, link: &mut Link, unsure: bool) -> Result<()> {
        let name = || Value::text(&*self.name);
        if unsure && !self.is_ours(link)? {
            return Ok(());
        }
        if unsure {
            let arguments = [name(), Value::text("all"), Value::Int32(libc::SIGKILL)];
            self.unless_gone(link.0.call(&manager_call("KillUnit", &arguments))?, "kill")?;
        }
        let stopped = link.0.call(&manager_call("StopUnit", &[name(), Value::text("replace")]))?;
        let Some(reply) = self.unless_gone(stopped, "stop")? else {
            return Ok(());
        };
        let job = job_of(&reply).ok_or_else(|| self.failed("stop").reason("the reply names no job"))?;
        // Another result than "done" leaves a failed unit at most.
        link.0.wait_for_job(job)?;
        let reset = link.0.call(&manager_call("ResetFailedUnit", &[name()]))?;
        self.unless_gone(reset, "reset").map(drop)
    }

    /// Whether it was made by a call, not by a file, with the description that the container has. A state
    /// file of an older version has none, and is believed.
    fn is_ours(&self, link: &mut Link) -> Result<bool> {
        const INTERFACE: &str = "org.freedesktop.systemd1.Unit";
        let mut get = |property| match property_of(link, &self.name, INTERFACE, property)? {
            Err(refusal) if refusal.is("UnknownObject") => Ok(None),
            other => self.unless_gone(other, "look at"),
        };
        let (Some(transient), Some(description)) = (get("Transient")?, get(DESCRIPTION)?) else {
            return Ok(false);
        };
        let is_transient =
            transient.body("v").and_then(|mut body| (body.signature()? == "b").then(|| body.u32())?);
        let text =
            description.body("v").and_then(|mut body| (body.signature()? == "s").then(|| body.text())?);
        Ok(is_transient == Some(1) && (self.description.is_empty() || text == Some(&*self.description)))
    }

    fn unless_gone(&self, result: Result<Message, Refusal>, verb: &str) -> Result<Option<Message>> {
        match result {
            Ok(reply) => Ok(Some(reply)),
            Err(refusal) if refusal.is("NoSuchUnit") => Ok(None),
            Err(refusal) => Err(self.refused(verb, &refusal)),
        }
    }

    fn connect(&self) -> Result<Link> {
        Connection::open(self.manager, &self.name, LIMIT).map(Link)
    }

    fn failed(&self, verb: &str) -> Error {
        Error::new(ErrorKind::Cgroup, format!("{verb} systemd unit {:?}", self.name))
    }

    fn refused(&self, verb: &str, refusal: &Refusal) -> Error {
        refusal.error(format!("{verb} systemd unit {:?}", self.name))
    }
}

impl Connection {
    /// Waits for the job that a reply names.
    fn finish_job(&mut self, unit: &Unit, reply: &Message) -> Result<()> {
        let job = job_of(reply).ok_or_else(|| unit.failed("start").reason("the reply names no job"))?;
        match self.wait_for_job(job)?.as_str() {
            "done" => Ok(()),
            other => Err(unit
                .failed("start")
                .reason(format!("the job ended with {other:?}"))
                .hint("see journalctl for the reason")),
        }
    }
}

fn pids(pid: i32) -> Result<Value> {
    let pid = u32::try_from(pid).map_err(|_| Error::invalid("pid", "is not positive"))?;
    Ok(Value::Array("u".into(), vec![Value::Uint32(pid)]))
}

fn job_of(reply: &Message) -> Option<&str> {
    reply.body("o")?.text()
}

/// A method of the manager.
fn manager_call<'a>(member: &'a str, arguments: &'a [Value]) -> Call<'a> {
    Call { destination: SYSTEMD, path: SYSTEMD_PATH, interface: MANAGER, member, arguments }
}

/// Calls with all properties, and again without the optional ones if this systemd does not take one of
/// them. So nobody has to ask for its version first.
fn with_optional(
    all: &[Property],
    mut call: impl FnMut(Value) -> Result<Result<Message, Refusal>>,
) -> Result<Result<Message, Refusal>> {
    match call(list(all))? {
        Err(refusal) if is_about_property(&refusal) && all.iter().any(|property| property.is_optional) => {
            call(list(all.iter().filter(|property| !property.is_optional)))
        }
        other => Ok(other),
    }
}

fn is_about_property(refusal: &Refusal) -> bool {
    ["PropertyReadOnly", "UnknownProperty", "InvalidArgs"].iter().any(|name| refusal.is(name))
        || refusal.text().contains("unknown property")
}

fn parse_name(manager: Manager, path: Option<&str>, id: &str) -> Result<UnitName> {
    let default_slice = match manager {
        Manager::System => "system.slice",
        Manager::User => "user.slice",
    };
    UnitName::parse(path, id, default_slice)
}

/// What every unit has, whatever its limits.
fn basic_properties(name: &UnitName, id: &str) -> Vec<Property> {
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
        ("IOAccounting", true),
        ("TasksAccounting", true),
        // An engine stops its containers; the end of the machine is not to wait for each.
        ("DefaultDependencies", false),
    ];
    properties.extend(switches.map(|(name, on)| Property::new(name, Value::Bool(on))));
    properties
}

fn limits(plan: &CgroupPlan) -> impl Iterator<Item = (&str, &str)> {
    plan.writes.iter().flat_map(|write| {
        let other = match &write.missing {
            super::Missing::Instead(file, value) => Some((*file, value.as_str())),
            _ => None,
        };
        [Some((write.file.as_ref(), write.value.as_str())), other].into_iter().flatten()
    })
}

/// The cgroup2 path of a process.
fn path_of_process(pid: i32) -> Result<String> {
    let text = mountinfo::read(&format!("/proc/{pid}/cgroup"))?;
    let path = mountinfo::own_cgroup(&text, "").ok_or_else(|| {
        Error::new(ErrorKind::Cgroup, format!("find the cgroup of process {pid}")).reason("it has none of v2")
    })?;
    Ok(path.trim_matches('/').to_owned())
}

/// Whether the path is that of the unit. systemd puts an underscore before names that could be taken for
/// a control file.
fn is_of_unit(path: &str, unit: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    last == unit || last.strip_prefix('_') == Some(unit)
}

/// Asks for a property of a unit: a variant.
fn property_of(link: &mut Link, unit: &str, interface: &str, name: &str) -> Result<Result<Message, Refusal>> {
    let path = name::object_path(unit);
    let arguments = [Value::text(interface), Value::text(name)];
    let call = Call {
        destination: SYSTEMD,
        path: &path,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        arguments: &arguments,
    };
    link.0.call(&call)
}

impl Link {
    /// The cgroup of the manager itself, `/user.slice/…` of a user's; empty for the system's.
    pub(crate) fn manager_cgroup(&mut self) -> Result<String> {
        let operation = "find the cgroup of systemd";
        let arguments = [Value::text(MANAGER), Value::text("ControlGroup")];
        let call = Call {
            destination: SYSTEMD,
            path: SYSTEMD_PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments: &arguments,
        };
        let reply = self.0.call(&call)?.map_err(|refusal| refusal.error(operation.to_owned()))?;
        let text = reply.body("v").and_then(|mut body| (body.signature()? == "s").then(|| body.text())?);
        text.map(str::to_owned)
            .ok_or_else(|| Error::new(ErrorKind::Cgroup, operation).reason("the reply is no text"))
    }
}

/// The cgroup of a slice, which has no process to look at.
fn control_group(link: &mut Link, unit: &Unit) -> Result<String> {
    let reply = property_of(link, &unit.name, "org.freedesktop.systemd1.Slice", "ControlGroup")?
        .map_err(|refusal| unit.refused("find the cgroup of", &refusal))?;
    let text = reply.body("v").and_then(|mut body| (body.signature()? == "s").then(|| body.text())?);
    match text.map(|path| path.trim_matches('/')).filter(|path| is_of_unit(path, &unit.name)) {
        Some(path) => Ok(path.to_owned()),
        None => Err(unit.failed("find the cgroup of").reason(format!("systemd says {text:?}"))),
    }
}

/// The location of a cgroup that systemd has made.
fn location(hierarchies: &Hierarchies, path: &str) -> Result<Location> {
    Location::compile(hierarchies.view(), Some(&format!("/{path}")), "")
}

/// Refuses machines with cgroup v1.
pub(crate) fn check_mode(mode: Mode) -> Result<()> {
    if mode == Mode::Unified {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "use the systemd cgroup driver")
        .reason(format!("it needs cgroup v2, and the cgroup view is {}", mode.as_str()))
        .hint("boot with systemd.unified_cgroup_hierarchy=1, or use the cgroupfs driver"))
}
