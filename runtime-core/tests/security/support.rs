//! Bundles, containers, and what is common to the tests.

use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use runtime_core::plan::{CreateOptions, ExecOptions};
use runtime_core::spec::ValidProcess;
use runtime_core::{Bundle, Container, Error, Exit, Runtime};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A program of the container ends in this time, or the test fails.
const LIMIT: Duration = Duration::from_secs(60);

const REQUIRED: &str = "REQUIRE_PRIVILEGED";

/// Says why a test cannot run here; fails if it has to.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os(REQUIRED).is_none_or(|value| value != "1"), "must not skip: {reason}");
    println!("skipped: {reason}");
}

/// How often a race is run.
pub(crate) fn runs() -> u32 {
    std::env::var("SECURITY_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(200)
}

/// Runs a test in a process of its own, for what is common to all threads. True inside.
pub(crate) fn alone(test: &str) -> bool {
    const INSIDE: &str = "SECURITY_ALONE";
    if std::env::var(INSIDE).is_ok_and(|inside| inside == test) {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    print!("{text}");
    false
}

/// Opens "/" as every free number up to 40, to be inherited: what a careless engine does.
fn leak_descriptors_of_the_root() {
    static LEAKED: OnceLock<Vec<RawFd>> = OnceLock::new();
    LEAKED.get_or_init(|| {
        let mut leaked = Vec::new();
        loop {
            let root = fs::File::open("/").unwrap();
            // `File` is close-on-exec; a duplicate is not.
            let number = nix::unistd::dup(&root).unwrap().into_raw_fd();
            leaked.push(number);
            if number > 40 {
                return leaked;
            }
        }
    });
}

/// A bundle of busybox in a temporary directory, with a state root of its own.
pub(crate) struct Scratch {
    directory: TempDir,
    pub(crate) runtime: Runtime,
}

impl Scratch {
    /// A new one, or `None` where the test cannot run.
    pub(crate) fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("needs root");
            return None;
        }
        let busybox = Path::new("/bin/busybox");
        if !busybox.exists() {
            skip("needs /bin/busybox (package busybox-static)");
            return None;
        }
        crate::apart::own_mounts();
        leak_descriptors_of_the_root();
        let directory = TempDir::with_prefix("rt-security-").unwrap();
        let runtime = Runtime::builder().state_root(directory.path().join("state")).build().unwrap();
        let scratch = Self { directory, runtime };
        for name in ["bin", "out", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(scratch.root().join(name)).unwrap();
        }
        let program = scratch.root().join("bin/busybox");
        crate::apart::copy_program(busybox, &program);
        set_mode(&scratch.root().join("out"), 0o777);
        for name in ["sh", "cat", "ls", "readlink", "sleep", "true", "stat", "id", "touch", "mknod"] {
            symlink("busybox", scratch.root().join("bin").join(name)).unwrap();
        }
        Some(scratch)
    }

    /// Puts the hostile program into the root.
    pub(crate) fn add_attacker(&self) {
        let program = self.root().join("bin/attacker");
        crate::apart::copy_program(attacker(), &program);
    }

    /// Waits until a program of the container has made /out/`name`.
    pub(crate) fn await_file(&self, name: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.root().join("out").join(name).exists() {
            assert!(Instant::now() < deadline, "no /out/{name} in time");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Tells the hostile program to stop, and waits for that.
    pub(crate) fn stop_attacker(&self) {
        fs::write(self.root().join("out/stop"), "").unwrap();
        self.await_file("stopped");
    }

    /// The directory of everything.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The root file system, as the host sees it.
    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("bundle/rootfs")
    }

    /// A file outside of the root file system that nothing may change.
    pub(crate) fn decoy(&self) -> Decoy {
        Decoy::new(self.path().join("decoy"))
    }

    /// What a program of the container wrote to /out/`name`.
    pub(crate) fn output(&self, name: &str) -> String {
        fs::read_to_string(self.root().join("out").join(name)).unwrap_or_default()
    }

    /// Plans, creates and starts a container and waits for its end.
    pub(crate) fn run(&self, config: &Value) -> Result<Exit, Error> {
        let (container, process) = self.runtime.run(self.plan(config, |options| options)?)?;
        let exit = process.wait_timeout(LIMIT).unwrap();
        container.delete_force().unwrap();
        Ok(exit.expect("the container ends in time"))
    }

    /// Runs a shell line in a container.
    pub(crate) fn run_shell(&self, line: &str) -> Result<Exit, Error> {
        self.run(&shell(line))
    }

    /// Creates a container.
    pub(crate) fn create(&self, config: &Value) -> Result<Running<'_>, Error> {
        self.create_with(config, |options| options)
    }

    /// Creates a container with options.
    pub(crate) fn create_with(
        &self,
        config: &Value,
        with: impl FnOnce(CreateOptions) -> CreateOptions,
    ) -> Result<Running<'_>, Error> {
        let container = self.runtime.create(self.plan(config, with)?)?;
        Ok(Running { container: Some(container), _scratch: self })
    }

    /// Creates and starts a container that sleeps.
    pub(crate) fn sleeping(&self, mut config: Value) -> Running<'_> {
        config["process"]["args"] = json!(["/bin/sleep", "1000"]);
        let running = self.create(&config).unwrap();
        running.start().unwrap();
        running
    }

    fn plan(
        &self,
        config: &Value,
        with: impl FnOnce(CreateOptions) -> CreateOptions,
    ) -> Result<runtime_core::CreatePlan, Error> {
        let bundle = self.path().join("bundle");
        self.write_config(config);
        let id = unique();
        let options = with(CreateOptions::new());
        self.runtime.plan(&id, Bundle::open(&bundle)?, options)
    }

    pub(crate) fn write_config(&self, config: &Value) {
        let text = serde_json::to_vec(config).unwrap();
        fs::write(self.path().join("bundle/config.json"), text).unwrap();
    }

    /// Runs the same bundle with Debian's runc: the control of many tests. `None` without it.
    pub(crate) fn run_by_runc(&self, config: &Value) -> Option<Output> {
        self.write_config(config);
        let id = unique();
        let output = runc(self, &["run", "--bundle", &self.path().join("bundle").to_string_lossy(), &id]);
        runc(self, &["delete", "--force", &id]);
        output
    }

    /// Empties /out.
    pub(crate) fn clear(&self) {
        for entry in fs::read_dir(self.root().join("out")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// The hostile program, compiled once.
fn attacker() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/security/attacker.rs");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("attacker-{}", std::process::id()));
        let built = Command::new("rustc")
            .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "panic=abort"])
            .args(["-C", "strip=symbols", "-o"])
            .arg(&program)
            .arg(source)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "rustc builds the attacker");
        // Under the common name when it is whole: other processes of this test use it too.
        let common = program.with_file_name("attacker");
        fs::rename(&program, &common).unwrap();
        common
    })
}

/// Calls Debian's runc with a state root of its own.
pub(crate) fn runc(scratch: &Scratch, args: &[&str]) -> Option<Output> {
    let root = scratch.path().join("runc");
    let run = Command::new("/usr/sbin/runc").arg("--root").arg(root).args(args).output();
    if run.is_err() {
        skip("the control needs /usr/sbin/runc (package runc)");
    }
    run.ok()
}

/// A created or running container, deleted at the end of the test.
pub(crate) struct Running<'a> {
    container: Option<Container>,
    /// The container is gone before its files.
    _scratch: &'a Scratch,
}

impl Running<'_> {
    pub(crate) fn pid(&self) -> i32 {
        self.container.as_ref().unwrap().state().unwrap().pid
    }

    /// Takes the master of the terminal.
    pub(crate) fn take_console(&mut self) -> Option<runtime_core::Terminal> {
        self.container.as_mut().unwrap().take_terminal()
    }

    pub(crate) fn start(&self) -> Result<(), Error> {
        self.container.as_ref().unwrap().start()
    }

    /// Waits for the end of the init.
    pub(crate) fn wait(&self) -> Exit {
        let init = self.container.as_ref().unwrap().init().expect("the init is a child");
        init.wait_timeout(LIMIT).unwrap().expect("the container ends in time")
    }

    /// Runs a process and waits for its end.
    pub(crate) fn exec(&self, process: &Value) -> Result<Exit, Error> {
        self.exec_with(process, |options| options)
    }

    /// Runs a process with options and waits for its end.
    pub(crate) fn exec_with(
        &self,
        process: &Value,
        with: impl FnOnce(ExecOptions) -> ExecOptions,
    ) -> Result<Exit, Error> {
        let process = ValidProcess::parse(&serde_json::to_vec(process).unwrap())?;
        let options = with(ExecOptions::new());
        let process = self.container.as_ref().unwrap().exec(&process, &options)?;
        Ok(process.wait_timeout(LIMIT).unwrap().expect("the process ends in time"))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(container) = self.container.take()
            && let Err(error) = container.delete_force()
        {
            println!("left behind: {error}");
        }
    }
}

/// A file of the host with known content, mode and owner.
pub(crate) struct Decoy(pub(crate) PathBuf);

impl Decoy {
    fn new(path: PathBuf) -> Self {
        fs::write(&path, "decoy").unwrap();
        set_mode(&path, 0o640);
        std::os::unix::fs::chown(&path, Some(4242), Some(4343)).unwrap();
        Self(path)
    }

    /// Fails if it has changed.
    pub(crate) fn check(&self) {
        use std::os::unix::fs::MetadataExt;
        let data = fs::symlink_metadata(&self.0).unwrap();
        assert_eq!(fs::read_to_string(&self.0).unwrap(), "decoy");
        assert_eq!((data.mode() & 0o7777, data.uid(), data.gid()), (0o640, 4242, 4343));
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An id that no other test has.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("sec-{}-{}", crate::apart::process_tag(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A configuration with the usual mounts and namespaces, and no capability.
pub(crate) fn config() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": process(&["/bin/true"]),
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
        ],
        "linux": {"namespaces": [
            {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"},
        ]},
    })
}

/// A configuration whose program is a shell line.
pub(crate) fn shell(line: &str) -> Value {
    let mut config = config();
    config["process"] = process(&["/bin/sh", "-c", line]);
    config
}

/// A process of root without capabilities.
pub(crate) fn process(args: &[&str]) -> Value {
    json!({"args": args, "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin", "HOME=/"]})
}

/// The configuration without the tmpfs on /dev: the image's own is used.
pub(crate) fn without_dev(mut config: Value) -> Value {
    config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    config
}

/// The configuration with a mount more.
pub(crate) fn with_mount(mut config: Value, mount: Value) -> Value {
    config["mounts"].as_array_mut().unwrap().push(mount);
    config
}

/// The configuration with all five capability sets equal.
pub(crate) fn with_capabilities(mut config: Value, names: &[&str]) -> Value {
    config["process"]["capabilities"] = json!({
        "bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": [],
    });
    config
}

/// The lines of /proc/self/mountinfo of a process, or none.
pub(crate) fn mountinfo(pid: i32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The name of an open file.
pub(crate) fn name_of(fd: &impl AsRawFd) -> String {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().to_string_lossy().into_owned()
}
