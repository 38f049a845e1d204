//! Files below the root: resolved by openat2(2) from one descriptor, made one component at a time.

use core::ffi::CStr;

use crate::abi::{
    AT_EMPTY_PATH, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_WRONLY, RESOLVE_BENEATH,
    RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, S_IFDIR, S_IFLNK, errno,
};
use crate::ops::{Slot, Str};
use crate::parse::path::{relative, split};
use crate::program::{At, Failure, Init, Step};
use crate::report::Detail;
use crate::sys::file::{fchownat, mkdirat, openat, openat2, readlinkat, stat};
use crate::sys::memory::Mapping;
use crate::sys::{self, Fd, Owned};

/// How often an EAGAIN of openat2 (a rename raced with the walk) is tried again.
const RACE_RETRIES: u32 = 128;

/// openat2(2) with retries for races.
pub(crate) fn open(dir: Fd<'_>, path: &CStr, flags: u32, mode: u32, resolve: u64) -> Result<Owned, i32> {
    for _ in 0..RACE_RETRIES {
        match openat2(dir, path, flags, mode, resolve) {
            Err(errno::EAGAIN | errno::EINTR) => {}
            other => return other,
        }
    }
    Err(errno::EAGAIN)
}

/// Opens (O_PATH) a directory by a path of this process.
pub(crate) fn open_directory(path: &CStr) -> Step<Owned> {
    openat(Fd::WORKING_DIRECTORY, path, O_PATH | O_DIRECTORY).at(Detail::Open)
}

/// Whether a descriptor is a directory.
pub(crate) fn is_directory(fd: Fd<'_>) -> bool {
    stat(fd, c"").is_ok_and(|stat| stat.kind() == S_IFDIR)
}

/// Opens a path below the root as O_PATH; symbolic links are taken inside the root.
pub(crate) fn in_root(root: Fd<'_>, path: &CStr, flags: u32) -> Result<Owned, i32> {
    open(root, path, O_PATH | flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// Opens a path below the root as O_PATH without any symbolic link.
pub(crate) fn real(root: Fd<'_>, path: &CStr, flags: u32) -> Result<Owned, i32> {
    open(root, path, O_PATH | flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
}

/// A path buffer: one component or a prefix, NUL-terminated.
struct Buffer([u8; 4096]);

impl Buffer {
    fn new() -> Self {
        Self([0; 4096])
    }

    /// Holds `bytes` as a C string.
    fn hold(&mut self, bytes: &[u8]) -> Step<&CStr> {
        let too_long = Failure::new(errno::ENAMETOOLONG, Detail::TooLong);
        let place = self.0.get_mut(..=bytes.len()).ok_or(too_long)?;
        for (place, byte) in place.iter_mut().zip(bytes.iter().chain(&[0])) {
            *place = *byte;
        }
        CStr::from_bytes_with_nul(place).map_err(|_| too_long)
    }
}

/// The directory that holds the last component of `path`, made with its parents when missing, and
/// that component.
///
/// The directory is a real one: of an image whose /dev is a link elsewhere (into a volume of the
/// host), nothing is made in that place (CVE-2026-41579). From the first missing component on, each
/// is made by its parent's descriptor.
pub(crate) fn real_parent(root: Fd<'_>, path: &'static CStr, mode: u32) -> Step<(Owned, &'static CStr)> {
    let (head, name) = split(path);
    Ok((opened_or_made(root, head, mode, real)?, name))
}

/// Opens (O_PATH) the directory `path` below the root, made with its parents when missing; links are
/// taken inside the root.
pub(crate) fn directory(root: Fd<'_>, path: &[u8], mode: u32) -> Step<Owned> {
    if path.is_empty() || path == b"." {
        return in_root(root, c".", O_DIRECTORY).at(Detail::Open);
    }
    match in_root(root, Buffer::new().hold(path)?, O_DIRECTORY) {
        Err(errno::ENOENT) => match made_in_parent(root, path, mode)? {
            Some(fd) => Ok(fd),
            None => opened_or_made(root, follow_dangling(root, path)?.bytes(), mode, in_root),
        },
        other => other.at(Detail::Open),
    }
}

/// Refuses a path on which a link of the container leads to nothing: what is missing would be made where the link says.
pub(crate) fn refuse_dangling(root: Fd<'_>, path: &[u8]) -> Step {
    let ends =
        path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
    for so_far in ends.filter_map(|end| path.get(..end)).filter(|so_far| !so_far.is_empty()) {
        let mut buffer = Buffer::new();
        let so_far = buffer.hold(so_far)?;
        let found = match in_root(root, so_far, O_NOFOLLOW) {
            Err(errno::ENOENT) => return Ok(()),
            other => other.at(Detail::Open)?,
        };
        let is_link = stat(found.fd(), c"").is_ok_and(|stat| stat.kind() == S_IFLNK);
        if is_link && in_root(root, so_far, 0).is_err_and(|errno| errno == errno::ENOENT) {
            return Err(Failure::new(errno::EEXIST, Detail::Mkdir));
        }
    }
    Ok(())
}

/// Makes the last component of a path whose other components exist, as most mount points of /dev are:
/// four calls instead of thirteen. `None` when that is not all: there is no parent, or the name is taken, by
/// a link that leads to nothing.
#[inline(never)]
fn made_in_parent(root: Fd<'_>, path: &[u8], mode: u32) -> Step<Option<Owned>> {
    let Some((head, name)) = at_last_slash(path) else { return Ok(None) };
    if matches!(name, b"" | b"." | b"..") || head.is_empty() {
        return Ok(None);
    }
    let mut buffer = Buffer::new();
    let Ok(parent) = in_root(root, buffer.hold(head)?, O_DIRECTORY) else { return Ok(None) };
    let name = buffer.hold(name)?;
    match mkdirat(parent.fd(), name, mode) {
        Ok(()) => open_component(parent.fd(), name).map(Some),
        // The longer way finds out, and says what failed.
        Err(_) => Ok(None),
    }
}

/// What is before and behind the last slash.
fn at_last_slash(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, tail) = path.split_at_checked(path.iter().rposition(|byte| *byte == b'/')?)?;
    Some((head, tail.get(1..)?))
}

/// The components of a path, each with the path up to its end, and what is behind that.
fn components(path: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    let mut end = 0usize;
    path.split(|byte| *byte == b'/').filter_map(move |component| {
        let (so_far, behind) = path.split_at_checked(end.saturating_add(component.len()))?;
        end = so_far.len().saturating_add(1);
        (!component.is_empty()).then_some((component, so_far, behind))
    })
}

/// How many links a path may have (path_resolution(7)).
const LINKS: usize = 40;

/// A path that links have changed, in memory of its own: a page of the stack would stay for as long as
/// a created container waits.
struct Target {
    memory: Mapping,
    len: usize,
}

impl Target {
    const SIZE: usize = 4096;

    fn new() -> Step<Self> {
        Ok(Self { memory: Mapping::anonymous(Self::SIZE).at(Detail::Memory)?, len: 0 })
    }

    fn bytes(&self) -> &[u8] {
        self.memory.bytes().get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Step {
        let end = self.len.saturating_add(bytes.len());
        let too_long = Failure::new(errno::ENAMETOOLONG, Detail::TooLong);
        let start = self.len;
        self.memory.bytes_mut().get_mut(start..end).ok_or(too_long)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// What a path leads to when links on its way lead to what does not exist yet: images have such links
/// (/etc/hosts to a file that the engine mounts), and their targets are made, inside the root.
#[inline(never)]
fn follow_dangling(root: Fd<'_>, path: &[u8]) -> Step<Target> {
    let mut target = Target::new()?;
    target.push(path)?;
    for _ in 0..LINKS {
        match followed_once(root, target.bytes())? {
            Some(next) => target = next,
            None => return Ok(target),
        }
    }
    Err(Failure::new(errno::ELOOP, Detail::Open))
}

/// The path with its first dangling link replaced by what it says; `None` if there is none.
#[inline(never)]
fn followed_once(root: Fd<'_>, path: &[u8]) -> Step<Option<Target>> {
    let mut buffer = Buffer::new();
    let mut parent: &[u8] = &[];
    for (component, so_far, behind) in components(path) {
        match in_root(root, buffer.hold(so_far)?, 0) {
            Ok(_) => {}
            Err(errno::ENOENT) => {
                let mut link = Target::new()?;
                let place = if parent.is_empty() { &b"."[..] } else { parent };
                let place = in_root(root, buffer.hold(place)?, O_DIRECTORY).at(Detail::Open)?;
                let name = buffer.hold(component)?;
                let Ok(len) = readlinkat(place.fd(), name, link.memory.bytes_mut()) else { return Ok(None) };
                link.len = len;
                let mut target = Target::new()?;
                if link.bytes().first() != Some(&b'/') {
                    target.push(parent)?;
                    target.push(b"/")?;
                }
                target.push(link.bytes())?;
                target.push(behind)?;
                return Ok(Some(target));
            }
            Err(_) => return Ok(None),
        }
        parent = so_far;
    }
    Ok(None)
}

/// How an existing directory is opened: [`in_root`] or [`real`].
type Open = fn(Fd<'_>, &CStr, u32) -> Result<Owned, i32>;

fn opened_or_made(root: Fd<'_>, path: &[u8], mode: u32, open: Open) -> Step<Owned> {
    let mut buffer = Buffer::new();
    if path.is_empty() || path == b"." {
        return open(root, c".", O_DIRECTORY).at(Detail::Open);
    }
    match open(root, buffer.hold(path)?, O_DIRECTORY) {
        Err(errno::ENOENT) => {}
        other => return other.at(Detail::Open),
    }
    let mut current = open(root, c".", O_DIRECTORY).at(Detail::Open)?;
    let mut made = false;
    for (component, so_far, _) in components(path) {
        let next = if made { Err(errno::ENOENT) } else { open(root, buffer.hold(so_far)?, O_DIRECTORY) };
        let next = match next {
            Err(errno::ENOENT) => {
                made = true;
                make_component(current.fd(), buffer.hold(component)?, mode)
            }
            other => other.at(Detail::Open),
        };
        current = next?;
    }
    Ok(current)
}

/// Makes one directory and opens it; what another process put there first must be a real one.
pub(crate) fn make_component(parent: Fd<'_>, name: &CStr, mode: u32) -> Step<Owned> {
    match mkdirat(parent, name, mode) {
        Ok(()) | Err(errno::EEXIST) => {}
        Err(errno) => return Err(errno).at(Detail::Mkdir),
    }
    open_component(parent, name)
}

/// A real directory, by its parent.
fn open_component(parent: Fd<'_>, name: &CStr) -> Step<Owned> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    open(parent, name, O_PATH | O_DIRECTORY, 0, resolve).at(Detail::Open)
}

/// Opens (O_PATH) the file `path` below the root, made empty with its parents when missing.
pub(crate) fn regular(root: Fd<'_>, path: &'static CStr) -> Step<Owned> {
    match in_root(root, path, 0) {
        Err(errno::ENOENT) => {}
        other => return other.at(Detail::Open),
    }
    let target = follow_dangling(root, path.to_bytes())?;
    let (head, name) = at_last_slash(target.bytes()).unwrap_or((&[], target.bytes()));
    let mut buffer = Buffer::new();
    let name = buffer.hold(name)?;
    let parent = directory(root, head, 0o755)?;
    new_file(parent.fd(), name)
}

/// Makes an empty file, by its parent, and opens it (O_PATH); what another process put there first is not taken for it.
pub(crate) fn new_file(parent: Fd<'_>, name: &CStr) -> Step<Owned> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    let flags = O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY;
    drop(open(parent, name, flags, 0o755, resolve).at(Detail::Create)?);
    open(parent, name, O_PATH | O_NOFOLLOW, 0, resolve).at(Detail::Open)
}

/// Writes all of `bytes`, in one call: what the files of procfs want.
pub(crate) fn write_once(fd: Fd<'_>, bytes: &[u8]) -> Step {
    match sys::file::write(fd, bytes).at(Detail::Write)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Failure::new(errno::EINVAL, Detail::Write)),
    }
}

/// `MakeDirectory`.
pub(crate) fn make_directory(init: &Init, path: Str, mode: u32) -> Step {
    directory(init.fd(Slot::ROOT), relative(init.plan.text(path)).to_bytes(), mode).map(drop)
}

/// `MakeWorkingDirectory`: only what is missing is made, and only that belongs to the user.
pub(crate) fn make_working_directory(init: &Init, path: Str, uid: u32, gid: u32) -> Step {
    let root = init.fd(Slot::ROOT);
    let path = relative(init.plan.text(path));
    match in_root(root, path, 0) {
        Err(errno::ENOENT) => {}
        // The user may be able to enter what root cannot (FUSE): chdir decides.
        Ok(_) | Err(_) => return Ok(()),
    }
    let made = directory(root, path.to_bytes(), 0o755)?;
    fchownat(made.fd(), c"", uid, gid, AT_EMPTY_PATH).at(Detail::Chown)
}
