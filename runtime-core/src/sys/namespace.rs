//! Namespaces of the calling thread and nsfs descriptors.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// `_IO(0xb7, 1)`: the user namespace that an nsfs descriptor's namespace belongs to (ioctl_ns(2)).
const NS_GET_USERNS: libc::Ioctl = 0xb701;
/// `_IO(0xb7, 3)`: the kind (CLONE_NEW*) of an nsfs descriptor.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// setns(2).
pub(crate) fn setns(namespace: BorrowedFd<'_>, kind: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::setns(namespace.as_raw_fd(), kind) }).map(drop)
}

/// unshare(2).
pub(crate) fn unshare(flags: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers; callers pass only namespaces that Rust's own state does not depend on.
    Errno::result(unsafe { libc::unshare(flags) }).map(drop)
}

/// Gives the calling thread a root and working directory of its own, and leads it into the mount
/// namespace of a process, whose root both then are.
pub(crate) fn enter_mount_namespace(process: BorrowedFd<'_>) -> Result<(), Errno> {
    unshare(libc::CLONE_FS)?;
    setns(process, libc::CLONE_NEWNS)
}

/// Unmounts what is mounted at the root of the mount that `mount` is on, wherever that is now.
///
/// umount2(2) takes a path: the descriptor's name in `descriptors`, this thread's /proc/thread-self/fd,
/// which becomes its working directory. The thread must have one of its own
/// ([`enter_mount_namespace`]).
pub(crate) fn unmount_descriptor(descriptors: BorrowedFd<'_>, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a plain number.
    Errno::result(unsafe { libc::syscall(libc::SYS_fchdir, descriptors.as_raw_fd()) })?;
    let name = mount.as_raw_fd().to_string();
    nix::mount::umount2(name.as_str(), nix::mount::MntFlags::MNT_DETACH)
}

/// The kind (CLONE_NEW*) of a namespace; ENOTTY for a file that is none.
pub(crate) fn kind(namespace: BorrowedFd<'_>) -> Result<u32, Errno> {
    // SAFETY: the request takes no argument.
    Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) }).map(|kind| kind as u32)
}

/// The user namespace that a namespace belongs to; EPERM if that is neither the caller's own nor one
/// below it, so that the caller has no capability there.
pub(crate) fn owner(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes no argument and makes a new descriptor that nobody else owns.
    unsafe {
        Errno::result(libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS)).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}
