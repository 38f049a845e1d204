//! The new mount API: detached mounts as descriptors.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::fstat;

const FSOPEN_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const FSPICK_CLOEXEC: u32 = 1;
const FSPICK_EMPTY_PATH: u32 = 8;
const FSMOUNT_CLOEXEC: u32 = 1;
const OPEN_TREE_CLONE: i32 = 1;
const AT_RECURSIVE: i32 = 0x8000;
/// Both ends of move_mount(2) are the descriptors themselves.
const MOVE_BY_DESCRIPTORS: u32 = 0x4 | 0x40;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// A new file system of `kind`, mounted nowhere; MOUNT_ATTR_* as attributes.
pub(crate) fn filesystem(
    kind: &CStr,
    options: &[(&CStr, Option<&CStr>)],
    attributes: u64,
) -> Result<OwnedFd, Errno> {
    // SAFETY: every pointer is a C string that outlives its call; descriptors that the calls make
    // are owned here and by nobody else.
    unsafe {
        let context = Errno::result(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC))?;
        let context = OwnedFd::from_raw_fd(context as i32);
        let configure = |command: u32, key: *const libc::c_char, value: *const libc::c_char| {
            Errno::result(libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0))
                .map(drop)
        };
        for (key, value) in options {
            match value {
                Some(value) => configure(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())?,
                None => configure(FSCONFIG_SET_FLAG, key.as_ptr(), std::ptr::null())?,
            }
        }
        configure(FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        let mount = libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes);
        Errno::result(mount).map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Makes the file system of a mount read-only for everybody, whatever other mounts of it there are. EBUSY
/// while one of its files is open for writing.
pub(crate) fn freeze(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: every pointer is a C string; the context's descriptor is owned here.
    unsafe {
        let flags = FSPICK_CLOEXEC | FSPICK_EMPTY_PATH;
        let context = libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags);
        let context = OwnedFd::from_raw_fd(Errno::result(context)? as i32);
        let configure = |command: u32, key: *const libc::c_char| {
            let null = std::ptr::null::<libc::c_char>();
            Errno::result(libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, null, 0))
        };
        configure(FSCONFIG_SET_FLAG, c"ro".as_ptr())?;
        configure(FSCONFIG_CMD_RECONFIGURE, std::ptr::null()).map(drop)
    }
}

/// A detached copy of the tree at a path of the host.
pub(crate) fn clone_tree(path: &CStr, recursive: bool, nofollow: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC;
    flags |= if recursive { AT_RECURSIVE } else { 0 };
    flags |= if nofollow { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    // SAFETY: the path is a C string; the descriptor is new.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags))
            .map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Puts a detached mount on what `destination` is. ENOTDIR is a file on a directory or the reverse, as mount(2) has it.
pub(crate) fn attach(mount: BorrowedFd<'_>, destination: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: plain numbers and empty C strings.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            destination.as_raw_fd(),
            c"".as_ptr(),
            MOVE_BY_DESCRIPTORS,
        )
    };
    match Errno::result(moved) {
        Err(Errno::EINVAL) if is_directory(mount)? != is_directory(destination)? => Err(Errno::ENOTDIR),
        other => other.map(drop),
    }
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Sets and clears attributes (MOUNT_ATTR_*) of a mount, and its propagation (MS_*; 0 leaves it).
pub(crate) fn change(
    mount: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    propagation: u64,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = MountAttr { set, clear, propagation, userns: 0 };
    set_attributes(mount, &attr, recursive)
}

/// Gives a detached tree the ids of a user namespace (MOUNT_ATTR_IDMAP).
pub(crate) fn map_ids(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_IDMAP,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        userns: namespace.as_raw_fd() as u64,
    };
    set_attributes(mount, &attr, recursive)
}

/// Makes a tree private: mounts on it reach nobody else.
pub(crate) fn make_private(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    change(mount, 0, 0, libc::MS_PRIVATE, true)
}

fn set_attributes(mount: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` outlives the call, which only reads it.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    Errno::result(set).map(drop)
}
