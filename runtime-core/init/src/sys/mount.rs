//! Mounts.

use core::ffi::CStr;

use super::{Fd, Owned, Result, call};
use crate::abi::{self, MountAttr, nr};

/// The address of a text, or null.
fn pointer(text: Option<&CStr>) -> *const core::ffi::c_char {
    text.map_or(core::ptr::null(), CStr::as_ptr)
}

/// open_tree(2), close-on-exec.
pub fn open_tree(directory: Fd<'_>, path: &CStr, flags: u32) -> Result<Owned> {
    // SAFETY: the kernel reads `path` up to its NUL, during the call alone.
    unsafe { call!(nr::OPEN_TREE, directory.number(), path.as_ptr(), flags | abi::O_CLOEXEC) }
        .map(Owned::made)
}

/// move_mount(2) of a mount's descriptor onto another's place.
pub fn move_mount(mount: Fd<'_>, place: Fd<'_>) -> Result {
    const FLAGS: u32 = abi::MOVE_MOUNT_F_EMPTY_PATH | abi::MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: both paths are a static empty text.
    unsafe { call!(nr::MOVE_MOUNT, mount.number(), empty, place.number(), empty, FLAGS) }.map(drop)
}

/// mount_setattr(2) of a mount's descriptor, or of its whole tree.
pub fn mount_setattr(mount: Fd<'_>, attr: &MountAttr, recursive: bool) -> Result {
    let flags = abi::AT_EMPTY_PATH | if recursive { abi::AT_RECURSIVE } else { 0 };
    let size = size_of::<MountAttr>();
    // SAFETY: the path is a static empty text; the kernel reads `attr`, which has the size that is passed.
    unsafe { call!(nr::MOUNT_SETATTR, mount.number(), c"".as_ptr(), flags, &raw const *attr, size) }.map(drop)
}

/// fsopen(2), close-on-exec: the context of a new file system.
pub fn fsopen(kind: &CStr) -> Result<Owned> {
    // SAFETY: the kernel reads `kind` up to its NUL, during the call alone.
    unsafe { call!(nr::FSOPEN, kind.as_ptr(), abi::FSOPEN_CLOEXEC) }.map(Owned::made)
}

/// fsconfig(2): an option that is a flag.
pub fn fsconfig_flag(context: Fd<'_>, key: &CStr) -> Result {
    // SAFETY: the kernel reads `key` up to its NUL; a flag has no value.
    unsafe { call!(nr::FSCONFIG, context.number(), abi::FSCONFIG_SET_FLAG, key.as_ptr(), 0, 0) }.map(drop)
}

/// fsconfig(2): an option with a text of at most 255 bytes.
pub fn fsconfig_string(context: Fd<'_>, key: &CStr, value: &CStr) -> Result {
    let command = abi::FSCONFIG_SET_STRING;
    // SAFETY: the kernel reads both texts up to their NULs, during the call alone.
    unsafe { call!(nr::FSCONFIG, context.number(), command, key.as_ptr(), value.as_ptr(), 0) }.map(drop)
}

/// fsconfig(2): an option that is a file.
pub fn fsconfig_fd(context: Fd<'_>, key: &CStr, value: Fd<'_>) -> Result {
    let command = abi::FSCONFIG_SET_FD;
    // SAFETY: the kernel reads `key` up to its NUL; the value is no pointer.
    unsafe { call!(nr::FSCONFIG, context.number(), command, key.as_ptr(), 0, value.number()) }.map(drop)
}

/// fsconfig(2): makes the file system.
pub fn fsconfig_create(context: Fd<'_>) -> Result {
    // SAFETY: the command takes neither key nor value.
    unsafe { call!(nr::FSCONFIG, context.number(), abi::FSCONFIG_CMD_CREATE, 0, 0, 0) }.map(drop)
}

/// fsmount(2), close-on-exec: a detached mount with MOUNT_ATTR_*.
pub fn fsmount(context: Fd<'_>, attributes: u64) -> Result<Owned> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::FSMOUNT, context.number(), abi::FSMOUNT_CLOEXEC, attributes) }.map(Owned::made)
}

/// mount(2); `data` is the option string.
pub fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result {
    let (source, kind, data) = (pointer(source), pointer(kind), pointer(data));
    // SAFETY: each text is null, which the call allows, or the kernel reads it up to its NUL (of `data` it takes no
    // more than is mapped), during the call alone.
    unsafe { call!(nr::MOUNT, source, target.as_ptr(), kind, flags, data) }.map(drop)
}

/// umount2(2).
pub fn umount(target: &CStr, flags: u32) -> Result {
    // SAFETY: the kernel reads `target` up to its NUL, during the call alone.
    unsafe { call!(nr::UMOUNT2, target.as_ptr(), flags) }.map(drop)
}

/// pivot_root(2).
pub fn pivot_root(new: &CStr, old: &CStr) -> Result {
    // SAFETY: the kernel reads both texts up to their NULs, during the call alone.
    unsafe { call!(nr::PIVOT_ROOT, new.as_ptr(), old.as_ptr()) }.map(drop)
}
