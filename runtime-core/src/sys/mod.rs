//! Thin system-call wrappers: with `child` and `launch` the only unsafe code of the library.
#![allow(unsafe_code, reason = "the kernel is asked here; each block says why it holds")]

pub(crate) mod bpf;
pub(crate) mod clock;
pub(crate) mod file;
pub(crate) mod fs;
pub(crate) mod memfd;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod seccomp;
pub(crate) mod socket;
pub(crate) mod streams;
pub(crate) mod userfault;

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Whether the kernel's name of an open descriptor is that of a file without a path, such as `anon_inode:[userfaultfd]`. The
/// name of a file with a path begins with a slash, so no file has another's.
pub(crate) fn has_name(fd: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    let link = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    nix::fcntl::readlink(link.as_str()).map(|target| target == name)
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
