//! Who owns the container's cgroup (config-linux.md, "Cgroup ownership").

use super::{Kind, Mount, ValidSpec};

impl ValidSpec {
    /// The uid on the host to which the specification lets the cgroup be handed over: that of the container's
    /// process, if the container has a cgroup namespace of its own and mounts it writable. Nothing for root,
    /// whose it is. Whether this host can do it is for the plan of the creation to say.
    pub(crate) fn cgroup_owner(&self) -> Option<u32> {
        let seen = self.mounts.iter().rfind(|mount| mount.destination == "/sys/fs/cgroup");
        if !self.namespaces.makes(Kind::Cgroup) || !seen.is_some_and(is_writable) {
            return None;
        }
        let uid = self.process.as_ref()?.uid;
        let owner = match self.namespaces.has(Kind::User) {
            false => Some(uid),
            true => self.uid_map.iter().find_map(|range| {
                let offset = uid.checked_sub(range.container).filter(|offset| *offset < range.size)?;
                range.host.checked_add(offset)
            }),
        };
        owner.filter(|owner| *owner != 0)
    }
}

fn is_writable(mount: &Mount) -> bool {
    let is_cgroup = mount.source == "cgroup" && matches!(mount.kind.as_str(), "cgroup" | "cgroup2");
    is_cgroup && !mount.options.read_only()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ValidSpec;

    fn owner(uid: u32, options: &[&str], cgroup_namespace: bool) -> Option<u32> {
        let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "user"})];
        namespaces.extend(cgroup_namespace.then(|| json!({"type": "cgroup"})));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        let config = json!({
            "ociVersion": "1.3.0", "root": {"path": "rootfs"},
            "process": {"user": {"uid": uid, "gid": 0}, "args": ["a"], "cwd": "/"},
            "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}],
            "linux": {"namespaces": namespaces, "uidMappings": map, "gidMappings": map},
        });
        ValidSpec::parse(config.to_string().as_bytes()).unwrap().cgroup_owner()
    }

    #[test]
    fn only_a_writable_mount_in_a_new_namespace_is_handed_over() {
        assert_eq!(owner(5, &["rw"], true), Some(100_005));
        assert_eq!(owner(0, &[], true), Some(100_000));
        assert_eq!(owner(0, &["ro"], true), None);
        assert_eq!(owner(0, &["rro"], true), None);
        assert_eq!(owner(0, &["rro", "rw"], true), None);
        assert_eq!(owner(0, &["ro", "rrw"], true), Some(100_000));
        assert_eq!(owner(0, &[], false), None);
    }
}
