//! tmpcopyup: what the image has at a tmpfs's destination is copied into it.

use core::ffi::CStr;

use crate::ops::{Slot, Str};
use crate::parse::dirents::Names;
use crate::parse::path::relative;
use crate::program::file::{
    self, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_WRONLY, RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS,
};
use crate::program::{At, Failure, Init, Step, call, errno};
use crate::report::Detail;
use crate::syscall::nr;

/// Deeper trees than this are refused: each level holds two descriptors and a buffer.
const DEPTH_LIMIT: u32 = 64;
const RESOLVE: u64 = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/// `CopyUp`.
pub(crate) fn copy_up(init: &Init, destination: Str) -> Step {
    let path = relative(init.plan.text(destination));
    let source = match file::open(
        init.fd(Slot::ROOT),
        path,
        O_DIRECTORY,
        0,
        file::RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    ) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    let target = file::open(init.fd(Slot::MOUNT), c".", O_DIRECTORY, 0, RESOLVE).at(Detail::Open)?;
    let copied = attributes(source, target).and_then(|()| copy_directory(source, target, 0));
    file::close(source);
    file::close(target);
    copied
}

/// Owner and mode of an open file.
fn attributes(source: i32, target: i32) -> Step {
    let stat = file::stat(source, c"").at(Detail::Stat)?;
    call!(nr::FCHOWN, target, stat.uid, stat.gid).at(Detail::Chown)?;
    call!(nr::FCHMOD, target, stat.mode as u32 & 0o7777).at(Detail::Chmod).map(drop)
}

/// Calls `each` with the name of every entry.
fn entries(directory: i32, mut each: impl FnMut(&CStr) -> Step) -> Step {
    let mut buffer = [0u64; 256];
    loop {
        let len = call!(nr::GETDENTS64, directory, buffer.as_mut_ptr(), size_of_val(&buffer))
            .at(Detail::Getdents)?;
        if len == 0 {
            return Ok(());
        }
        // SAFETY: the kernel has filled `len` bytes of the buffer.
        let filled = unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), len) };
        for name in Names::new(filled) {
            each(name)?;
        }
    }
}

fn copy_directory(source: i32, target: i32, depth: u32) -> Step {
    if depth > DEPTH_LIMIT {
        return Err(Failure { errno: errno::ELOOP, detail: Detail::TooLong as u32 });
    }
    entries(source, |name| copy_entry(source, target, name, depth))
}

fn copy_entry(source: i32, target: i32, name: &CStr, depth: u32) -> Step {
    let stat = file::stat(source, name).at(Detail::Stat)?;
    match stat.kind() {
        file::S_IFDIR => {
            call!(nr::MKDIRAT, target, name.as_ptr(), 0o700).at(Detail::Mkdir)?;
            let from = file::open(source, name, O_DIRECTORY, 0, RESOLVE).at(Detail::Open)?;
            let to = file::open(target, name, O_DIRECTORY, 0, RESOLVE).at(Detail::Open)?;
            let copied = copy_directory(from, to, depth + 1).and_then(|()| attributes(from, to));
            file::close(from);
            file::close(to);
            copied
        }
        file::S_IFREG => copy_file(source, target, name),
        file::S_IFLNK => {
            let mut text = [0u8; 4096];
            let len = call!(nr::READLINKAT, source, name.as_ptr(), text.as_mut_ptr(), text.len() - 1)
                .at(Detail::Read)?;
            text[len] = 0;
            call!(nr::SYMLINKAT, text.as_ptr(), target, name.as_ptr()).at(Detail::Symlink)?;
            own(target, name, &stat)
        }
        _ => {
            let device = makedev(stat.device_major as u64, stat.device_minor as u64);
            call!(nr::MKNODAT, target, name.as_ptr(), stat.mode as u32, device).at(Detail::Mknod)?;
            own(target, name, &stat)
        }
    }
}

/// Owner of what is no open file.
fn own(directory: i32, name: &CStr, stat: &file::Stat) -> Step {
    const NOFOLLOW: usize = file::AT_SYMLINK_NOFOLLOW;
    call!(nr::FCHOWNAT, directory, name.as_ptr(), stat.uid, stat.gid, NOFOLLOW).at(Detail::Chown).map(drop)
}

/// makedev(3).
fn makedev(major: u64, minor: u64) -> u64 {
    (major & 0xfff) << 8 | (major & !0xfff) << 32 | (minor & 0xff) | (minor & !0xff) << 12
}

fn copy_file(source: i32, target: i32, name: &CStr) -> Step {
    const CHUNK: usize = 1 << 20;
    let from = file::open(source, name, O_NOFOLLOW | O_NONBLOCK, 0, RESOLVE).at(Detail::Open)?;
    let to = file::open(target, name, O_CREAT | O_EXCL | O_WRONLY, 0o600, RESOLVE).at(Detail::Create)?;
    while call!(nr::SENDFILE, to, from, 0, CHUNK).at(Detail::Write)? > 0 {}
    let copied = attributes(from, to);
    file::close(from);
    file::close(to);
    copied
}
