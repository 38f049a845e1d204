//! `/proc/self/mountinfo` and `/proc/self/cgroup` (proc(5), cgroups(7)).

use super::hierarchy::{Hierarchy, Version};
use crate::error::{Error, Result};

/// A mounted cgroup hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CgroupMount {
    pub(super) version: Version,
    pub(super) controllers: Vec<String>,
    /// The cgroup that is the root of the mount.
    pub(super) root: String,
    pub(super) mount_point: String,
}

impl CgroupMount {
    /// Whether `known` is the same hierarchy, mounted a second time.
    pub(super) fn is_same(&self, known: &Hierarchy) -> bool {
        self.version == known.version
            && (self.version == Version::V2 || self.controllers == known.controllers)
    }
}

/// The text of `/proc/PID/cgroup`. Names of cgroups are bytes.
pub(super) fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io(format!("read {path:?}"), &error))
}

/// The mounts of this process. A mount point that is not UTF-8 can be anybody's, but none of cgroups that could be
/// used here: its line only has to leave the others readable.
pub(super) fn own_mounts() -> Result<String> {
    read("/proc/self/mountinfo").map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The cgroup mounts of a mountinfo text, in its order; malformed lines are left out.
pub(super) fn cgroup_mounts(mountinfo: &str) -> Vec<CgroupMount> {
    mountinfo.lines().filter_map(cgroup_mount).collect()
}

fn cgroup_mount(line: &str) -> Option<CgroupMount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, mount_point) = (unescape(fields.next()?), unescape(fields.next()?));
    let mut fields = filesystem.split(' ');
    let version = match fields.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = fields.nth(1)?.split(',');
    const NOT_CONTROLLERS: [&str; 8] =
        ["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "favordynmods", "none"];
    let controllers = options
        .filter(|option| version == Version::V1 && !NOT_CONTROLLERS.contains(option))
        .filter(|option| !option.contains('=') || option.starts_with("name="))
        .map(str::to_owned)
        .collect();
    Some(CgroupMount { version, controllers, root, mount_point })
}

/// Where a file system of that type is mounted as a whole.
pub(crate) fn mount_point(filesystem: &str) -> Result<Option<String>> {
    let text = own_mounts()?;
    let mut mounts = text.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (root == "/" && rest.split(' ').next() == Some(filesystem)).then(|| unescape(point))
    });
    Ok(mounts.next_back())
}

/// Undoes the octal escapes of mountinfo (`\040` is a space).
pub(super) fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                plain.push(char::from(byte));
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The cgroup path of the hierarchy that holds `controller` (empty: v2) in a `/proc/PID/cgroup` text.
pub(super) fn own_cgroup<'a>(text: &'a [u8], controller: &str) -> Option<&'a [u8]> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        names.split(|byte| *byte == b',').any(|name| name == controller.as_bytes()).then_some(path)
    })
}

/// `path` as seen from the mount root `root`; a path outside it is left as it is.
pub(super) fn below<'a>(path: &'a str, root: &str) -> &'a str {
    match path.strip_prefix(root.trim_end_matches('/')) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
24 1 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
30 24 0:26 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw master:9 - cgroup cgroup rw,cpu,cpuacct
31 24 0:27 / /sys/fs/cgroup/my\\040name rw - cgroup cgroup rw,xattr,name=my
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
broken line";

    #[test]
    fn mounts_with_their_controllers() {
        let mounts = cgroup_mounts(MOUNTINFO);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(mounts[0].root, "/docker/abc");
        assert_eq!(mounts[1].controllers, ["name=my"]);
        assert_eq!(mounts[1].mount_point, "/sys/fs/cgroup/my name");
        assert_eq!((mounts[2].version, mounts[2].controllers.len()), (Version::V2, 0));
    }

    #[test]
    fn own_paths_by_controller() {
        let text = b"3:cpu,cpuacct:/docker/abc\n1:name=systemd:/a:b\n0::/\xff\n";
        assert_eq!(own_cgroup(text, "cpuacct"), Some(&b"/docker/abc"[..]));
        assert_eq!(own_cgroup(text, "name=systemd"), Some(&b"/a:b"[..]));
        assert_eq!(own_cgroup(text, ""), Some(&b"/\xff"[..]));
        assert_eq!(own_cgroup(text, "memory"), None);
        assert_eq!(below("/docker/abc/x", "/docker/abc"), "/x");
        assert_eq!(below("/docker/abcd", "/docker/abc"), "/docker/abcd");
        assert_eq!(below("/x", "/"), "/x");
    }
}
