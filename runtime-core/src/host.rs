//! What the host can do and what the caller may do: facts that a plan depends on.
//!
//! Each fact is read at most once, when it is first asked for, and only if it is asked for: a common
//! container needs few of them. Tests give their own facts.
//!
//! ```
//! let host = runtime_core::host::Host::new();
//! println!("Linux {:?}, {} CPUs, root: {}", host.kernel(), host.cpus(), host.is_privileged());
//! ```

use std::os::fd::AsFd as _;
use std::sync::{Arc, OnceLock};

use caps::{CapSet, Capability};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, getegid, geteuid};

use crate::cgroup::{Hierarchies, Mode};
use crate::error::{ErrorKind, Result};
use crate::sys::namespace;

/// Inode of the initial user namespace (`PROC_USER_INIT_INO` of the kernel), the same on each host.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Capability sets of the calling thread, as bit masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnCapabilities {
    /// What the thread may use.
    pub permitted: u64,
    /// What a program may ever get.
    pub bounding: u64,
    /// What a program inherits.
    pub inheritable: u64,
}

/// Facts about the host and the caller.
#[derive(Debug, Default)]
pub struct Host {
    cpus: OnceLock<usize>,
    effective_ids: OnceLock<(u32, u32)>,
    in_user_namespace: OnceLock<bool>,
    owns_mounts: OnceLock<bool>,
    set_groups: OnceLock<bool>,
    capabilities: OnceLock<OwnCapabilities>,
    kernel: OnceLock<(u32, u32)>,
    clone3: OnceLock<bool>,
    userfaults: OnceLock<bool>,
    apparmor: OnceLock<bool>,
    selinux: OnceLock<bool>,
    cgroup_mode: OnceLock<Mode>,
    hierarchies: OnceLock<Option<Arc<Hierarchies>>>,
}

impl Host {
    /// The host that this process runs on.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host of a test: everything is allowed, and no fact comes from this machine. Change single
    /// facts with the `with_` functions.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let all = (1 << 41) - 1;
        Self {
            cpus: OnceLock::from(2),
            effective_ids: OnceLock::from((0, 0)),
            in_user_namespace: OnceLock::from(false),
            owns_mounts: OnceLock::from(true),
            set_groups: OnceLock::from(true),
            capabilities: OnceLock::from(OwnCapabilities { permitted: all, bounding: all, inheritable: 0 }),
            kernel: OnceLock::from((6, 12)),
            clone3: OnceLock::from(true),
            userfaults: OnceLock::from(true),
            apparmor: OnceLock::from(false),
            selinux: OnceLock::from(false),
            cgroup_mode: OnceLock::from(Mode::Unified),
            hierarchies: OnceLock::new(),
        }
    }

    /// Number of CPUs that the caller may run on.
    pub fn cpus(&self) -> usize {
        *self.cpus.get_or_init(|| {
            let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
            let usable = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
            (0..CpuSet::count()).filter(usable).count().max(1)
        })
    }

    /// Effective user and group id of the caller.
    pub(crate) fn effective_ids(&self) -> (u32, u32) {
        *self.effective_ids.get_or_init(|| (geteuid().as_raw(), getegid().as_raw()))
    }

    /// True if the caller is in another user namespace than the initial one.
    pub fn in_user_namespace(&self) -> bool {
        *self.in_user_namespace.get_or_init(|| match nix::sys::stat::stat("/proc/self/ns/user") {
            Ok(stat) => stat.st_ino != INITIAL_USER_NAMESPACE,
            // Without procfs or without user namespaces.
            Err(_) => false,
        })
    }

    /// True if the caller's mount namespace belongs to its user namespace, or to one below that: else its
    /// root may not clone a mount there (open_tree(2)), as after `unshare -Ur` without `-m`.
    pub(crate) fn owns_mounts(&self) -> bool {
        *self.owns_mounts.get_or_init(|| {
            !self.in_user_namespace()
                || std::fs::File::open("/proc/self/ns/mnt")
                    .is_ok_and(|mounts| namespace::owner(mounts.as_fd()).is_ok())
        })
    }

    /// True if setgroups(2) is allowed in the caller's user namespace (user_namespaces(7)).
    pub(crate) fn may_set_groups(&self) -> bool {
        *self.set_groups.get_or_init(|| {
            !self.in_user_namespace()
                || !std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
        })
    }

    /// True if the caller is root of the initial user namespace.
    pub fn is_privileged(&self) -> bool {
        self.effective_ids().0 == 0 && !self.in_user_namespace()
    }

    /// True if the caller may enter a mount namespace of a user namespace below its own (setns(2)): root of
    /// an unprivileged container may not.
    pub(crate) fn may_enter_mounts(&self) -> bool {
        let needed = Capability::CAP_SYS_ADMIN.bitmask() | Capability::CAP_SYS_CHROOT.bitmask();
        self.permitted() & needed == needed
    }

    /// True if the caller may load a device program (bpf(2)).
    pub(crate) fn may_load_programs(&self) -> bool {
        let permitted = self.permitted();
        let has = |needed: &[Capability]| needed.iter().all(|one| permitted & one.bitmask() != 0);
        has(&[Capability::CAP_SYS_ADMIN]) || has(&[Capability::CAP_BPF, Capability::CAP_NET_ADMIN])
    }

    /// Capability sets of the calling thread.
    pub fn capabilities(&self) -> OwnCapabilities {
        *self.capabilities.get_or_init(|| OwnCapabilities {
            permitted: own_set(CapSet::Permitted),
            bounding: own_set(CapSet::Bounding),
            inheritable: own_set(CapSet::Inheritable),
        })
    }

    /// The same, but of the bounding set only what is in `wanted`, if the thread may reduce it: each
    /// capability there is a call.
    pub(crate) fn capabilities_for(&self, wanted: u64) -> OwnCapabilities {
        if let Some(known) = self.capabilities.get() {
            return *known;
        }
        let permitted = self.permitted();
        if permitted & Capability::CAP_SETPCAP.bitmask() == 0 {
            return self.capabilities();
        }
        let bounding = caps::all()
            .into_iter()
            .filter(|capability| wanted & capability.bitmask() != 0)
            .filter(|capability| caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false));
        OwnCapabilities { permitted, bounding: mask(bounding), inheritable: own_set(CapSet::Inheritable) }
    }

    /// The permitted set alone, without a call for each capability of the bounding set.
    fn permitted(&self) -> u64 {
        self.capabilities.get().map_or_else(|| own_set(CapSet::Permitted), |known| known.permitted)
    }

    /// Version of the kernel: major and minor.
    pub fn kernel(&self) -> (u32, u32) {
        *self.kernel.get_or_init(|| {
            let release = nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default();
            let mut numbers =
                release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
            (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
        })
    }

    /// True if userfaultfd(2) may be called: then a container whose filter has a listener waits for `start` behind the
    /// filter. The filters of engines deny the call to containers.
    pub(crate) fn userfaults(&self) -> bool {
        *self.userfaults.get_or_init(crate::sys::userfault::is_available)
    }

    /// True if clone3(2) may be called. The filters of engines deny it to containers: it hides its flags
    /// from them. clone(2) does the same then, but cannot put a process into a cgroup.
    pub(crate) fn clone3(&self) -> bool {
        *self.clone3.get_or_init(crate::sys::probe::has_clone3)
    }

    /// True if AppArmor is enabled.
    pub fn apparmor(&self) -> bool {
        *self.apparmor.get_or_init(|| {
            std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
        })
    }

    /// True if SELinux is enabled.
    pub fn selinux(&self) -> bool {
        *self.selinux.get_or_init(|| std::fs::exists("/sys/fs/selinux/enforce").unwrap_or(false))
    }

    /// How the cgroup file systems are mounted.
    pub(crate) fn cgroup_mode(&self) -> Mode {
        *self.cgroup_mode.get_or_init(|| match self.hierarchies(None) {
            Ok(Some(hierarchies)) => hierarchies.mode(),
            // Without cgroups there is nothing that v1 would need.
            _ => Mode::Unified,
        })
    }

    /// The cgroup hierarchies, with the cgroup of the caller where `cgroups_path` is relative to
    /// that; `None` on a host without cgroups.
    pub(crate) fn hierarchies(&self, cgroups_path: Option<&str>) -> Result<Option<Arc<Hierarchies>>> {
        let relative = cgroups_path.is_some_and(|path| !path.is_empty() && !path.starts_with('/'));
        if let (false, Some(known)) = (relative, self.hierarchies.get()) {
            return Ok(known.clone());
        }
        let found = match Hierarchies::detect_for(cgroups_path) {
            Err(error) if error.kind() == ErrorKind::Unsupported => None,
            other => Some(Arc::new(other?)),
        };
        if !relative {
            return Ok(self.hierarchies.get_or_init(|| found).clone());
        }
        Ok(found)
    }

    /// Replaces how the cgroup file systems are mounted.
    #[must_use]
    pub(crate) fn with_cgroup_mode(mut self, mode: Mode) -> Self {
        self.cgroup_mode = OnceLock::from(mode);
        self
    }

    /// Replaces the number of CPUs.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn with_cpus(mut self, cpus: usize) -> Self {
        self.cpus = OnceLock::from(cpus);
        self
    }

    /// Replaces user and group id of the caller, and whether it is in a user namespace.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn with_user(mut self, uid: u32, gid: u32, in_user_namespace: bool) -> Self {
        self.effective_ids = OnceLock::from((uid, gid));
        self.in_user_namespace = OnceLock::from(in_user_namespace);
        self
    }

    /// Replaces whether the caller's mount namespace belongs to its user namespace.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn with_own_mounts(mut self, own: bool) -> Self {
        self.owns_mounts = OnceLock::from(own);
        self
    }

    /// Replaces the capabilities of the caller.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn with_capabilities(mut self, capabilities: OwnCapabilities) -> Self {
        self.capabilities = OnceLock::from(capabilities);
        self
    }

    /// Replaces what is known of the security modules.
    #[must_use]
    pub fn with_security_modules(mut self, apparmor: bool, selinux: bool) -> Self {
        self.apparmor = OnceLock::from(apparmor);
        self.selinux = OnceLock::from(selinux);
        self
    }
}

/// A capability set of the calling thread.
fn own_set(set: CapSet) -> u64 {
    mask(caps::read(None, set).unwrap_or_default())
}

fn mask(capabilities: impl IntoIterator<Item = Capability>) -> u64 {
    capabilities.into_iter().fold(0, |mask, capability| mask | capability.bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_bounding_set_is_that_of_the_whole() {
        let (part, whole) = (Host::new(), Host::new().capabilities());
        let wanted = Capability::CAP_KILL.bitmask() | Capability::CAP_SYS_RESOURCE.bitmask();
        let found = part.capabilities_for(wanted);
        assert_eq!(found.bounding & wanted, whole.bounding & wanted);
        assert_eq!((found.permitted, found.inheritable), (whole.permitted, whole.inheritable));
    }
}
