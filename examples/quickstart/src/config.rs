//! The container's `config.json`: every field that is set here is one that the report shows.

use std::path::Path;

use serde_json::{Value, json};

/// First id of the host for a container that root makes. A real engine takes a range that
/// /etc/subuid gives away.
pub(crate) const FIRST_ID: u32 = 100_000;

/// What this host lets us ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means {
    /// Effective user id.
    pub(crate) uid: u32,
    /// Effective group id.
    pub(crate) gid: u32,
    /// Whether the caller is the machine's root.
    pub(crate) is_root: bool,
    /// cgroups can be made, and processes counted in them.
    pub(crate) pids: bool,
    /// The same for memory.
    pub(crate) memory: bool,
}

impl Means {
    /// One extent of an id map: root makes a range, anyone else has only themselves.
    fn id_map(self, own: u32) -> Value {
        match self.is_root {
            true => json!([{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]),
            false => json!([{"containerID": 0, "hostID": own, "size": 1}]),
        }
    }
}

/// The configuration. `out` is a directory of the host that the container may write to.
pub(crate) fn config(means: Means, out: &Path) -> Value {
    let mut config = json!({
        "ociVersion": "1.3.0",
        "process": {
            "args": ["/probe"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "quickstart",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/out", "type": "bind", "source": out, "options": ["bind", "nosuid", "nodev", "noexec"]},
        ],
        "linux": {
            "namespaces": [
                {"type": "user"}, {"type": "pid"}, {"type": "mount"}, {"type": "network"},
                {"type": "ipc"}, {"type": "uts"},
            ],
            "uidMappings": means.id_map(means.uid),
            "gidMappings": means.id_map(means.gid),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["mount", "umount2", "ptrace", "bpf", "reboot"], "action": "SCMP_ACT_ERRNO"},
                ],
            },
        },
    });
    if means.pids {
        config["linux"]["resources"]["pids"] = json!({"limit": 32});
    }
    if means.memory {
        config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
    }
    if means.pids || means.memory {
        add(&mut config["linux"]["namespaces"], json!({"type": "cgroup"}));
        add(
            &mut config["mounts"],
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                   "options": ["nosuid", "noexec", "nodev", "ro"]}),
        );
    }
    config
}

fn add(list: &mut Value, item: Value) {
    if let Value::Array(items) = list {
        items.push(item);
    }
}
