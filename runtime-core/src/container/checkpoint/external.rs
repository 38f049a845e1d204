//! What belongs to the host and not to the image: bind mounts, devices, cgroup mounts of v1, and
//! namespaces that the container joined.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use crate::cgroup::{Location, Mode, Version};
use crate::spec::{Kind, Mount, ValidSpec};
use crate::sys::fs;

/// What masked files are covered with, and what stands for them in an image.
const NULL: &str = "/dev/null";

/// The devices that every container has. In a user namespace they are the host's, bound.
const DEFAULT_DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// The external mounts of a running container, by CRIU's rules: where they are, and the name that
/// they get in the image. `root` is the container's root.
pub(super) fn at_dump(
    spec: &ValidSpec,
    cgroup: Option<&Location>,
    root: BorrowedFd<'_>,
) -> Vec<(String, String)> {
    let same = |path: String| (path.clone(), path);
    let binds = spec.mounts.iter().filter(|mount| mount.options.bind.is_some());
    let mut all: Vec<_> = binds.map(|mount| same(resolved(root, &mount.destination))).collect();
    all.extend(cgroup_mounts(spec, cgroup).into_iter().map(|(path, _)| same(path)));
    let masked = spec.masked_paths.iter().filter(|path| is_file(root, path));
    all.extend(masked.map(|path| (path.clone(), NULL.to_owned())));
    all.extend(devices(spec).map(|path| same(path.to_owned())));
    all
}

/// The same for a restore: the name in the image, and the path on the host. `binds` are the bind
/// mounts with their resolved destinations.
pub(super) fn at_restore(
    spec: &ValidSpec,
    cgroup: Option<&Location>,
    binds: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let mut all = binds;
    all.extend(cgroup_mounts(spec, cgroup));
    all.extend(devices(spec).map(|path| (path.to_owned(), path.to_owned())));
    all
}

fn devices(spec: &ValidSpec) -> impl Iterator<Item = &str> {
    let own = spec.devices.iter().map(|device| device.path.as_str());
    let more = DEFAULT_DEVICES.into_iter();
    more.filter(|path| spec.devices.iter().all(|device| device.path != *path)).chain(own)
}

/// Without a cgroup namespace the cgroup mount of v1 is a bind mount for each hierarchy.
fn cgroup_mounts(spec: &ValidSpec, cgroup: Option<&Location>) -> Vec<(String, String)> {
    let Some(cgroup) = cgroup.filter(|cgroup| cgroup.mode != Mode::Unified) else { return Vec::new() };
    if spec.namespaces.has(Kind::Cgroup) {
        return Vec::new();
    }
    let mounts = spec.mounts.iter().filter(|mount| mount.kind == "cgroup");
    let places = || cgroup.places.iter().filter(|place| place.version == Version::V1);
    mounts.flat_map(|mount| places().map(|place| (below(mount, &place.mount), place.absolute()))).collect()
}

fn below(mount: &Mount, hierarchy: &str) -> String {
    format!("{}/{}", mount.destination, hierarchy.rsplit('/').next().unwrap_or(hierarchy))
}

/// The path without links, as the mount table has it; as it was written if it leads nowhere.
fn resolved(root: BorrowedFd<'_>, path: &str) -> String {
    let opened = fs::open_in_root(root, path, OFlag::O_PATH).ok();
    let link =
        opened.and_then(|file| std::fs::read_link(format!("/proc/thread-self/fd/{}", file.as_raw_fd())).ok());
    link.and_then(|link| link.into_os_string().into_string().ok()).unwrap_or_else(|| path.to_owned())
}

fn is_file(root: BorrowedFd<'_>, path: &str) -> bool {
    let stat = fs::open_in_root(root, path, OFlag::O_PATH).and_then(fstat);
    stat.is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR)
}

/// The name that a joined namespace has in an image; the kinds that CRIU takes as external.
pub(super) fn namespace_key(kind: Kind) -> Option<(&'static str, &'static str)> {
    match kind {
        Kind::Network => Some(("net", "extRootNetNS")),
        Kind::Pid => Some(("pid", "extRootPidNS")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"ociVersion": "1.3.0", "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind"]},
            {"destination": "/cg", "type": "cgroup", "source": "cgroup"}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "maskedPaths": ["/etc/hostname"],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]}}"#;

    #[test]
    fn what_comes_from_the_host() {
        let spec = ValidSpec::parse(CONFIG.as_bytes()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("etc")).unwrap();
        std::fs::write(directory.path().join("etc/hostname"), "").unwrap();
        let root = std::fs::File::open(directory.path()).unwrap();
        let dumped = at_dump(&spec, None, std::os::fd::AsFd::as_fd(&root));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert!(dumped.contains(&pair("/data", "/data")), "{dumped:?}");
        assert!(dumped.contains(&pair("/etc/hostname", NULL)), "{dumped:?}");
        assert!(dumped.contains(&pair("/dev/fuse", "/dev/fuse")), "{dumped:?}");
        assert!(dumped.iter().all(|(key, _)| key != "/proc" && !key.starts_with("/cg")), "{dumped:?}");
        let restored = at_restore(&spec, None, vec![pair("/data", "/srv")]);
        assert!(restored.contains(&pair("/data", "/srv")) && restored.contains(&pair(NULL, NULL)));
    }
}
