//! Files below the root: resolved by openat2(2) from one descriptor, made one component at a time.

use core::ffi::CStr;

use crate::ops::{Slot, Str};
use crate::parse::path::{relative, split};
use crate::program::{At, Failure, Init, Step, call, errno};
use crate::report::Detail;
use crate::syscall::{common, nr};

pub(crate) const O_WRONLY: usize = 1;
pub(crate) const O_RDWR: usize = 2;
pub(crate) const O_CREAT: usize = 0o100;
pub(crate) const O_EXCL: usize = 0o200;
pub(crate) const O_NOCTTY: usize = 0o400;
pub(crate) const O_NONBLOCK: usize = 0o4000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_DIRECTORY: usize = 0o200000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_NOFOLLOW: usize = 0o400000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_DIRECTORY: usize = 0o40000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_NOFOLLOW: usize = 0o100000;
pub(crate) const O_CLOEXEC: usize = 0o2000000;
pub(crate) const O_PATH: usize = 0o10000000;

pub(crate) const RESOLVE_NO_XDEV: u64 = 1;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 2;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 4;
pub(crate) const RESOLVE_BENEATH: u64 = 8;
pub(crate) const RESOLVE_IN_ROOT: u64 = 16;

pub(crate) const AT_FDCWD: i32 = -100;
pub(crate) const AT_EMPTY_PATH: usize = 0x1000;
pub(crate) const AT_SYMLINK_NOFOLLOW: usize = 0x100;

pub(crate) const S_IFMT: u32 = 0o170000;
pub(crate) const S_IFDIR: u32 = 0o040000;
pub(crate) const S_IFCHR: u32 = 0o020000;
pub(crate) const S_IFREG: u32 = 0o100000;
pub(crate) const S_IFLNK: u32 = 0o120000;

/// How often an EAGAIN of openat2 (a rename raced with the walk) is tried again.
const RACE_RETRIES: u32 = 128;

/// `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// What statx(2) tells, as far as the init asks.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Stat {
    mask: u32,
    block_size: u32,
    attributes: u64,
    links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u16,
    pad0: u16,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    blocks: u64,
    attributes_mask: u64,
    times: [u64; 8],
    pub(crate) device_major: u32,
    pub(crate) device_minor: u32,
    filesystem: [u32; 2],
    mount: u64,
    rest: [u64; 13],
}

/// The kernel writes this much.
const _: () = assert!(size_of::<Stat>() == 256);

impl Stat {
    /// The type bits of the mode.
    pub(crate) fn kind(&self) -> u32 {
        self.mode as u32 & S_IFMT
    }

    /// Whether both are of the same file.
    pub(crate) fn is_same_file(&self, other: &Stat) -> bool {
        (self.inode, self.filesystem) == (other.inode, other.filesystem)
    }

    /// Whether both are of the same file, on the same mount.
    pub(crate) fn is_same_place(&self, other: &Stat) -> bool {
        self.is_same_file(other) && self.mount == other.mount
    }
}

/// close(2); the descriptor is gone whatever the call says.
pub(crate) fn close(fd: i32) {
    call!(nr::CLOSE, fd).ok();
}

/// openat2(2) with retries for races.
pub(crate) fn open(dir: i32, path: &CStr, flags: usize, mode: u32, resolve: u64) -> Result<i32, i32> {
    let how = OpenHow { flags: (flags | O_CLOEXEC) as u64, mode: mode as u64, resolve };
    for _ in 0..RACE_RETRIES {
        match call!(common::OPENAT2, dir, path.as_ptr(), &raw const how, size_of::<OpenHow>()) {
            Err(errno::EAGAIN | errno::EINTR) => {}
            other => return other.map(|fd| fd as i32),
        }
    }
    Err(errno::EAGAIN)
}

/// statx(2) of a descriptor, or of `path` in it, without following.
pub(crate) fn stat(fd: i32, path: &CStr) -> Result<Stat, i32> {
    const STATX_BASIC_STATS: usize = 0x7ff;
    const STATX_MNT_ID: usize = 0x1000;
    let mut stat = core::mem::MaybeUninit::<Stat>::zeroed();
    call!(
        nr::STATX,
        fd,
        path.as_ptr(),
        AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
        STATX_BASIC_STATS | STATX_MNT_ID,
        stat.as_mut_ptr()
    )?;
    // SAFETY: zeroed, and any bits are a Stat.
    Ok(unsafe { stat.assume_init() })
}

/// The magic number of the file system that a descriptor is on.
pub(crate) fn filesystem(fd: i32) -> Result<usize, i32> {
    let mut buffer = [0usize; 16];
    call!(nr::FSTATFS, fd, buffer.as_mut_ptr())?;
    Ok(buffer[0])
}

/// Opens a path below the root as O_PATH; symbolic links are taken inside the root.
pub(crate) fn in_root(root: i32, path: &CStr, flags: usize) -> Result<i32, i32> {
    open(root, path, O_PATH | flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// Opens a path below the root as O_PATH without any symbolic link.
pub(crate) fn real(root: i32, path: &CStr, flags: usize) -> Result<i32, i32> {
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
        let too_long = Failure { errno: errno::ENAMETOOLONG, detail: Detail::TooLong as u32 };
        let place = self.0.get_mut(..=bytes.len()).ok_or(too_long)?;
        place[..bytes.len()].copy_from_slice(bytes);
        place[bytes.len()] = 0;
        CStr::from_bytes_with_nul(place).map_err(|_| too_long)
    }
}

/// The directory that holds the last component of `path`, made with its parents when missing, and
/// that component.
///
/// The directory is a real one: of an image whose /dev is a link elsewhere (into a volume of the
/// host), nothing is made in that place (CVE-2026-41579). From the first missing component on, each
/// is made by its parent's descriptor.
pub(crate) fn real_parent(root: i32, path: &'static CStr, mode: u32) -> Step<(i32, &'static CStr)> {
    let (head, name) = split(path);
    Ok((opened_or_made(root, head, mode, real)?, name))
}

/// Opens (O_PATH) the directory `path` below the root, made with its parents when missing; links are
/// taken inside the root.
pub(crate) fn directory(root: i32, path: &[u8], mode: u32) -> Step<i32> {
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
pub(crate) fn refuse_dangling(root: i32, path: &[u8]) -> Step {
    let ends =
        path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
    for end in ends.filter(|end| *end > 0) {
        let mut buffer = Buffer::new();
        let so_far = buffer.hold(&path[..end])?;
        let found = match in_root(root, so_far, O_NOFOLLOW) {
            Err(errno::ENOENT) => return Ok(()),
            other => other.at(Detail::Open)?,
        };
        let is_link = stat(found, c"").is_ok_and(|stat| stat.kind() == S_IFLNK);
        close(found);
        match in_root(root, so_far, 0) {
            Err(errno::ENOENT) if is_link => return Err(errno::EEXIST).at(Detail::Mkdir),
            Ok(target) => close(target),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Makes the last component of a path whose other components exist, as most mount points of /dev are:
/// four calls instead of thirteen. `None` when that is not all: there is no parent, or the name is taken, by
/// a link that leads to nothing.
#[inline(never)]
fn made_in_parent(root: i32, path: &[u8], mode: u32) -> Step<Option<i32>> {
    let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return Ok(None) };
    let name = &path[slash + 1..];
    if matches!(name, b"" | b"." | b"..") || slash == 0 {
        return Ok(None);
    }
    let mut buffer = Buffer::new();
    let Ok(parent) = in_root(root, buffer.hold(&path[..slash])?, O_DIRECTORY) else { return Ok(None) };
    let name = buffer.hold(name)?;
    let made = match call!(nr::MKDIRAT, parent, name.as_ptr(), mode) {
        Ok(_) => open_component(parent, name).map(Some),
        // The longer way finds out, and says what failed.
        Err(_) => Ok(None),
    };
    close(parent);
    made
}

/// How many links a path may have (path_resolution(7)).
const LINKS: usize = 40;

/// A path that links have changed, in memory of its own: a page of the stack would stay for as long as
/// a created container waits.
struct Target {
    start: *mut u8,
    len: usize,
}

impl Drop for Target {
    fn drop(&mut self) {
        call!(nr::MUNMAP, self.start, Self::SIZE).ok();
    }
}

impl Target {
    const SIZE: usize = 4096;

    fn new() -> Step<Self> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
        let start = call!(nr::MMAP, 0, Self::SIZE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, usize::MAX, 0)
            .at(Detail::Memory)?;
        Ok(Self { start: start as *mut u8, len: 0 })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes of the mapping, which is there until the drop.
        unsafe { core::slice::from_raw_parts(self.start, self.len) }
    }

    fn room(&mut self) -> &mut [u8] {
        // SAFETY: the whole mapping, zeroed by the kernel, and borrowed as `self` is.
        unsafe { core::slice::from_raw_parts_mut(self.start, Self::SIZE) }
    }

    fn push(&mut self, bytes: &[u8]) -> Step {
        let end = self.len + bytes.len();
        let too_long = Failure { errno: errno::ENAMETOOLONG, detail: Detail::TooLong as u32 };
        let start = self.len;
        self.room().get_mut(start..end).ok_or(too_long)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// What a path leads to when links on its way lead to what does not exist yet: images have such links
/// (/etc/hosts to a file that the engine mounts), and their targets are made, inside the root.
#[inline(never)]
fn follow_dangling(root: i32, path: &[u8]) -> Step<Target> {
    let mut target = Target::new()?;
    target.push(path)?;
    for _ in 0..LINKS {
        match followed_once(root, target.bytes())? {
            Some(next) => target = next,
            None => return Ok(target),
        }
    }
    Err(Failure { errno: errno::ELOOP, detail: Detail::Open as u32 })
}

/// The path with its first dangling link replaced by what it says; `None` if there is none.
#[inline(never)]
fn followed_once(root: i32, path: &[u8]) -> Step<Option<Target>> {
    let mut buffer = Buffer::new();
    let mut parent = &path[..0];
    for component in path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()) {
        let end = component.as_ptr() as usize - path.as_ptr() as usize + component.len();
        match in_root(root, buffer.hold(&path[..end])?, 0) {
            Ok(fd) => close(fd),
            Err(errno::ENOENT) => {
                let mut link = Target::new()?;
                let place = if parent.is_empty() { &b"."[..] } else { parent };
                let place = in_root(root, buffer.hold(place)?, O_DIRECTORY).at(Detail::Open)?;
                let name = buffer.hold(component)?;
                let read = call!(nr::READLINKAT, place, name.as_ptr(), link.start, Target::SIZE);
                close(place);
                let Ok(len) = read else { return Ok(None) };
                link.len = len;
                let mut target = Target::new()?;
                if link.bytes().first() != Some(&b'/') {
                    target.push(parent)?;
                    target.push(b"/")?;
                }
                target.push(link.bytes())?;
                target.push(&path[end..])?;
                return Ok(Some(target));
            }
            Err(_) => return Ok(None),
        }
        parent = &path[..end];
    }
    Ok(None)
}

/// How an existing directory is opened: [`in_root`] or [`real`].
type Open = fn(i32, &CStr, usize) -> Result<i32, i32>;

fn opened_or_made(root: i32, path: &[u8], mode: u32, open: Open) -> Step<i32> {
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
    let mut end = 0;
    for component in path.split(|byte| *byte == b'/').filter(|component| !component.is_empty()) {
        end = component.as_ptr() as usize - path.as_ptr() as usize + component.len();
        let next =
            if made { Err(errno::ENOENT) } else { open(root, buffer.hold(&path[..end])?, O_DIRECTORY) };
        let next = match next {
            Err(errno::ENOENT) => {
                made = true;
                make_component(current, buffer.hold(component)?, mode)
            }
            other => other.at(Detail::Open),
        };
        close(current);
        current = next?;
    }
    debug_assert!(end <= path.len());
    Ok(current)
}

/// Makes one directory and opens it; what another process put there first must be a real one.
fn make_component(parent: i32, name: &CStr, mode: u32) -> Step<i32> {
    match call!(nr::MKDIRAT, parent, name.as_ptr(), mode) {
        Ok(_) | Err(errno::EEXIST) => {}
        Err(errno) => return Err(errno).at(Detail::Mkdir),
    }
    open_component(parent, name)
}

/// A real directory, by its parent.
fn open_component(parent: i32, name: &CStr) -> Step<i32> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    open(parent, name, O_PATH | O_DIRECTORY, 0, resolve).at(Detail::Open)
}

/// Opens (O_PATH) the file `path` below the root, made empty with its parents when missing.
pub(crate) fn regular(root: i32, path: &'static CStr) -> Step<i32> {
    match in_root(root, path, 0) {
        Err(errno::ENOENT) => {}
        other => return other.at(Detail::Open),
    }
    let target = follow_dangling(root, path.to_bytes())?;
    let (head, name) = match target.bytes().iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&target.bytes()[..at], &target.bytes()[at + 1..]),
        None => (&target.bytes()[..0], target.bytes()),
    };
    let mut buffer = Buffer::new();
    let name = buffer.hold(name)?;
    let parent = directory(root, head, 0o755)?;
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    let made = open(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY, 0o755, resolve);
    let file = match made {
        Ok(file) => {
            close(file);
            open(parent, name, O_PATH | O_NOFOLLOW, 0, resolve).at(Detail::Open)
        }
        Err(errno) => Err(errno).at(Detail::Create),
    };
    close(parent);
    file
}

/// Writes all of `bytes`, in one call: what the files of procfs want.
pub(crate) fn write_once(fd: i32, bytes: &[u8]) -> Step {
    match call!(nr::WRITE, fd, bytes.as_ptr(), bytes.len()).at(Detail::Write)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Failure { errno: errno::EINVAL, detail: Detail::Write as u32 }),
    }
}

/// `MakeDirectory`.
pub(crate) fn make_directory(init: &Init, path: Str, mode: u32) -> Step {
    close(directory(init.fd(Slot::ROOT), relative(init.plan.text(path)).to_bytes(), mode)?);
    Ok(())
}

/// `MakeWorkingDirectory`: only what is missing is made, and only that belongs to the user.
pub(crate) fn make_working_directory(init: &Init, path: Str, uid: u32, gid: u32) -> Step {
    let root = init.fd(Slot::ROOT);
    let path = relative(init.plan.text(path));
    match in_root(root, path, 0) {
        Ok(fd) => {
            close(fd);
            return Ok(());
        }
        Err(errno::ENOENT) => {}
        // The user may be able to enter what root cannot (FUSE): chdir decides.
        Err(_) => return Ok(()),
    }
    let fd = directory(root, path.to_bytes(), 0o755)?;
    let owned = call!(nr::FCHOWNAT, fd, c"".as_ptr(), uid, gid, AT_EMPTY_PATH).at(Detail::Chown);
    close(fd);
    owned.map(drop)
}
