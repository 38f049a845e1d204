//! CRI-O's part of the contract, by its own monitor. CRI-O itself is in no package here, but all that it does to a
//! runtime is to start conmon with these options, and to call the runtime itself with the words below: see
//! `internal/oci/runtime_oci.go` of CRI-O and `src/runtime_args.c` of conmon.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::image;
use crate::support::{
    Cmd, Outcome, Output, Place, Stop, Table, cgroup_value, directories, engine_test, eventually, growth,
    has, hierarchies, need, same, that,
};

const MONITOR: &str = "/usr/bin/conmon";
const SOON: Duration = Duration::from_secs(20);

const CHECKS: &Table<Crio> = &[
    ("discovery: --version, features, checkpoint --help", discovery),
    ("conmon create, start, state: a container", life),
    ("conmon create: the runtime's words reach the engine", create_fails),
    ("conmon create -t: a terminal", terminal),
    ("conmon create -i: stdin", stdin),
    ("conmon -e: ExecSync", exec_sync),
    ("conmon -e: a program that is not there", exec_sync_fails),
    ("conmon -e -T: ExecSync with a timeout", exec_sync_timeout),
    ("exec --process: Exec in the foreground", exec),
    ("update --resources -", update),
    ("pause, resume", pause),
    ("kill ID TERM, then the exit file", stop),
    ("kill ID KILL, and again", kill),
    ("kill ID SIGTERM: any form of a stop signal", stop_signals),
    ("kill -a ID 9: no PID namespace of its own", kill_all),
    ("state of a container that is gone", state_gone),
    ("delete --force: running, then once more", delete),
    ("nothing is left behind", nothing_left),
];

/// What CRI-O knows: where the runtime keeps its state, and where the monitors leave exit codes.
struct Crio {
    tag: String,
    dir: PathBuf,
    runtime: PathBuf,
    /// `runtime_root` of crio.conf.
    root: PathBuf,
    next: Cell<u32>,
}

impl Crio {
    fn start(place: &Place) -> Result<Self, Stop> {
        need(MONITOR, "conmon")?;
        let (tag, dir, runtime) = (place.tag.clone(), place.dir.clone(), place.runtime.clone());
        let root = PathBuf::from("/run/under-test");
        for name in ["/run/crio", "/run/crio/exits"] {
            fs::create_dir(name)?;
        }
        let crio = Crio { tag, dir, runtime, root, next: Cell::new(0) };
        image::root_tar(&crio.dir)?;
        image::unpack(&crio.dir.join("busybox.tar"), &crio.dir.join("rootfs"))?;
        Ok(crio)
    }

    /// `runtime --root DIR WORDS...`, with no environment: CRI-O passes only XDG_RUNTIME_DIR on.
    fn go(&self, words: &[&str]) -> Result<Output, Stop> {
        self.command(words).run()
    }

    fn command(&self, words: &[&str]) -> Cmd {
        Cmd::new("env").args(["-i"]).arg(&self.runtime).arg("--root").arg(&self.root).args(words)
    }

    fn new_id(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("crio{}", self.next.get())
    }

    /// A bundle whose process runs a shell script.
    fn bundle(&self, script: &str, change: impl FnOnce(&mut Value)) -> Result<Container<'_>, Stop> {
        let container = Container { crio: self, id: self.new_id() };
        let bundle = container.bundle();
        fs::create_dir_all(&bundle)?;
        Cmd::new(&self.runtime).args(["spec", "--bundle"]).arg(&bundle).run()?.ok()?;
        let path = bundle.join("config.json");
        let parse = |text: String| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string());
        let mut config = parse(fs::read_to_string(&path)?)?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["process"]["env"] = json!(["PATH=/bin", "A=b c"]);
        config["root"] = json!({"path": self.dir.join("rootfs"), "readonly": true});
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{}", self.tag, container.id));
        let mount = json!({"destination": "/data", "source": bundle, "options": ["bind", "rw"]});
        config["mounts"].as_array_mut().ok_or("no mounts")?.push(mount);
        // A place for it, since the root is shared by all bundles.
        fs::create_dir_all(self.dir.join("rootfs/data"))?;
        change(&mut config);
        fs::write(path, config.to_string())?;
        Ok(container)
    }

    /// A container that was created by the monitor and started.
    fn started(&self, script: &str) -> Result<Container<'_>, Stop> {
        let container = self.bundle(script, |_| {})?;
        container.create(&[])?;
        container.go(&["start"])?.ok()?;
        Ok(container)
    }
}

/// A container, deleted when it goes out of scope.
struct Container<'a> {
    crio: &'a Crio,
    id: String,
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.crio.go(&["delete", "--force", &self.id]).ok();
    }
}

impl Container<'_> {
    fn bundle(&self) -> PathBuf {
        self.crio.dir.join("bundles").join(&self.id)
    }

    /// `runtime --root DIR WORDS... ID`.
    fn go(&self, words: &[&str]) -> Result<Output, Stop> {
        self.crio.go(&[words, &[self.id.as_str()]].concat())
    }

    /// Starts the monitor. It says on one descriptor what became of the runtime, and waits on another until it
    /// is in its cgroup.
    fn monitor(&self, options: &[&str]) -> Result<Value, Stop> {
        let (told, go) = (self.bundle().join("told"), self.bundle().join("go"));
        fs::write(&told, "")?;
        fs::write(&go, [0])?;
        let script = format!("exec 3>{} 4<{}; exec \"$@\"", told.display(), go.display());
        let root = format!("--root={}", self.crio.root.display());
        let conmon = Cmd::new(MONITOR)
            .args(["-c", &self.id, "-n", &self.id, "-r"])
            .arg(&self.crio.runtime)
            .args(["--runtime-arg", &root, "--socket-dir-path", "/run/crio", "--log-level", "info"])
            .args(options);
        let conmon = conmon.under(&["sh", "-c", &script, "sh"]);
        // It fails with the runtime; what it told says more.
        conmon.env("_OCI_SYNCPIPE", "3").env("_OCI_STARTPIPE", "4").run()?;
        let mut answer = Value::Null;
        eventually(SOON, || {
            let text = fs::read_to_string(&told)?;
            answer = serde_json::from_str(text.trim()).map_err(|error| format!("{text:?}: {error}"))?;
            Ok(())
        })?;
        Ok(answer)
    }

    /// What CRI-O's CreateContainer does; the process id of the container.
    fn create(&self, options: &[&str]) -> Result<u32, Stop> {
        let answer = self.create_answer(options)?;
        let pid = answer["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| format!("no pid in {answer}"))?;
        same("pid file", fs::read_to_string(self.bundle().join("pidfile"))?, pid.to_string())?;
        Ok(pid)
    }

    fn create_answer(&self, options: &[&str]) -> Result<Value, Stop> {
        let bundle = self.bundle();
        let path = |name: &str| bundle.join(name).to_string_lossy().into_owned();
        let here = bundle.to_string_lossy().into_owned();
        let (log, monitor, pid) = (path("log"), path("conmon-pidfile"), path("pidfile"));
        let all = [
            &["-b", &here, "-u", &self.id, "--exit-dir", "/run/crio/exits", "-l", &log, "-P", &monitor][..],
            &["-p", &pid, "--persist-dir", &here, "--syslog", "--log-size-max", "8192"],
            options,
        ];
        self.monitor(&all.concat())
    }

    /// A process for `exec --process`, in a file of its own.
    fn process(&self, args: &[&str]) -> Result<String, Stop> {
        let text = fs::read_to_string(self.bundle().join("config.json"))?;
        let config: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let mut process = config["process"].clone();
        process["args"] = json!(args);
        process["terminal"] = json!(false);
        let path = self.bundle().join(format!("exec-process-{}", self.crio.new_id()));
        fs::write(&path, process.to_string())?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// What CRI-O's ExecSync does; the monitor's answer and the log.
    fn exec_sync(&self, args: &[&str], more: &[&str]) -> Result<(Value, String), Stop> {
        let path = |name: &str| self.bundle().join(name).to_string_lossy().into_owned();
        let (process, log, pid) = (self.process(args)?, path("exec-log"), path("exec-pidfile"));
        fs::write(&log, "")?;
        let options = ["-p", &pid, "-e", "-l", &log, "--sync", "--exec-process-spec", &process];
        let answer = self.monitor(&[&options, more].concat())?;
        Ok((answer, fs::read_to_string(&log)?))
    }

    fn state(&self) -> Result<Value, Stop> {
        let output = self.go(&["state"])?;
        same("stderr", output.stderr.as_str(), "")?;
        serde_json::from_str(&output.ok()?).map_err(|error| error.to_string().into())
    }

    fn status(&self) -> Result<String, Stop> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_owned())
    }

    fn log(&self) -> Result<String, Stop> {
        Ok(fs::read_to_string(self.bundle().join("log"))?)
    }

    fn await_file(&self, name: &str) -> Outcome {
        eventually(SOON, || that(name, self.bundle().join(name).exists()))
    }

    /// The exit code that the monitor left.
    fn exit_code(&self) -> Result<String, Stop> {
        let path = Path::new("/run/crio/exits").join(&self.id);
        eventually(SOON, || that("the exit file", fs::metadata(&path)?.len() > 0))?;
        Ok(fs::read_to_string(path)?)
    }
}

#[test]
fn monitor() {
    engine_test("crio-conmon", "crio::monitor", |place, checks| {
        let crio = Crio::start(place)?;
        checks.table(&crio, CHECKS);
        Ok(())
    });
}

/// What CRI-O asks of a handler when it starts.
fn discovery(crio: &Crio) -> Outcome {
    let bare = |words: &[&str]| Cmd::new("env").arg("-i").arg(&crio.runtime).args(words).run()?.ok();
    has("version", &bare(&["--version"])?, " version ")?;
    let features: Value = serde_json::from_str(&bare(&["features"])?).map_err(|error| error.to_string())?;
    let has_rro = features["mountOptions"].as_array().is_some_and(|options| options.contains(&json!("rro")));
    that("recursive read-only mounts", has_rro)?;
    same("idmapped mounts", &features["linux"]["mountExtensions"]["idmap"]["enabled"], true)?;
    bare(&["checkpoint", "--help"]).map(drop)
}

fn life(crio: &Crio) -> Outcome {
    let container = crio.bundle("echo out; echo err >&2; exec sleep 1000", |_| {})?;
    let pid = container.create(&[])?;
    same("created", container.status()?, "created")?;
    let output = container.go(&["start"])?;
    same("start prints", [output.stdout.as_str(), output.stderr.as_str()], ["", ""])?;
    output.ok()?;
    let state = container.state()?;
    same("running", state["status"].as_str(), Some("running"))?;
    same("pid", state["pid"].as_u64(), Some(pid.into()))?;
    same("bundle", state["bundle"].as_str(), container.bundle().to_str())?;
    eventually(SOON, || {
        let log = container.log()?;
        has("stdout", &log, " stdout F out\n")?;
        has("stderr", &log, " stderr F err\n")
    })?;
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    has("cgroup", &table, &format!(":/{}/{}\n", crio.tag, container.id))
}

fn create_fails(crio: &Crio) -> Outcome {
    let container = crio.bundle("", |config| config["process"]["args"] = json!(["no-such-program"]))?;
    let answer = container.create_answer(&[])?;
    same("pid", answer["pid"].as_i64(), Some(-1))?;
    let message = answer["message"].as_str().unwrap_or_default();
    has("message", message, "no-such-program")?;
    has("message", message, ": executable file not found in $PATH")
}

fn terminal(crio: &Crio) -> Outcome {
    let container =
        crio.bundle("tty; exec sleep 1000", |config| config["process"]["terminal"] = json!(true))?;
    container.create(&["-t"])?;
    container.go(&["start"])?.ok()?;
    eventually(SOON, || has("log", &container.log()?, "/dev/pts/0"))?;
    // As CRI-O resizes: type 1, rows, columns.
    fs::write(container.bundle().join("ctl"), "1 33 101\n")?;
    let process = container.process(&["sh", "-c", "stty size < /dev/pts/0"])?;
    eventually(SOON, || same("size", container.go(&["exec", "--process", &process])?.ok()?, "33 101"))
}

fn stdin(crio: &Crio) -> Outcome {
    let container = crio.bundle("read line; echo got $line", |_| {})?;
    container.create(&["-i", "--leave-stdin-open"])?;
    container.go(&["start"])?.ok()?;
    same("it waits", container.status()?, "running")?;
    container.go(&["delete", "--force"])?.ok().map(drop)
}

fn exec_sync(crio: &Crio) -> Outcome {
    let container = crio.started("exec sleep 1000")?;
    let script = "echo $A; echo err >&2; cat /proc/1/comm; exit 5";
    let (answer, log) = container.exec_sync(&["sh", "-c", script], &[])?;
    same("exit code", answer["exit_code"].as_i64(), Some(5))?;
    for part in [" stdout F b c\n", " stderr F err\n", " stdout F sleep\n"] {
        has("log", &log, part)?;
    }
    Ok(())
}

fn exec_sync_fails(crio: &Crio) -> Outcome {
    let container = crio.started("exec sleep 1000")?;
    let (answer, _) = container.exec_sync(&["no-such-program"], &[])?;
    let message = answer["message"].as_str().unwrap_or_default();
    has(&format!("message of {answer}"), message, "executable file not found in $PATH")?;
    same("the container", container.status()?, "running")
}

fn exec_sync_timeout(crio: &Crio) -> Outcome {
    let container = crio.started("exec sleep 1000")?;
    let (answer, _) = container.exec_sync(&["sleep", "3000"], &["-T", "1"])?;
    same("exit code", answer["exit_code"].as_i64(), Some(-1))?;
    same("message", answer["message"].as_str(), Some("command timed out"))?;
    let process = container.process(&["sh", "-c", "ps -o args | grep -c '[s]leep 3000'; true"])?;
    eventually(SOON, || same("killed", container.go(&["exec", "--process", &process])?.ok()?, "0"))
}

fn exec(crio: &Crio) -> Outcome {
    let container = crio.started("exec sleep 1000")?;
    let process = container.process(&["sh", "-c", "read line; echo $line; echo err >&2; exit 7"])?;
    let output = crio.command(&["exec", "--process", &process, &container.id]).stdin("typed\n").run()?;
    same("stderr", output.stderr.as_str(), "err\n")?;
    same("stdout", output.code(7)?, "typed")?;
    let process = container.process(&["sh", "-c", "kill -9 $$"])?;
    container.go(&["exec", "--process", &process])?.code(137).map(drop)
}

fn update(crio: &Crio) -> Outcome {
    let container = crio.bundle("exec sleep 1000", |config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20, "swap": 64 << 20});
    })?;
    let pid = container.create(&[])?;
    container.go(&["start"])?.ok()?;
    let limit = || cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max");
    same("before", limit()?, "67108864")?;
    // All fields of a LinuxResources that CRI-O fills in, at once.
    let resources = json!({
        "memory": {"limit": 80 << 20, "swap": 80 << 20},
        "cpu": {"shares": 512, "quota": 25_000, "period": 100_000, "cpus": "", "mems": ""},
    });
    let command = crio.command(&["update", "--resources", "-", &container.id]);
    let output = command.stdin(&resources.to_string()).run()?;
    same("update prints", [output.stdout.as_str(), output.stderr.as_str()], ["", ""])?;
    output.ok()?;
    same("after", limit()?, "83886080")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "25000")
}

fn pause(crio: &Crio) -> Outcome {
    let container = crio.started("while :; do echo -n x >> /data/count; usleep 10000; done")?;
    let count = container.bundle().join("count");
    container.await_file("count")?;
    container.go(&["pause"])?.ok()?;
    same("status", container.status()?, "paused")?;
    same("bytes written while paused", growth(&count, Duration::from_millis(300))?, 0)?;
    container.go(&["resume"])?.ok()?;
    same("status", container.status()?, "running")?;
    eventually(SOON, || that("it writes", growth(&count, Duration::from_millis(50))? > 0))
}

const HANDLES_TERM: &str = "trap 'exit 9' TERM; touch /data/ready; while :; do usleep 10000; done";

fn stop(crio: &Crio) -> Outcome {
    let container = crio.started(HANDLES_TERM)?;
    container.await_file("ready")?;
    crio.go(&["kill", &container.id, "TERM"])?.ok()?;
    same("exit file", container.exit_code()?, "9")?;
    same("status", container.status()?, "stopped")
}

fn kill(crio: &Crio) -> Outcome {
    let container = crio.started("exec sleep 1000")?;
    crio.go(&["kill", &container.id, "KILL"])?.ok()?;
    same("exit file", container.exit_code()?, "137")?;
    // One of the texts by which CRI-O knows that there is nothing to kill.
    let text = crio.go(&["kill", &container.id, "KILL"])?.fails()?;
    let known = ["no such process", "container not running", "invalid process"];
    that(&format!("{text:?} is known"), known.iter().any(|part| text.contains(part)))
}

fn stop_signals(crio: &Crio) -> Outcome {
    // A stop signal is what an image says: with or without SIG, in any case, or a number.
    for signal in ["SIGTERM", "sigterm", "term", "15"] {
        let container = crio.started(HANDLES_TERM)?;
        container.await_file("ready")?;
        crio.go(&["kill", &container.id, signal])?.ok()?;
        same(signal, container.exit_code()?, "9")?;
    }
    Ok(())
}

fn kill_all(crio: &Crio) -> Outcome {
    let container = crio.bundle("sleep 4321 & exec sleep 1000", |config| {
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "pid");
        }
    })?;
    container.create(&[])?;
    container.go(&["start"])?.ok()?;
    let sleeps = || Cmd::new("pgrep").args(["-c", "-f", "^sleep 4321$"]).run();
    eventually(SOON, || same("its child", sleeps()?.stdout.trim(), "1"))?;
    crio.go(&["kill", &container.id, "TERM"])?.ok()?;
    same("exit file", container.exit_code()?, "143")?;
    same("what is left of it", sleeps()?.stdout.trim(), "1")?;
    // CRI-O's call for a container whose PID namespace is the node's.
    crio.go(&["kill", "-a", &container.id, "9"])?.ok()?;
    eventually(SOON, || same("after that", sleeps()?.stdout.trim(), "0"))
}

fn state_gone(crio: &Crio) -> Outcome {
    let output = crio.go(&["state", "never-was"])?;
    same("stdout", output.stdout.as_str(), "")?;
    same("code", output.code, 1)?;
    has("text", &output.fails()?, "does not exist")
}

fn delete(crio: &Crio) -> Outcome {
    let container = crio.started("sleep 2000 & exec sleep 1000")?;
    let pid = container.state()?["pid"].clone();
    container.go(&["delete", "--force"])?.ok()?;
    that("its process is gone", !Path::new("/proc").join(pid.to_string()).exists())?;
    container.go(&["delete", "--force"])?.ok().map(drop)
}

fn nothing_left(crio: &Crio) -> Outcome {
    same("the runtime's list", crio.go(&["list", "-q"])?.ok()?, "")?;
    let below = hierarchies().into_iter().flat_map(|root| directories(&root.join(&crio.tag)));
    same("cgroups", below.collect::<Vec<_>>(), Vec::<PathBuf>::new())?;
    let left = Cmd::new("pgrep").args(["-c", "-x", "conmon"]).run();
    eventually(SOON, || same("monitors", left.as_ref().map_err(|_| "pgrep")?.stdout.trim(), "0"))
}
