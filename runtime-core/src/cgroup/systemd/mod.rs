//! The systemd driver: a container's cgroup is a transient scope (or slice) that systemd makes, and its
//! limits are properties of that unit.
//!
//! The client for D-Bus is our own: `value` and `message` are the format, `connection` the talk, `address`
//! the sockets. `name` makes names of units, `properties` and `annotation` their properties; here are the
//! calls: `plan` makes units, `place` finds their cgroups, `unit` has what is done with one. A unit is
//! made by one call that has everything, the end of its job is waited for, and nothing is kept open
//! afterwards.
//!
//! On machines with cgroup v1 the unit has half of the controllers: `legacy` and `devices` say what v1 calls
//! them, and the others are made under the same path by the code that makes cgroups without systemd.

mod address;
mod annotation;
mod connection;
mod devices;
#[cfg(test)]
mod fake;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod legacy;
mod message;
mod name;
mod place;
mod plan;
mod properties;
mod record;
#[cfg(test)]
mod tests;
mod unit;
mod value;

use std::time::Duration;

use connection::{Connection, Refusal};
use message::{Call, Message};
use name::UnitName;
pub(crate) use place::check_mode;
pub(crate) use properties::Property;
use properties::list;
pub(crate) use record::{Manager, Unit};
use value::Value;

use super::{CgroupPlan, Location, Mode, Version};
use crate::error::{Error, Result};

/// How long systemd may take for a call and its job.
const LIMIT: Duration = Duration::from_secs(30);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const DESCRIPTION: &str = "Description";

/// The unit of a container that is to be made. Computing it does no input or output.
#[derive(Debug)]
pub(crate) struct UnitPlan {
    unit: Unit,
    name: UnitName,
    properties: Vec<Property>,
    mode: Mode,
}

/// A unit that systemd is making.
#[derive(Debug)]
pub(crate) struct Begun(Message);

/// A connection made early, so that a container is not begun where systemd cannot be reached.
#[derive(Debug)]
pub(crate) struct Link(Connection);

impl Connection {
    /// Waits for the job that a reply names.
    fn finish_job(&mut self, unit: &Unit, reply: &Message) -> Result<()> {
        let job = job_of(reply).ok_or_else(|| unit.failed("start").reason("the reply names no job"))?;
        match self.wait_for_job(job)?.as_str() {
            "done" => Ok(()),
            other => Err(unit
                .failed("start")
                .reason(format!("the job ended with {other:?}"))
                .with_hint("see journalctl for the reason")),
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

/// Control files and values, also those that are written where the first is missing.
pub(crate) fn limits(plan: &CgroupPlan) -> impl Iterator<Item = (&str, &str)> {
    let writes = plan.writes.iter().filter(|write| has_word(&plan.location, &write.file));
    writes.flat_map(|write| {
        let other = match &write.missing {
            super::Missing::Instead(file, value) => Some((*file, value.as_str())),
            _ => None,
        };
        [Some((write.file.as_ref(), write.value.as_str())), other].into_iter().flatten()
    })
}

/// Whether there is a property for one of the limits, control files and their values.
pub(crate) fn has_property<'a>(limits: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
    !properties::of_limits(limits).is_empty()
}

/// Whether a property for the file would mean the same. Idle is a weight to systemd, and with v1 that would
/// take the place of the shares.
pub(crate) fn has_word(location: &Location, file: &str) -> bool {
    file != "cpu.idle" || location.place_of("cpu").is_none_or(|place| place.version == Version::V2)
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
