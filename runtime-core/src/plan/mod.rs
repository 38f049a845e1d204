//! The launch plan: everything that a container's start needs, computed before the host is touched.
//!
//! `compile` is pure: it does no input or output, and the same configuration, options and host
//! facts give the same plan. One file per subject makes operations; only `order` knows their
//! sequence.
//!
//! ```
//! use runtime_core::plan::{CreateOptions, ExecOptions, ExecveFailure};
//!
//! let create = CreateOptions::new().no_new_keyring(true).on_execve_failure(ExecveFailure::Error);
//! let exec = ExecOptions::new().ignore_paused(true);
//! ```

mod caps;
mod cgroup_mount;
mod devices;
mod explain;
mod hooks;
mod idmap;
mod image;
mod io;
mod lanes;
mod lsm;
mod namespaces;
mod options;
mod order;
mod overlay;
mod process;
mod rlimits;
mod rootfs;
mod scheduler;
mod seccomp;
mod sysctl;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Result;
use crate::executor::Handler;
use crate::host::Host;
use crate::origin::Origin;
use crate::spec::{ValidProcess, ValidSpec};
use runtime_init::ops::{Point, Slot};

pub(crate) use image::ChildPlan;
pub use options::{CreateOptions, ExecOptions, ExecveFailure};

/// The launch of an init or of an exec, complete and immutable.
#[derive(Debug)]
pub(crate) struct LaunchPlan {
    /// The lanes of stage 0 and of the init.
    pub(crate) child: ChildPlan,
    /// The caller writes the limits of the cgroup before the init is in it: the controllers of v1 want that.
    pub(crate) limits_first: bool,
    /// The caller's lane, in order, from when stage 0 has its plan on.
    pub(crate) parent: Vec<ParentOp>,
    /// CLONE_NEW* of the namespaces that the clone of the init makes.
    pub(crate) clone_flags: u64,
    /// Namespaces to join, opened by the caller and given to stage 0 in `slot`.
    pub(crate) joins: Vec<Join>,
    /// Id maps of a new user namespace, written before the init does anything.
    pub(crate) id_maps: Option<IdMaps>,
    /// What the caller should tell the user: things that the specification lets a runtime leave
    /// out, such as capabilities that cannot be granted.
    pub(crate) warnings: Vec<String>,
    /// What only who looks for a problem wants to know: names in a seccomp profile that no kernel of
    /// this architecture has.
    pub(crate) notes: Vec<String>,
    /// Number of descriptors from 3 on that the program gets: sockets to listen on, then others.
    pub(crate) preserved: u32,
    /// The process gets a terminal, whose master the child sends.
    pub(crate) terminal: bool,
    /// The program that is executed in the place of one of the container.
    pub(crate) handler: Option<Handler>,
}

impl LaunchPlan {
    /// Compiles the creation of a container. Does no input or output besides what `host` reads.
    ///
    /// Fails if the host or the options rule out what the configuration asks for.
    pub(crate) fn create(spec: &ValidSpec, host: &Host, options: &CreateOptions) -> Result<Self> {
        order::create(spec, host, options)
    }

    /// Compiles the entry of a process into the running container that `spec` describes.
    pub(crate) fn exec(
        spec: &ValidSpec,
        process: &ValidProcess,
        host: &Host,
        options: &ExecOptions,
    ) -> Result<Self> {
        order::exec(spec, process, host, options)
    }
}

/// A namespace to join by path.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Slot of its descriptor.
    pub(crate) slot: Slot,
    /// CLONE_NEW* of its kind: what the descriptor must be.
    pub(crate) kind: u32,
    /// Path of the nsfs file on the host.
    pub(crate) path: String,
    /// JSON path of the request.
    pub(crate) origin: String,
    /// What the path led to, if it is open already.
    pub(crate) held: Option<Arc<OwnedFd>>,
}

/// Contents of uid_map and gid_map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMaps {
    /// Lines of `container host size`.
    pub(crate) uid: Vec<IdRange>,
    /// Lines of `container host size`.
    pub(crate) gid: Vec<IdRange>,
    /// Write "deny" to setgroups first: what an unprivileged gid map needs.
    pub(crate) deny_setgroups: bool,
}

/// One extent of an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// Number of ids.
    pub size: u32,
}

impl IdRange {
    /// The text of uid_map or gid_map (user_namespaces(7)).
    pub(crate) fn lines(ranges: &[IdRange]) -> String {
        ranges.iter().map(|range| format!("{} {} {}\n", range.container, range.host, range.size)).collect()
    }
}

/// An operation of the caller's lane.
#[derive(Debug, Clone)]
pub(crate) enum ParentOp {
    /// Has systemd make the unit around the init, and opens its cgroup.
    StartUnit,
    /// Puts the process into cgroups that a service manager keeps: it can neither be cloned into them nor enter them.
    JoinCgroup,
    /// Writes the limits of the cgroup.
    ApplyLimits,
    /// Loads and attaches the device program.
    AttachDevices,
    /// Puts the process into its class of service (resctrl).
    JoinResctrl,
    /// prlimit(2) of the init, for which a child in a user namespace has no right.
    Rlimit {
        /// RLIMIT_*.
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
        /// JSON path.
        origin: Origin,
    },
    /// Writes oom_score_adj of the init, for which a child in a user namespace has no right.
    OomScoreAdj {
        /// -1000 to 1000.
        value: i32,
        /// JSON path.
        origin: Origin,
    },
    /// Takes from the init what it reports on its way: the process that goes on behind `Op::ForkIntoPidNamespace` is known
    /// then.
    Follow,
    /// sched_setattr(2) of the process with this `struct sched_attr`.
    Scheduler {
        /// The structure.
        attributes: Vec<u8>,
        /// JSON path.
        origin: Origin,
    },
    /// Takes from the child what it reports on its way, the process that goes on behind
    /// `Op::ForkIntoPidNamespace` and the terminal, and then sends the word for its `Op::AwaitWord`.
    LetRun,
    /// Waits until the child is at `point`, does what belongs there (hooks), and lets it go on.
    Answer(Point),
}

/// The id map of a mount.
#[derive(Debug, Clone)]
pub(crate) enum MountIdMap {
    /// That of the container's user namespace.
    Container {
        /// Apply to the mounts below too.
        recursive: bool,
    },
    /// One of its own.
    Own {
        /// Uid extents.
        uid: Vec<IdRange>,
        /// Gid extents.
        gid: Vec<IdRange>,
        /// Apply to the mounts below too.
        recursive: bool,
    },
}

#[cfg(test)]
mod tests;
