//! Raw system calls without libc: for the init, and for the few calls between clone3 and execveat,
//! where libc's errno would be the caller's.
//!
//! Every function here is a call as the kernel has it; pointers must be valid for what the call
//! does with them, for the duration of the call.

use core::arch::asm;

/// The result of a system call: its value, or the errno.
pub type Result = core::result::Result<usize, i32>;

/// `struct clone_args` of clone3(2).
#[allow(missing_docs, reason = "the names are the kernel's")]
#[repr(C)]
#[derive(Default)]
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

/// Calls the kernel.
///
/// # Safety
/// The arguments must be what call `nr` expects; memory that they point to must be valid.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub unsafe fn syscall(nr: usize, a: [usize; 6]) -> Result {
    let value: isize;
    // SAFETY: the caller vouches for the arguments; the clobbers are those of the `syscall`
    // instruction.
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => value,
             in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result(value)
}

/// Calls the kernel.
///
/// # Safety
/// The arguments must be what call `nr` expects; memory that they point to must be valid.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub unsafe fn syscall(nr: usize, a: [usize; 6]) -> Result {
    let value: isize;
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        asm!("svc 0", in("x8") nr, inlateout("x0") a[0] as isize => value,
             in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    result(value)
}

#[inline]
fn result(value: isize) -> Result {
    if (-4095..0).contains(&value) { Err(-value as i32) } else { Ok(value as usize) }
}

/// `call!(NR, args…)`: a system call with its arguments cast to words.
#[macro_export]
#[doc(hidden)]
macro_rules! call {
    ($nr:expr $(, $arg:expr)*) => {{
        let given = [$($arg as usize),*];
        let mut all = [0usize; 6];
        let mut at = 0;
        while at < given.len() {
            all[at] = given[at];
            at += 1;
        }
        // SAFETY: each use names the call and passes what it expects; buffers are locals or
        // arena strings that outlive the call.
        unsafe { $crate::syscall::syscall($nr, all) }
    }};
}

/// Call numbers that differ between architectures.
#[allow(missing_docs, reason = "the names are the kernel's")]
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub mod nr {
    pub const READ: usize = 0; pub const WRITE: usize = 1; pub const CLOSE: usize = 3; pub const PPOLL: usize = 271;
    pub const LSEEK: usize = 8; pub const MMAP: usize = 9; pub const MUNMAP: usize = 11; pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14; pub const IOCTL: usize = 16; pub const SOCKET: usize = 41;
    pub const SENDFILE: usize = 40; pub const SENDMSG: usize = 46; pub const RECVMSG: usize = 47;
    pub const CLONE: usize = 56; pub const EXECVE: usize = 59; pub const WAITID: usize = 247;
    pub const FCNTL: usize = 72; pub const GETCWD: usize = 79; pub const CHDIR: usize = 80; pub const FCHDIR: usize = 81;
    pub const FSETXATTR: usize = 190;
    pub const FCHMOD: usize = 91; pub const FCHOWN: usize = 93; pub const UMASK: usize = 95; pub const GETPID: usize = 39;
    pub const GETUID: usize = 102; pub const SETSID: usize = 112; pub const SETRESUID: usize = 117;
    pub const GETRESUID: usize = 118; pub const SETRESGID: usize = 119; pub const GETRESGID: usize = 120;
    pub const SETGROUPS: usize = 116; pub const GETGROUPS: usize = 115; pub const CAPGET: usize = 125;
    pub const CAPSET: usize = 126; pub const PERSONALITY: usize = 135; pub const FSTATFS: usize = 138;
    pub const PRCTL: usize = 157; pub const CHROOT: usize = 161; pub const MOUNT: usize = 165; pub const UMOUNT2: usize = 166;
    pub const PIVOT_ROOT: usize = 155; pub const SETHOSTNAME: usize = 170; pub const SETDOMAINNAME: usize = 171;
    pub const SCHED_SETAFFINITY: usize = 203; pub const GETDENTS64: usize = 217; pub const EXIT_GROUP: usize = 231;
    pub const KEYCTL: usize = 250; pub const IOPRIO_SET: usize = 251; pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258; pub const MKNODAT: usize = 259; pub const FCHOWNAT: usize = 260;
    pub const SYMLINKAT: usize = 266; pub const READLINKAT: usize = 267;
    pub const UNSHARE: usize = 272; pub const STATX: usize = 332; pub const SETNS: usize = 308; pub const ACCEPT4: usize = 288;
    pub const DUP3: usize = 292; pub const USERFAULTFD: usize = 323; pub const PRLIMIT64: usize = 302; pub const SET_MEMPOLICY: usize = 238;
    pub const SCHED_SETATTR: usize = 314; pub const SECCOMP: usize = 317; pub const EXECVEAT: usize = 322;
    pub const MEMFD_CREATE: usize = 319; pub const FACCESSAT: usize = 269;
    pub const ADD_KEY: usize = 248; pub const REQUEST_KEY: usize = 249; pub const KILL: usize = 62;
    pub const CLOCK_GETTIME: usize = 228; pub const SCHED_YIELD: usize = 24; pub const SOCKETPAIR: usize = 53; pub const GETPPID: usize = 110; pub const MADVISE: usize = 28; pub const EXIT: usize = 60;
}

/// Call numbers that differ between architectures.
#[allow(missing_docs, reason = "the names are the kernel's")]
#[cfg(target_arch = "aarch64")]
#[rustfmt::skip]
pub mod nr {
    pub const READ: usize = 63; pub const WRITE: usize = 64; pub const CLOSE: usize = 57; pub const PPOLL: usize = 73;
    pub const LSEEK: usize = 62; pub const MMAP: usize = 222; pub const MUNMAP: usize = 215; pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135; pub const IOCTL: usize = 29; pub const SOCKET: usize = 198;
    pub const SENDFILE: usize = 71; pub const SENDMSG: usize = 211; pub const RECVMSG: usize = 212;
    pub const CLONE: usize = 220; pub const EXECVE: usize = 221; pub const WAITID: usize = 95;
    pub const FCNTL: usize = 25; pub const GETCWD: usize = 17; pub const CHDIR: usize = 49; pub const FCHDIR: usize = 50;
    pub const FSETXATTR: usize = 7;
    pub const FCHMOD: usize = 52; pub const FCHOWN: usize = 55; pub const UMASK: usize = 166; pub const GETPID: usize = 172;
    pub const GETUID: usize = 174; pub const SETSID: usize = 157; pub const SETRESUID: usize = 147;
    pub const GETRESUID: usize = 148; pub const SETRESGID: usize = 149; pub const GETRESGID: usize = 150;
    pub const SETGROUPS: usize = 159; pub const GETGROUPS: usize = 158; pub const CAPGET: usize = 90;
    pub const CAPSET: usize = 91; pub const PERSONALITY: usize = 92; pub const FSTATFS: usize = 44;
    pub const PRCTL: usize = 167; pub const CHROOT: usize = 51; pub const MOUNT: usize = 40; pub const UMOUNT2: usize = 39;
    pub const PIVOT_ROOT: usize = 41; pub const SETHOSTNAME: usize = 161; pub const SETDOMAINNAME: usize = 162;
    pub const SCHED_SETAFFINITY: usize = 122; pub const GETDENTS64: usize = 61; pub const EXIT_GROUP: usize = 94;
    pub const KEYCTL: usize = 219; pub const IOPRIO_SET: usize = 30; pub const OPENAT: usize = 56;
    pub const MKDIRAT: usize = 34; pub const MKNODAT: usize = 33; pub const FCHOWNAT: usize = 54;
    pub const SYMLINKAT: usize = 36; pub const READLINKAT: usize = 78;
    pub const UNSHARE: usize = 97; pub const STATX: usize = 291; pub const SETNS: usize = 268; pub const ACCEPT4: usize = 242;
    pub const DUP3: usize = 24; pub const USERFAULTFD: usize = 282; pub const PRLIMIT64: usize = 261; pub const SET_MEMPOLICY: usize = 237;
    pub const SCHED_SETATTR: usize = 274; pub const SECCOMP: usize = 277; pub const EXECVEAT: usize = 281;
    pub const MEMFD_CREATE: usize = 279; pub const FACCESSAT: usize = 48;
    pub const ADD_KEY: usize = 217; pub const REQUEST_KEY: usize = 218; pub const KILL: usize = 129; pub const CLOCK_GETTIME: usize = 113;
    pub const SCHED_YIELD: usize = 124; pub const SOCKETPAIR: usize = 199; pub const GETPPID: usize = 173; pub const MADVISE: usize = 233; pub const EXIT: usize = 93;
}

/// Call numbers that all architectures share.
#[allow(missing_docs, reason = "the names are the kernel's")]
pub mod common {
    pub const OPEN_TREE: usize = 428;
    pub const MOVE_MOUNT: usize = 429;
    pub const FSOPEN: usize = 430;
    pub const FSCONFIG: usize = 431;
    pub const FSMOUNT: usize = 432;
    pub const PIDFD_SEND_SIGNAL: usize = 424;
    pub const PIDFD_OPEN: usize = 434;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const OPENAT2: usize = 437;
    pub const PIDFD_GETFD: usize = 438;
    pub const FACCESSAT2: usize = 439;
    pub const MOUNT_SETATTR: usize = 442;
}
