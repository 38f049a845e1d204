//! A check's own bundle, id and state root, and the operations on its container.

use crate::call::{Call, call};
use crate::suite::Options;
use crate::verdict::{Outcome, Stop, fail, skip};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Everything that one check owns. Dropping it ends the container and removes the files.
pub(crate) struct Case {
    runtime: PathBuf,
    limit: Duration,
    pub(crate) rootless: bool,
    systemd: bool,
    /// The container's id.
    pub(crate) id: String,
    directory: tempfile::TempDir,
    /// What the runtime and so a container has as standard input; nothing else than /dev/null by default.
    pub(crate) input: Option<PathBuf>,
    /// Words before the runtime's own: a program that runs it somewhere else.
    pub(crate) under: Vec<String>,
    /// The configuration that `create` writes.
    pub(crate) config: Value,
}

impl Case {
    /// A bundle with the default configuration; `probe` is the compiled test process.
    pub(crate) fn new(options: &Options, probe: &Path, name: &str) -> std::io::Result<Self> {
        let parent = probe.parent().unwrap_or(Path::new("/"));
        let directory = tempfile::Builder::new().prefix("case-").tempdir_in(parent)?;
        // A container with mapped ids must be able to reach its root.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory.path(), open)?;
        let rootfs = directory.path().join("bundle/rootfs");
        for name in ["proc", "dev", "sys", "tmp", "out", "etc"] {
            fs::create_dir_all(rootfs.join(name))?;
        }
        for name in ["root", "scratch", "share"] {
            fs::create_dir(directory.path().join(name))?;
        }
        fs::hard_link(probe, rootfs.join("probe"))?;
        let unique = directory.path().file_name().map(|name| name.to_string_lossy().into_owned());
        let id = format!("{name}-{}", unique.unwrap_or_default());
        let Options { runtime, timeout: limit, rootless, systemd, .. } = options.clone();
        let mut config = crate::suite::default_config(rootless);
        // A configuration says which version has its properties.
        let since = crate::fairness::since(name);
        if since != "1.0" {
            let patch = if since.matches('.').count() == 1 { ".0" } else { "" };
            config["ociVersion"] = json!(format!("{since}{patch}"));
        }
        Ok(Case { runtime, limit, rootless, systemd, id, directory, input: None, under: Vec::new(), config })
    }

    /// The bundle's directory on the host.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    /// The root file system on the host.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// A directory on the host that checks may bind into the container.
    pub(crate) fn share(&self) -> PathBuf {
        self.directory.path().join("share")
    }

    /// Sets a field, by JSON pointer; missing parents become objects.
    pub(crate) fn set(&mut self, pointer: &str, value: Value) {
        let mut here = &mut self.config;
        for key in pointer.split('/').skip(1) {
            here = match key.parse::<usize>() {
                Ok(index) if here.is_array() => &mut here[index],
                _ => &mut here[key],
            };
        }
        *here = value;
    }

    /// Appends to an array, which is made when it is missing.
    pub(crate) fn push(&mut self, pointer: &str, value: Value) {
        let mut list = self.config.pointer(pointer).cloned().unwrap_or(json!([]));
        if let Some(items) = list.as_array_mut() {
            items.push(value);
        }
        self.set(pointer, list);
    }

    /// Takes a field out, by JSON pointer of its object.
    pub(crate) fn remove(&mut self, pointer: &str, key: &str) {
        if let Some(object) = self.config.pointer_mut(pointer).and_then(Value::as_object_mut) {
            object.remove(key);
        }
    }

    /// Gives the test process one more argument.
    pub(crate) fn ask(&mut self, question: &str) {
        self.push("/process/args", json!(question));
    }

    /// Binds the host's `share` directory at /out, writable.
    pub(crate) fn bind_share(&mut self, options: Value) {
        let source = self.share().display().to_string();
        let mount = json!({"destination": "/out", "type": "bind", "source": source,
            "options": options});
        self.push("/mounts", mount);
    }

    /// Takes the namespace of that type out of the list.
    pub(crate) fn drop_namespace(&mut self, name: &str) {
        if let Some(list) = self.config["linux"]["namespaces"].as_array_mut() {
            list.retain(|entry| entry["type"] != name);
        }
    }

    /// Asks for a cgroup of the container's own: of its id, or a scope that has the id in its name.
    pub(crate) fn own_cgroup(&mut self) {
        let path =
            if self.systemd { format!("system.slice:suite:{}", self.id) } else { format!("/{}", self.id) };
        self.set("/linux/cgroupsPath", json!(path));
    }

    /// Where that cgroup is below the mount point.
    pub(crate) fn own_place(&self) -> String {
        if self.systemd { format!("system.slice/suite-{}.scope", self.id) } else { self.id.clone() }
    }

    /// Skips a check that means nothing where systemd makes the cgroups.
    pub(crate) fn need_no_systemd(&self, why: &str) -> Result<(), Stop> {
        if self.systemd { skip(why) } else { Ok(()) }
    }

    /// Skips a check that needs root.
    pub(crate) fn need_root(&self, why: &str) -> Result<(), Stop> {
        if self.rootless { skip(format!("rootless: {why}")) } else { Ok(()) }
    }

    /// Calls the runtime with these words after the global options.
    pub(crate) fn raw(&self, words: &[&str]) -> Result<Call, Stop> {
        let mut command = match self.under.split_first() {
            None => Command::new(&self.runtime),
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&self.runtime);
                command
            }
        };
        command.arg("--root").arg(self.directory.path().join("root"));
        command.args(self.systemd.then_some("--systemd-cgroup")).args(words);
        let operation = words.first().copied().unwrap_or("nothing");
        command.stdin(match &self.input {
            Some(path) => fs::File::open(path)?.into(),
            None => Stdio::null(),
        });
        Ok(call(&mut command, operation, &self.directory.path().join("scratch"), self.limit)?)
    }

    /// Writes config.json.
    pub(crate) fn write_config(&self) -> Result<(), Stop> {
        fs::write(self.bundle().join("config.json"), self.config.to_string())?;
        Ok(())
    }

    /// Writes the configuration and calls `create`.
    pub(crate) fn create(&self) -> Result<Call, Stop> {
        self.write_config()?;
        self.create_as(&self.id)
    }

    /// Calls `create` with another id and the bundle as it is.
    pub(crate) fn create_as(&self, id: &str) -> Result<Call, Stop> {
        let bundle = self.bundle().display().to_string();
        let pid_file = self.pid_file();
        self.raw(&["create", "--bundle", &bundle, "--pid-file", &pid_file, id])
    }

    /// Where the runtime is told to write the pid.
    pub(crate) fn pid_file(&self) -> String {
        self.directory.path().join("pid").display().to_string()
    }

    /// Whether something of that id is beside the state directory, where `..` leads.
    pub(crate) fn beside_the_state(&self, id: &str) -> bool {
        let place = self.directory.path().join("root").join(id);
        let Some(name) = place.file_name() else { return false };
        id.contains("..") && self.directory.path().join(name).exists()
    }

    /// `create`, which must succeed.
    pub(crate) fn created(&self) -> Result<(), Stop> {
        must(self.create()?)
    }

    /// `create` and `start`, which must succeed.
    pub(crate) fn started(&self) -> Result<(), Stop> {
        self.created()?;
        must(self.start()?)
    }

    /// Calls `start`.
    pub(crate) fn start(&self) -> Result<Call, Stop> {
        self.raw(&["start", &self.id])
    }

    /// Calls `delete`.
    pub(crate) fn delete(&self) -> Result<Call, Stop> {
        self.raw(&["delete", &self.id])
    }

    /// Calls `kill` with a signal's name.
    pub(crate) fn kill(&self, signal: &str) -> Result<Call, Stop> {
        self.raw(&["kill", &self.id, signal])
    }

    /// The state document; a failing `state` is a failure.
    pub(crate) fn state(&self) -> Result<Value, Stop> {
        let call = self.raw(&["state", &self.id])?;
        if !call.ok() {
            return fail("state succeeds", call.describe());
        }
        match serde_json::from_str(&call.stdout) {
            Ok(state) => Ok(state),
            Err(error) => fail("state prints a JSON object", format!("{error}: {}", call.stdout)),
        }
    }

    /// Whether the runtime still knows the id.
    pub(crate) fn known(&self) -> Result<bool, Stop> {
        Ok(self.raw(&["state", &self.id])?.ok())
    }

    /// The pid of the container process as the host sees it.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.directory.path().join("pid")).ok()?;
        text.trim().parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw)
    }

    /// Waits until the container process is gone; how it ended, when it was ours to reap.
    pub(crate) fn wait(&self) -> Result<Option<WaitStatus>, Stop> {
        let Some(pid) = self.pid() else {
            return fail("the runtime writes the pid file", "no pid");
        };
        let begin = Instant::now();
        while begin.elapsed() < self.limit {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Ok(status) => return Ok(Some(status)),
                Err(Errno::ECHILD) if gone(pid) => return Ok(None),
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        fail("the container process ends", format!("it runs after {:?}", self.limit))
    }

    /// What the container process has printed so far.
    pub(crate) fn output(&self) -> String {
        let path = self.directory.path().join("scratch/create.out");
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// What came on the standard error of `create`, which the container process shares.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(self.directory.path().join("scratch/create.err")).unwrap_or_default()
    }

    /// Waits for the report of a container that has been started.
    pub(crate) fn hear(&self) -> Result<Value, Stop> {
        let begin = Instant::now();
        loop {
            // Looked at first: whatever a process has printed is there when it has ended.
            let ended = self.pid().is_none_or(gone);
            let output = self.output();
            if let Some(line) = output.lines().next().filter(|_| output.contains('\n')) {
                return serde_json::from_str(line).or_else(|error| {
                    fail("the container process prints its report", format!("{error}: {line}"))
                });
            }
            if ended || begin.elapsed() > self.limit {
                let errors = self.errors();
                return fail("the container process prints its report", format!("none; {errors}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Creates and starts the container and returns the report of its process.
    pub(crate) fn report(&self) -> Result<Value, Stop> {
        self.started()?;
        self.hear()
    }

    /// The answer to one question, from a run of its own.
    pub(crate) fn answer(&mut self, question: &str) -> Result<Value, Stop> {
        self.ask(question);
        Ok(self.report()?["answers"][question].clone())
    }

    /// Passes if the runtime refuses this configuration and leaves no container behind.
    pub(crate) fn refuses(&self) -> Outcome {
        let create = self.create()?;
        if create.ok() {
            return fail("create generates an error", "create succeeded");
        }
        if !create.refused() {
            return fail("create generates an error", create.describe());
        }
        if self.known()? {
            return fail("no container is left by a failed create", "state still knows it");
        }
        Ok(create.describe())
    }

    /// As `refuses`, where the same configuration is accepted with `good` at that place: so it is
    /// this value that is refused, and not something that this machine lacks.
    pub(crate) fn refuses_but(&mut self, pointer: &str, good: Value, bad: Value) -> Outcome {
        self.set(pointer, good);
        let control = self.create()?;
        if !control.ok() {
            return skip(format!("refused with a valid value as well: {}", control.describe()));
        }
        must(self.raw(&["delete", "--force", &self.id])?)?;
        self.set(pointer, bad);
        self.refuses_at_start()
    }

    /// As `refuses`, for properties of `process` too, which `start` may be the first to look at.
    pub(crate) fn refuses_at_start(&self) -> Outcome {
        let create = self.create()?;
        if create.ok() {
            return must_refuse(self.start()?);
        }
        if !create.refused() {
            return fail("create or start generates an error", create.describe());
        }
        if self.known()? {
            return fail("no container is left by a failed create", "state still knows it");
        }
        Ok(create.describe())
    }

    /// The lines that hooks left in `file`.
    pub(crate) fn hook_lines(&self, file: &Path) -> Vec<Value> {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let ended = self.raw(&["delete", "--force", &self.id]);
        if let Some(pid) = self.pid() {
            self.end(pid, ended.is_ok_and(|call| call.ok()));
        }
        crate::cgroup::sweep(&self.id);
    }
}

impl Case {
    /// Makes sure that the container process is dead and reaped.
    fn end(&self, pid: Pid, deleted: bool) {
        if !gone(pid) {
            // The runtime did not end it: it must not outlive its check.
            if let Err(error) = kill(pid, Signal::SIGKILL) {
                eprintln!("# {}: kill {pid}: {error}; deleted: {deleted}", self.id);
            }
        }
        for _ in 0..500 {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(2)),
                _ => break,
            }
        }
    }
}

/// A call that has to succeed.
pub(crate) fn must(call: Call) -> Result<(), Stop> {
    let (expected, seen) = (format!("{} succeeds", call.operation), call.describe());
    match call.ok() {
        true => Ok(()),
        false if call.refused() && ["create", "start"].contains(&call.operation.as_str()) => {
            Err(Stop::Refused { expected, seen })
        }
        false => fail(expected, seen),
    }
}

/// A call that has to generate an error.
pub(crate) fn must_refuse(call: Call) -> Outcome {
    if call.refused() {
        Ok(call.describe())
    } else {
        fail(format!("{} generates an error", call.operation), call.describe())
    }
}

/// Whether a process is dead: no longer there, or a zombie.
pub(crate) fn gone(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('Z' | 'X'))
}
