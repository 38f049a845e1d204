//! Files and directories.

use core::ffi::CStr;

use super::{Fd, Owned, Result, call};
use crate::abi::{self, OpenHow, Stat, nr};

/// openat(2), close-on-exec; nothing is made.
#[inline(never)]
pub fn openat(directory: Fd<'_>, path: &CStr, flags: u32) -> Result<Owned> {
    // SAFETY: the kernel reads `path` up to its NUL, during the call alone.
    unsafe { call!(nr::OPENAT, directory.number(), path.as_ptr(), flags | abi::O_CLOEXEC) }.map(Owned::made)
}

/// openat2(2), close-on-exec.
#[inline(never)]
pub fn openat2(directory: Fd<'_>, path: &CStr, flags: u32, mode: u32, resolve: u64) -> Result<Owned> {
    let how = OpenHow { flags: u64::from(flags | abi::O_CLOEXEC), mode: u64::from(mode), resolve };
    // SAFETY: the kernel reads `path` and `how`, which is as long as it says, during the call alone.
    unsafe { call!(nr::OPENAT2, directory.number(), path.as_ptr(), &raw const how, size_of::<OpenHow>()) }
        .map(Owned::made)
}

/// statx(2) of `path` in a directory without following a link, or of the descriptor itself for an empty one.
#[inline(never)]
pub fn stat(fd: Fd<'_>, path: &CStr) -> Result<Stat> {
    const STATX_BASIC_STATS: usize = 0x7ff;
    const STATX_MNT_ID: usize = 0x1000;
    const FLAGS: u32 = abi::AT_EMPTY_PATH | abi::AT_SYMLINK_NOFOLLOW;
    let mut stat = Stat::default();
    // SAFETY: the kernel reads `path` and writes `stat`, which has the size of its structure; any bits are a Stat.
    unsafe {
        call!(nr::STATX, fd.number(), path.as_ptr(), FLAGS, STATX_BASIC_STATS | STATX_MNT_ID, &raw mut stat)?;
    }
    Ok(stat)
}

/// The magic number of the file system that a descriptor is on (fstatfs(2)).
pub fn filesystem(fd: Fd<'_>) -> Result<usize> {
    // `struct statfs` has 120 bytes; its first word is the number.
    let mut buffer = [0usize; 16];
    // SAFETY: the kernel writes 120 bytes of the buffer.
    unsafe { call!(nr::FSTATFS, fd.number(), buffer.as_mut_ptr()) }?;
    Ok(buffer[0])
}

/// read(2).
pub fn read(fd: Fd<'_>, room: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the length of `room`, which is borrowed alone.
    unsafe { call!(nr::READ, fd.number(), room.as_mut_ptr(), room.len()) }
}

/// write(2).
pub fn write(fd: Fd<'_>, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads `bytes`, during the call alone.
    unsafe { call!(nr::WRITE, fd.number(), bytes.as_ptr(), bytes.len()) }
}

/// lseek(2) to the begin.
pub fn rewind(fd: Fd<'_>) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::LSEEK, fd.number(), 0, abi::SEEK_SET) }.map(drop)
}

/// lseek(2) to the end: the length of the file in bytes.
pub fn length(fd: Fd<'_>) -> Result<usize> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::LSEEK, fd.number(), 0, abi::SEEK_END) }
}

/// sendfile(2) of at most `count` bytes, from where `from` is: how many went.
pub fn sendfile(to: Fd<'_>, from: Fd<'_>, count: usize) -> Result<usize> {
    // SAFETY: the pointer to an offset is null, which the call allows.
    unsafe { call!(nr::SENDFILE, to.number(), from.number(), 0, count) }
}

/// memfd_create(2), close-on-exec.
pub fn memfd_create(name: &CStr) -> Result<Owned> {
    // SAFETY: the kernel reads `name` up to its NUL, during the call alone.
    unsafe { call!(nr::MEMFD_CREATE, name.as_ptr(), abi::MFD_CLOEXEC) }.map(Owned::made)
}

/// getdents64(2): the part of `room` that the kernel has filled; empty at the end.
pub fn getdents<'a>(directory: Fd<'_>, room: &'a mut [u64]) -> Result<&'a [u8]> {
    let bytes = size_of_val(room);
    // SAFETY: the kernel writes at most `bytes` to `room`, which is borrowed alone.
    let len = unsafe { call!(nr::GETDENTS64, directory.number(), room.as_mut_ptr(), bytes) }?;
    // SAFETY: initialised memory of `room`, borrowed as that is; the length is cut to its size.
    Ok(unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), len.min(bytes)) })
}

/// mkdirat(2).
pub fn mkdirat(parent: Fd<'_>, name: &CStr, mode: u32) -> Result {
    // SAFETY: the kernel reads `name` up to its NUL, during the call alone.
    unsafe { call!(nr::MKDIRAT, parent.number(), name.as_ptr(), mode) }.map(drop)
}

/// mknodat(2).
pub fn mknodat(parent: Fd<'_>, name: &CStr, mode: u32, device: u64) -> Result {
    // SAFETY: the kernel reads `name` up to its NUL, during the call alone.
    unsafe { call!(nr::MKNODAT, parent.number(), name.as_ptr(), mode, device) }.map(drop)
}

/// symlinkat(2).
pub fn symlinkat(target: &CStr, parent: Fd<'_>, name: &CStr) -> Result {
    // SAFETY: the kernel reads both texts up to their NULs, during the call alone.
    unsafe { call!(nr::SYMLINKAT, target.as_ptr(), parent.number(), name.as_ptr()) }.map(drop)
}

/// readlinkat(2): how many bytes of `room` the target takes. It has no NUL, and is cut where there is no room.
pub fn readlinkat(parent: Fd<'_>, name: &CStr, room: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel reads `name` and writes at most the length of `room`, which is borrowed alone.
    unsafe { call!(nr::READLINKAT, parent.number(), name.as_ptr(), room.as_mut_ptr(), room.len()) }
}

/// fchown(2); [`KEEP`] leaves an id.
pub fn fchown(fd: Fd<'_>, uid: u32, gid: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCHOWN, fd.number(), uid, gid) }.map(drop)
}

/// The id that the calls of chown(2) leave as it is.
pub const KEEP: u32 = u32::MAX;

/// fchownat(2).
pub fn fchownat(parent: Fd<'_>, name: &CStr, uid: u32, gid: u32, flags: u32) -> Result {
    // SAFETY: the kernel reads `name` up to its NUL, during the call alone.
    unsafe { call!(nr::FCHOWNAT, parent.number(), name.as_ptr(), uid, gid, flags) }.map(drop)
}

/// fchmod(2).
pub fn fchmod(fd: Fd<'_>, mode: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCHMOD, fd.number(), mode) }.map(drop)
}

/// fsetxattr(2).
pub fn fsetxattr(fd: Fd<'_>, name: &CStr, value: &[u8]) -> Result {
    // SAFETY: the kernel reads `name` up to its NUL and as many bytes as `value` has, during the call alone.
    unsafe { call!(nr::FSETXATTR, fd.number(), name.as_ptr(), value.as_ptr(), value.len(), 0) }.map(drop)
}

/// faccessat2(2) from the working directory.
pub fn faccessat2(path: &CStr, mode: u32, flags: u32) -> Result {
    // SAFETY: the kernel reads `path` up to its NUL, during the call alone.
    unsafe { call!(nr::FACCESSAT2, abi::AT_FDCWD, path.as_ptr(), mode, flags) }.map(drop)
}

/// faccessat(2) from the working directory, for the real ids.
pub fn faccessat(path: &CStr, mode: u32) -> Result {
    // SAFETY: the kernel reads `path` up to its NUL, during the call alone.
    unsafe { call!(nr::FACCESSAT, abi::AT_FDCWD, path.as_ptr(), mode) }.map(drop)
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Result {
    // SAFETY: the kernel reads `path` up to its NUL, during the call alone.
    unsafe { call!(nr::CHDIR, path.as_ptr()) }.map(drop)
}

/// fchdir(2).
pub fn fchdir(directory: Fd<'_>) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FCHDIR, directory.number()) }.map(drop)
}

/// chroot(2).
pub fn chroot(path: &CStr) -> Result {
    // SAFETY: the kernel reads `path` up to its NUL, during the call alone.
    unsafe { call!(nr::CHROOT, path.as_ptr()) }.map(drop)
}

/// getcwd(2): the length of the path in `room`, with its NUL.
pub fn getcwd(room: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the length of `room`, which is borrowed alone.
    unsafe { call!(nr::GETCWD, room.as_mut_ptr(), room.len()) }
}
