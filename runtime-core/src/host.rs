//! What the host can do and what the caller may do: facts that a plan depends on.
//!
//! Each fact is read at most once, when it is first asked for, and only if it is asked for: a common
//! container needs few of them. Tests give their own facts ([`Host::for_tests`]).

use std::sync::OnceLock;

use caps::CapSet;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, getegid, geteuid};

/// Inode of the initial user namespace (`PROC_USER_INIT_INO` of the kernel), the same on each host.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// How the cgroup file systems are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupMode {
    /// Only v2, at /sys/fs/cgroup.
    Unified,
    /// v1 controllers, with v2 at /sys/fs/cgroup/unified.
    Hybrid,
    /// Only v1.
    Legacy,
}

/// The cgroup file systems, as far as mounts in a container need them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupView {
    /// How they are mounted.
    pub mode: CgroupMode,
    /// The mounts of v1 hierarchies.
    pub v1: Vec<V1Mount>,
}

/// A mount of a v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V1Mount {
    /// Its name below /sys/fs/cgroup, such as `cpu,cpuacct`.
    pub dir_name: String,
    /// Its options: the controllers, or `none` and `name=systemd`.
    pub options: Vec<String>,
    /// The directory of the container's cgroup on the host.
    pub own_path: String,
    /// Symbolic links to it below /sys/fs/cgroup, such as `cpu` and `cpuacct`.
    pub links: Vec<String>,
}

/// Capability sets of the calling thread, as bit masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    capabilities: OnceLock<OwnCapabilities>,
    kernel: OnceLock<(u32, u32)>,
    apparmor: OnceLock<bool>,
    selinux: OnceLock<bool>,
    cgroup: OnceLock<CgroupView>,
}

impl Host {
    /// The host that this process runs on.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host of a test: everything is allowed, and no fact comes from this machine. Change single
    /// facts with the `with_` functions.
    pub fn for_tests() -> Self {
        let all = (1 << 41) - 1;
        Self {
            cpus: OnceLock::from(2),
            effective_ids: OnceLock::from((0, 0)),
            in_user_namespace: OnceLock::from(false),
            capabilities: OnceLock::from(OwnCapabilities {
                permitted: all,
                bounding: all,
                inheritable: 0,
            }),
            kernel: OnceLock::from((6, 12)),
            apparmor: OnceLock::from(false),
            selinux: OnceLock::from(false),
            cgroup: OnceLock::from(CgroupView {
                mode: CgroupMode::Unified,
                v1: Vec::new(),
            }),
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
    pub fn effective_ids(&self) -> (u32, u32) {
        *self
            .effective_ids
            .get_or_init(|| (geteuid().as_raw(), getegid().as_raw()))
    }

    /// True if the caller is in another user namespace than the initial one.
    pub fn in_user_namespace(&self) -> bool {
        *self
            .in_user_namespace
            .get_or_init(|| match nix::sys::stat::stat("/proc/self/ns/user") {
                Ok(stat) => stat.st_ino != INITIAL_USER_NAMESPACE,
                // Without procfs or without user namespaces.
                Err(_) => false,
            })
    }

    /// True if the caller is root of the initial user namespace.
    pub fn is_privileged(&self) -> bool {
        self.effective_ids().0 == 0 && !self.in_user_namespace()
    }

    /// Capability sets of the calling thread.
    pub fn capabilities(&self) -> OwnCapabilities {
        *self.capabilities.get_or_init(|| {
            let mask = |set| {
                let capabilities = caps::read(None, set).unwrap_or_default();
                capabilities
                    .iter()
                    .fold(0, |mask, capability| mask | capability.bitmask())
            };
            OwnCapabilities {
                permitted: mask(CapSet::Permitted),
                bounding: mask(CapSet::Bounding),
                inheritable: mask(CapSet::Inheritable),
            }
        })
    }

    /// Version of the kernel: major and minor.
    pub fn kernel(&self) -> (u32, u32) {
        *self.kernel.get_or_init(|| {
            let release = nix::sys::utsname::uname()
                .map(|name| name.release().to_string_lossy().into_owned())
                .unwrap_or_default();
            let mut numbers = release
                .split(|c: char| !c.is_ascii_digit())
                .map(|part| part.parse().unwrap_or(0));
            (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
        })
    }

    /// True if AppArmor is enabled.
    pub fn apparmor(&self) -> bool {
        *self.apparmor.get_or_init(|| {
            std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
        })
    }

    /// True if SELinux is enabled.
    pub fn selinux(&self) -> bool {
        *self
            .selinux
            .get_or_init(|| std::fs::exists("/sys/fs/selinux/enforce").unwrap_or(false))
    }

    /// The cgroup file systems.
    pub fn cgroup(&self) -> &CgroupView {
        self.cgroup.get_or_init(|| {
            let unified = nix::sys::statfs::statfs("/sys/fs/cgroup")
                .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC);
            CgroupView {
                mode: if unified {
                    CgroupMode::Unified
                } else {
                    CgroupMode::Legacy
                },
                v1: Vec::new(),
            }
        })
    }

    /// Replaces what is known of the cgroup file systems, before they are first asked for.
    #[must_use]
    pub fn with_cgroup(mut self, view: CgroupView) -> Self {
        self.cgroup = OnceLock::from(view);
        self
    }

    /// Replaces the number of CPUs.
    #[must_use]
    pub fn with_cpus(mut self, cpus: usize) -> Self {
        self.cpus = OnceLock::from(cpus);
        self
    }

    /// Replaces user and group id of the caller, and whether it is in a user namespace.
    #[must_use]
    pub fn with_user(mut self, uid: u32, gid: u32, in_user_namespace: bool) -> Self {
        self.effective_ids = OnceLock::from((uid, gid));
        self.in_user_namespace = OnceLock::from(in_user_namespace);
        self
    }

    /// Replaces the capabilities of the caller.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: OwnCapabilities) -> Self {
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
