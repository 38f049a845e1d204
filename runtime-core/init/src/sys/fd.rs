//! Descriptors: owned ones, which are closed when they are dropped, and borrowed ones.

use core::marker::PhantomData;

use super::{Result, call};
use crate::abi::{self, nr};

/// A descriptor that this value owns: it is closed when the value is dropped.
#[derive(Debug)]
pub struct Owned(i32);

impl Owned {
    /// Takes a descriptor over.
    ///
    /// # Safety
    /// `number` must be open, and nothing else may own it.
    pub unsafe fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// What a call that makes a descriptor has returned.
    #[inline]
    pub(super) fn made(value: usize) -> Self {
        Self(value as i32)
    }

    /// The descriptor, for as long as this value is there.
    #[inline]
    pub fn fd(&self) -> Fd<'_> {
        Fd(self.0, PhantomData)
    }

    /// Its number.
    pub fn number(&self) -> i32 {
        self.0
    }

    /// Gives the descriptor away: it stays open, and only its number is left.
    pub fn into_number(self) -> i32 {
        core::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for Owned {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: the call takes no pointer, and by the type's contract nobody else has this descriptor. It is gone
        // whatever the call says.
        unsafe { call!(nr::CLOSE, self.0) }.ok();
    }
}

/// A descriptor that something else owns.
#[derive(Debug, Clone, Copy)]
pub struct Fd<'a>(i32, PhantomData<&'a Owned>);

impl Fd<'static> {
    /// The working directory, for calls that take a directory (AT_FDCWD).
    pub const WORKING_DIRECTORY: Self = Self::numbered(abi::AT_FDCWD);

    /// None: each call refuses it (EBADF).
    pub const NONE: Self = Self::numbered(-1);

    /// The descriptor of a number, such as that of a standard stream. A call refuses one that is not open (EBADF).
    #[inline]
    pub const fn numbered(number: i32) -> Self {
        Self(number, PhantomData)
    }
}

impl Fd<'_> {
    /// Its number.
    #[inline]
    pub fn number(self) -> i32 {
        self.0
    }
}

/// dup3(2): number `to` is the same file then; what was open there is closed.
pub fn dup_onto(from: Fd<'_>, to: i32, flags: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::DUP3, from.number(), to, flags) }.map(drop)
}

/// fcntl(2) with F_DUPFD_CLOEXEC: a duplicate with the lowest free number from `least` on.
pub fn dup_above(fd: Fd<'_>, least: i32) -> Result<Owned> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCNTL, fd.number(), abi::F_DUPFD_CLOEXEC, least) }.map(Owned::made)
}

/// fcntl(2) with F_GETFD.
pub fn descriptor_flags(fd: Fd<'_>) -> Result<u32> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCNTL, fd.number(), abi::F_GETFD) }.map(|flags| flags as u32)
}

/// fcntl(2) with F_SETFD.
pub fn set_descriptor_flags(fd: Fd<'_>, flags: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCNTL, fd.number(), abi::F_SETFD, flags) }.map(drop)
}

/// fcntl(2) with F_GETFL.
pub fn status_flags(fd: Fd<'_>) -> Result<u32> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCNTL, fd.number(), abi::F_GETFL) }.map(|flags| flags as u32)
}

/// fcntl(2) with F_SETFL.
pub fn set_status_flags(fd: Fd<'_>, flags: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCNTL, fd.number(), abi::F_SETFL, flags) }.map(drop)
}

/// close_range(2). What it closes, nothing may use afterwards.
pub fn close_range(first: u32, last: u32, flags: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::CLOSE_RANGE, first, last, flags) }.map(drop)
}

/// pidfd_open(2).
pub fn pidfd_open(pid: u32) -> Result<Owned> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PIDFD_OPEN, pid, 0) }.map(Owned::made)
}

/// pidfd_getfd(2): a duplicate of descriptor `number` of another process.
pub fn pidfd_getfd(process: Fd<'_>, number: i32) -> Result<Owned> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PIDFD_GETFD, process.number(), number, 0) }.map(Owned::made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::errno;

    fn duplicate() -> Owned {
        dup_above(Fd::numbered(1), 100).unwrap()
    }

    #[test]
    fn an_owned_descriptor_is_closed_when_it_is_dropped() {
        let owned = dup_above(Fd::numbered(1), 700).unwrap();
        let number = owned.number();
        assert_eq!(descriptor_flags(Fd::numbered(number)), Ok(abi::FD_CLOEXEC));
        drop(owned);
        assert_eq!(descriptor_flags(Fd::numbered(number)), Err(errno::EBADF));
    }

    #[test]
    fn one_that_is_given_away_stays_open() {
        let number = duplicate().into_number();
        assert!(descriptor_flags(Fd::numbered(number)).is_ok());
        // SAFETY: it is open, and was given away above.
        drop(unsafe { Owned::from_number(number) });
    }

    #[test]
    fn none_is_refused() {
        assert_eq!(descriptor_flags(Fd::NONE), Err(errno::EBADF));
        assert_eq!(dup_above(Fd::NONE, 0).map(drop), Err(errno::EBADF));
    }
}
