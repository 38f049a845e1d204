//! Processes as descriptors: pidfds, waiting, clone3(2).

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;

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

/// The numbers of the descriptors that this process has open, and that of the list itself.
pub(crate) fn open_descriptors() -> std::io::Result<Vec<RawFd>> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.collect())
}
