//! containerd without Docker: its daemon and its client `ctr`, which names the runtime in each call.

mod flags;
pub(crate) mod shim;

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::image;
use crate::support::{
    Cmd, Outcome, Output, Place, Stop, Table, await_daemon, cgroup_value, controllers, directories,
    engine_test, eventually, exec_joins_cgroup, grants_everything, growth, has, hierarchies, mounts_with,
    names_of, need, same, seccomp_is_on, status_field, stop_daemon, that,
};

const CLIENT: &str = "/usr/bin/ctr";
const DAEMON: &str = "/usr/bin/containerd";
const SOCKET: &str = "/run/containerd/containerd.sock";
const IMAGE: &str = "docker.io/library/bb:latest";
/// No CRI: it wants a CNI configuration.
const CONFIG: &str = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";

const CHECKS: &Table<Containerd> = &[
    ("the runtime under test is used", uses_runtime),
    ("run: output and exit code 0", output),
    ("run: exit code 3", exit_code),
    ("run: no such program", no_such_program),
    ("run: environment and directory", environment),
    ("run: --read-only", read_only),
    ("run: --mount, read-only and writable", mounts),
    ("run: capabilities", capabilities),
    ("run: --privileged", privileged),
    ("run: --allow-new-privs", new_privileges),
    ("run: --seccomp", seccomp),
    ("run: --memory-limit, --cpu-quota, --cpu-shares", limits),
    ("run: --with-ns and --net-host", namespaces),
    ("run: --uidmap", user_namespace),
    ("run: --rootfs", plain_rootfs),
    ("run: --tty", tty),
    ("container create, task start", created),
    ("task exec: output and exit code", exec),
    ("task exec: --user and --cwd", exec_user),
    ("task exec: --tty", exec_tty),
    ("task exec: --detach, task kill --exec-id", exec_detached),
    ("task pause, task resume", pause),
    ("task kill: a signal that is handled", kill_handled),
    ("task kill: KILL", kill),
    ("task delete: running, then forced", delete_running),
    ("task metrics", metrics),
    ("task ps", ps),
    ("nothing is left behind", nothing_left),
];

struct Containerd {
    /// Unique name: containerd's namespace, and so the cgroup under which all containers are.
    tag: String,
    dir: PathBuf,
    runtime: PathBuf,
    /// The shim that embeds the library, if that is what the checks run with.
    shim: Option<PathBuf>,
    daemon: RefCell<Child>,
    next: Cell<u32>,
}

impl Drop for Containerd {
    fn drop(&mut self) {
        stop_daemon(&mut self.daemon.borrow_mut());
    }
}

/// Starts the daemon of a directory.
fn daemon(dir: &Path) -> Result<Child, Stop> {
    Cmd::new(DAEMON)
        .args(["--address", SOCKET, "--state", "/run/containerd", "--config"])
        .arg(dir.join("config.toml"))
        .arg("--root")
        .arg(dir.join("containerd"))
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.join("bin").display()))
        .daemon(&dir.join("containerd.log"))
}

impl Containerd {
    fn start(place: &Place, shim: Option<&Path>) -> Result<Self, Stop> {
        need(DAEMON, "containerd")?;
        need(CLIENT, "containerd")?;
        let root = image::root_tar(&place.dir)?;
        let saved = image::saved_image(&root, &place.dir, IMAGE, "sh")?;
        image::unpack(&root, &place.dir.join("rootfs"))?;
        fs::write(place.dir.join("config.toml"), CONFIG)?;
        // containerd finds a shim by its name in the daemon's PATH. There is the runtime's `runc` too, for a shim that
        // was not given another one.
        let bin = place.shared_dir("bin")?;
        symlink(&place.runtime, bin.join("runc"))?;
        if let Some(shim) = shim {
            symlink(shim, bin.join("containerd-shim-runtime-v2"))?;
        }
        let daemon = RefCell::new(daemon(&place.dir)?);
        let (tag, dir, runtime) = (place.tag.clone(), place.dir.clone(), place.runtime.clone());
        let shim = shim.map(Path::to_owned);
        let containerd = Containerd { tag, dir, runtime, shim, daemon, next: Cell::new(0) };
        containerd.await_ready()?;
        containerd.ctr(&["image", "import", &saved.to_string_lossy()])?.ok()?;
        Ok(containerd)
    }

    fn await_ready(&self) -> Outcome {
        let version =
            || Cmd::new(CLIENT).args(["--address", SOCKET, "version"]).limit(Duration::from_secs(10));
        await_daemon(&mut self.daemon.borrow_mut(), &self.log(), || version().run()?.ok().map(drop))
    }

    fn log(&self) -> PathBuf {
        self.dir.join("containerd.log")
    }

    fn client(&self) -> Cmd {
        Cmd::new(CLIENT).args(["--address", SOCKET, "--namespace", &self.tag])
    }

    fn ctr(&self, args: &[&str]) -> Result<Output, Stop> {
        self.client().args(args).run()
    }

    /// What the runtime itself lists below the shim's state.
    fn runtime_list(&self) -> Result<String, Stop> {
        let root = if self.shim.is_some() { "/run/containerd/runtime" } else { "/run/containerd/runc" };
        let state = Path::new(root).join(&self.tag);
        Cmd::new(&self.runtime).arg("--root").arg(state).args(["list", "-q"]).run()?.ok()
    }

    fn new_id(&self) -> String {
        self.next.set(self.next.get() + 1);
        format!("c{}", self.next.get())
    }

    /// The options of `ctr run` that name the runtime.
    fn runtime(&self) -> [&str; 2] {
        match self.shim {
            Some(_) => ["--runtime", shim::TYPE],
            None => ["--runc-binary", self.runtime.to_str().unwrap_or_default()],
        }
    }

    /// `ctr run --rm OPTIONS IMAGE ID ARGUMENTS`.
    fn run(&self, options: &[&str], command: &[&str]) -> Result<Output, Stop> {
        let id = self.new_id();
        let run = self.client().args(["run", "--rm"]).args(self.runtime()).args(options);
        run.args([IMAGE, &id]).args(command).run()
    }

    fn sh(&self, options: &[&str], script: &str) -> Result<String, Stop> {
        self.run(options, &["sh", "-c", script])?.ok()
    }

    /// Starts a container in the background. The value removes it when it goes out of scope.
    fn background(&self, options: &[&str], command: &[&str]) -> Result<Task<'_>, Stop> {
        let task = Task { engine: self, id: self.new_id() };
        let run = self.client().args(["run", "--detach"]).args(self.runtime()).args(options);
        run.args([IMAGE, &task.id]).args(command).run()?.ok()?;
        Ok(task)
    }

    fn sleeper(&self, options: &[&str]) -> Result<Task<'_>, Stop> {
        self.background(options, &["sleep", "1000"])
    }

    fn host_dir(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.dir.join("volumes").join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

/// A container and its task, removed when it goes out of scope.
struct Task<'a> {
    engine: &'a Containerd,
    id: String,
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.engine.ctr(&["task", "delete", "--force", &self.id]).ok();
        self.engine.ctr(&["container", "delete", &self.id]).ok();
    }
}

impl Task<'_> {
    /// `ctr task exec OPTIONS ID ARGUMENTS`.
    fn exec(&self, options: &[&str], command: &[&str]) -> Result<Output, Stop> {
        let exec_id = self.engine.new_id();
        let exec = self.engine.client().args(["task", "exec", "--exec-id", &exec_id]).args(options);
        exec.arg(&self.id).args(command).run()
    }

    fn sh(&self, script: &str) -> Result<String, Stop> {
        self.exec(&[], &["sh", "-c", script])?.ok()
    }

    /// `ctr task ARGUMENTS ID`.
    fn task(&self, args: &[&str]) -> Result<Output, Stop> {
        self.engine.client().arg("task").args(args).arg(&self.id).run()
    }

    /// The process id and the status that `ctr task list` shows.
    fn listed(&self) -> Result<(u32, String), Stop> {
        let list = self.engine.ctr(&["task", "list"])?.ok()?;
        let words = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        for line in words {
            if let [id, pid, status] = line[..]
                && id == self.id
            {
                return Ok((pid.parse().map_err(|_| format!("pid {pid:?}"))?, status.to_owned()));
            }
        }
        Err(format!("{} is not in {list:?}", self.id).into())
    }

    fn status(&self) -> Result<String, Stop> {
        self.listed().map(|(_, status)| status)
    }

    fn await_status(&self, want: &str) -> Outcome {
        eventually(Duration::from_secs(5), || same("status", self.status()?, want))
    }

    /// Deletes a stopped task; the exit code that containerd kept, which `ctr` mentions if it is not 0.
    fn delete(&self) -> Result<String, Stop> {
        let output = self.task(&["delete"])?;
        let text = output.stderr.clone();
        output.ok()?;
        let (_, code) = text.rsplit_once("exit code ").unwrap_or(("", "0"));
        Ok(code.trim_end_matches(|c: char| !c.is_ascii_digit()).to_owned())
    }
}

/// The names of all checks, for the page of the engines.
pub(crate) fn names() -> Vec<&'static str> {
    [names_of(flags::CHECKS), names_of(flags::RUNC_CHECKS), names_of(CHECKS)].concat()
}

#[test]
fn engine() {
    engine_test("containerd", "ctr::engine", |place, checks| {
        controllers(&["cpu", "memory"])?;
        let containerd = Containerd::start(place, None)?;
        checks.table(&containerd, flags::CHECKS);
        checks.table(&containerd, flags::RUNC_CHECKS);
        checks.table(&containerd, CHECKS);
        Ok(())
    });
}

fn uses_runtime(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    same("the runtime's list", containerd.runtime_list()?, &*task.id)
}

fn output(containerd: &Containerd) -> Outcome {
    let output = containerd.run(&[], &["sh", "-c", "echo out; echo err >&2"])?;
    same("stderr", output.stderr.as_str(), "err\n")?;
    same("stdout", output.ok()?, "out")
}

fn exit_code(containerd: &Containerd) -> Outcome {
    containerd.run(&[], &["sh", "-c", "exit 3"])?.code(3).map(drop)
}

fn no_such_program(containerd: &Containerd) -> Outcome {
    let text = containerd.run(&[], &["no-such-program"])?.fails()?;
    has("by name", &text, "executable file not found in $PATH")?;
    has("by path", &containerd.run(&[], &["/no/such"])?.fails()?, "no such file or directory")
}

fn environment(containerd: &Containerd) -> Outcome {
    let options = ["--env", "A=b c", "--cwd", "/home/tester"];
    same("process", containerd.sh(&options, "echo $A $FROM_IMAGE; pwd")?, "b c yes\n/home/tester")
}

fn read_only(containerd: &Containerd) -> Outcome {
    let text = containerd.run(&["--read-only"], &["touch", "/a"])?.fails()?;
    has("touch", &text, "Read-only file system")
}

fn mounts(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("mounts")?;
    fs::write(dir.join("in"), "from host")?;
    let mount = |target: &str, mode: &str| {
        format!("type=bind,src={},dst={target},options=rbind:{mode}", dir.display())
    };
    let (read, write) = (mount("/read", "ro"), mount("/new/write", "rw"));
    let script = "cat /read/in; echo from box > /new/write/out; ! echo x > /read/out";
    let output = containerd.run(&["--mount", &read, "--mount", &write], &["sh", "-c", script])?;
    has("read-only", &output.stderr, "Read-only file system")?;
    same("read", output.ok()?, "from host")?;
    same("written", fs::read_to_string(dir.join("out"))?, "from box\n")
}

fn capabilities(containerd: &Containerd) -> Outcome {
    let sets = |options: &[&str]| {
        let text = containerd.sh(options, "cat /proc/self/status")?;
        let field = |name| status_field(&text, name).map(str::to_owned);
        Ok::<_, Stop>([field("CapPrm")?, field("CapEff")?, field("CapBnd")?])
    };
    same("default", sets(&[])?, ["00000000a80425fb"; 3])?;
    same("less CHOWN", sets(&["--cap-drop", "CAP_CHOWN"])?, ["00000000a80425fa"; 3])?;
    same("plus NET_ADMIN", sets(&["--cap-add", "CAP_NET_ADMIN"])?, ["00000000a80435fb"; 3])
}

fn privileged(containerd: &Containerd) -> Outcome {
    let all = grants_everything(&containerd.runtime)?;
    let text = containerd.sh(
        &["--privileged"],
        "cat /proc/self/status; mkdir -p /mnt; mount -t tmpfs x /mnt && echo mounted",
    )?;
    same("effective", status_field(&text, "CapEff")?, all)?;
    that("mounted", text.ends_with("\nmounted"))
}

fn new_privileges(containerd: &Containerd) -> Outcome {
    let value = |options| Ok::<_, Stop>(containerd.sh(options, "grep NoNewPrivs /proc/self/status")?.pop());
    same("default", value(&[])?, Some('1'))?;
    same("allowed", value(&["--allow-new-privs"])?, Some('0'))
}

fn seccomp(containerd: &Containerd) -> Outcome {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    // The filter refuses new user namespaces without CAP_SYS_ADMIN; the kernel alone allows them.
    let script = "grep Seccomp: /proc/self/status; unshare -U true; echo $?";
    same("filtered", containerd.sh(&["--seccomp"], script)?, "Seccomp:\t2\n1")?;
    same("not filtered", containerd.sh(&[], script)?, "Seccomp:\t0\n0")
}

fn limits(containerd: &Containerd) -> Outcome {
    let options = [
        "--memory-limit",
        "67108864",
        "--cpu-quota",
        "30000",
        "--cpu-period",
        "60000",
        "--cpu-shares",
        "512",
    ];
    let task = containerd.sleeper(&options)?;
    let (pid, _) = task.listed()?;
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    has("cgroup", &table, &format!(":/{}/{}", containerd.tag, task.id))?;
    exec_joins_cgroup(|script| task.sh(script))?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    let quota = cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?;
    if quota.contains(' ') {
        return same("cpu.max", quota, "30000 60000");
    }
    same("quota", quota, "30000")?;
    same("period", cgroup_value(pid, "cpu", "cpu.cfs_period_us", "")?, "60000")?;
    same("shares", cgroup_value(pid, "cpu", "cpu.shares", "")?, "512")
}

fn namespace(pid: &str, kind: &str) -> Result<u64, Stop> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino())
}

fn namespaces(containerd: &Containerd) -> Outcome {
    let first = containerd.sleeper(&[])?;
    let one = first.listed()?.0.to_string();
    for kind in ["ipc", "mnt", "net", "pid", "uts"] {
        that(&format!("{kind} is new"), namespace(&one, kind)? != namespace("self", kind)?)?;
    }
    let path = |kind: &str| format!("{kind}:/proc/{one}/ns/{kind}");
    let second = containerd.sleeper(&["--net-host", "--with-ns", &path("pid"), "--with-ns", &path("ipc")])?;
    let two = second.listed()?.0.to_string();
    for kind in ["pid", "ipc"] {
        same(kind, namespace(&two, kind)?, namespace(&one, kind)?)?;
    }
    same("net", namespace(&two, "net")?, namespace("self", "net")?)?;
    that("mnt is new", namespace(&two, "mnt")? != namespace(&one, "mnt")?)
}

fn user_namespace(containerd: &Containerd) -> Outcome {
    let options = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
    let task = containerd.sleeper(&options)?;
    let (pid, _) = task.listed()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    same("uids outside", status_field(&status, "Uid")?, "100000\t100000\t100000\t100000")?;
    same("gids outside", status_field(&status, "Gid")?, "200000\t200000\t200000\t200000")?;
    let script = "id -u; awk '{print $1, $2, $3}' /proc/self/uid_map; touch /a && stat -c %u /a";
    same("inside", task.sh(script)?, "0\n0 100000 65536\n0")
}

fn plain_rootfs(containerd: &Containerd) -> Outcome {
    let (id, root) = (containerd.new_id(), containerd.dir.join("rootfs"));
    let run = containerd.client().args(["run", "--rm", "--rootfs"]).args(containerd.runtime());
    let output =
        run.arg(&root).args([&id, "/bin/sh", "-c", "/bin/cat /etc/group > /copy; pwd"]).run()?.ok()?;
    same("output", output, "/")?;
    has("written", &fs::read_to_string(root.join("copy"))?, "tester")
}

/// `ctr` wants a terminal of its own for `--tty`.
fn on_terminal(containerd: &Containerd, args: &str) -> Result<Output, Stop> {
    let script = format!(
        "stty rows 33 cols 101; exec {CLIENT} --address {SOCKET} --namespace {} {args}",
        containerd.tag
    );
    Cmd::new("script").args(["-qec", &script, "/dev/null"]).env("TERM", "vt100").run()
}

const TERMINAL: &str = "sh -c 'for i in 1 2 3 4 5 6 7 8 9; do stty size; sleep 0.1; done; tty; exit 4'";

fn tty(containerd: &Containerd) -> Outcome {
    let (id, runtime) = (containerd.new_id(), containerd.runtime().join(" "));
    let output = on_terminal(containerd, &format!("run --rm --tty {runtime} {IMAGE} {id} {TERMINAL}"))?;
    let text = output.code(4)?;
    has("size", &text, "33 101")?;
    has("tty", &text, "/dev/pts/0")
}

fn created(containerd: &Containerd) -> Outcome {
    let task = Task { engine: containerd, id: containerd.new_id() };
    // Without a shim to name, `ctr` cannot say which runtime. It would take options of the program, such as `-c`, for its own.
    let runtime = containerd.runtime();
    let runtime = if containerd.shim.is_some() { &runtime[..] } else { &[] };
    let create = containerd.client().args(["container", "create"]).args(runtime);
    create.args([IMAGE, &task.id, "sleep", "1000"]).run()?.ok()?;
    that("no task yet", task.listed().is_err())?;
    let pid_file = containerd.dir.join("pid");
    task.task(&["start", "--detach", "--pid-file", &pid_file.to_string_lossy()])?.ok()?;
    same("status", task.status()?, "RUNNING")?;
    same("pid file", fs::read_to_string(pid_file)?, task.listed()?.0.to_string())?;
    same("it runs", task.sh("cat /proc/1/comm")?, "sleep")
}

fn exec(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&["--env", "A=b"])?;
    same("output", task.sh("echo $A; cat /proc/1/comm")?, "b\nsleep")?;
    task.exec(&[], &["sh", "-c", "exit 5"])?.code(5)?;
    task.exec(&[], &["sh", "-c", "kill -9 $$"])?.code(137)?;
    has("no such program", &task.exec(&[], &["no-such"])?.fails()?, "executable file not found in $PATH")
}

fn exec_user(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let options = ["--user", image::USER, "--cwd", "/etc"];
    let text = task.exec(&options, &["sh", "-c", "id -u; pwd; cat /proc/self/status"])?.ok()?;
    has("process", &text, &format!("{}\n/etc\n", image::USER_ID))?;
    same("effective capabilities", status_field(&text, "CapEff")?, "0000000000000000")
}

fn exec_tty(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let args = format!("task exec --tty --exec-id {} {} {TERMINAL}", containerd.new_id(), task.id);
    let text = on_terminal(containerd, &args)?.code(4)?;
    has("size", &text, "33 101")?;
    has("tty", &text, "/dev/pts/")
}

fn exec_detached(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let exec = containerd.client().args(["task", "exec", "--detach", "--exec-id", "background", &task.id]);
    exec.args(["sleep", "3000"]).run()?.ok()?;
    let count = "ps -o args | grep -c '[s]leep 3000'; true";
    eventually(Duration::from_secs(5), || same("running", task.sh(count)?, "1"))?;
    task.task(&["kill", "--signal", "KILL", "--exec-id", "background"])?.ok()?;
    eventually(Duration::from_secs(5), || same("killed", task.sh(count)?, "0"))?;
    same("the task", task.status()?, "RUNNING")
}

/// Writes a byte about every 10 ms into a file of the host.
const WRITER: &str = "while :; do echo -n x >> /data/count; usleep 10000; done";

fn pause(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("pause")?;
    let count = dir.join("count");
    let mount = format!("type=bind,src={},dst=/data,options=rbind:rw", dir.display());
    let task = containerd.background(&["--mount", &mount], &["sh", "-c", WRITER])?;
    let moving = || {
        eventually(Duration::from_secs(5), || {
            that("it writes", growth(&count, Duration::from_millis(100))? > 0)
        })
    };
    moving()?;
    task.task(&["pause"])?.ok()?;
    same("status", task.status()?, "PAUSED")?;
    same("bytes written while paused", growth(&count, Duration::from_millis(500))?, 0)?;
    task.task(&["resume"])?.ok()?;
    same("status", task.status()?, "RUNNING")?;
    moving()?;
    same("exec", task.sh("echo here")?, "here")
}

fn kill_handled(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("kill")?;
    let mount = format!("type=bind,src={},dst=/data,options=rbind:rw", dir.display());
    let script = "trap 'touch /data/got; exit 9' TERM; touch /data/ready; while :; do sleep 0.1; done";
    let task = containerd.background(&["--mount", &mount], &["sh", "-c", script])?;
    eventually(Duration::from_secs(5), || that("ready", dir.join("ready").exists()))?;
    task.task(&["kill"])?.ok()?;
    task.await_status("STOPPED")?;
    that("the handler ran", dir.join("got").exists())?;
    same("exit code", task.delete()?, "9")
}

fn kill(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    task.exec(&["--detach"], &["sleep", "3000"])?.ok()?;
    task.task(&["kill", "--all", "--signal", "KILL"])?.ok()?;
    task.await_status("STOPPED")?;
    same("exit code", task.delete()?, "137")?;
    that("the task is gone", task.listed().is_err())
}

fn delete_running(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let (pid, _) = task.listed()?;
    has("refused", &task.task(&["delete"])?.fails()?, "must be stopped")?;
    task.task(&["delete", "--force"])?;
    that("the task is gone", task.listed().is_err())?;
    that("its process is gone", !Path::new(&format!("/proc/{pid}")).exists())
}

fn metrics(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&["--memory-limit", "67108864"])?;
    cgroup_value(task.listed()?.0, "memory", "memory.limit_in_bytes", "memory.max")?;
    let text = task.task(&["metrics"])?.ok()?;
    has("pids", &text, "pids.current")?;
    has("memory", &text, "memory.usage")
}

fn ps(containerd: &Containerd) -> Outcome {
    let task = containerd.background(&[], &["sh", "-c", "sleep 4000 & sleep 5000; true"])?;
    eventually(Duration::from_secs(5), || {
        let text = task.task(&["ps"])?.ok()?;
        same("lines", text.lines().count(), 4)?;
        has("init", &text, &task.listed()?.0.to_string())
    })
}

/// No task, no cgroup, no mount, no process.
fn nothing_left(containerd: &Containerd) -> Outcome {
    same("tasks", containerd.ctr(&["task", "list", "--quiet"])?.ok()?, "")?;
    same("containers", containerd.ctr(&["container", "list", "--quiet"])?.ok()?, "")?;
    let parents = hierarchies().into_iter().map(|root| root.join(&containerd.tag));
    same(
        "cgroups",
        parents.flat_map(|parent| directories(&parent)).collect::<Vec<_>>(),
        Vec::<PathBuf>::new(),
    )?;
    same("mounts", mounts_with("/io.containerd.runtime")?, Vec::<String>::new())?;
    same("the runtime's list", containerd.runtime_list()?, "")
}
