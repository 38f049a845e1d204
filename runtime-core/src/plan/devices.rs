//! Device nodes and the links of /dev.

use std::path::Path;

use super::lanes::{Context, Lanes};
use crate::spec::{Device, DeviceKind, Mount};
use runtime_init::ops::{FileOp, Op};

/// Devices that every container has (config-linux.md, "Default Devices").
const DEFAULT: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has; the image's own are left.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Makes the devices, unless /dev is that of the host.
pub(super) fn devices(lanes: &mut Lanes, context: Context<'_>) {
    let spec = context.spec;
    if spec.mounts.iter().any(|mount| mount.options.bind.is_some() && mount.destination == "/dev") {
        return;
    }
    // A mount on a node's very path is the configuration's word on that node, such as /dev/urandom on /dev/random.
    // /dev/null has to be itself: it covers masked paths and stands behind streams.
    let mounted = |path: &str| path != "/dev/null" && is_mounted(&spec.mounts, path);
    for (path, major, minor) in DEFAULT {
        if !mounted(path) && !spec.devices.iter().any(|device| device.path == *path) {
            make(lanes, context, &default_device(path, (*major, *minor)), None);
        }
    }
    for (path, target) in LINKS {
        link(lanes, path, target, true);
    }
    link(lanes, "/dev/ptmx", "pts/ptmx", false);
    for device in spec.devices.iter().filter(|device| device.path != "/dev/ptmx" && !mounted(&device.path)) {
        make(lanes, context, device, Some(device.origin()));
    }
}

/// Whether a mount is on the path itself, and none on a directory above it covers that later.
fn is_mounted(mounts: &[Mount], path: &str) -> bool {
    let last = mounts.iter().rfind(|mount| Path::new(path).starts_with(&mount.destination));
    last.is_some_and(|mount| mount.destination == path)
}

fn default_device(path: &str, number: (u32, u32)) -> Device {
    Device {
        path: path.to_owned(),
        kind: DeviceKind::Character,
        number,
        permissions: 0o666,
        uid: 0,
        gid: 0,
        index: 0,
    }
}

fn make(lanes: &mut Lanes, context: Context<'_>, device: &Device, origin: Option<String>) {
    let op = Op::File(FileOp::MakeDevice {
        path: lanes.child.string(&device.path),
        mode: device.kind.mode() | device.permissions,
        device: libc::makedev(device.number.0, device.number.1),
        uid: device.uid,
        gid: device.gid,
        // A FIFO is no device: anyone may make one.
        bind: context.without_mknod() && device.kind != DeviceKind::Fifo,
    });
    match origin {
        Some(origin) => lanes.push_from(op, &origin),
        None => lanes.push(op),
    }
}

fn link(lanes: &mut Lanes, path: &str, target: &str, keep: bool) {
    let op = Op::File(FileOp::MakeSymlink {
        path: lanes.child.string(path),
        target: lanes.child.string(target),
        keep,
    });
    lanes.push(op);
}
