//! flock(2) without nix's owning wrapper: the lock lives as long as the descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Takes a lock that goes with others of its kind and not with an exclusive one, or says EWOULDBLOCK.
pub(crate) fn try_share(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_SH | libc::LOCK_NB) }).map(drop)
}

/// Takes an exclusive lock, or says EWOULDBLOCK.
pub(crate) fn try_lock(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}
