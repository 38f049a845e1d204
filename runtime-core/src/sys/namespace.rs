//! Namespaces of the calling thread and nsfs descriptors.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// `_IO(0xb7, 1)`: the user namespace that an nsfs descriptor's namespace belongs to (ioctl_ns(2)).
const NS_GET_USERNS: libc::Ioctl = 0xb701;
/// `_IO(0xb7, 3)`: the kind (CLONE_NEW*) of an nsfs descriptor.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// unshare(2).
pub(crate) fn unshare(flags: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers; callers pass only namespaces that Rust's own state does not depend on.
    Errno::result(unsafe { libc::unshare(flags) }).map(drop)
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
