//! In the place of resctrl in a build without the feature `resctrl`: a container with `linux.intelRdt` cannot be made, and
//! a deletion leaves the class of service that another build has made.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cgroup::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::IntelRdt;

/// What another build has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place(Value);

/// None: nothing below is reached.
pub(crate) fn mounted() -> Result<Directory> {
    Err(Error::new(ErrorKind::Unsupported, "use the resctrl file system")
        .reason("this program was built without it")
        .origin("linux.intelRdt")
        .with_hint("build runtime-core with its feature resctrl"))
}

impl Place {
    pub(crate) fn new(_: &IntelRdt, _: &str) -> Self {
        Self(Value::Null)
    }

    pub(crate) fn planned(&self, _: &Directory, _: &IntelRdt, _: &str) -> Self {
        self.clone()
    }

    pub(crate) fn make(&mut self, _: &Directory, _: &IntelRdt, _: &str) -> Result<()> {
        mounted().map(drop)
    }

    pub(crate) fn join(&self, _: &Directory, _: i32) -> Result<()> {
        mounted().map(drop)
    }

    pub(crate) fn remove(&self, _: &Directory) -> Result<()> {
        mounted().map(drop)
    }

    pub(crate) fn undo(&self, _: &Directory) {}
}
