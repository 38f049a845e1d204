//! Units that are there: their limits, processes and end.

use super::connection::{Connection, Refusal};
use super::message::Message;
use super::properties::{self, list};
use super::value::Value;
use super::{
    DESCRIPTION, LIMIT, Link, Unit, devices, job_of, limits, manager_call, pids, property_of, with_optional,
};
use crate::cgroup::CgroupPlan;
use crate::error::{Error, ErrorKind, Result};

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

    /// Tells systemd device rules, as lines (file, value) of the v1 devices controller. For a moment
    /// nothing is allowed then, not even what was and will be.
    pub(crate) fn set_devices(&self, lines: &[(&'static str, String)]) -> Result<()> {
        let properties = devices::instead(lines.iter().map(|(file, line)| (*file, line.as_str())));
        let mut link = self.connect()?;
        let arguments = [Value::text(&*self.name), Value::Bool(true), list(&properties)];
        let set = link.0.call(&manager_call("SetUnitProperties", &arguments))?;
        set.map(drop).map_err(|refusal| self.refused("set device rules of", &refusal))
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

    pub(super) fn stop_by(&self, link: &mut Link, unsure: bool) -> Result<()> {
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

    pub(super) fn connect(&self) -> Result<Link> {
        Connection::open(self.manager, &self.name, LIMIT).map(Link)
    }

    pub(super) fn failed(&self, verb: &str) -> Error {
        Error::new(ErrorKind::Cgroup, format!("{verb} systemd unit {:?}", self.name))
    }

    pub(super) fn refused(&self, verb: &str, refusal: &Refusal) -> Error {
        refusal.error(format!("{verb} systemd unit {:?}", self.name))
    }
}
