//! Handing the cgroup to the container's user, who may then make sub-cgroups in it.

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};

use super::directory::failed;
use super::{Cgroup, no_cgroup};
use crate::error::Result;

/// The kernel's list of files that belong to a delegated cgroup (cgroups(7), "Delegation").
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// What to hand over if the kernel has no list (before Linux 4.15).
const DEFAULT: [&str; 3] = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

impl Cgroup {
    /// Gives the cgroup2 directory and the files that a delegatee writes to `uid` (and `gid`), as seen
    /// from the host. Limits stay with the present owner. Nothing happens without a cgroup2 directory:
    /// v1 cannot be delegated safely.
    ///
    /// Meant for a container with its own cgroup namespace and a writable cgroup mount.
    pub fn delegate(&self, uid: u32, gid: Option<u32>) -> Result<()> {
        let Some(member) = self.unified() else {
            return Ok(());
        };
        let (owner, group) = (Some(Uid::from_raw(uid)), gid.map(Gid::from_raw));
        let chown = |name: &str, flags| match fchownat(&member.directory, name, owner, group, flags) {
            Ok(()) => Ok(()),
            Err(Errno::ENOENT) if !name.is_empty() => Ok(()),
            Err(errno) => Err(failed(format!("chown {:?} to {uid}", member.directory.path_of(name)), errno)),
        };
        chown("", AtFlags::AT_EMPTY_PATH)?;
        let list = std::fs::read_to_string(LIST).unwrap_or_else(|_| DEFAULT.join("\n"));
        list.lines()
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .try_for_each(|name| chown(name, AtFlags::AT_SYMLINK_NOFOLLOW))
    }

    /// Makes the cgroup2 directory `path` below this cgroup and returns the cgroup with that in the
    /// place of its own. A process that begins there leaves this cgroup free to enable controllers
    /// for its sub-cgroups: one that holds processes cannot (cgroups(7), "no internal processes").
    ///
    /// # Errors
    ///
    /// Without a cgroup2 directory; a path that leaves it.
    pub(crate) fn make_leaf(&self, path: &str) -> Result<Self> {
        let member = self.unified().ok_or_else(|| no_cgroup("make a cgroup for the processes"))?;
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let upper = path.get(..end).unwrap_or_default();
            let (parent, name) = upper.rsplit_once('/').unwrap_or(("", upper));
            let made = member.directory.open_dir(parent).and_then(|parent| parent.mkdir(name));
            match made {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => {
                    return Err(failed(format!("mkdir {:?}", member.directory.path_of(upper)), errno));
                }
            }
        }
        self.sub(&[path])
    }
}
