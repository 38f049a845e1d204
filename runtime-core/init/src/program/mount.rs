//! Mounts by descriptors: sources as detached trees, destinations as O_PATH descriptors.

use core::ffi::CStr;

use crate::ops::{Node, Parameter, RootSwitch, Slice, Slot, Str};
use crate::parse::number::Octal;
use crate::parse::path::relative;
use crate::program::file::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH,
};
use crate::program::{At, Failure, Init, Step, call, device, errno, namespace};
use crate::report::Detail;
use crate::syscall::{common, nr};

const OPEN_TREE_CLONE: usize = 1;
const AT_RECURSIVE: usize = 0x8000;
const MOVE_BY_DESCRIPTORS: usize = 0x4 | 0x40;
pub(crate) const MOUNT_ATTR_RDONLY: u64 = 1;
const MNT_DETACH: usize = 2;
const CLONE_NEWNS: usize = 0x20000;
const MS_MOVE: usize = 0x2000;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_REC: u64 = 0x4000;
const FSCONFIG_SET_FLAG: usize = 0;
const FSCONFIG_SET_STRING: usize = 1;
const FSCONFIG_SET_FD: usize = 5;
const FSCONFIG_CMD_CREATE: usize = 6;
const CLOEXEC: usize = 1;
const FSMOUNT_CLOEXEC: usize = 1;

/// fsconfig(2) refuses values of this length and more.
const FSCONFIG_VALUE_LIMIT: usize = 256;
/// mount(2) copies at most one page of options.
const MOUNT_DATA_LIMIT: usize = 4096;

/// `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// mount_setattr(2) on a mount's descriptor.
pub(crate) fn attributes(mount: i32, set: u64, clear: u64, propagation: u64, recursive: bool) -> Step {
    let attr = MountAttr { set, clear, propagation, userns: 0 };
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(common::MOUNT_SETATTR, mount, c"".as_ptr(), flags, &raw const attr, size_of::<MountAttr>())
        .at(Detail::MountSetattr)
        .map(drop)
}

/// Propagation of the tree at the process's root.
pub(crate) fn propagation(flags: u64) -> Step {
    call!(nr::MOUNT, 0, c"/".as_ptr(), 0, flags, 0).at(Detail::Mount).map(drop)
}

/// `HostPropagation`: of the whole mount namespace.
///
/// The caller may be in a chroot. What joins the container later begins at the root of the mount namespace, so
/// that has to become the container's: [`switch_root`] leaves the chroot. Until then the paths of the host
/// are those that the caller sees.
pub(crate) fn host_propagation(init: &mut Init, flags: u64) -> Step {
    let root = open_root_directory()?;
    match leave_chroot(init) {
        Ok(()) => {}
        // Filters of unprivileged containers deny the call.
        Err(Failure { errno: errno::EPERM | errno::ENOSYS, .. })
            if !is_elsewhere_than_the_first_process(init, root) =>
        {
            file::close(root);
            return propagation(flags);
        }
        Err(failure) => return Err(failure),
    }
    let top = open_root_directory()?;
    init.in_chroot = !is_the_root(top, root)?;
    file::close(top);
    propagation(flags)?;
    if init.in_chroot {
        call!(nr::FCHDIR, root).at(Detail::Fchdir)?;
        call!(nr::CHROOT, c".".as_ptr()).at(Detail::Chroot)?;
    }
    file::close(root);
    Ok(())
}

fn open_root_directory() -> Step<i32> {
    let flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    call!(nr::OPENAT, AT_FDCWD, c"/".as_ptr(), flags).at(Detail::Open).map(|fd| fd as i32)
}

/// Joins the mount namespace that the process is in: its root and its working directory become that of the
/// namespace.
fn leave_chroot(init: &mut Init) -> Step {
    let own = namespace::open_mount_namespace(init)?;
    let joined = call!(nr::SETNS, own, CLONE_NEWNS).at(Detail::Setns);
    file::close(own);
    joined.map(drop)
}

/// Whether it is certain that the first process has another root.
fn is_elsewhere_than_the_first_process(init: &Init, root: i32) -> bool {
    let path = c"1/root".as_ptr();
    let Ok(first) = call!(nr::OPENAT, init.fd(Slot::PROC), path, O_PATH | O_DIRECTORY | O_CLOEXEC) else {
        return false;
    };
    let other = match (file::stat(first as i32, c""), file::stat(root, c"")) {
        (Ok(first), Ok(root)) => !first.is_same_file(&root),
        _ => false,
    };
    file::close(first as i32);
    other
}

/// Clones the mount that a descriptor is on.
fn clone_descriptor(fd: i32, recursive: bool) -> Step<i32> {
    let flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(common::OPEN_TREE, fd, c"".as_ptr(), flags).at(Detail::OpenTree).map(|fd| fd as i32)
}

/// Puts the detached `mount` on what `destination` is.
pub(crate) fn move_to(mount: i32, destination: i32) -> Step {
    match call!(common::MOVE_MOUNT, mount, c"".as_ptr(), destination, c"".as_ptr(), MOVE_BY_DESCRIPTORS) {
        // mount(2) says so of a file on a directory, and Docker knows these words.
        Err(errno::EINVAL) if is_directory(mount) != is_directory(destination) => Err(errno::ENOTDIR),
        other => other,
    }
    .at(Detail::MoveMount)
    .map(drop)
}

fn is_directory(fd: i32) -> bool {
    file::stat(fd, c"").is_ok_and(|stat| stat.kind() == file::S_IFDIR)
}

/// `OpenRoot`.
pub(crate) fn open_root(init: &mut Init, path: Str, slot: Slot, private: bool) -> Step {
    let path = init.plan.text(path);
    let flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH;
    let open = |path: &CStr| {
        call!(nr::OPENAT, AT_FDCWD, path.as_ptr(), O_PATH | O_DIRECTORY | O_CLOEXEC).at(Detail::Open)
    };
    let root = open(path)? as i32;
    let tree = match init.take(slot) {
        -1 => call!(common::OPEN_TREE, root, c"".as_ptr(), flags).at(Detail::OpenTree)? as i32,
        given => given,
    };
    let destination = if private {
        // Of what is mounted below the root on the host: mounts that are made there must not go back to it.
        attributes(tree, 0, 0, MS_SLAVE, true)?;
        attributes(tree, 0, 0, MS_PRIVATE, false)?;
        propagation(MS_PRIVATE)?;
        open(c"/")? as i32
    } else {
        root
    };
    move_to(tree, destination)?;
    if private {
        file::close(destination);
    }
    file::close(root);
    init.set(Slot::ROOT, tree);
    call!(nr::FCHDIR, tree).at(Detail::Fchdir).map(drop)
}

/// `OpenJoinedRoot`.
pub(crate) fn open_joined_root(init: &mut Init) -> Step {
    let root =
        call!(nr::OPENAT, AT_FDCWD, c"/".as_ptr(), O_PATH | O_DIRECTORY | O_CLOEXEC).at(Detail::Open)?;
    init.set(Slot::ROOT, root as i32);
    Ok(())
}

/// `NewFilesystem`.
pub(crate) fn new_filesystem(
    init: &mut Init,
    kind: Str,
    source: Str,
    parameters: Slice,
    attributes: u64,
) -> Step {
    let (kind, source, parameters) =
        (init.plan.text(kind), init.plan.text(source), init.plan.parameters(parameters));
    let long = |parameter: &Parameter| init.plan.text(parameter.value).count_bytes() >= FSCONFIG_VALUE_LIMIT;
    // Only fsconfig(2) knows this option: each layer of an overlay is an option of its own.
    let layer = |parameter: &Parameter| init.plan.text(parameter.key) == c"lowerdir+";
    let by_string = parameters.iter().any(long) && !parameters.iter().any(layer);
    let mode = init.mode.take().map(Octal::new);
    let mode = mode.as_ref().map(Octal::text);
    let mount = if by_string || source.count_bytes() >= FSCONFIG_VALUE_LIMIT {
        mounted_by_string(init, kind, source, (parameters, mode), attributes)?
    } else {
        let context = call!(common::FSOPEN, kind.as_ptr(), CLOEXEC).at(Detail::Fsopen)? as i32;
        let mount = configured(init, context, source, (parameters, mode), attributes);
        file::close(context);
        mount?
    };
    init.set(Slot::MOUNT, mount);
    Ok(())
}

/// Configures and mounts an fsopen(2) context.
fn configured(
    init: &Init,
    context: i32,
    source: &CStr,
    (parameters, mode): (&[Parameter], Option<&CStr>),
    attributes: u64,
) -> Step<i32> {
    if !source.is_empty() {
        set(context, c"source", source)?;
    }
    for parameter in parameters {
        set(context, init.plan.text(parameter.key), init.plan.text(parameter.value))?;
    }
    if let Some(mode) = mode {
        set(context, c"mode", mode)?;
    }
    call!(common::FSCONFIG, context, FSCONFIG_CMD_CREATE, 0, 0, 0).at(Detail::FsconfigCreate)?;
    call!(common::FSMOUNT, context, FSMOUNT_CLOEXEC, attributes).at(Detail::Fsmount).map(|fd| fd as i32)
}

/// The configured context of a new sysfs, which shows the network namespace that this process is in now.
pub(crate) fn sysfs_context() -> Step<i32> {
    let context = call!(common::FSOPEN, c"sysfs".as_ptr(), CLOEXEC).at(Detail::Fsopen)? as i32;
    let configured = set(context, c"source", c"sysfs").and_then(|()| {
        call!(common::FSCONFIG, context, FSCONFIG_CMD_CREATE, 0, 0, 0).at(Detail::FsconfigCreate)
    });
    match configured {
        Ok(_) => Ok(context),
        Err(failure) => {
            file::close(context);
            Err(failure)
        }
    }
}

/// `MountContext`.
pub(crate) fn mount_context(init: &mut Init, slot: Slot, attributes: u64) -> Step {
    let mount = call!(common::FSMOUNT, init.fd(slot), FSMOUNT_CLOEXEC, attributes).at(Detail::Fsmount)?;
    init.set(slot, -1);
    init.set(Slot::MOUNT, mount as i32);
    Ok(())
}

/// Gives a mount, or its whole tree, the id map of a user namespace.
pub(crate) fn id_map(mount: i32, user: i32, recursive: bool) -> Step {
    const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
    let attr = MountAttr { set: MOUNT_ATTR_IDMAP, clear: 0, propagation: 0, userns: user as u64 };
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call!(common::MOUNT_SETATTR, mount, c"".as_ptr(), flags, &raw const attr, size_of::<MountAttr>())
        .at(Detail::MountSetattr)
        .map(drop)
}

/// One option of a context: a string, or a flag when it has no value.
fn set(context: i32, key: &CStr, value: &CStr) -> Step {
    if value.count_bytes() >= FSCONFIG_VALUE_LIMIT {
        return set_directory(context, key, value);
    }
    let (command, value) = match value.is_empty() {
        true => (FSCONFIG_SET_FLAG, core::ptr::null()),
        false => (FSCONFIG_SET_STRING, value.as_ptr()),
    };
    call!(common::FSCONFIG, context, command, key.as_ptr(), value, 0).at(Detail::Fsconfig).map(drop)
}

/// A directory as the value of an option whose path is too long for a string (overlay, since Linux 6.13).
fn set_directory(context: i32, key: &CStr, path: &CStr) -> Step {
    let fd =
        call!(nr::OPENAT, AT_FDCWD, path.as_ptr(), O_PATH | O_DIRECTORY | O_CLOEXEC).at(Detail::Open)? as i32;
    let set = call!(common::FSCONFIG, context, FSCONFIG_SET_FD, key.as_ptr(), 0, fd).at(Detail::Fsconfig);
    file::close(fd);
    set.map(drop)
}

/// mount(2) for options that fsconfig(2) cannot carry.
///
/// It needs a place in a mount namespace. Every mount of the init's own may still be a peer of the host's
/// (rootfsPropagation), or be that of another container that it has joined, and the init may be killed at any
/// time: so the place is in a namespace that is made for it, private as a whole, and has no other process.
fn mounted_by_string(
    init: &mut Init,
    kind: &CStr,
    source: &CStr,
    options: (&[Parameter], Option<&CStr>),
    attributes: u64,
) -> Step<i32> {
    let root = open_root_directory()?;
    let own = namespace::open_mount_namespace(init)?;
    call!(nr::UNSHARE, CLONE_NEWNS).at(Detail::Unshare)?;
    let mount = staged(init, kind, source, options, attributes);
    call!(nr::SETNS, own, CLONE_NEWNS).at(Detail::Setns)?;
    file::close(own);
    // setns(2) has changed both to the root of the namespace.
    call!(nr::FCHDIR, root).at(Detail::Fchdir)?;
    call!(nr::CHROOT, c".".as_ptr()).at(Detail::Chroot)?;
    file::close(root);
    call!(nr::FCHDIR, init.fd(Slot::ROOT)).at(Detail::Fchdir)?;
    mount
}

/// Mounts on a constant path of a mount namespace of its own, and takes the mount from there as a detached tree.
fn staged(
    init: &Init,
    kind: &CStr,
    source: &CStr,
    (parameters, mode): (&[Parameter], Option<&CStr>),
    attributes: u64,
) -> Step<i32> {
    const STAGE: &CStr = c"/proc";
    propagation(MS_PRIVATE | MS_REC)?;
    let mut data = Data { bytes: [0; MOUNT_DATA_LIMIT], len: 0 };
    for parameter in parameters {
        data.push(init.plan.text(parameter.key), init.plan.text(parameter.value))?;
    }
    if let Some(mode) = mode {
        data.push(c"mode", mode)?;
    }
    call!(nr::MOUNT, source.as_ptr(), STAGE.as_ptr(), kind.as_ptr(), 0, data.bytes.as_ptr())
        .at(Detail::Mount)?;
    let tree = call!(common::OPEN_TREE, AT_FDCWD, STAGE.as_ptr(), OPEN_TREE_CLONE | O_CLOEXEC)
        .at(Detail::OpenTree)? as i32;
    self::attributes(tree, attributes, 0, 0, false)?;
    Ok(tree)
}

/// The option string of mount(2).
struct Data {
    bytes: [u8; MOUNT_DATA_LIMIT],
    len: usize,
}

impl Data {
    fn push(&mut self, key: &CStr, value: &CStr) -> Step {
        if self.len > 0 {
            self.append(b",")?;
        }
        self.append(key.to_bytes())?;
        if !value.is_empty() {
            self.append(b"=")?;
            self.append(value.to_bytes())?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Step {
        let end = self.len + bytes.len();
        // The last byte stays NUL.
        if end >= MOUNT_DATA_LIMIT {
            return Err(Failure { errno: errno::ENAMETOOLONG, detail: Detail::TooLong as u32 });
        }
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// `CloneTree`.
pub(crate) fn clone_tree(init: &mut Init, path: Str, recursive: bool, nofollow: bool) -> Step {
    let path = init.plan.text(path);
    let flags = OPEN_TREE_CLONE
        | O_CLOEXEC
        | if recursive { AT_RECURSIVE } else { 0 }
        | if nofollow { AT_SYMLINK_NOFOLLOW } else { 0 };
    let tree = call!(common::OPEN_TREE, AT_FDCWD, path.as_ptr(), flags).at(Detail::OpenTree)?;
    init.set(Slot::MOUNT, tree as i32);
    Ok(())
}

/// `OpenHost`.
pub(crate) fn open_host(init: &mut Init, path: Str, slot: Slot) -> Step {
    let path = init.plan.text(path);
    let fd = call!(nr::OPENAT, AT_FDCWD, path.as_ptr(), O_PATH | O_CLOEXEC).at(Detail::Open)?;
    init.set(slot, fd as i32);
    Ok(())
}

/// `Attach`.
pub(crate) fn attach(init: &mut Init, destination: Str, node: Node, nofollow: bool) -> Step {
    let root = init.fd(Slot::ROOT);
    let path = relative(init.plan.text(destination));
    let mount = init.fd(Slot::MOUNT);
    if node == Node::LinkOrMount && file::stat(mount, c"").at(Detail::Stat)?.kind() == file::S_IFLNK {
        device::copy_symlink(root, path, mount)?;
        init.set(Slot::MOUNT, -1);
        return Ok(());
    }
    let existing = match nofollow {
        true => file::in_root(root, path, O_NOFOLLOW),
        false => Err(errno::ENOENT),
    };
    let target = match (existing, node) {
        (Ok(target), _) => target,
        (_, Node::Directory) => file::directory(root, path.to_bytes(), 0o755)?,
        (_, Node::RealDirectory) => real_directory(root, path)?,
        (_, Node::LikeMount | Node::LinkOrMount) => {
            if file::stat(mount, c"").at(Detail::Stat)?.kind() == file::S_IFDIR {
                file::directory(root, path.to_bytes(), 0o755)?
            } else {
                file::regular(root, path)?
            }
        }
    };
    let moved = stays_out_of_proc(path, target)
        .and_then(|()| is_not_the_root(root, target))
        .and_then(|()| move_to(mount, target));
    file::close(target);
    moved?;
    init.set(Slot::MOUNT, -1);
    Ok(())
}

/// Refuses a destination that a link of the image leads into procfs: the configuration was checked by
/// its words (CVE-2019-16884).
fn stays_out_of_proc(path: &CStr, target: i32) -> Step {
    let named = path.to_bytes().split(|byte| *byte == b'/').next() == Some(b"proc");
    match named || file::filesystem(target) != Ok(namespace::PROC_SUPER_MAGIC) {
        true => Ok(()),
        false => Err(Failure { errno: errno::EPERM, detail: Detail::LinkIntoProc as u32 }),
    }
}

/// Refuses a destination that a link of the image leads to the root itself: the mount would cover the
/// root for who joins the container, and not for its own processes.
fn is_not_the_root(root: i32, target: i32) -> Step {
    match is_the_root(root, target)? {
        true => Err(Failure { errno: errno::EINVAL, detail: Detail::LinkToRoot as u32 }),
        false => Ok(()),
    }
}

/// Whether a path led to the root itself; another mount of the same directory is another place.
fn is_the_root(root: i32, target: i32) -> Step<bool> {
    let (root, target) = (file::stat(root, c"").at(Detail::Stat)?, file::stat(target, c"").at(Detail::Stat)?);
    Ok(root.is_same_place(&target))
}

/// `CopyMode`: kept for the file system that comes next.
pub(crate) fn copy_mode(init: &mut Init, destination: Str) -> Step {
    let path = relative(init.plan.text(destination));
    let image = match file::in_root(init.fd(Slot::ROOT), path, O_DIRECTORY) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    let stat = file::stat(image, c"").at(Detail::Stat);
    file::close(image);
    init.mode = Some(stat?.mode as u32 & 0o7777);
    Ok(())
}

/// `LabelMount`. What fsmount(2) gives is a path only, and has no attributes.
pub(crate) fn label(init: &Init, value: Slice) -> Step {
    let value = init.plan.bytes(value);
    let root = file::open(init.fd(Slot::MOUNT), c".", O_DIRECTORY, 0, 0).at(Detail::Open)?;
    let name = c"security.selinux".as_ptr();
    let labelled = call!(nr::FSETXATTR, root, name, value.as_ptr(), value.len(), 0).at(Detail::Whole);
    file::close(root);
    labelled.map(drop)
}

/// `VerifyProc`.
pub(crate) fn verify_proc(init: &Init) -> Step {
    match namespace::is_proc_root(init.fd(Slot::MOUNT)) {
        true => Ok(()),
        false => Err(Failure { errno: errno::EINVAL, detail: Detail::NotProcfs as u32 }),
    }
}

/// `RemountAt`.
pub(crate) fn remount_at(init: &Init, destination: Str, set: u64, clear: u64) -> Step {
    let path = relative(init.plan.text(destination));
    let target = file::in_root(init.fd(Slot::ROOT), path, 0).at(Detail::Open)?;
    let changed = attributes(target, set, clear, 0, false);
    file::close(target);
    changed
}

/// A directory without a symbolic link on the way, made when missing.
fn real_directory(root: i32, path: &'static CStr) -> Step<i32> {
    match file::real(root, path, O_DIRECTORY) {
        Err(errno::ENOENT) => {}
        other => return other.at(Detail::Open),
    }
    file::close(file::directory(root, path.to_bytes(), 0o755)?);
    file::real(root, path, O_DIRECTORY).at(Detail::Open)
}

/// `Mask`.
pub(crate) fn mask(init: &mut Init, path: Str) -> Step {
    let path = relative(init.plan.text(path));
    let target = match file::in_root(init.fd(Slot::ROOT), path, 0) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    is_not_the_root(init.fd(Slot::ROOT), target)?;
    let stat = file::stat(target, c"").at(Detail::Stat)?;
    let covered = match stat.kind() {
        file::S_IFDIR => cover_directory(init, target),
        _ => cover_file(init, target),
    };
    file::close(target);
    covered
}

/// Covers a directory by the one shared, empty, read-only tmpfs (a superblock for each would stall
/// nodes with many masks).
fn cover_directory(init: &mut Init, target: i32) -> Step {
    if init.fd(Slot::EMPTY_DIRECTORY) >= 0 {
        let again = clone_descriptor(init.fd(Slot::EMPTY_DIRECTORY), false)?;
        let moved = move_to(again, target);
        file::close(again);
        return moved;
    }
    let context = call!(common::FSOPEN, c"tmpfs".as_ptr(), CLOEXEC).at(Detail::Fsopen)? as i32;
    set(context, c"source", c"tmpfs")?;
    set(context, c"nr_inodes", c"2")?;
    set(context, c"ro", c"")?;
    call!(common::FSCONFIG, context, FSCONFIG_CMD_CREATE, 0, 0, 0).at(Detail::FsconfigCreate)?;
    let empty =
        call!(common::FSMOUNT, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY).at(Detail::Fsmount)? as i32;
    file::close(context);
    move_to(empty, target)?;
    init.set(Slot::EMPTY_DIRECTORY, empty);
    Ok(())
}

/// Covers a file by the container's own /dev/null, verified to be that (CVE-2025-31133).
fn cover_file(init: &mut Init, target: i32) -> Step {
    if init.fd(Slot::NULL) < 0 {
        let null = file::real(init.fd(Slot::ROOT), c"dev/null", O_NOFOLLOW).at(Detail::Open)?;
        let stat = file::stat(null, c"").at(Detail::Stat)?;
        if stat.kind() != file::S_IFCHR || (stat.device_major, stat.device_minor) != (1, 3) {
            return Err(Failure { errno: errno::EINVAL, detail: Detail::NotTheRequestedNode as u32 });
        }
        init.set(Slot::NULL, null);
    }
    let cover = clone_descriptor(init.fd(Slot::NULL), false)?;
    let moved = move_to(cover, target);
    file::close(cover);
    moved
}

/// `ReadOnly`.
pub(crate) fn read_only(init: &mut Init, path: Str) -> Step {
    let path = relative(init.plan.text(path));
    let target = match file::in_root(init.fd(Slot::ROOT), path, 0) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    if is_the_root(init.fd(Slot::ROOT), target)? {
        file::close(target);
        // A mount on the root would be seen only by processes that join the container, and the
        // operations that follow still write below the root: the root itself changes, at its switch.
        init.read_only_root = true;
        return Ok(());
    }
    let tree = clone_descriptor(target, true)?;
    let result = attributes(tree, MOUNT_ATTR_RDONLY, 0, 0, true).and_then(|()| move_to(tree, target));
    file::close(tree);
    file::close(target);
    result
}

/// `SwitchRoot`.
pub(crate) fn switch_root(init: &mut Init, how: RootSwitch) -> Step {
    if init.in_chroot {
        leave_chroot(init)?;
    }
    call!(nr::FCHDIR, init.fd(Slot::ROOT)).at(Detail::Fchdir)?;
    match how {
        RootSwitch::Pivot => {
            let old = open_root_directory()?;
            // With both arguments "." the old root is put over the new one, and detached from it.
            call!(nr::PIVOT_ROOT, c".".as_ptr(), c".".as_ptr()).at(Detail::PivotRoot)?;
            // With a propagation that is shared or not recursive, mounts of the host are still peers of
            // those here: the host would lose them with the detachment.
            attributes(old, 0, 0, MS_SLAVE, true)?;
            file::close(old);
            call!(nr::UMOUNT2, c".".as_ptr(), MNT_DETACH).at(Detail::Umount)?;
        }
        RootSwitch::Move => {
            crate::program::reveal::detach(init)?;
            call!(nr::MOUNT, c".".as_ptr(), c"/".as_ptr(), 0, MS_MOVE, 0).at(Detail::Mount)?;
            call!(nr::CHROOT, c".".as_ptr()).at(Detail::Chroot)?;
        }
        RootSwitch::Chroot => {
            call!(nr::CHROOT, c".".as_ptr()).at(Detail::Chroot)?;
        }
    }
    call!(nr::CHDIR, c"/".as_ptr()).at(Detail::Chdir)?;
    if init.in_chroot {
        joins_lead_here(init)?;
    }
    match init.read_only_root {
        true => attributes(init.fd(Slot::ROOT), MOUNT_ATTR_RDONLY, 0, 0, true),
        false => Ok(()),
    }
}

/// Verifies that what joins the mount namespace has the container's root.
fn joins_lead_here(init: &mut Init) -> Step {
    leave_chroot(init)?;
    let joined = open_root_directory()?;
    let same = is_the_root(init.fd(Slot::ROOT), joined);
    file::close(joined);
    match same? {
        true => Ok(()),
        false => Err(Failure { errno: errno::EINVAL, detail: Detail::NotInRoot as u32 }),
    }
}
