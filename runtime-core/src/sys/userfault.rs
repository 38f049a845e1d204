//! userfaultfd(2): pages of another process that wait to be filled.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Faults of user space alone: that takes no privilege.
const UFFD_USER_MODE_ONLY: libc::c_long = 1;
const UFFDIO_ZEROPAGE: u32 = 0xc020_aa04;

/// `struct uffdio_zeropage`.
#[repr(C)]
struct ZeroPage {
    start: u64,
    len: u64,
    mode: u64,
    done: i64,
}

/// Whether the kernel has the call and lets the caller make it.
pub(crate) fn is_available() -> bool {
    open().is_some()
}

/// A new descriptor, without memory.
pub(crate) fn open() -> Option<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = unsafe {
        libc::syscall(libc::SYS_userfaultfd, libc::c_long::from(libc::O_CLOEXEC) | UFFD_USER_MODE_ONLY)
    };
    // SAFETY: a new descriptor that nobody else owns.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) }).ok()
}

/// Whether this is a descriptor of that call.
pub(crate) fn is_userfaultfd(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    super::has_name(fd, "anon_inode:[userfaultfd]")
}

/// UFFDIO_ZEROPAGE: fills the page at an address with zeros, and wakes the thread that waits for it. EEXIST: it was filled
/// before.
pub(crate) fn fill(fd: BorrowedFd<'_>, address: usize) -> Result<(), Errno> {
    // SAFETY: a plain number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let len = u64::try_from(page).map_err(|_| Errno::EINVAL)?;
    loop {
        let mut request = ZeroPage { start: address as u64, len, mode: 0, done: 0 };
        // SAFETY: the descriptor is open, and the kernel reads and writes one such structure, whose size is part of
        // the request's number. The page is one of the process that made the descriptor.
        let filled = unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_ZEROPAGE as _, &raw mut request) };
        match Errno::result(filled) {
            // Its memory map is being changed.
            Err(Errno::EAGAIN) => {}
            other => return other.map(drop),
        }
    }
}
