//! The runtime inside a container that our own runtime made, as the engines configure it.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Bundle, Run, runtime_path};
use crate::traces::PROBE;

/// Where the inner bundle is in the outer container.
const INNER: &str = "/inner";
/// The id of the inner container, and the name of its cgroups: one that no other test looks for.
fn inner_id() -> String {
    format!("nested-inner-{}", std::process::id())
}

/// An outer container, and the bundle of the inner one.
pub(crate) struct Outer {
    pub(crate) outer: Bundle,
    pub(crate) inner: Bundle,
}

/// What the runtime did inside.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Of the inner runtime.
    pub(crate) code: i32,
    /// Lines of the inner container's probe.
    pub(crate) properties: Vec<String>,
    /// What the inner runtime said.
    pub(crate) stderr: String,
    /// Entries of the inner state, and inner cgroups, afterwards.
    pub(crate) left: Vec<String>,
    /// The namespaces of the outer container.
    namespaces: Vec<String>,
}

impl Outer {
    /// An outer container with what `docker run --privileged` gives; the inner one is what `runtime spec`
    /// writes, and shows its properties.
    pub(crate) fn privileged() -> Self {
        let inner = Bundle::new(&["sh", "-c", PROBE]).with(|config| {
            config["process"]["noNewPrivileges"] = json!(true);
        });
        let outer = Bundle::new(&[]).with(|config| {
            let capabilities = json!(capabilities());
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = capabilities.clone();
            }
            config["process"]["noNewPrivileges"] = json!(false);
            let linux = &mut config["linux"];
            linux["maskedPaths"] = json!([]);
            linux["readonlyPaths"] = json!([]);
            linux["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
            if let Some(sys) = mounts.iter_mut().find(|mount| mount["destination"] == "/sys") {
                sys["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
            }
            mounts.push(bind(inner.path(), INNER));
            mounts.push(bind(&runtime_path(), "/runtime"));
            // The program's libraries, if it has any.
            for directory in ["/lib", "/lib64", "/usr/lib"] {
                if Path::new(directory).exists() {
                    mounts.push(bind(Path::new(directory), directory));
                }
            }
        });
        let mut this = Self { outer, inner };
        this.cgroups("rw", true);
        this
    }

    /// In a user namespace, as `podman run --privileged` of a user gives it. The ids are those outside.
    pub(crate) fn of_a_user() -> Self {
        Self::privileged().with(|config| {
            give_user_namespace(config);
        })
    }

    /// Masks what engines mask in containers that are not privileged.
    pub(crate) fn masked(self) -> Self {
        self.with(|config| {
            config["linux"]["maskedPaths"] =
                json!(["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]);
            config["linux"]["readonlyPaths"] =
                json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]);
        })
    }

    /// Changes the configuration of the outer container.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        self.outer = self.outer.with(change);
        self
    }

    /// Changes the configuration of the inner container.
    pub(crate) fn with_inner(mut self, change: impl FnOnce(&mut Value)) -> Self {
        self.inner = self.inner.with(change);
        self
    }

    /// How the outer container sees its cgroups.
    pub(crate) fn cgroups(&mut self, access: &str, own_namespace: bool) {
        let config = &mut self.outer.config;
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", access]}));
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        if own_namespace {
            namespaces.push(json!({"type": "cgroup"}));
        }
        self.outer.write();
    }

    /// Runs `runtime OPTIONS... run ID` in the outer container.
    #[track_caller]
    pub(crate) fn run(&mut self, options: &str) -> Inside {
        let id = inner_id();
        let script = format!(
            r#"
for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done >{INNER}/namespaces
/runtime --root {INNER}/state {options} run --bundle {INNER} {id} >{INNER}/stdout 2>{INNER}/stderr
echo $? >{INNER}/code
{{ ls -A {INNER}/state; find /sys/fs/cgroup -name {id}; }} >{INNER}/left 2>/dev/null
"#
        );
        self.outer.config["process"]["args"] = json!(["sh", "-c", script]);
        self.outer.write();
        let container = self.outer.container();
        let run: Run = container.go(&["run"]);
        assert_eq!(run.code, 0, "the outer container: {run:?}");
        let read = |name: &str| {
            std::fs::read_to_string(self.inner.path().join(name))
                .unwrap_or_else(|error| panic!("{name}: {error}: {run:?}"))
        };
        let lines = |name: &str| read(name).lines().map(str::to_owned).collect::<Vec<_>>();
        Inside {
            code: read("code").trim().parse().expect("a code"),
            properties: lines("stdout"),
            // A log line has quotes in quotes.
            stderr: read("stderr").replace("\\\"", "\""),
            left: lines("left"),
            namespaces: lines("namespaces"),
        }
    }
}

impl Inside {
    /// Asserts that the inner container ran, with all that its configuration asks for.
    #[track_caller]
    pub(crate) fn ran(&self, own: &[&str]) {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:#?}");
        assert!(self.left.is_empty(), "{self:#?}");
        let has = |line: &str| self.properties.iter().any(|property| property == line);
        assert!(has("NoNewPrivs:\t1") && has("/proc/keys character special file 1:3"), "{self:#?}");
        for kind in own {
            let name = format!("namespace {kind}:");
            let inner = self.properties.iter().find(|line| line.starts_with(&name)).expect("a namespace");
            let inner = inner.trim_start_matches("namespace ");
            assert!(!self.namespaces.iter().any(|outer| outer == inner), "{kind}: {self:#?}");
        }
        let refused = |text: &str| self.properties.iter().any(|line| line.contains(text));
        assert!(refused("ns_last_pid: Read-only file system"), "{self:#?}");
        // Only what the inner root has.
        assert!(!self.properties.iter().any(|line| line == "runtime" || line == "inner"), "{self:#?}");
    }

    /// Asserts that there is one error with all these texts, and nothing left.
    #[track_caller]
    pub(crate) fn refused(&self, texts: &[&str]) {
        assert_ne!(self.code, 0, "{self:#?}");
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in {self:#?}");
        }
        assert_eq!(self.stderr.lines().count(), 1, "{self:#?}");
        assert!(self.left.is_empty(), "{self:#?}");
    }
}

/// A user namespace with the ids of this one.
pub(crate) fn give_user_namespace(config: &mut Value) {
    config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    }
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]})
}

/// All that this machine can give.
fn capabilities() -> Vec<String> {
    const NAMES: &[&str] = &[
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
    ];
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).expect("CapBnd");
    let bounding = u64::from_str_radix(bounding, 16).expect("a mask");
    let names = NAMES.iter().enumerate().filter(|(number, _)| bounding >> number & 1 == 1);
    names.map(|(_, name)| format!("CAP_{name}")).collect()
}
