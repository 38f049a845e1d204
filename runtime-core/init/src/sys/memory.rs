//! Memory that is mapped.

use core::sync::atomic::AtomicU64;

use super::{Fd, Owned, Result, call};
use crate::abi::{self, nr};

/// Private memory of its own; it is unmapped when it is dropped.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

impl Mapping {
    /// Memory of `len` bytes, all 0.
    pub fn anonymous(len: usize) -> Result<Self> {
        const FLAGS: u32 = abi::MAP_PRIVATE | abi::MAP_ANONYMOUS;
        Ok(Self { start: map(len, abi::PROT_READ | abi::PROT_WRITE, FLAGS, Fd::NONE)?, len })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is this value's, initialised by the kernel, and there until the drop.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed alone as `self` is.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// The begin of the memory, which is page-aligned.
    pub fn start(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no borrow of it is left.
        unsafe { call!(nr::MUNMAP, self.start, self.len) }.ok();
    }
}

/// A file as memory, until the end of the process: page-aligned, and as long as `len` says.
///
/// # Safety
/// The file must be at least `len` bytes long, and neither shrink nor change afterwards.
pub unsafe fn file(fd: Fd<'_>, len: usize) -> Result<&'static [u8]> {
    let start = map(len, abi::PROT_READ, abi::MAP_PRIVATE, fd)?;
    // SAFETY: a new mapping that nothing unmaps; the caller vouches for the file.
    Ok(unsafe { core::slice::from_raw_parts(start, len) })
}

/// A file as memory that other processes may write as well, until the end of the process.
///
/// # Safety
/// The file must be at least `words` times 8 bytes long, and not shrink.
pub unsafe fn shared(fd: Fd<'_>, words: usize) -> Result<&'static [AtomicU64]> {
    let start =
        map(words.saturating_mul(size_of::<u64>()), abi::PROT_READ | abi::PROT_WRITE, abi::MAP_SHARED, fd)?;
    // SAFETY: a new mapping that nothing unmaps, page-aligned; whoever writes it, any bits are a number.
    Ok(unsafe { core::slice::from_raw_parts(start.cast(), words) })
}

/// Private memory of `len` bytes that can be read, all 0, at an address where there is none yet; it stays until the end
/// of the process. A kernel before Linux 4.17 may choose another address: that is EEXIST, too.
pub fn reserve(start: usize, len: usize) -> Result {
    const FLAGS: u32 = abi::MAP_PRIVATE | abi::MAP_ANONYMOUS | abi::MAP_FIXED_NOREPLACE;
    // SAFETY: the kernel replaces no mapping, so no memory that is used changes.
    match unsafe { call!(nr::MMAP, start, len, abi::PROT_READ, FLAGS, usize::MAX, 0) }? {
        there if there == start => Ok(()),
        _ => Err(abi::errno::EEXIST),
    }
}

/// userfaultfd(2), close-on-exec, for reads of memory that is missing, from `start` on.
pub fn userfault(start: usize, len: usize) -> Result<Owned> {
    /// `struct uffdio_api`.
    #[repr(C)]
    struct Api {
        api: u64,
        features: u64,
        ioctls: u64,
    }
    /// `struct uffdio_register`.
    #[repr(C)]
    struct Register {
        start: u64,
        len: u64,
        mode: u64,
        ioctls: u64,
    }
    // SAFETY: no pointer is passed.
    let fd = unsafe { call!(nr::USERFAULTFD, abi::O_CLOEXEC | abi::UFFD_USER_MODE_ONLY) }.map(Owned::made)?;
    let mut api = Api { api: abi::UFFD_API, features: 0, ioctls: 0 };
    // SAFETY: the kernel reads and writes the structure, which is borrowed alone.
    unsafe { call!(nr::IOCTL, fd.number(), abi::UFFDIO_API, &raw mut api) }?;
    let mode = abi::UFFDIO_REGISTER_MODE_MISSING;
    let mut register = Register { start: start as u64, len: len as u64, mode, ioctls: 0 };
    // SAFETY: as above. Memory that is missing stays so until the descriptor's holder fills it: a read of it waits.
    unsafe { call!(nr::IOCTL, fd.number(), abi::UFFDIO_REGISTER, &raw mut register) }?;
    Ok(fd)
}

fn map(len: usize, protection: u32, flags: u32, fd: Fd<'_>) -> Result<*mut u8> {
    // SAFETY: the kernel chooses the place of the new mapping, so no memory that is used changes.
    unsafe { call!(nr::MMAP, 0, len, protection, flags, fd.number(), 0) }.map(|start| start as *mut u8)
}

/// madvise(2) with MADV_DONTFORK: a process that is forked has not this memory. It may not look at it.
pub fn keep_from_fork(words: &'static [AtomicU64]) -> Result {
    // SAFETY: the memory stays as it is in this process; a forked one does not use it, as the caller promises.
    unsafe { call!(nr::MADVISE, words.as_ptr(), size_of_val(words), abi::MADV_DONTFORK) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_zeroed_and_can_be_written() {
        let mut mapping = Mapping::anonymous(4096).unwrap();
        assert!(mapping.bytes().iter().all(|byte| *byte == 0));
        mapping.bytes_mut()[4095] = 1;
        assert_eq!(mapping.bytes()[4095], 1);
        assert_eq!(mapping.start() as usize % 4096, 0);
    }
}
