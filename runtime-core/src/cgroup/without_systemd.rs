//! In the place of the systemd driver in a build without the feature `systemd`: no unit is made, and a container
//! whose cgroup is one cannot be changed or deleted.

use std::convert::Infallible;

use super::{Cgroup, CgroupPlan, Hierarchies, Location, Mode};
use crate::error::{Error, ErrorKind, Result};

#[path = "systemd/record.rs"]
mod record;

use std::collections::BTreeMap;

pub(crate) use record::{Manager, Unit};

/// There is none.
#[derive(Debug)]
pub(crate) struct UnitPlan(Infallible);

/// There is none.
#[derive(Debug)]
pub(crate) struct Begun(Infallible);

/// There is none.
#[derive(Debug)]
pub(crate) struct Link(Infallible);

fn missing<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "use the systemd cgroup driver")
        .reason("this program was built without it")
        .with_hint("build runtime-core with its feature systemd, or use CgroupDriver::Cgroupfs"))
}

pub(crate) fn check_mode(_: Mode, _: Manager) -> Result<()> {
    missing()
}

pub(crate) fn limits(_: &CgroupPlan) -> impl Iterator<Item = (&str, &str)> {
    std::iter::empty()
}

pub(crate) fn has_property<'a>(_: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
    false
}

pub(crate) fn has_word(_: &Location, _: &str) -> bool {
    false
}

impl Location {
    pub(crate) fn remove_orphans(&self) {}
}

impl Link {
    pub(crate) fn manager_cgroup(&mut self) -> Result<String> {
        match self.0 {}
    }
}

impl UnitPlan {
    pub(crate) fn compile(
        _: Manager,
        _: Option<&str>,
        _: &str,
        _: &BTreeMap<String, String>,
        _: &mut CgroupPlan,
    ) -> Result<Self> {
        missing()
    }

    pub(crate) fn expected_path(_: Manager, _: Option<&str>, _: &str) -> Result<String> {
        missing()
    }

    pub(crate) fn unit(&self) -> &Unit {
        match self.0 {}
    }

    pub(crate) fn connect(&self) -> Result<Link> {
        match self.0 {}
    }

    pub(crate) fn begin(&self, link: &mut Link, _: i32) -> Result<Result<Begun>> {
        match link.0 {}
    }

    pub(crate) fn finish(&self, _: &mut Link, begun: &Begun, _: i32, _: &Hierarchies) -> Result<Location> {
        match begun.0 {}
    }

    pub(crate) fn open(&self, _: &Hierarchies, _: &Location, _: &CgroupPlan) -> Result<Cgroup> {
        match self.0 {}
    }

    pub(crate) fn enter(&self, _: &Cgroup, _: i32) -> Result<()> {
        match self.0 {}
    }
}

impl Unit {
    pub(crate) fn update(&self, _: &mut CgroupPlan) -> Result<()> {
        missing()
    }

    pub(crate) fn set<'a>(&self, _: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<()> {
        missing()
    }

    pub(crate) fn set_devices(&self, _: &[(&'static str, String)]) -> Result<()> {
        missing()
    }

    pub(crate) fn attach(&self, _: &str, _: i32) -> Result<()> {
        missing()
    }

    pub(crate) fn stop(&self, _: bool) -> Result<()> {
        missing()
    }
}
