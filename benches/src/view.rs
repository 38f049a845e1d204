//! What the runtimes see at /sys/fs/cgroup.

use std::str::FromStr;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use crate::failure::Failure;

/// Where every runtime expects the cgroups.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";

/// Which cgroup hierarchies the runtimes find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Version 2 only, whatever the host mounts. Controllers that the host uses in version 1 are absent.
    V2,
    /// The host's own.
    Host,
}

impl View {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Host => "host",
        }
    }
}

impl FromStr for View {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "v2" => Ok(Self::V2),
            "host" => Ok(Self::Host),
            other => Err(Failure::new(format!("--view {other:?}: there are v2 and host"))),
        }
    }
}

/// Gives this process and its children a mount namespace of their own, with that view in it.
pub(crate) fn enter(view: View) -> Result<(), Failure> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).map_err(Failure::during("make a mount namespace"))?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .map_err(Failure::during("make all mounts private"))?;
    if view == View::V2 {
        // Detached, a mount goes with everything that is mounted below it.
        umount2(CGROUPS, MntFlags::MNT_DETACH).map_err(Failure::during(format!("unmount {CGROUPS}")))?;
        mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), MsFlags::empty(), NONE)
            .map_err(Failure::during(format!("mount cgroup2 on {CGROUPS}")))?;
    }
    Ok(())
}

/// Whether /sys/fs/cgroup itself is cgroup v2: then a default container has a cgroup namespace.
pub(crate) fn is_v2() -> bool {
    statfs(CGROUPS).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}
