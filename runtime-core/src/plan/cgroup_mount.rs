//! Mounts of type `cgroup`: the container's view of its cgroups.

use super::lanes::{Context, Lanes, Tree};
use super::rootfs::{finish, place};
use crate::cgroup::{Mode, Place, Version};
use crate::error::Result;
use crate::origin::Origin;
use crate::spec::{Kind, Mount, mount_options as attribute};
use runtime_init::ops::{FileOp, MountOp, Node, Op};

/// Where the host has its cgroup file systems.
const HOST: &str = "/sys/fs/cgroup";
/// What every mount of cgroups has, whatever its options.
const ATTRIBUTES: u64 = attribute::NOSUID | attribute::NODEV | attribute::NOEXEC;

pub(super) fn cgroup(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, origin: &Origin) -> Result<()> {
    match context.host.cgroup_mode() {
        Mode::Unified => unified(lanes, context, mount, origin),
        Mode::Hybrid | Mode::Legacy => by_controller(lanes, context, mount, origin),
    }
}

fn unified(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, origin: &Origin) -> Result<()> {
    if context.namespaces().has(Kind::Cgroup) {
        let op = Op::Mount(MountOp::NewFilesystem {
            kind: lanes.child.string("cgroup2"),
            source: lanes.child.string(&mount.source),
            parameters: lanes.child.parameters(&mount.options.data),
            attributes: mount.options.attributes(),
        });
        lanes.push_from(op, origin);
        return finish(lanes, mount, origin, Node::Directory);
    }
    // The host's tree: a bind shows the same as another mount of cgroup2, and costs a hundredth.
    bind(lanes, HOST, origin);
    let mut set = mount.options.tree_attributes();
    if !is_allowed_to_mount(context) {
        // Its user may own a part of that tree: read-only, whatever the options say, or the container could
        // move processes of that user (CVE-2023-25809).
        set |= attribute::RDONLY;
    }
    let op = Op::Mount(MountOp::MountAttributes { set, clear: 0, recursive: true });
    lanes.push_from(op, origin);
    place(lanes, mount, origin, Node::Directory)
}

/// Without a cgroup namespace, mounting cgroup2 takes root of the initial user namespace.
fn is_allowed_to_mount(context: Context<'_>) -> bool {
    context.host.is_privileged() && !context.changes_user_namespace() && !context.options.rootless
}

/// A tmpfs with a directory for each hierarchy of v1, and links for those with several controllers.
fn by_controller(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, origin: &Origin) -> Result<()> {
    let op = Op::Mount(MountOp::NewFilesystem {
        kind: lanes.child.string("tmpfs"),
        source: lanes.child.string("tmpfs"),
        parameters: lanes.child.parameters(&["mode=755"]),
        attributes: ATTRIBUTES,
    });
    lanes.push_from(op, origin);
    // Options of the tree are for the hierarchies too, which are not there yet.
    place(lanes, mount, origin, Node::Directory)?;
    let places = context.options.cgroup.iter().flat_map(|location| &location.places);
    for place in places.filter(|place| place.version == Version::V1) {
        let name = directory_name(place);
        hierarchy_mount(lanes, context, mount, place, origin);
        for link in place.controllers.iter().filter(|link| *link != name && !link.starts_with("name=")) {
            let op = Op::File(FileOp::MakeSymlink {
                path: lanes.child.string(format!("{}/{link}", mount.destination)),
                target: lanes.child.string(name),
                keep: true,
            });
            lanes.push_from(op, origin);
        }
    }
    if mount.options.read_only() {
        let destination = lanes.child.string(&mount.destination);
        lanes.push_from(
            Op::Mount(MountOp::RemountAt { destination, set: attribute::RDONLY, clear: 0 }),
            origin,
        );
    }
    Ok(())
}

fn hierarchy_mount(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, place: &Place, origin: &Origin) {
    let mut attributes = ATTRIBUTES | mount.options.tree_attributes();
    if context.namespaces().has(Kind::Cgroup) {
        let named = place.controllers.iter().any(|controller| controller.starts_with("name="));
        // cgroups(7): a hierarchy without controllers is asked for by "none" and its name.
        let mut options: Vec<&str> = if named { vec!["none"] } else { Vec::new() };
        options.extend(place.controllers.iter().map(String::as_str));
        let op = Op::Mount(MountOp::NewFilesystem {
            kind: lanes.child.string("cgroup"),
            source: lanes.child.string("cgroup"),
            parameters: lanes.child.parameters(&options),
            attributes,
        });
        lanes.push_from(op, origin);
    } else {
        bind(lanes, &place.absolute(), origin);
        if !is_allowed_to_mount(context) {
            attributes |= attribute::RDONLY;
        }
        lanes.push_from(
            Op::Mount(MountOp::MountAttributes { set: attributes, clear: 0, recursive: false }),
            origin,
        );
    }
    let destination = lanes.child.string(format!("{}/{}", mount.destination, directory_name(place)));
    lanes.push_from(
        Op::Mount(MountOp::Attach { destination, node: Node::Directory, nofollow: false }),
        origin,
    );
}

/// The name of a hierarchy's directory: `cpu,cpuacct`, `memory`, `systemd`.
fn directory_name(place: &Place) -> &str {
    place.mount.rsplit('/').next().unwrap_or(&place.mount)
}

fn bind(lanes: &mut Lanes, path: &str, origin: &Origin) {
    let path = path.to_owned();
    lanes.clone_tree(Tree {
        path,
        recursive: true,
        nofollow: false,
        wait: false,
        by_child: false,
        idmap: None,
        origin: origin.clone(),
    });
}
