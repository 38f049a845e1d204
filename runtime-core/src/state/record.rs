//! The state file: only what cannot be asked of the kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cgroup::Location;
use crate::cgroup::systemd::Unit;
use crate::launch::StepText;
use crate::resctrl::Place;

/// Version of the state file's layout. A file of another version is reported, not guessed at.
pub(crate) const SCHEMA: u32 = 1;

/// Version of the file of a container whose init waits behind its filter: an older release cannot start it.
pub(crate) const SCHEMA_HELD: u32 = 2;

/// A process beyond doubt: a pid is used again, but not with the same start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Pid in the pid namespace of the runtime.
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub(crate) start_time: u64,
}

/// A mount that was added to a running container: nothing else may be removed from one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddedMount {
    /// Where, as it was asked for.
    pub(crate) destination: String,
    /// The kernel's number of the mount (proc_pid_mountinfo(5)).
    pub(crate) id: u64,
}

/// `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`SCHEMA`] or [`SCHEMA_HELD`].
    pub(crate) schema: u32,
    /// The container's id.
    pub(crate) id: String,
    /// The init; absent until `create` has made it.
    pub(crate) init: Option<Identity>,
    /// Absolute path of the bundle.
    pub(crate) bundle: String,
    /// Absolute path of the root file system.
    pub(crate) rootfs: String,
    /// Time of creation, RFC 3339 in UTC.
    pub(crate) created: String,
    /// Uid of the user who created it.
    pub(crate) owner: u32,
    /// Annotations of the configuration.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Where its cgroups are; absent when it has none of its own.
    pub(crate) cgroup: Option<Location>,
    /// The unit of systemd that its cgroup is of. Written before the unit is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Unit>,
    /// Where it is in resctrl, if the configuration asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<Place>,
    /// It has poststop hooks, which `delete` runs.
    pub(crate) poststop: bool,
    /// Its processes keep the session keyring of their caller.
    #[serde(default)]
    pub(crate) no_new_keyring: bool,
    /// Its init ends all its processes with it: they are in a pid namespace of its own. Absent in the
    /// state of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) own_pid_namespace: Option<bool>,
    /// The path below its cgroup where its processes begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leaf: Option<String>,
    /// The descriptor of the init, a userfaultfd, by which `start` lets it go on: it waits behind its filter
    /// (`Op::Hold`). Such a state has version [`SCHEMA_HELD`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<i32>,
    /// Mounts that were added after its creation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added_mounts: Vec<AddedMount>,
    /// The steps that `start` lets run, in words.
    pub(crate) start_steps: Vec<StepText>,
}

impl Record {
    /// Notes by which descriptor `start` lets the init go on.
    pub(crate) fn set_hold(&mut self, number: Option<i32>) {
        self.schema = if number.is_some() { SCHEMA_HELD } else { SCHEMA };
        self.hold = number;
    }
}
