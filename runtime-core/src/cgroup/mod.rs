//! Control groups: limits on what a container's processes may use, and the handle on all of them.
//!
//! cgroup v2 is the first-class case; v1 and hybrid machines are served the way runc serves them.
//! Everything below a mount point is reached by descriptors, one component or one openat2 at a time;
//! the paths in errors are text only.
//!
//! The parts: [`Hierarchies`] says what the machine has, [`Resources`] are `linux.resources` as
//! checked values, [`CgroupPlan::compile`] turns them into a list of writes without touching anything, [`Cgroup`] makes the directories,
//! writes, and later freezes, kills, measures and removes. [`Location`] is what a state file keeps.
//!
//! The module needs neither a bundle nor a container. To limit a plain process:
//!
//! ```no_run
//! use std::process::Command;
//! use runtime_core::cgroup::resources::Limit;
//! use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Resources};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut resources = Resources::default();
//! resources.memory.limit = Some(Limit::Of(64 << 20));
//! resources.pids = Some(Limit::Of(10));
//! let hierarchies = Hierarchies::detect()?;
//! let plan = CgroupPlan::compile(hierarchies.view(), Some("/sandbox/one"), "one", &resources)?;
//! let cgroup = Cgroup::create(&hierarchies, &plan)?;
//! cgroup.apply(&plan)?;
//!
//! let mut child = Command::new("/bin/sleep").arg("1").spawn()?;
//! cgroup.attach(child.id().try_into()?)?;
//! child.wait()?;
//!
//! cgroup.kill_all()?;
//! cgroup.remove()?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/limit` is a whole program of this kind, and `runtime-core/CGROUPS.md` names the test of each field.
//!
//! What it does not do: the BPF program of device rules, which the caller
//! attaches to [`Cgroup::directory`].

mod apply;
mod attach;
mod create;
mod delegate;
pub mod devices;
mod directory;
mod freeze;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod hierarchy;
#[cfg(feature = "cgroups-rs")]
mod interop;
mod kill;
mod limits;
mod location;
mod mountinfo;
mod oom;
mod plan;
mod processes;
mod remove;
pub mod resources;
mod snapshot;
pub mod stats;
#[cfg(feature = "systemd")]
pub(crate) mod systemd;
#[cfg(not(feature = "systemd"))]
#[path = "without_systemd.rs"]
pub(crate) mod systemd;
mod walk;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

pub(crate) use directory::Directory;
pub use hierarchy::{Hierarchies, Hierarchy, Mode, Version, View};
pub use location::{Location, Place};
pub(crate) use mountinfo::mount_point;
pub use oom::OomWatch;
pub use plan::CgroupPlan;
pub(crate) use plan::{Missing, Write};
pub use resources::Resources;
pub(crate) use snapshot::Snapshot;

use crate::error::{Error, ErrorKind, Result};

/// A cgroup, by a descriptor in every hierarchy it has a directory in.
///
/// Dropping it closes the descriptors and leaves the cgroup as it is.
#[derive(Debug)]
pub struct Cgroup {
    mode: Mode,
    members: Vec<Member>,
}

/// The cgroup's directory in one hierarchy.
#[derive(Debug)]
struct Member {
    place: Place,
    root: Arc<Directory>,
    directory: Directory,
    /// The paths below the root that `create` made, shortest first.
    made: Vec<String>,
    /// The v2 controllers that `create` has seen to.
    enabled: Vec<String>,
}

impl Member {
    fn holds(&self, controller: &str) -> bool {
        self.place.controllers.iter().any(|held| held == controller)
    }

    fn is_unified(&self) -> bool {
        self.place.version == Version::V2
    }
}

impl Cgroup {
    /// The absence of a cgroup: a container whose user may not make one. Every operation does nothing,
    /// except that [`freeze`](Self::freeze) is an error and [`signal_all`](Self::signal_all) finds
    /// nobody.
    pub fn none() -> Self {
        Self { mode: Mode::Unified, members: Vec::new() }
    }

    /// Whether there is no cgroup.
    pub fn is_none(&self) -> bool {
        self.members.is_empty()
    }

    /// Opens the cgroup of a container made earlier. Hierarchies in which its directory has gone are
    /// left out; if it has gone from all, the result [`is_none`](Self::is_none).
    ///
    /// # Errors
    ///
    /// A location with an unclean path, or one that may not be opened.
    pub fn open(location: &Location) -> Result<Self> {
        location.validate()?;
        let mut members = Vec::with_capacity(location.places.len());
        for place in &location.places {
            let root = Directory::open_absolute(&place.mount);
            let Some(root) = directory::unless_gone(root, || format!("open {:?}", place.mount))? else {
                continue;
            };
            hierarchy::verify(&root, place.version)?;
            let opened = directory::unless_gone(root.open_dir(&place.path), || {
                format!("open {:?}", place.absolute())
            })?;
            if let Some(directory) = opened {
                let (place, root) = (place.clone(), Arc::new(root));
                members.push(Member { place, root, directory, made: Vec::new(), enabled: Vec::new() });
            }
        }
        Ok(Self { mode: location.mode, members })
    }

    /// Where the cgroup is, for the state file.
    pub fn location(&self) -> Location {
        Location { mode: self.mode, places: self.members.iter().map(|member| member.place.clone()).collect() }
    }

    /// The cgroup2 directory, to attach a BPF program to; `None` if the machine or the cgroup has none.
    /// On a hybrid machine the v1 devices controller decides as well.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.unified().map(|member| member.directory.as_fd())
    }

    /// The descriptor for `CLONE_INTO_CGROUP` of clone3(2): the cgroup2 directory.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        self.directory()
    }

    /// Whether a process cloned into [`clone_target`](Self::clone_target) still has to
    /// [`join`](Self::join) other hierarchies.
    pub fn needs_join(&self) -> bool {
        self.members.iter().any(|member| !member.is_unified())
    }

    fn unified(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is_unified())
    }

    fn member(&self, controller: &str) -> Option<&Member> {
        match controller {
            "cgroup" => self.unified(),
            _ => self.members.iter().find(|member| member.holds(controller)),
        }
    }

    /// The hierarchy that is asked which processes there are: each holds all of them. v2 first, since
    /// a process begins its life there.
    fn principal(&self) -> Option<&Member> {
        self.unified()
            .or_else(|| ["freezer", "devices", "pids", "memory"].iter().find_map(|name| self.member(name)))
            .or_else(|| self.members.first())
    }
}

/// The error of an operation that needs a cgroup.
fn no_cgroup(operation: &'static str) -> Error {
    Error::new(ErrorKind::Cgroup, operation).reason("the container has no cgroup")
}
