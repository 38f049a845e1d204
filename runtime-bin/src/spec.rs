//! The configuration that `spec` writes: a shell with few privileges, to be edited.

use runtime_core::{Error, Result};
use serde::Serialize as _;
use serde_json::{Value, json};

/// The configuration. `cgroup2` adds a cgroup namespace, which hides the host's tree only on
/// version 2; `rootless` gives the caller's ids for a configuration that needs no privileges.
pub(crate) fn example(cgroup2: bool, rootless: Option<(u32, u32)>) -> Result<Vec<u8>> {
    let config = Config { cgroup2, rootless };
    let ordered = config.ordered();
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    ordered
        .serialize(&mut serializer)
        .map_err(|error| Error::invalid("config.json", error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

struct Config {
    cgroup2: bool,
    rootless: Option<(u32, u32)>,
}

/// The top-level fields in the order in which people read them.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Ordered {
    oci_version: &'static str,
    process: Value,
    root: Value,
    hostname: &'static str,
    mounts: Vec<Value>,
    linux: Value,
}

impl Config {
    fn ordered(&self) -> Ordered {
        Ordered {
            oci_version: crate::version::SPEC,
            process: process(),
            root: json!({"path": "rootfs", "readonly": true}),
            hostname: "runtime",
            mounts: self.mounts(),
            linux: self.linux(),
        }
    }

    fn mounts(&self) -> Vec<Value> {
        let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
            let mut mount = json!({"destination": destination, "type": kind, "source": source});
            if !options.is_empty() {
                mount["options"] = json!(options);
            }
            mount
        };
        // Group 5 is tty on most systems; a rootless container has no such group.
        let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
        let sys = if self.rootless.is_some() {
            mount(
                "/sys",
                "none",
                "/sys",
                &["rbind", "nosuid", "noexec", "nodev", "ro"],
            )
        } else {
            pts.push("gid=5");
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
        };
        vec![
            mount("/proc", "proc", "proc", &[]),
            mount(
                "/dev",
                "tmpfs",
                "tmpfs",
                &["nosuid", "strictatime", "mode=755", "size=65536k"],
            ),
            mount("/dev/pts", "devpts", "devpts", &pts),
            mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            sys,
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"],
            ),
        ]
    }

    fn linux(&self) -> Value {
        let mut kinds = vec!["pid"];
        if self.rootless.is_none() {
            kinds.push("network");
        }
        kinds.extend(["ipc", "uts", "mount"]);
        kinds.extend(self.cgroup2.then_some("cgroup"));
        kinds.extend(self.rootless.map(|_| "user"));
        let namespaces: Vec<_> = kinds.into_iter().map(|kind| json!({"type": kind})).collect();
        let mut linux = json!({
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        });
        match self.rootless {
            None => linux["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]}),
            Some((uid, gid)) => {
                linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
                linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
            }
        }
        linux
    }
}

fn process() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": true,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parse_as_specifications() {
        for rootless in [None, Some((1000, 1000))] {
            let text = example(true, rootless).expect("a configuration");
            let spec: oci_spec::runtime::Spec = serde_json::from_slice(&text).expect("a specification");
            assert_eq!(spec.version(), "1.3.0");
            let namespaces = spec
                .linux()
                .as_ref()
                .and_then(|linux| linux.namespaces().as_ref().map(Vec::len));
            assert_eq!(namespaces, Some(6));
            assert_eq!(spec.mounts().as_ref().map(Vec::len), Some(7));
        }
    }
}
