//! seccomp(2) and seccomp_unotify(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::seccomp::{FLAG_NEW_LISTENER, Instruction};

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Loads a filter for the calling thread; the listener if `flags` ask for one.
pub(crate) fn set_filter(filter: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let operation = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions)", filter.len());
    let len = u16::try_from(filter.len()).map_err(|_| Error::system(operation(), Errno::EINVAL))?;
    let program = Program { len, filter: filter.as_ptr() };
    // SAFETY: `program` and the `len` instructions behind it are borrowed for the whole call and the kernel
    // only reads them; `Instruction` is laid out as `struct sock_filter`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            std::ptr::from_ref(&program),
        )
    };
    if result < 0 {
        let errno = Errno::last();
        let error = Error::system(operation(), errno);
        return Err(match errno {
            Errno::EACCES => {
                error.with_hint("set no_new_privs first, or have CAP_SYS_ADMIN in the user namespace")
            }
            _ => error,
        });
    }
    if flags & FLAG_NEW_LISTENER != 0 {
        // SAFETY: with NEW_LISTENER the result is a new descriptor (TSYNC is only ever combined with
        // TSYNC_ESRCH then, so that it cannot be a thread id), and nobody else knows it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(result as RawFd) }));
    }
    if result > 0 {
        return Err(Error::system(operation(), Errno::ESRCH)
            .reason(format!("thread {result} has a filter of its own and cannot be synchronised")));
    }
    Ok(None)
}

/// Whether this is a listener.
pub(crate) fn is_listener(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    super::has_name(fd, "anon_inode:seccomp notify")
}

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// Pid of the caller in our pid namespace, 0 if it has none.
    pub(crate) pid: u32,
    pub(crate) number: i32,
    pub(crate) first_argument: u64,
}

/// SECCOMP_IOCTL_NOTIF_RECV. It waits until there is one: after poll(2).
pub(crate) fn receive_notification(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    // SAFETY: zero is a valid value of a structure of numbers, and what the call asks for.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and the kernel writes one such structure, whose size is part of
    // the request's number.
    let received =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) };
    Errno::result(received)?;
    Ok(Notification {
        id: notification.id,
        pid: notification.pid,
        number: notification.data.nr,
        first_argument: notification.data.args[0],
    })
}

/// SECCOMP_IOCTL_NOTIF_SEND: the call returns 0 without having been made.
pub(crate) fn answer_notification(listener: BorrowedFd<'_>, id: u64) -> Result<(), Errno> {
    let answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags: 0 };
    // SAFETY: the descriptor is open, and the kernel reads one such structure.
    let sent =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    Errno::result(sent).map(drop)
}
