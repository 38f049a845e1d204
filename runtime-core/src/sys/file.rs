//! flock(2) without nix's owning wrapper: a lock lives as long as its value.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

/// A file to lock. Dropping it lets the lock go.
///
/// By LOCK_UN, not only by closing: a process that another thread of this one forks has a copy of every descriptor until it
/// executes its program, and the lock would last as long as the copy.
#[derive(Debug)]
pub(crate) struct LockFile(OwnedFd);

impl LockFile {
    /// A file that is not locked yet.
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self(file)
    }

    /// Takes the exclusive lock of the open file; EWOULDBLOCK if another open file has it.
    pub(crate) fn try_lock(&self) -> Result<(), Errno> {
        flock(&self.0, libc::LOCK_EX | libc::LOCK_NB)
    }

    /// Takes a lock that goes with others of its kind and not with an exclusive one.
    pub(crate) fn try_share(&self) -> Result<(), Errno> {
        flock(&self.0, libc::LOCK_SH | libc::LOCK_NB)
    }
}

fn flock(file: &OwnedFd, operation: libc::c_int) -> Result<(), Errno> {
    // SAFETY: a plain call on an open descriptor.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop)
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A file without a lock is as good, and the descriptor is closed next.
        flock(&self.0, libc::LOCK_UN).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control: closing alone leaves the lock with a copy of the descriptor.
    #[test]
    fn a_lock_goes_whoever_has_a_copy_of_its_descriptor() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || OwnedFd::from(std::fs::File::open(file.path()).unwrap());
        let other = LockFile::new(open());

        let lock = LockFile::new(open());
        lock.try_lock().unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert_eq!(other.try_lock(), Err(Errno::EWOULDBLOCK));
        drop(lock);
        other.try_lock().unwrap();
        drop((other, copy));

        let closed = open();
        flock(&closed, libc::LOCK_EX).unwrap();
        let copy = closed.try_clone().unwrap();
        drop(closed);
        assert_eq!(LockFile::new(open()).try_lock(), Err(Errno::EWOULDBLOCK));
        drop(copy);
    }
}
