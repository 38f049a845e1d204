//! File-system calls that the library's dependencies do not wrap, or wrap without the retry that
//! openat2(2) asks for.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// How often openat2 is repeated when a rename or mount elsewhere made it answer EAGAIN.
const OPENAT2_ATTEMPTS: u32 = 128;

/// Opens `path` below `dir` and nowhere else: no symlink, no magic link, no mount point, no `..`.
///
/// `path` must be relative and free of `.` and `..`. A single component needs no openat2: O_NOFOLLOW
/// says the same. Where a seccomp profile older than the call forbids openat2, the components are
/// opened one by one with O_NOFOLLOW, which is as strict.
pub(crate) fn open_beneath(dir: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    if !path.contains('/') {
        return open_component(dir, path, flags);
    }
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let mut result = Err(Errno::EAGAIN);
    for _ in 0..OPENAT2_ATTEMPTS {
        result = openat2(dir, path, OpenHow::new().flags(flags).resolve(resolve));
        if !matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
            break;
        }
    }
    match result {
        Err(Errno::ENOSYS | Errno::EPERM) => open_stepwise(dir, path, flags),
        other => other,
    }
}

/// Opens `path` as if `root` were the root directory: links and `..` never lead out of it.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut result = Err(Errno::EAGAIN);
    for _ in 0..OPENAT2_ATTEMPTS {
        result = openat2(root, path, how);
        if !matches!(result, Err(Errno::EAGAIN | Errno::EINTR)) {
            break;
        }
    }
    result
}

/// Opens `path` below `root`, and makes what is missing of it. No link leads out of the root, and each
/// missing component is made in its parent's descriptor.
pub(crate) fn open_or_make(root: BorrowedFd<'_>, path: &str, directory: bool) -> nix::Result<OwnedFd> {
    match open_in_root(root, path, OFlag::O_PATH) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let mut parent = open_in_root(root, "/", OFlag::O_PATH)?;
    for (number, name) in (1..).zip(&names) {
        let so_far = names.get(..number).unwrap_or_default().join("/");
        let last = number == names.len();
        parent = match open_in_root(root, &so_far, OFlag::O_PATH) {
            Err(Errno::ENOENT) => {
                make(parent.as_fd(), name, directory || !last)?;
                open_in_root(root, &so_far, OFlag::O_PATH)?
            }
            other => other?,
        };
    }
    Ok(parent)
}

fn make(parent: BorrowedFd<'_>, name: &str, directory: bool) -> nix::Result<()> {
    if directory {
        return mkdirat(parent, name, Mode::from_bits_truncate(0o755));
    }
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::from_bits_truncate(0o644)).map(drop)
}

/// The same as [`open_beneath`] by one openat per component.
fn open_stepwise(dir: BorrowedFd<'_>, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut current: Option<OwnedFd> = None;
    let mut components = path.split('/').peekable();
    while let Some(component) = components.next() {
        let flags = if components.peek().is_some() { step } else { flags };
        let base = current.as_ref().map_or(dir, AsFd::as_fd);
        current = Some(open_component(base, component, flags)?);
    }
    current.ok_or(Errno::EINVAL)
}

fn open_component(dir: BorrowedFd<'_>, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    if name.is_empty() || name == ".." || name == "." {
        return Err(Errno::EINVAL);
    }
    openat(dir, name, flags, Mode::empty())
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name, which may be any bytes but a slash.
    pub(crate) name: CString,
    /// Whether it is a directory (not a link to one).
    pub(crate) is_dir: bool,
}

/// The names in the directory `dir` (O_RDONLY, not O_PATH), without `.` and `..`.
pub(crate) fn read_dir(dir: BorrowedFd<'_>) -> nix::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut buffer = [0u8; 8192];
    loop {
        // SAFETY: the buffer is ours, lives through the call, and its length is passed along.
        let length = unsafe {
            libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
        };
        let length = usize::try_from(Errno::result(length)?).map_err(|_| Errno::EIO)?;
        if length == 0 {
            return Ok(entries);
        }
        parse_dirents(buffer.get(..length).unwrap_or_default(), &mut entries);
    }
}

/// Reads the records of getdents64(2): inode (8), offset (8), length (2), type (1), name.
fn parse_dirents(mut records: &[u8], entries: &mut Vec<Entry>) {
    const HEADER: usize = 19;
    while let (Some(&[low, high]), Some(&kind)) = (records.get(16..18), records.get(18)) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let (Some(name), Some(rest)) = (records.get(HEADER..length), records.get(length..)) else {
            return;
        };
        if let Ok(name) = CStr::from_bytes_until_nul(name)
            && name != c"."
            && name != c".."
        {
            entries.push(Entry { name: name.to_owned(), is_dir: kind == libc::DT_DIR });
        }
        records = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::symlink;

    #[test]
    fn directories_and_links_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        symlink("sub", dir.path().join("link")).unwrap();
        let mut entries = read_dir(File::open(dir.path()).unwrap().as_fd()).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let seen: Vec<_> = entries.iter().map(|entry| (entry.name.to_str().unwrap(), entry.is_dir)).collect();
        assert_eq!(seen, [("file", false), ("link", false), ("sub", true)]);
    }

    #[test]
    fn names_are_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff"))).unwrap();
        let entries = read_dir(File::open(dir.path()).unwrap().as_fd()).unwrap();
        assert_eq!(entries, [Entry { name: CString::new(b"\xff".to_vec()).unwrap(), is_dir: true }]);
    }

    #[test]
    fn links_and_parents_are_refused_by_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        symlink("a", dir.path().join("link")).unwrap();
        let root = File::open(dir.path()).unwrap();
        for way in [open_beneath, open_stepwise] {
            let open = |path| way(root.as_fd(), path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY);
            assert!(open("a/b").is_ok());
            assert!(open("link/b").is_err());
            assert!(open("link").is_err());
            assert!(open("..").is_err());
            assert!(open("a/../../etc").is_err());
            assert!(open("/etc").is_err());
            assert_eq!(open("a/none").unwrap_err(), Errno::ENOENT);
        }
    }

    #[test]
    fn missing_mount_points_are_made_inside() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("out")).unwrap();
        std::fs::create_dir(directory.path().join("real")).unwrap();
        std::os::unix::fs::symlink("/real", directory.path().join("link")).unwrap();
        let root = std::fs::File::open(directory.path()).unwrap();
        open_or_make(root.as_fd(), "/a/b", true).unwrap();
        open_or_make(root.as_fd(), "/link/file", false).unwrap();
        assert!(directory.path().join("a/b").is_dir());
        assert!(directory.path().join("real/file").is_file());
        // The link leads to a path that the root does not have, and is not followed out of it.
        assert!(open_or_make(root.as_fd(), "/out/x", true).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
