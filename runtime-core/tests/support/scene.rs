//! A place for containers: a root file system of busybox, bundles, a state root of its own.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use runtime_core::plan::{CreateOptions, ExecOptions};
use runtime_core::spec::ValidProcess;
use runtime_core::{Bundle, Container, Exit, Process, Result, Runtime, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::leftovers::Host;

/// The static shell of Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

const APPLETS: &[&str] = &[
    "cat", "echo", "env", "false", "hostname", "id", "kill", "ls", "readlink", "sh", "sleep", "test",
    "touch", "true",
];

/// How long a program of a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Containers that go away with the test.
pub(crate) struct Scene {
    pub(crate) directory: TempDir,
    pub(crate) runtime: Runtime,
    tag: String,
    before: Host,
}

impl Scene {
    pub(crate) fn new() -> Self {
        super::apart::own_mounts();
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The users of a user namespace go through it.
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).expect("the mode is set");
        make_rootfs(&directory.path().join("rootfs"));
        let runtime =
            Runtime::builder().state_root(directory.path().join("state")).build().expect("a runtime");
        let tag = format!("rt-test-{}-", super::apart::process_tag());
        let before = Host::now(&tag);
        Self { directory, runtime, tag, before }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// An id that no other container has; also the name of its cgroup.
    pub(crate) fn id(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{}{}", self.tag, COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// A configuration like that of `runtime spec`, which runs `args`.
    pub(crate) fn config(&self, args: &[&str]) -> Value {
        json!({
            "ociVersion": "1.3.0",
            "process": {
                "args": args,
                "cwd": "/",
                "env": ["PATH=/bin", "FROM=process"],
                "user": {"uid": 0, "gid": 0},
                "capabilities": {
                    "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]
                },
                "noNewPrivileges": true,
            },
            "root": {"path": self.path().join("rootfs"), "readonly": true},
            "hostname": "contained",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                    "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                    "options": ["nosuid", "noexec", "nodev", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                    "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {
                "namespaces": [
                    {"type": "pid"}, {"type": "network"}, {"type": "ipc"},
                    {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"},
                ],
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
                "readonlyPaths": ["/proc/sys", "/proc/irq"],
            },
        })
    }

    /// Writes the bundle of a container; the cgroup has the name of the container.
    pub(crate) fn bundle(&self, id: &str, config: &Value) -> PathBuf {
        let mut config = config.clone();
        if config["linux"]["cgroupsPath"].is_null() {
            config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        }
        let bundle = self.path().join(format!("bundle-{id}"));
        std::fs::create_dir_all(&bundle).expect("the bundle is made");
        std::fs::write(bundle.join("config.json"), config.to_string()).expect("the bundle is written");
        bundle
    }

    /// The plan of a container.
    pub(crate) fn plan(&self, id: &str, config: &Value) -> Result<runtime_core::CreatePlan> {
        plan(&self.runtime, id, &self.bundle(id, config))
    }

    pub(crate) fn create(&self, id: &str, config: &Value) -> Result<Container> {
        self.runtime.create(self.plan(id, config)?)
    }

    pub(crate) fn run(&self, id: &str, config: &Value) -> Result<(Container, Process)> {
        self.runtime.run(self.plan(id, config)?)
    }

    /// A container that runs `args` by now.
    pub(crate) fn started(&self, args: &[&str]) -> Container {
        let container = self.create(&self.id(), &self.config(args)).expect("created");
        container.start().expect("started");
        container
    }

    /// What is left on the host since the beginning.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Host::now(&self.tag).beyond(&self.before);
        let ids = self.runtime.list().expect("the list works");
        left.extend(ids.into_iter().map(|listed| format!("state of {}", listed.id)));
        left
    }

    /// Fails if anything is left. The end of killed processes takes a moment.
    pub(crate) fn assert_clean(&self, after: &str) {
        let clean = super::views::eventually(|| self.left().is_empty());
        assert!(clean, "left after {after}: {:#?}", self.left());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A failed test leaves containers; an error here would hide the failure.
        for listed in self.runtime.list().unwrap_or_default() {
            if let Err(error) = self.runtime.delete_force(listed.id.as_str()) {
                eprintln!("{} stays: {error}", listed.id);
            }
        }
    }
}

/// The plan of a bundle.
pub(crate) fn plan(runtime: &Runtime, id: &str, bundle: &Path) -> Result<runtime_core::CreatePlan> {
    runtime.plan(id, Bundle::open(bundle)?, CreateOptions::new())
}

/// Starts another process in a container.
pub(crate) fn exec(container: &Container, args: &[&str]) -> Result<Process> {
    let process = json!({"args": args, "cwd": "/", "env": ["PATH=/bin"]}).to_string();
    let process = ValidProcess::parse(process.as_bytes())?;
    container.exec(&process, &ExecOptions::new())
}

/// Waits for the end of a process.
pub(crate) fn exit(process: &Process) -> Exit {
    process.wait_timeout(LIMIT).expect("the wait works").expect("the process ends in time")
}

/// Kills a container, reaps its init and deletes it.
pub(crate) fn end(mut container: Container) {
    let init = container.take_init();
    container.kill(Signal::KILL).expect("killed");
    if let Some(init) = init {
        exit(&init);
    }
    container.delete().expect("deleted");
}

fn make_rootfs(rootfs: &Path) {
    let bin = rootfs.join("bin");
    std::fs::create_dir_all(&bin).expect("the root file system is made");
    super::apart::copy_program(Path::new(BUSYBOX), &bin.join("busybox"));
    // The root of a user namespace could not make them.
    for mount_point in ["dev", "proc", "sys", "tmp"] {
        std::fs::create_dir(rootfs.join(mount_point)).expect("a mount point");
    }
    for applet in APPLETS {
        symlink("busybox", bin.join(applet)).expect("a link");
    }
}
