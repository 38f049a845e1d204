//! The root file system: its tree, the mounts, masked and read-only paths.

use std::collections::HashSet;

use super::MountIdMap;
use super::cgroup_mount;
use super::lanes::{Context, Lanes, Tree};
use super::lsm;
use super::overlay;
use crate::error::{Error, ErrorKind, Result};
use crate::origin::Origin;
use crate::spec::{Kind, Mount, ValidSpec, mount_options as attribute};
use runtime_init::ops::{MountOp, Node, Op, RootSwitch, Slot};

/// Clones the tree of the root and opens it.
pub(super) fn open_root(lanes: &mut Lanes, context: Context<'_>) {
    let path = context.host_path(&context.spec.root);
    if !context.namespaces().has(Kind::Mount) {
        return open_host_root(lanes, context, &path);
    }
    let mut flags = context.spec.root_propagation.unwrap_or(libc::MS_SLAVE | libc::MS_REC);
    // An unbindable tree cannot be copied, and the root is a copy: it becomes unbindable last.
    if flags & libc::MS_UNBINDABLE != 0 {
        flags = flags & !libc::MS_UNBINDABLE | libc::MS_PRIVATE;
    }
    // The bundle may lie on a shared mount of its own below "/": what is mounted there would show on the
    // host, and pivot_root(2) would refuse it.
    if flags & libc::MS_SHARED == 0 {
        flags |= libc::MS_REC;
    }
    lanes.push_from(Op::Mount(MountOp::HostPropagation { flags }), "linux.rootfsPropagation");
    let destination = lanes.child.string(&path);
    if !has_own_root(context.spec) {
        // Mounts come onto the tree of the host, in a mount namespace that is not the host's.
        lanes.push_from(Op::Mount(MountOp::OpenHost { path: destination, slot: Slot::ROOT }), "root.path");
        return;
    }
    if context.parent_is_stronger() {
        lanes.receive_tree(Tree {
            path,
            recursive: true,
            nofollow: false,
            wait: context.child_makes_mounts(),
            by_child: context.child_has_mounts(),
            idmap: None,
            origin: "root.path".into(),
        });
        // What the parent cloned is a peer of the host's mount: nothing may go back to the host.
        if flags & libc::MS_SHARED == 0 {
            slave(lanes, &"root.path".into());
        }
    }
    let private = flags & libc::MS_SHARED != 0;
    let op = Op::Mount(MountOp::OpenRoot { path: destination, slot: Slot::MOUNT, private });
    lanes.push_from(op, "root.path");
}

/// Whether the root is another one than that of the caller, or is to be a mount of its own.
fn has_own_root(spec: &ValidSpec) -> bool {
    spec.bare.as_ref().is_none_or(|bare| bare.own_root)
}

/// Opens the root in the host's own mount namespace. What is mounted there is the host's and stays, as
/// with runc: on a mount of its own at least, so that the host's does not change.
fn open_host_root(lanes: &mut Lanes, context: Context<'_>, path: &str) {
    let destination = lanes.child.string(path);
    if context.spec.mounts.is_empty() && !context.spec.root_readonly {
        lanes.push_from(Op::Mount(MountOp::OpenHost { path: destination, slot: Slot::ROOT }), "root.path");
        return;
    }
    lanes.clone_tree(Tree {
        path: path.to_owned(),
        recursive: true,
        nofollow: false,
        wait: false,
        by_child: false,
        idmap: None,
        origin: "root.path".into(),
    });
    slave(lanes, &"root.path".into());
    lanes.push_from(
        Op::Mount(MountOp::OpenRoot { path: destination, slot: Slot::MOUNT, private: false }),
        "root.path",
    );
}

fn slave(lanes: &mut Lanes, origin: &Origin) {
    let op = Op::Mount(MountOp::MountPropagation { flags: libc::MS_SLAVE, recursive: true });
    lanes.push_from(op, origin);
}

/// The place of the first sysfs among the mounts, if stage 0 can configure it: its view is that of its maker's network
/// namespace.
pub(super) fn first_sysfs(mounts: &[Mount]) -> Option<usize> {
    let first = mounts.iter().position(is_sysfs)?;
    mounts.get(first).is_some_and(has_no_options).then_some(first)
}

/// Whether a file system has no options of its own.
pub(super) fn has_no_options(mount: &Mount) -> bool {
    mount.options.data.is_empty() && mount.options.superblock.is_empty()
}

/// Whether it is a new procfs.
pub(super) fn is_proc(mount: &Mount) -> bool {
    mount.kind == "proc" && !mount.options.remount
}

/// Whether the nodes of /dev may be made before the mount at `at`: /dev is there, and nothing comes into it later.
pub(super) fn devices_fit_before(mounts: &[Mount], at: usize) -> bool {
    let in_devices = |mount: &Mount| mount.destination == "/dev" || mount.destination.starts_with("/dev/");
    let (before, after) = mounts.split_at(at.min(mounts.len()));
    before.iter().any(|mount| mount.destination == "/dev") && !after.iter().any(in_devices)
}

fn is_sysfs(mount: &Mount) -> bool {
    mount.kind == "sysfs" && !mount.options.remount
}

/// Makes one mount. `ready` has its configured context.
pub(super) fn mount(
    lanes: &mut Lanes,
    context: Context<'_>,
    mount: &Mount,
    ready: Option<Slot>,
) -> Result<()> {
    let origin = mount.origin();
    if mount.options.remount {
        remount(lanes, mount, &origin);
        return Ok(());
    }
    if let Some(slot) = ready {
        lanes.push_from(
            Op::Mount(MountOp::MountContext { slot, attributes: mount.options.attributes() }),
            &origin,
        );
        // A process of the joined PID namespace may have traced the one that made the context.
        if slot == Slot::PROCFS {
            lanes.push_from(Op::Mount(MountOp::VerifyProc), &origin);
        }
        return finish(lanes, mount, &origin, Node::RealDirectory);
    }
    match mount.kind.as_str() {
        "bind" => bind(lanes, context, mount, &origin),
        "cgroup" => cgroup_mount::cgroup(lanes, context, mount, &origin),
        _ => filesystem(lanes, context, mount, &origin),
    }
}

/// mount_setattr(2) on what is at the destination already.
fn remount(lanes: &mut Lanes, mount: &Mount, origin: &Origin) {
    let options = &mount.options;
    let (set_atime, clear_atime) = options.atime_change();
    let op = Op::Mount(MountOp::RemountAt {
        destination: lanes.child.string(&mount.destination),
        set: options.set | set_atime,
        clear: options.clear | clear_atime & (attribute::ATIME | !(options.set | set_atime)),
    });
    lanes.push_from(op, origin);
}

fn bind(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, origin: &Origin) -> Result<()> {
    let idmap = idmap(context, mount, origin)?;
    let path = context.host_path(&mount.source);
    let tree = Tree {
        wait: context.is_in_root(&path),
        by_child: context.child_has_mounts() || context.is_in_root(&path),
        path,
        recursive: mount.options.bind == Some(true),
        nofollow: mount.options.source_nofollow || mount.options.copy_symlink,
        idmap,
        origin: origin.clone(),
    };
    if tree.idmap.is_some() || context.parent_is_stronger() {
        lanes.receive_tree(tree);
        // What the parent cloned is a peer of the host's mount: nothing may go back to the host.
        let kept_apart = |(flags, all): &(u64, bool)| *all && flags & libc::MS_SHARED == 0;
        if !mount.options.propagation.first().is_some_and(kept_apart) {
            slave(lanes, origin);
        }
    } else {
        lanes.clone_tree(tree);
    }
    bind_attributes(lanes, context, mount, origin);
    if mount.destination == "/proc" {
        lanes.push_from(Op::Mount(MountOp::VerifyProc), origin);
    }
    let node = if mount.options.copy_symlink { Node::LinkOrMount } else { Node::LikeMount };
    finish(lanes, mount, origin, node)
}

/// A bind mount has exactly the attributes that its options name, if they name any (as `mount --bind
/// -o`). In a user namespace the source's own are locked, so they stay, unless the options name them
/// to be cleared: then the kernel's refusal is the answer.
fn bind_attributes(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, origin: &Origin) {
    let options = &mount.options;
    if !options.names_attributes() {
        return;
    }
    let (set_atime, clear_atime) = options.atime_change();
    let set = options.set | set_atime;
    // The kernel does not lock the one of symbolic links.
    let clear =
        if context.host.is_privileged() && !context.changes_user_namespace() && !context.options.rootless {
            attribute::ALL
        } else {
            options.clear & attribute::ALL | attribute::NOSYMFOLLOW
        };
    // mount_setattr(2): the bits of the access time policy are cleared for the new one, others are not
    // to be in both.
    let clear = clear & !set | clear_atime & (attribute::ATIME | !set);
    lanes.push_from(Op::Mount(MountOp::MountAttributes { set, clear, recursive: false }), origin);
}

fn idmap(context: Context<'_>, mount: &Mount, origin: &Origin) -> Result<Option<MountIdMap>> {
    let own = !mount.uid_map.is_empty();
    if mount.options.idmap.is_none() && !own {
        return Ok(None);
    }
    if context.options.rootless || context.host.effective_ids().0 != 0 {
        let error =
            Error::invalid(origin.to_owned(), "id-mapped mounts are not supported for rootless containers");
        return Err(error.kind_of(ErrorKind::Unsupported));
    }
    let recursive = mount.options.idmap == Some(true);
    Ok(Some(if own {
        MountIdMap::Own { uid: mount.uid_map.clone(), gid: mount.gid_map.clone(), recursive }
    } else {
        MountIdMap::Container { recursive }
    }))
}

fn filesystem(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, origin: &Origin) -> Result<()> {
    let options = &mount.options;
    let mut parameters: Vec<String> = options.superblock.iter().map(|name| (*name).to_owned()).collect();
    parameters.extend(options.data.iter().cloned());
    // Of a file system with a device behind it, the device must not be written either.
    if options.set & attribute::RDONLY != 0 && !in_memory(&mount.kind) {
        parameters.push("ro".to_owned());
    }
    let label = context.spec.mount_label.as_ref().filter(|_| takes_label(&mount.kind));
    if let Some(label) = label.filter(|_| context.host.selinux()) {
        parameters.push(format!("{}={label}", context.spec.mount_context));
    }
    if mount.kind == "overlay" {
        parameters = overlay::by_layers(parameters);
    }
    let attributes = options.attributes();
    let destination = lanes.child.string(&mount.destination);
    let says = |name: &str| options.data.iter().any(|option| option.starts_with(name));
    if mount.kind == "tmpfs" && !says("mode=") {
        lanes.push_from(Op::Mount(MountOp::CopyMode { destination }), origin);
    }
    let op = Op::Mount(MountOp::NewFilesystem {
        kind: lanes.child.string(&mount.kind),
        source: lanes.child.string(&mount.source),
        parameters: lanes.child.parameters(&parameters),
        attributes: if is_read_only_late(mount) { attributes & !attribute::RDONLY } else { attributes },
    });
    lanes.push_from(op, origin);
    lsm::label_mqueue(lanes, context, mount, origin);
    if options.copy_up {
        let (owner, mode) = (!says("uid=") && !says("gid="), !says("mode="));
        lanes.push_from(Op::Mount(MountOp::CopyUp { destination, owner, mode }), origin);
    }
    let node = match mount.kind.as_str() {
        "proc" | "sysfs" => Node::RealDirectory,
        _ => Node::Directory,
    };
    finish(lanes, mount, origin, node)
}

fn in_memory(kind: &str) -> bool {
    matches!(kind, "proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2" | "ramfs")
}

fn takes_label(kind: &str) -> bool {
    !matches!(kind, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2")
}

/// Attributes of the tree, propagation, and the place.
pub(super) fn finish(lanes: &mut Lanes, mount: &Mount, origin: &Origin, node: Node) -> Result<()> {
    let options = &mount.options;
    let late = if is_read_only_late(mount) { attribute::RDONLY } else { 0 };
    let (set, clear) = (options.set_all & !late, options.clear_all);
    if set | clear != 0 {
        lanes.push_from(Op::Mount(MountOp::MountAttributes { set, clear, recursive: true }), origin);
    }
    place(lanes, mount, origin, node)
}

/// Propagation, and the place.
pub(super) fn place(lanes: &mut Lanes, mount: &Mount, origin: &Origin, node: Node) -> Result<()> {
    for (flags, recursive) in &mount.options.propagation {
        lanes
            .push_from(Op::Mount(MountOp::MountPropagation { flags: *flags, recursive: *recursive }), origin);
    }
    let destination = lanes.child.string(&mount.destination);
    lanes.push_from(
        Op::Mount(MountOp::Attach { destination, node, nofollow: mount.options.destination_nofollow }),
        origin,
    );
    Ok(())
}

/// A read-only tmpfs or /dev is written until all that belongs into it is there.
fn is_read_only_late(mount: &Mount) -> bool {
    let options = &mount.options;
    let written = mount.kind == "tmpfs" || mount.destination == "/dev";
    options.read_only() && options.bind.is_none() && !options.remount && written
}

/// Makes what was written until now read-only.
pub(super) fn late_read_only(lanes: &mut Lanes, context: Context<'_>) {
    for mount in context.spec.mounts.iter().filter(|mount| is_read_only_late(mount)) {
        let destination = lanes.child.string(&mount.destination);
        let op = Op::Mount(MountOp::RemountAt { destination, set: attribute::RDONLY, clear: 0 });
        lanes.push_from(op, mount.origin());
    }
}

/// Masked paths, and read-only ones of the kernel's file systems.
pub(super) fn restrict(lanes: &mut Lanes, context: Context<'_>) {
    for (index, path) in distinct(&context.spec.readonly_paths) {
        if is_of_the_kernel(path) {
            read_only(lanes, index, path);
        }
    }
    for (index, path) in distinct(&context.spec.masked_paths) {
        let path = lanes.child.string(path);
        lanes.push_from(Op::Mount(MountOp::Mask { path }), format!("linux.maskedPaths[{index}]"));
    }
}

/// Read-only paths below which the runtime itself may write until the end: the working directory, /dev/console.
pub(super) fn late_read_only_paths(lanes: &mut Lanes, context: Context<'_>) {
    for (index, path) in distinct(&context.spec.readonly_paths) {
        if !is_of_the_kernel(path) {
            read_only(lanes, index, path);
        }
    }
}

fn read_only(lanes: &mut Lanes, index: usize, path: &str) {
    let path = lanes.child.string(path);
    lanes.push_from(Op::Mount(MountOp::ReadOnly { path }), format!("linux.readonlyPaths[{index}]"));
}

/// Paths in which nothing is made: nearly all read-only paths of engines are there.
fn is_of_the_kernel(path: &str) -> bool {
    ["/proc/", "/sys/"].iter().any(|root| path.starts_with(root))
}

/// The paths with their places in the list; one that is named twice is covered once.
fn distinct(paths: &[String]) -> impl Iterator<Item = (usize, &String)> {
    let mut seen = HashSet::with_capacity(paths.len());
    paths.iter().enumerate().filter(move |(_, path)| seen.insert(path.as_str()))
}

/// Changes the root, and gives it its propagation and attributes.
pub(super) fn switch_root(lanes: &mut Lanes, context: Context<'_>) -> Result<()> {
    let spec = context.spec;
    if !has_own_root(spec) {
        return Ok(());
    }
    let own_mounts = context.namespaces().has(Kind::Mount);
    let how = match (own_mounts, context.options.no_pivot) {
        (false, _) => RootSwitch::Chroot,
        (true, false) => RootSwitch::Pivot,
        (true, true) => RootSwitch::Move,
    };
    let propagation = spec.root_propagation.unwrap_or(0);
    if how == RootSwitch::Move && propagation & libc::MS_PRIVATE != 0 {
        let reason = "rootfsPropagation of [r]private is not safe without pivot_root";
        return Err(Error::invalid("linux.rootfsPropagation", reason));
    }
    // The procfs and sysfs of the host leave the namespace: from a shared mount they would leave the host.
    if how == RootSwitch::Move && propagation & libc::MS_SHARED != 0 {
        let reason = "rootfsPropagation of [r]shared is not possible without pivot_root";
        return Err(Error::invalid("linux.rootfsPropagation", reason));
    }
    lanes.push_from(Op::Mount(MountOp::SwitchRoot { how }), "root");
    // Private and slave are what the root is already; the others must not reach the host.
    if own_mounts && propagation & (libc::MS_SHARED | libc::MS_UNBINDABLE) != 0 {
        lanes
            .push_from(Op::Mount(MountOp::RootPropagation { flags: propagation }), "linux.rootfsPropagation");
    }
    if spec.root_readonly {
        lanes.push_from(Op::Mount(MountOp::RootAttributes { set: attribute::RDONLY }), "root.readonly");
    }
    Ok(())
}
