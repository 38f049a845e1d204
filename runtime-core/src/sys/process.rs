//! Processes as descriptors: pidfds, waiting, clone3(2).

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::retry;
use crate::error::Error;

/// Calls with every signal of this thread blocked: a handler of the caller's must not run
/// in the child. By raw system calls, since libc leaves its own two signals open.
pub(crate) fn with_signals_blocked<T>(call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut before = 0u64;
    set_signal_mask(&u64::MAX, Some(&mut before))?;
    let result = call();
    set_signal_mask(&before, None)?;
    result
}

fn set_signal_mask(mask: &u64, before: Option<&mut u64>) -> Result<(), Errno> {
    let before = before.map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: both are the kernel's signal set, 64 bits, and outlive the call.
    let set =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask, before, size_of::<u64>()) };
    Errno::result(set).map(drop)
}

/// pidfd_open(2).
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers; a new descriptor that nobody else owns.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0)).map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Sees to it that a process that is made can be signalled and waited for: without the calls for that,
/// nobody could end it.
pub(crate) fn can_be_ended() -> Result<(), Error> {
    // No process has the number 0, nor a descriptor -1.
    let refused = |errno| matches!(errno, Errno::EPERM | Errno::ENOSYS);
    if let Err(errno) = pidfd_open(0)
        && refused(errno)
    {
        return Err(Error::system("pidfd_open of a container's init", errno));
    }
    // SAFETY: plain numbers and a null siginfo; no descriptor, so no signal.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, -1, 0, 0usize, 0) };
    match Errno::result(sent) {
        Err(errno) if refused(errno) => Err(Error::system("pidfd_send_signal to a container's init", errno)),
        _ => Ok(()),
    }
}

/// pidfd_getfd(2): a copy, close-on-exec, of a descriptor of another process.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers; a new descriptor that nobody else owns.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0))
            .map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// pidfd_send_signal(2).
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers and a null siginfo, which the call allows.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0usize, 0) };
    Errno::result(sent).map(drop)
}

/// How a child ended: `(si_code, si_status)`, or `None` when it still runs and `block` is false.
pub(crate) fn wait(pidfd: BorrowedFd<'_>, block: bool) -> Result<Option<(i32, i32)>, Errno> {
    let flags = libc::WEXITED | libc::__WALL | if block { 0 } else { libc::WNOHANG };
    retry(|| {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is writable; the call fills it, and zero is a valid siginfo_t.
        let info = unsafe {
            Errno::result(libc::waitid(
                libc::P_PIDFD,
                pidfd.as_raw_fd() as libc::id_t,
                info.as_mut_ptr(),
                flags,
            ))?;
            info.assume_init()
        };
        // SAFETY: waitid fills the fields of a child's siginfo, or leaves zeroes.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        Ok((pid != 0).then_some((info.si_code, status)))
    })
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// Something else in this program has reaped it, and the kernel keeps no status after that (before Linux 6.15).
    Unknown,
}

/// How a child ended, and reaps it; `None` if it still runs and `block` is false.
///
/// A program may have a reaper of its own, which waits for every child (waitpid(-1), as each containerd shim does) and may be
/// first: then the end is known by the pidfd, and the status by what the kernel keeps for it.
pub(crate) fn ended(pidfd: BorrowedFd<'_>, block: bool) -> Result<Option<Ended>, Errno> {
    let limit = if block { PollTimeout::NONE } else { PollTimeout::ZERO };
    retry(|| poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], limit))?;
    Ok(reaped(pidfd)?.map(|kept| match kept {
        Kept::Status(ended) => ended,
        Kept::NotYet | Kept::Never => Ended::Unknown,
    }))
}

/// Where the status of a process is that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Here.
    Status(Ended),
    /// The kernel will have it when the parent has reaped the process.
    NotYet,
    /// The kernel does not keep it (before Linux 6.15).
    Never,
}

/// Reaps a child that has ended. For a process that something else has reaped or will reap: what the kernel keeps. `None` if
/// it still runs.
pub(crate) fn reaped(pidfd: BorrowedFd<'_>) -> Result<Option<Kept>, Errno> {
    match wait(pidfd, false) {
        Ok(Some((libc::CLD_EXITED, status))) => Ok(Some(Kept::Status(Ended::Exited(status)))),
        Ok(Some((_, signal))) => Ok(Some(Kept::Status(Ended::Killed(signal)))),
        Ok(None) => Ok(None),
        Err(Errno::ECHILD) => {
            let ready = retry(|| poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::ZERO))?;
            Ok((ready > 0).then(|| kept_status(pidfd)))
        }
        Err(errno) => Err(errno),
    }
}

/// `struct pidfd_info` (linux/pidfd.h) in its first size, which has the exit status.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// The kernel takes the size of the structure from the number of the request.
const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// What the kernel keeps of a process that has been reaped, as long as there is a pidfd of it (Linux 6.15).
fn kept_status(pidfd: BorrowedFd<'_>) -> Kept {
    /// `_IOWR(0xff, 11, struct pidfd_info)`.
    const PIDFD_GET_INFO: libc::Ioctl = 0xc040_ff0b;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let ask = || {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the request reads and writes a structure of this size.
        let asked = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        (Errno::result(asked), info)
    };
    let (asked, info) = match ask() {
        // It was reaped after the kernel had looked for its status, and before it looked for the process: the status is there now.
        (Err(Errno::ESRCH), _) => ask(),
        other => other,
    };
    match info.exit_code & 0x7f {
        _ if asked.is_err() => Kept::Never,
        _ if info.mask & PIDFD_INFO_EXIT == 0 => Kept::NotYet,
        0 => Kept::Status(Ended::Exited(info.exit_code >> 8 & 0xff)),
        signal => Kept::Status(Ended::Killed(signal)),
    }
}

/// Waits for the end of a child and reaps it. One that something else in this program has reaped, or that is no child, is as
/// good.
pub(crate) fn reap(pidfd: &OwnedFd) {
    wait(pidfd.as_fd(), true).ok();
}

/// The pidfd of a child of this process, that has not been reaped; `None` if that is no pid of one.
pub(crate) fn own_child(pid: i32) -> Option<OwnedFd> {
    pidfd_open(pid).ok().filter(|pidfd| is_own_child(pidfd.as_fd()))
}

/// Whether it is a child of this process, that has not been reaped.
pub(crate) fn is_own_child(pidfd: BorrowedFd<'_>) -> bool {
    let flags = libc::WEXITED | libc::__WALL | libc::WNOHANG | libc::WNOWAIT;
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is writable; the call leaves an ended child to be waited for.
    let asked =
        unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, info.as_mut_ptr(), flags) };
    asked == 0
}

/// Whether this thread has the descriptor table of its process, and not one of its own (unshare(2), CLONE_FILES).
pub(crate) fn shares_descriptors() -> bool {
    const KCMP_FILES: i32 = 2;
    let (process, thread) = (nix::unistd::getpid().as_raw(), nix::unistd::gettid().as_raw());
    // SAFETY: plain numbers.
    process == thread || unsafe { libc::syscall(libc::SYS_kcmp, process, thread, KCMP_FILES, 0, 0) } == 0
}

/// signal(2): SIGCHLD gets its default disposition.
pub(crate) fn reset_child_signal() -> Result<(), Errno> {
    // SAFETY: the default disposition runs no code of this process.
    match unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(Errno::last()),
        _ => Ok(()),
    }
}

/// Lets a program that is to be started keep descriptors that close on exec here. Done in the child,
/// so that no program that another thread starts meanwhile gets them.
pub(crate) fn pass_descriptors(command: &mut Command, descriptors: Vec<RawFd>) {
    let keep = move || {
        for descriptor in &descriptors {
            // SAFETY: a plain call with numbers.
            Errno::result(unsafe { libc::fcntl(*descriptor, libc::F_SETFD, 0) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls alone; the list is only read.
    unsafe { command.pre_exec(keep) };
}

/// prlimit(2): soft and hard limit of another process.
pub(crate) fn set_limit(pid: i32, resource: u32, limit: (u64, u64)) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: limit.0, rlim_max: limit.1 };
    // SAFETY: `limit` outlives the call, which only reads it; no old value is asked for.
    let set = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, 0usize) };
    Errno::result(set).map(drop)
}

/// Sends a pidfd of this process over a socket. For a child between fork and execve: it makes system calls only.
pub(crate) fn send_own_pidfd(socket: RawFd) -> Result<(), Errno> {
    /// `struct cmsghdr` with one descriptor, padded to whole words.
    #[repr(C)]
    struct Rights {
        header: libc::cmsghdr,
        fd: i32,
        padding: i32,
    }
    let fd = pidfd_open(std::process::id() as i32)?;
    // SAFETY: zero is a valid cmsghdr and a valid msghdr.
    let (mut header, mut message) =
        unsafe { (std::mem::zeroed::<libc::cmsghdr>(), std::mem::zeroed::<libc::msghdr>()) };
    header.cmsg_len = const { size_of::<libc::cmsghdr>() + size_of::<i32>() } as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    let mut rights = Rights { header, fd: fd.as_raw_fd(), padding: 0 };
    let mut byte = [0u8; 1];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: byte.len() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut rights).cast();
    message.msg_controllen = size_of::<Rights>() as _;
    // SAFETY: the message and all that it points to outlive the call.
    Errno::result(unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) }).map(drop)
}

/// sched_setattr(2) of another process, with a `struct sched_attr`.
pub(crate) fn set_scheduler(pid: i32, attributes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the structure begins with its size, and outlives the call, which only reads it.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, attributes.as_ptr(), 0) };
    Errno::result(set).map(drop)
}

/// The numbers of the descriptors that this process has open, and that of the list itself.
pub(crate) fn open_descriptors() -> std::io::Result<Vec<RawFd>> {
    let entries = std::fs::read_dir("/proc/thread-self/fd")?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pid that the container has written must not lead to a process that the caller then ends. Control: a child is known.
    #[test]
    fn only_a_child_is_a_child() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        assert!(own_child(child.id() as i32).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        let parent = nix::unistd::getppid().as_raw();
        for pid in [1, parent, std::process::id() as i32, child.id() as i32, 0, -1] {
            assert!(own_child(pid).is_none(), "{pid}");
        }
    }
}
