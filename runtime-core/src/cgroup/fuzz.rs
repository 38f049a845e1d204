//! Files of cgroups and of procfs about them: the kernel writes them, and a container may have mounted over them.

use super::mountinfo::{below, cgroup_mounts, own_cgroup, unescape};
use super::stats::fuzz as stats;
use super::{attach, oom};

pub(crate) fn files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for mount in cgroup_mounts(&text) {
        assert!(mount.root.ends_with(below(&mount.root, &mount.mount_point)));
    }
    for controller in ["memory", "", "name=systemd"] {
        if let Some(path) = own_cgroup(bytes, controller) {
            let sub = attach::sub_path(path, b"a/b");
            assert!(sub.is_none_or(|sub| path.ends_with(sub) && !sub.starts_with(b"/")));
        }
    }
    assert!(unescape(&text).len() <= text.len());
    oom::parse(&text);
    stats::files(&text);
}
