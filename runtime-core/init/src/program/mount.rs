//! Mounts by descriptors: sources as detached trees, destinations as O_PATH descriptors.

use core::ffi::CStr;

use crate::abi::{
    AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, CLONE_NEWNS, MNT_DETACH, MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_RDONLY, MS_MOVE, MS_PRIVATE, MS_REC, MS_SLAVE, MountAttr, O_DIRECTORY, O_NOFOLLOW, O_PATH,
    OPEN_TREE_CLONE, PROC_SUPER_MAGIC, S_IFDIR, S_IFLNK, errno,
};
use crate::ops::{Node, Parameter, RootSwitch, Slice, Slot, Str};
use crate::parse::number::Octal;
use crate::parse::path::relative;
use crate::program::file::{self, open_directory};
use crate::program::{At, Failure, Init, Step, device, namespace};
use crate::report::Detail;
use crate::sys::file::{chdir, chroot, fchdir, filesystem, fsetxattr, openat, stat};
use crate::sys::mount as call;
use crate::sys::process::{setns, unshare};
use crate::sys::{Fd, Owned};

/// fsconfig(2) refuses values of this length and more.
const FSCONFIG_VALUE_LIMIT: usize = 256;
/// mount(2) copies at most one page of options.
const MOUNT_DATA_LIMIT: usize = 4096;

/// mount_setattr(2) on a mount's descriptor.
pub(crate) fn attributes(mount: Fd<'_>, set: u64, clear: u64, propagation: u64, recursive: bool) -> Step {
    let attr = MountAttr { set, clear, propagation, userns: 0 };
    call::mount_setattr(mount, &attr, recursive).at(Detail::MountSetattr)
}

/// Propagation of the tree at the process's root.
pub(crate) fn propagation(flags: u64) -> Step {
    call::mount(None, c"/", None, flags, None).at(Detail::Mount)
}

/// `HostPropagation`: of the whole mount namespace.
///
/// The caller may be in a chroot. What joins the container later begins at the root of the mount namespace, so
/// that has to become the container's: [`switch_root`] leaves the chroot. Until then the paths of the host
/// are those that the caller sees.
pub(crate) fn host_propagation(init: &mut Init, flags: u64) -> Step {
    let root = open_directory(c"/")?;
    match leave_chroot(init) {
        Ok(()) => {}
        // Filters of unprivileged containers deny the call.
        Err(Failure { errno: errno::EPERM | errno::ENOSYS, .. })
            if !is_elsewhere_than_the_first_process(init, root.fd()) =>
        {
            return propagation(flags);
        }
        Err(failure) => return Err(failure),
    }
    let top = open_directory(c"/")?;
    init.in_chroot = !is_the_root(top.fd(), root.fd())?;
    drop(top);
    propagation(flags)?;
    if init.in_chroot {
        fchdir(root.fd()).at(Detail::Fchdir)?;
        chroot(c".").at(Detail::Chroot)?;
    }
    Ok(())
}

/// Joins the mount namespace that the process is in: its root and its working directory become that of the
/// namespace.
fn leave_chroot(init: &mut Init) -> Step {
    let own = namespace::open_mount_namespace(init)?;
    setns(own.fd(), CLONE_NEWNS).at(Detail::Setns)
}

/// Whether it is certain that the first process has another root.
fn is_elsewhere_than_the_first_process(init: &Init, root: Fd<'_>) -> bool {
    let Ok(first) = openat(init.fd(Slot::PROC), c"1/root", O_PATH | O_DIRECTORY) else {
        return false;
    };
    match (stat(first.fd(), c""), stat(root, c"")) {
        (Ok(first), Ok(root)) => !first.is_same_file(&root),
        _ => false,
    }
}

/// Clones the mount that a descriptor is on.
pub(crate) fn clone_descriptor(fd: Fd<'_>, recursive: bool) -> Step<Owned> {
    let flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    call::open_tree(fd, c"", flags).at(Detail::OpenTree)
}

/// Puts the detached `mount` on what `destination` is.
pub(crate) fn move_to(mount: Fd<'_>, destination: Fd<'_>) -> Step {
    match call::move_mount(mount, destination) {
        // mount(2) says so of a file on a directory, and Docker knows these words.
        Err(errno::EINVAL) if file::is_directory(mount) != file::is_directory(destination) => {
            Err(errno::ENOTDIR)
        }
        other => other,
    }
    .at(Detail::MoveMount)
}

/// `OpenRoot`.
pub(crate) fn open_root(init: &mut Init, path: Str, slot: Slot, private: bool) -> Step {
    let root = open_directory(init.plan.text(path))?;
    let tree = match init.take(slot) {
        Some(given) => given,
        None => clone_descriptor(root.fd(), true)?,
    };
    if private {
        // Of what is mounted below the root on the host: mounts that are made there must not go back to it.
        attributes(tree.fd(), 0, 0, MS_SLAVE, true)?;
        attributes(tree.fd(), 0, 0, MS_PRIVATE, false)?;
        propagation(MS_PRIVATE)?;
        move_to(tree.fd(), open_directory(c"/")?.fd())?;
    } else {
        move_to(tree.fd(), root.fd())?;
    }
    init.set(Slot::ROOT, tree);
    fchdir(init.fd(Slot::ROOT)).at(Detail::Fchdir)
}

/// `OpenJoinedRoot`.
pub(crate) fn open_joined_root(init: &mut Init) -> Step {
    init.set(Slot::ROOT, open_directory(c"/")?);
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
        let context = call::fsopen(kind).at(Detail::Fsopen)?;
        configured(init, context.fd(), source, (parameters, mode), attributes)?
    };
    init.set(Slot::MOUNT, mount);
    Ok(())
}

/// Configures and mounts an fsopen(2) context.
fn configured(
    init: &Init,
    context: Fd<'_>,
    source: &CStr,
    (parameters, mode): (&[Parameter], Option<&CStr>),
    attributes: u64,
) -> Step<Owned> {
    if !source.is_empty() {
        set(context, c"source", source)?;
    }
    for parameter in parameters {
        set(context, init.plan.text(parameter.key), init.plan.text(parameter.value))?;
    }
    if let Some(mode) = mode {
        set(context, c"mode", mode)?;
    }
    made(context, attributes)
}

/// The detached mount of a context that is configured.
fn made(context: Fd<'_>, attributes: u64) -> Step<Owned> {
    call::fsconfig_create(context).at(Detail::FsconfigCreate)?;
    call::fsmount(context, attributes).at(Detail::Fsmount)
}

/// The configured context of a new sysfs, which shows the network namespace that this process is in now.
pub(crate) fn sysfs_context() -> Step<Owned> {
    let context = call::fsopen(c"sysfs").at(Detail::Fsopen)?;
    set(context.fd(), c"source", c"sysfs")?;
    call::fsconfig_create(context.fd()).at(Detail::FsconfigCreate)?;
    Ok(context)
}

/// `MountContext`.
pub(crate) fn mount_context(init: &mut Init, slot: Slot, attributes: u64) -> Step {
    let mount = call::fsmount(init.fd(slot), attributes).at(Detail::Fsmount)?;
    init.clear(slot);
    init.set(Slot::MOUNT, mount);
    Ok(())
}

/// Gives a mount, or its whole tree, the id map of a user namespace.
pub(crate) fn id_map(mount: Fd<'_>, user: Fd<'_>, recursive: bool) -> Step {
    let attr = MountAttr { set: MOUNT_ATTR_IDMAP, userns: user.number() as u64, ..MountAttr::default() };
    call::mount_setattr(mount, &attr, recursive).at(Detail::MountSetattr)
}

/// One option of a context: a string, or a flag when it has no value.
fn set(context: Fd<'_>, key: &CStr, value: &CStr) -> Step {
    if value.count_bytes() >= FSCONFIG_VALUE_LIMIT {
        return set_directory(context, key, value);
    }
    match value.is_empty() {
        true => call::fsconfig_flag(context, key),
        false => call::fsconfig_string(context, key, value),
    }
    .at(Detail::Fsconfig)
}

/// A directory as the value of an option whose path is too long for a string (overlay, since Linux 6.13).
fn set_directory(context: Fd<'_>, key: &CStr, path: &CStr) -> Step {
    let directory = open_directory(path)?;
    call::fsconfig_fd(context, key, directory.fd()).at(Detail::Fsconfig)
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
) -> Step<Owned> {
    let root = open_directory(c"/")?;
    let own = namespace::open_mount_namespace(init)?;
    unshare(CLONE_NEWNS).at(Detail::Unshare)?;
    let mount = staged(init, kind, source, options, attributes);
    setns(own.fd(), CLONE_NEWNS).at(Detail::Setns)?;
    // setns(2) has changed both to the root of the namespace.
    fchdir(root.fd()).at(Detail::Fchdir)?;
    chroot(c".").at(Detail::Chroot)?;
    fchdir(init.fd(Slot::ROOT)).at(Detail::Fchdir)?;
    mount
}

/// Mounts on a constant path of a mount namespace of its own, and takes the mount from there as a detached tree.
fn staged(
    init: &Init,
    kind: &CStr,
    source: &CStr,
    (parameters, mode): (&[Parameter], Option<&CStr>),
    attributes: u64,
) -> Step<Owned> {
    const STAGE: &CStr = c"/proc";
    propagation(MS_PRIVATE | MS_REC)?;
    let mut data = Data { bytes: [0; MOUNT_DATA_LIMIT], len: 0 };
    for parameter in parameters {
        data.push(init.plan.text(parameter.key), init.plan.text(parameter.value))?;
    }
    if let Some(mode) = mode {
        data.push(c"mode", mode)?;
    }
    call::mount(Some(source), STAGE, Some(kind), 0, Some(data.text())).at(Detail::Mount)?;
    let tree = call::open_tree(Fd::WORKING_DIRECTORY, STAGE, OPEN_TREE_CLONE).at(Detail::OpenTree)?;
    self::attributes(tree.fd(), attributes, 0, 0, false)?;
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
        let end = self.len.saturating_add(bytes.len());
        let too_long = Failure::new(errno::ENAMETOOLONG, Detail::TooLong);
        // The last byte stays NUL.
        let place = self.bytes.get_mut(self.len..end).filter(|_| end < MOUNT_DATA_LIMIT).ok_or(too_long)?;
        place.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn text(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// `CloneTree`.
pub(crate) fn clone_tree(init: &mut Init, path: Str, recursive: bool, nofollow: bool) -> Step {
    let flags = OPEN_TREE_CLONE
        | if recursive { AT_RECURSIVE } else { 0 }
        | if nofollow { AT_SYMLINK_NOFOLLOW } else { 0 };
    let tree = call::open_tree(Fd::WORKING_DIRECTORY, init.plan.text(path), flags).at(Detail::OpenTree)?;
    init.set(Slot::MOUNT, tree);
    Ok(())
}

/// `OpenHost`.
pub(crate) fn open_host(init: &mut Init, path: Str, slot: Slot) -> Step {
    let file = openat(Fd::WORKING_DIRECTORY, init.plan.text(path), O_PATH).at(Detail::Open)?;
    init.set(slot, file);
    Ok(())
}

/// `Attach`.
pub(crate) fn attach(init: &mut Init, destination: Str, node: Node, nofollow: bool) -> Step {
    let path = relative(init.plan.text(destination));
    attach_at(init.fd(Slot::ROOT), init.fd(Slot::MOUNT), path, node, nofollow)?;
    init.clear(Slot::MOUNT);
    Ok(())
}

fn attach_at(root: Fd<'_>, mount: Fd<'_>, path: &'static CStr, node: Node, nofollow: bool) -> Step {
    if node == Node::LinkOrMount && stat(mount, c"").at(Detail::Stat)?.kind() == S_IFLNK {
        return device::copy_symlink(root, path, mount);
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
            if stat(mount, c"").at(Detail::Stat)?.kind() == S_IFDIR {
                file::directory(root, path.to_bytes(), 0o755)?
            } else {
                file::regular(root, path)?
            }
        }
    };
    stays_out_of_proc(path, target.fd())?;
    is_not_the_root(root, target.fd())?;
    move_to(mount, target.fd())
}

/// Refuses a destination that a link of the image leads into procfs: the configuration was checked by
/// its words (CVE-2019-16884).
fn stays_out_of_proc(path: &CStr, target: Fd<'_>) -> Step {
    let named = path.to_bytes().split(|byte| *byte == b'/').next() == Some(b"proc");
    match named || filesystem(target) != Ok(PROC_SUPER_MAGIC) {
        true => Ok(()),
        false => Err(Failure::new(errno::EPERM, Detail::LinkIntoProc)),
    }
}

/// Refuses a destination that a link of the image leads to the root itself: the mount would cover the
/// root for processes that join the container later, and not for those that it starts itself.
fn is_not_the_root(root: Fd<'_>, target: Fd<'_>) -> Step {
    match is_the_root(root, target)? {
        true => Err(Failure::new(errno::EINVAL, Detail::LinkToRoot)),
        false => Ok(()),
    }
}

/// Whether a path led to the root itself; another mount of the same directory is another place.
fn is_the_root(root: Fd<'_>, target: Fd<'_>) -> Step<bool> {
    let (root, target) = (stat(root, c"").at(Detail::Stat)?, stat(target, c"").at(Detail::Stat)?);
    Ok(root.is_same_place(&target))
}

/// `CopyMode`: kept for the file system that comes next.
pub(crate) fn copy_mode(init: &mut Init, destination: Str) -> Step {
    let path = relative(init.plan.text(destination));
    let image = match file::in_root(init.fd(Slot::ROOT), path, O_DIRECTORY) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    init.mode = Some(stat(image.fd(), c"").at(Detail::Stat)?.permissions());
    Ok(())
}

/// `LabelMount`. What fsmount(2) gives is a path only, and has no attributes.
pub(crate) fn label(init: &Init, value: Slice) -> Step {
    let root = file::open(init.fd(Slot::MOUNT), c".", O_DIRECTORY, 0, 0).at(Detail::Open)?;
    fsetxattr(root.fd(), c"security.selinux", init.plan.bytes(value)).at(Detail::Whole)
}

/// `VerifyProc`.
pub(crate) fn verify_proc(init: &Init) -> Step {
    match namespace::is_proc_root(init.fd(Slot::MOUNT)) {
        true => Ok(()),
        false => Err(Failure::new(errno::EINVAL, Detail::NotProcfs)),
    }
}

/// `RemountAt`.
pub(crate) fn remount_at(init: &Init, destination: Str, set: u64, clear: u64) -> Step {
    let path = relative(init.plan.text(destination));
    let target = file::in_root(init.fd(Slot::ROOT), path, 0).at(Detail::Open)?;
    attributes(target.fd(), set, clear, 0, false)
}

/// A directory without a symbolic link on the way, made when missing.
fn real_directory(root: Fd<'_>, path: &'static CStr) -> Step<Owned> {
    match file::real(root, path, O_DIRECTORY) {
        Err(errno::ENOENT) => {}
        other => return other.at(Detail::Open),
    }
    drop(file::directory(root, path.to_bytes(), 0o755)?);
    file::real(root, path, O_DIRECTORY).at(Detail::Open)
}

/// `Mask`.
pub(crate) fn mask(init: &mut Init, path: Str) -> Step {
    let path = relative(init.plan.text(path));
    let target = match file::in_root(init.fd(Slot::ROOT), path, 0) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    is_not_the_root(init.fd(Slot::ROOT), target.fd())?;
    match stat(target.fd(), c"").at(Detail::Stat)?.kind() {
        S_IFDIR => cover_directory(init, target.fd()),
        _ => cover_file(init, target.fd()),
    }
}

/// Covers a directory by the one shared, empty, read-only tmpfs (a superblock for each would stall
/// nodes with many masks).
fn cover_directory(init: &mut Init, target: Fd<'_>) -> Step {
    if init.has(Slot::EMPTY_DIRECTORY) {
        let again = clone_descriptor(init.fd(Slot::EMPTY_DIRECTORY), false)?;
        return move_to(again.fd(), target);
    }
    let context = call::fsopen(c"tmpfs").at(Detail::Fsopen)?;
    set(context.fd(), c"source", c"tmpfs")?;
    set(context.fd(), c"nr_inodes", c"2")?;
    set(context.fd(), c"ro", c"")?;
    let empty = made(context.fd(), MOUNT_ATTR_RDONLY)?;
    move_to(empty.fd(), target)?;
    init.set(Slot::EMPTY_DIRECTORY, empty);
    Ok(())
}

/// Covers a file by the container's own /dev/null, verified to be that (CVE-2025-31133).
fn cover_file(init: &mut Init, target: Fd<'_>) -> Step {
    if !init.has(Slot::NULL) {
        let null = file::real(init.fd(Slot::ROOT), c"dev/null", O_NOFOLLOW).at(Detail::Open)?;
        if !stat(null.fd(), c"").at(Detail::Stat)?.is_character_device(1, 3) {
            return Err(Failure::new(errno::EINVAL, Detail::NotTheRequestedNode));
        }
        init.set(Slot::NULL, null);
    }
    let cover = clone_descriptor(init.fd(Slot::NULL), false)?;
    move_to(cover.fd(), target)
}

/// `ReadOnly`.
pub(crate) fn read_only(init: &mut Init, path: Str) -> Step {
    let path = relative(init.plan.text(path));
    let target = match file::in_root(init.fd(Slot::ROOT), path, 0) {
        Err(errno::ENOENT | errno::ENOTDIR) => return Ok(()),
        other => other.at(Detail::Open)?,
    };
    if is_the_root(init.fd(Slot::ROOT), target.fd())? {
        // A mount on the root would be seen only by processes that join the container, and the
        // operations that follow still write below the root: the root itself changes, at its switch.
        init.read_only_root = true;
        return Ok(());
    }
    let tree = clone_descriptor(target.fd(), true)?;
    attributes(tree.fd(), MOUNT_ATTR_RDONLY, 0, 0, true)?;
    move_to(tree.fd(), target.fd())
}

/// `SwitchRoot`.
pub(crate) fn switch_root(init: &mut Init, how: RootSwitch) -> Step {
    if init.in_chroot {
        leave_chroot(init)?;
    }
    fchdir(init.fd(Slot::ROOT)).at(Detail::Fchdir)?;
    match how {
        RootSwitch::Pivot => {
            let old = open_directory(c"/")?;
            // With both arguments "." the old root is put over the new one, and detached from it.
            call::pivot_root(c".", c".").at(Detail::PivotRoot)?;
            // With a propagation that is shared or not recursive, mounts of the host are still peers of
            // those here: the host would lose them with the detachment.
            attributes(old.fd(), 0, 0, MS_SLAVE, true)?;
            drop(old);
            call::umount(c".", MNT_DETACH).at(Detail::Umount)?;
        }
        RootSwitch::Move => {
            crate::program::reveal::detach(init)?;
            call::mount(Some(c"."), c"/", None, MS_MOVE, None).at(Detail::Mount)?;
            chroot(c".").at(Detail::Chroot)?;
        }
        RootSwitch::Chroot => chroot(c".").at(Detail::Chroot)?,
    }
    chdir(c"/").at(Detail::Chdir)?;
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
    let joined = open_directory(c"/")?;
    match is_the_root(init.fd(Slot::ROOT), joined.fd())? {
        true => Ok(()),
        false => Err(Failure::new(errno::EINVAL, Detail::NotInRoot)),
    }
}
