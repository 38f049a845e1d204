//! What the kernel's headers have and `core` has not: numbers, flags and structures.

#![allow(missing_docs, reason = "the names are the kernel's")]

pub mod errno;
pub mod nr;

/// Flags of open(2) and openat2(2).
pub const O_ACCMODE: u32 = 3;
pub const O_WRONLY: u32 = 1;
pub const O_RDWR: u32 = 2;
pub const O_CREAT: u32 = 0o100;
pub const O_EXCL: u32 = 0o200;
pub const O_NOCTTY: u32 = 0o400;
pub const O_APPEND: u32 = 0o2000;
pub const O_NONBLOCK: u32 = 0o4000;
#[cfg(target_arch = "x86_64")]
pub const O_DIRECTORY: u32 = 0o200000;
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: u32 = 0o400000;
#[cfg(target_arch = "aarch64")]
pub const O_DIRECTORY: u32 = 0o40000;
#[cfg(target_arch = "aarch64")]
pub const O_NOFOLLOW: u32 = 0o100000;
pub const O_CLOEXEC: u32 = 0o2000000;
pub const O_PATH: u32 = 0o10000000;

/// Flags of openat2(2).
pub const RESOLVE_NO_XDEV: u64 = 1;
pub const RESOLVE_NO_MAGICLINKS: u64 = 2;
pub const RESOLVE_NO_SYMLINKS: u64 = 4;
pub const RESOLVE_BENEATH: u64 = 8;
pub const RESOLVE_IN_ROOT: u64 = 16;

/// Flags of the calls that end in "at".
pub const AT_FDCWD: i32 = -100;
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
pub const AT_EACCESS: u32 = 0x200;
pub const AT_EMPTY_PATH: u32 = 0x1000;
pub const AT_RECURSIVE: u32 = 0x8000;
pub const X_OK: u32 = 1;

/// Types of files.
pub const S_IFMT: u32 = 0o170000;
pub const S_IFDIR: u32 = 0o040000;
pub const S_IFBLK: u32 = 0o060000;
pub const S_IFCHR: u32 = 0o020000;
pub const S_IFREG: u32 = 0o100000;
pub const S_IFLNK: u32 = 0o120000;

/// Magic numbers of file systems (statfs(2)).
pub const PROC_SUPER_MAGIC: usize = 0x9fa0;
pub const DEVPTS_SUPER_MAGIC: usize = 0x1cd1;

/// fcntl(2).
pub const F_GETFD: u32 = 1;
pub const F_SETFD: u32 = 2;
pub const F_GETFL: u32 = 3;
pub const F_SETFL: u32 = 4;
pub const F_DUPFD_CLOEXEC: u32 = 1030;
pub const FD_CLOEXEC: u32 = 1;

/// close_range(2).
pub const CLOSE_RANGE_UNSHARE: u32 = 2;
pub const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// Flags of clone(2), clone3(2), unshare(2) and setns(2).
pub const CLONE_NEWTIME: u64 = 0x80;
pub const CLONE_VM: u64 = 0x100;
pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_PARENT: u64 = 0x8000;
pub const CLONE_NEWNS: u64 = 0x2_0000;
pub const CLONE_SETTLS: u64 = 0x8_0000;
pub const CLONE_PARENT_SETTID: u64 = 0x10_0000;
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
pub const CLONE_NEWPID: u64 = 0x2000_0000;
pub const CLONE_NEWNET: u64 = 0x4000_0000;
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// mount(2) and umount2(2).
pub const MS_MOVE: u64 = 0x2000;
pub const MS_REC: u64 = 0x4000;
pub const MS_PRIVATE: u64 = 1 << 18;
pub const MS_SLAVE: u64 = 1 << 19;
pub const MNT_DETACH: u32 = 2;

/// The calls of the mount API of Linux 5.2.
pub const OPEN_TREE_CLONE: u32 = 1;
pub const FSOPEN_CLOEXEC: u32 = 1;
pub const FSMOUNT_CLOEXEC: u32 = 1;
pub const FSCONFIG_SET_FLAG: u32 = 0;
pub const FSCONFIG_SET_STRING: u32 = 1;
pub const FSCONFIG_SET_FD: u32 = 5;
pub const FSCONFIG_CMD_CREATE: u32 = 6;
pub const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
pub const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
pub const MOUNT_ATTR_RDONLY: u64 = 1;
pub const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

/// Signals, and waitid(2).
pub const SIGHUP: u32 = 1;
pub const SIGINT: u32 = 2;
pub const SIGQUIT: u32 = 3;
pub const SIGKILL: u32 = 9;
pub const SIGTERM: u32 = 15;
pub const SIGCHLD: u32 = 17;
pub const SIGSTOP: u32 = 19;
/// Number of signals.
pub const SIGNALS: u32 = 64;
pub const SIG_SETMASK: u32 = 2;
pub const P_PID: u32 = 1;
pub const P_PIDFD: u32 = 3;
pub const WEXITED: u32 = 4;
pub const WALL: u32 = 0x4000_0000;
pub const CLD_EXITED: i32 = 1;
pub const POLLIN: u16 = 1;

/// prctl(2).
pub const PR_SET_DUMPABLE: u32 = 4;
pub const PR_SET_KEEPCAPS: u32 = 8;
pub const PR_CAPBSET_DROP: u32 = 24;
pub const PR_SET_NO_NEW_PRIVS: u32 = 38;
pub const PR_CAP_AMBIENT: u32 = 47;
pub const PR_CAP_AMBIENT_RAISE: u32 = 2;
pub const PR_CAP_AMBIENT_CLEAR_ALL: u32 = 4;

/// capset(2).
pub const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// seccomp(2).
pub const SECCOMP_SET_MODE_FILTER: u32 = 1;
pub const SECCOMP_RET_KILL_PROCESS: u32 = 0x8000_0000;
pub const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;
/// Offsets in `struct seccomp_data`.
pub const SECCOMP_DATA_NR: u32 = 0;
pub const SECCOMP_DATA_ARCH: u32 = 4;
/// The architecture that the program is compiled for, as filters name it.
#[cfg(target_arch = "x86_64")]
pub const AUDIT_ARCH: u32 = 0xc000_003e;
/// The architecture that the program is compiled for, as filters name it.
#[cfg(target_arch = "aarch64")]
pub const AUDIT_ARCH: u32 = 0xc000_00b7;

/// capabilities(7), as masks.
pub const CAP_SYS_ADMIN: u64 = 1 << 21;

/// keyctl(2).
pub const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
pub const KEYCTL_SETPERM: u32 = 5;
pub const KEYCTL_DESCRIBE: u32 = 6;

/// Sockets.
pub const AF_UNIX: u32 = 1;
pub const AF_INET: u32 = 2;
pub const AF_NETLINK: u32 = 16;
pub const SOCK_DGRAM: u32 = 2;
pub const SOCK_RAW: u32 = 3;
pub const SOCK_SEQPACKET: u32 = 5;
pub const NETLINK_ROUTE: u32 = 0;
pub const SOL_SOCKET: i32 = 1;
pub const SCM_RIGHTS: i32 = 1;
pub const MSG_DONTWAIT: u32 = 0x40;
pub const MSG_NOSIGNAL: u32 = 0x4000;
pub const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

/// ioctl(2).
pub const TIOCSCTTY: u32 = 0x540e;
pub const TIOCSWINSZ: u32 = 0x5414;
pub const TIOCGPTPEER: u32 = 0x5441;
pub const TIOCSPTLCK: u32 = 0x4004_5431;
pub const SIOCGSKNS: u32 = 0x894c;
pub const SIOCSIFFLAGS: u32 = 0x8914;
pub const IFF_UP: u8 = 1;

/// Memory.
pub const PROT_READ: u32 = 1;
pub const PROT_WRITE: u32 = 2;
pub const MAP_SHARED: u32 = 1;
pub const MAP_PRIVATE: u32 = 2;
pub const MAP_ANONYMOUS: u32 = 0x20;
pub const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;
pub const MADV_DONTFORK: u32 = 10;
pub const MFD_CLOEXEC: u32 = 1;
pub const SEEK_SET: u32 = 0;
pub const SEEK_END: u32 = 2;

/// userfaultfd(2). The page is for reads of this program alone, not for those that the kernel makes for it.
pub const UFFD_USER_MODE_ONLY: u32 = 1;
pub const UFFD_API: u64 = 0xaa;
pub const UFFDIO_API: u32 = 0xc018_aa3f;
pub const UFFDIO_REGISTER: u32 = 0xc020_aa00;
pub const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;

/// clock_gettime(2).
pub const CLOCK_MONOTONIC: u32 = 1;

/// Who ioprio_set(2) is for.
pub const IOPRIO_WHO_PROCESS: u32 = 1;

/// `struct clone_args` of clone3(2).
#[repr(C)]
#[derive(Debug, Default)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// `struct open_how` of openat2(2).
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OpenHow {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct MountAttr {
    pub set: u64,
    pub clear: u64,
    pub propagation: u64,
    pub userns: u64,
}

/// `struct statx` of statx(2), as far as anything here asks.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Stat {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u16,
    pad0: u16,
    pub inode: u64,
    pub size: u64,
    blocks: u64,
    attributes_mask: u64,
    times: [u64; 8],
    pub device_major: u32,
    pub device_minor: u32,
    filesystem: [u32; 2],
    mount: u64,
    rest: [u64; 13],
}

/// The kernel writes this much.
const _: () = assert!(size_of::<Stat>() == 256);

impl Stat {
    /// The type bits of the mode.
    pub fn kind(&self) -> u32 {
        u32::from(self.mode) & S_IFMT
    }

    /// The permission bits of the mode.
    pub fn permissions(&self) -> u32 {
        u32::from(self.mode) & 0o7777
    }

    /// Whether it is the character device with these numbers.
    pub fn is_character_device(&self, major: u32, minor: u32) -> bool {
        self.kind() == S_IFCHR && (self.device_major, self.device_minor) == (major, minor)
    }

    /// Whether both are of the same file.
    pub fn is_same_file(&self, other: &Stat) -> bool {
        (self.inode, self.filesystem) == (other.inode, other.filesystem)
    }

    /// Whether both are of the same file, on the same mount.
    pub fn is_same_place(&self, other: &Stat) -> bool {
        self.is_same_file(other) && self.mount == other.mount
    }
}

/// `struct __user_cap_data_struct` of capset(2), half of a set.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilityHalf {
    pub effective: u32,
    pub permitted: u32,
    pub inheritable: u32,
}

/// Packs the number of a device, as makedev(3).
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (major & 0xfff) << 8 | (major & !0xfff) << 32 | (minor & 0xff) | (minor & !0xff) << 12
}

/// The major number of a packed one.
pub const fn major(device: u64) -> u32 {
    ((device >> 8) & 0xfff) as u32 | ((device >> 32) & 0xffff_f000) as u32
}

/// The minor number of a packed one.
pub const fn minor(device: u64) -> u32 {
    (device & 0xff) as u32 | ((device >> 12) & 0xffff_ff00) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_come_back() {
        for (major_number, minor_number) in
            [(0, 0), (1, 3), (5, 2), (4095, 255), (4096, 256), (u32::MAX, u32::MAX)]
        {
            let device = makedev(major_number, minor_number);
            assert_eq!((major(device), minor(device)), (major_number, minor_number));
        }
        assert_eq!(makedev(1, 3), 0x103);
    }
}
