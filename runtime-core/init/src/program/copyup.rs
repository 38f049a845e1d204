//! tmpcopyup: what the image has at a tmpfs's destination is copied into it.

use core::ffi::CStr;

use crate::abi::{
    AT_SYMLINK_NOFOLLOW, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_WRONLY, RESOLVE_BENEATH,
    RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, S_IFDIR, S_IFLNK, S_IFREG, Stat, errno,
    makedev,
};
use crate::ops::{Slot, Str};
use crate::parse::dirents::Names;
use crate::parse::path::relative;
use crate::program::file::open;
use crate::program::{At, Failure, Init, Step};
use crate::report::Detail;
use crate::sys::Fd;
use crate::sys::file::{
    fchmod, fchown, fchownat, getdents, mkdirat, mknodat, readlinkat, sendfile, stat, symlinkat,
};

/// Deeper trees than this are refused: each level holds two descriptors and a buffer.
const DEPTH_LIMIT: u32 = 64;
const RESOLVE: u64 = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/// `CopyUp`.
pub(crate) fn copy_up(init: &Init, destination: Str, owner: bool, mode: bool) -> Step {
    let path = relative(init.plan.text(destination));
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    let source = match open(init.fd(Slot::ROOT), path, O_DIRECTORY, 0, resolve) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    let target = open(init.fd(Slot::MOUNT), c".", O_DIRECTORY, 0, RESOLVE).at(Detail::Open)?;
    attributes(source.fd(), target.fd(), owner, mode)?;
    copy_directory(source.fd(), target.fd(), 0)
}

/// Owner and mode of an open file.
fn attributes(source: Fd<'_>, target: Fd<'_>, owner: bool, mode: bool) -> Step {
    let stat = stat(source, c"").at(Detail::Stat)?;
    if owner {
        fchown(target, stat.uid, stat.gid).at(Detail::Chown)?;
    }
    if mode {
        fchmod(target, stat.permissions()).at(Detail::Chmod)?;
    }
    Ok(())
}

fn copy_directory(source: Fd<'_>, target: Fd<'_>, depth: u32) -> Step {
    if depth > DEPTH_LIMIT {
        return Err(Failure::new(errno::ELOOP, Detail::TooLong));
    }
    let mut buffer = [0u64; 256];
    loop {
        let filled = getdents(source, &mut buffer).at(Detail::Getdents)?;
        if filled.is_empty() {
            return Ok(());
        }
        Names::new(filled).try_for_each(|name| copy_entry(source, target, name, depth))?;
    }
}

fn copy_entry(source: Fd<'_>, target: Fd<'_>, name: &CStr, depth: u32) -> Step {
    let stat = stat(source, name).at(Detail::Stat)?;
    match stat.kind() {
        S_IFDIR => {
            mkdirat(target, name, 0o700).at(Detail::Mkdir)?;
            let from = open(source, name, O_DIRECTORY, 0, RESOLVE).at(Detail::Open)?;
            let to = open(target, name, O_DIRECTORY, 0, RESOLVE).at(Detail::Open)?;
            copy_directory(from.fd(), to.fd(), depth.saturating_add(1))?;
            attributes(from.fd(), to.fd(), true, true)
        }
        S_IFREG => copy_file(source, target, name),
        S_IFLNK => {
            copy_link(source, target, name)?;
            own(target, name, &stat)
        }
        _ => {
            let device = makedev(stat.device_major, stat.device_minor);
            mknodat(target, name, u32::from(stat.mode), device).at(Detail::Mknod)?;
            own(target, name, &stat)
        }
    }
}

/// Out of line: the recursion is not to hold its buffer.
#[inline(never)]
fn copy_link(source: Fd<'_>, target: Fd<'_>, name: &CStr) -> Step {
    let mut text = [0u8; 4096];
    // The last byte stays NUL.
    let (_, room) = text.split_last_mut().ok_or(Failure::new(errno::EINVAL, Detail::Read))?;
    readlinkat(source, name, room).at(Detail::Read)?;
    let text = CStr::from_bytes_until_nul(&text).unwrap_or(c"");
    symlinkat(text, target, name).at(Detail::Symlink)
}

/// Owner of what is no open file.
fn own(directory: Fd<'_>, name: &CStr, stat: &Stat) -> Step {
    fchownat(directory, name, stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW).at(Detail::Chown)
}

fn copy_file(source: Fd<'_>, target: Fd<'_>, name: &CStr) -> Step {
    const CHUNK: usize = 1 << 20;
    let from = open(source, name, O_NOFOLLOW | O_NONBLOCK, 0, RESOLVE).at(Detail::Open)?;
    let to = open(target, name, O_CREAT | O_EXCL | O_WRONLY, 0o600, RESOLVE).at(Detail::Create)?;
    while sendfile(to.fd(), from.fd(), CHUNK).at(Detail::Write)? > 0 {}
    attributes(from.fd(), to.fd(), true, true)
}
