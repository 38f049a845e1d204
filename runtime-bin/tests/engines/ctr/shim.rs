//! `examples/shim` in the place of containerd's own shim: all checks of `ctr`, and what only a shim can do.
//!
//! `SHIM_UNDER_TEST` is its path.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CHECKS, Containerd, IMAGE, Task, daemon, flags};
use crate::support::{
    Cmd, Outcome, Stop, Table, controllers, engine_test, eventually, has, hierarchies, mounts_with, same,
    stop_daemon, that,
};

/// The type of the runtime, after which containerd names the shim.
pub(super) const TYPE: &str = "io.containerd.runtime.v2";

const SHIM_CHECKS: &Table<Containerd> = &[
    ("no process of a runtime, and one shim for a container", alone),
    ("run: --runtime-config-path", own_options),
    ("run: the shim's own cgroup, and a cgroup that is not there", own_cgroup),
    ("run: standard input to its end", input),
    ("run: much output arrives whole", much_output),
    ("run: a client that is killed while there is output", lost_client),
    ("run: --log-uri binary://", logger),
    ("events: from create to delete", events),
    ("events: out of memory", out_of_memory),
    ("task metrics: the numbers are the cgroup's", numbers),
    ("the shim is killed: containerd removes everything", killed),
    ("containerd is killed: its successor finds the tasks", restarted),
    ("both are killed", both_killed),
    ("one shim for a pod", pod),
    ("30 containers at once", many),
    ("task exec: 40 at once, and no zombie stays", many_execs),
    ("task checkpoint, run from it", restored),
    ("a failed start leaves nothing", failed),
];

#[test]
#[ignore = "the area `shim` of .ci/test builds the shim first, and runs this"]
fn engine() {
    engine_test("shim", "ctr::shim::engine", |place, checks| {
        controllers(&["cpu", "memory"])?;
        let containerd = Containerd::start(place, Some(&path()?))?;
        checks.table(&containerd, flags::CHECKS);
        let (last, others) = CHECKS.split_last().ok_or("no checks")?;
        checks.table(&containerd, others);
        checks.table(&containerd, SHIM_CHECKS);
        checks.run("no shim is left", || no_shim_left(&containerd));
        checks.run(last.0, || last.1(&containerd));
        Ok(())
    });
}

/// The shim.
pub(crate) fn path() -> Result<PathBuf, Stop> {
    let path = std::env::var_os("SHIM_UNDER_TEST").ok_or("SHIM_UNDER_TEST is not set")?;
    fs::canonicalize(&path).map_err(|error| format!("SHIM_UNDER_TEST={path:?}: {error}").into())
}

/// The pids of processes whose command line has this text.
fn processes(text: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let line = |pid: &i32| {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    pids.filter(|pid| line(pid).contains(text)).collect()
}

/// The pids of all shims.
pub(crate) fn shims() -> Vec<i32> {
    // One dash: the clients have two.
    processes(" -namespace ")
}

fn shim_of(id: &str) -> Result<i32, Stop> {
    let pids = processes(&format!("-id {id} -address"));
    match pids[..] {
        [pid] => Ok(pid),
        _ => Err(format!("the shims of {id} are {pids:?}").into()),
    }
}

pub(crate) fn kill(pid: i32) -> Outcome {
    Cmd::new("kill").args(["-KILL", &pid.to_string()]).run()?.ok().map(drop)
}

fn no_shim_left(_: &Containerd) -> Outcome {
    eventually(Duration::from_secs(10), || same("shims", shims(), Vec::<i32>::new()))
}

fn alone(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let shim = shim_of(&task.id)?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", task.listed()?.0))?;
    has("the shim is the parent", &stat, &format!(" S {shim} "))?;
    same("other shims", processes("containerd-shim-runc"), Vec::<i32>::new())?;
    let threads = fs::read_dir(format!("/proc/{shim}/task"))?.count();
    eventually(Duration::from_secs(5), || {
        let threads = fs::read_dir(format!("/proc/{shim}/task"))?.count();
        same("threads of the idle shim", threads, 1)
    })?;
    that("a thread", threads >= 1)
}

fn own_options(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("options")?;
    let (file, root) = (dir.join("options.toml"), dir.join("root"));
    fs::write(&file, format!("Root = \"{}\"\nNoPivotRoot = true\n", root.display()))?;
    let file = file.to_string_lossy().into_owned();
    let task = containerd.sleeper(&["--runtime-config-path", &file])?;
    let list = || {
        let list = Cmd::new(&containerd.runtime).arg("--root").arg(root.join(&containerd.tag));
        list.args(["list", "-q"]).run()?.ok()
    };
    same("the runtime's list", list()?, &*task.id)?;
    drop(task);
    same("after it", list()?, "")?;
    fs::write(dir.join("options.toml"), "BinaryName = \"runc\"\n")?;
    has("refused", &containerd.run(&["--runtime-config-path", &file], &["true"])?.fails()?, "BinaryName")
}

fn own_cgroup(containerd: &Containerd) -> Outcome {
    let file = containerd.host_dir("cgroup")?.join("options.toml");
    let name = format!("{}-shims", containerd.tag);
    fs::write(&file, format!("ShimCgroup = \"/{name}\"\n"))?;
    let file = file.to_string_lossy().into_owned();
    let text = containerd.run(&["--runtime-config-path", &file], &["true"])?.fails()?;
    has("refused", &text, "options.shim_cgroup")?;
    // A new cgroup of v1's cpuset has no processor, and takes no process.
    let roots = hierarchies().into_iter().filter(|root| !root.ends_with("cpuset"));
    let places: Vec<_> = roots.map(|root| root.join(&name)).collect();
    let made = places.iter().try_for_each(fs::create_dir);
    let result = made.map_err(Stop::from).and_then(|()| {
        let task = containerd.sleeper(&["--runtime-config-path", &file])?;
        let table = fs::read_to_string(format!("/proc/{}/cgroup", shim_of(&task.id)?))?;
        has("the shim", &table, &format!(":/{name}\n"))?;
        let table = fs::read_to_string(format!("/proc/{}/cgroup", task.listed()?.0))?;
        that("the container has its own", !table.contains(&name))
    });
    eventually(Duration::from_secs(10), || same("shims", shims(), Vec::<i32>::new()))?;
    for place in &places {
        crate::support::remove_empty(place);
    }
    result
}

fn input(containerd: &Containerd) -> Outcome {
    let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let run = containerd.client().args(["run", "--rm"]).args(containerd.runtime());
    let run = run.args([IMAGE, &containerd.new_id(), "sh", "-c", "md5sum; echo done"]);
    let output = run.stdin(&text).run()?.ok()?;
    let want = Cmd::new("md5sum").stdin(&text).run()?.ok()?;
    same("sum", output, format!("{want}\ndone"))
}

fn much_output(containerd: &Containerd) -> Outcome {
    let script = "i=0; while [ $i -lt 3 ]; do head -c 3000000 /dev/zero | tr '\\0' x; i=$((i+1)); done";
    for _ in 0..3 {
        let output = containerd.run(&[], &["sh", "-c", script])?.ok()?;
        same("bytes", output.len(), 9_000_000)?;
    }
    // The last words of a short program are not lost.
    for number in 0..20 {
        let word = format!("word {number}");
        same("last word", containerd.run(&[], &["echo", &word])?.ok()?, word)?;
    }
    Ok(())
}

/// Nobody takes the output any more: the container can be ended and deleted all the same.
fn lost_client(containerd: &Containerd) -> Outcome {
    let task = Task { engine: containerd, id: containerd.new_id() };
    let log = containerd.dir.join("lost-client");
    let run = containerd.client().arg("run").args(containerd.runtime());
    let run = run.args([IMAGE, &task.id, "sh", "-c", "while :; do echo a line of output; done"]);
    let mut client = run.daemon(&log)?;
    eventually(Duration::from_secs(10), || that("there is output", fs::metadata(&log)?.len() > 10_000))?;
    kill(i32::try_from(client.id()).unwrap_or(0))?;
    client.wait()?;
    std::thread::sleep(Duration::from_millis(500));
    same("status", task.status()?, "RUNNING")?;
    task.task(&["kill", "--signal", "KILL"])?.ok()?;
    task.await_status("STOPPED")?;
    same("exit code", task.delete()?, "137")
}

fn logger(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("logger")?;
    let (program, log) = (dir.join("logger"), dir.join("log"));
    let text = "#!/bin/sh\nexec 5>&-\n{ echo $CONTAINER_ID $CONTAINER_NAMESPACE; cat <&3; cat <&4; } >$2\n";
    fs::write(&program, text)?;
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let uri = format!("binary://{}?-f={}", program.display(), log.display());
    let script = "echo out; echo err >&2; exec sleep 1";
    let task = containerd.background(&["--log-uri", &uri], &["sh", "-c", script])?;
    task.await_status("STOPPED")?;
    let want = format!("{} {}\nout\nerr\n", task.id, containerd.tag);
    eventually(Duration::from_secs(5), || same("log", fs::read_to_string(&log)?, &*want))?;
    eventually(Duration::from_secs(5), || {
        same("loggers", processes(&log.to_string_lossy()), Vec::<i32>::new())
    })
}

/// The topics of a container's events, while `act` runs.
fn topics(containerd: &Containerd, act: impl FnOnce() -> Outcome, last: &str) -> Result<Vec<String>, Stop> {
    let log = containerd.dir.join(format!("events-{}", containerd.new_id()));
    let mut follower = containerd.client().arg("events").daemon(&log)?;
    std::thread::sleep(Duration::from_millis(300));
    let acted = act();
    let read = || -> Result<Vec<String>, Stop> {
        let text = fs::read_to_string(&log)?;
        let topics =
            text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with("/tasks/")));
        Ok(topics.map(str::to_owned).collect())
    };
    let seen = eventually(Duration::from_secs(10), || {
        let topics = read()?;
        that(&format!("{last} is in {topics:?}"), topics.iter().any(|topic| topic == last))
    });
    stop_daemon(&mut follower);
    acted.and(seen)?;
    read()
}

fn events(containerd: &Containerd) -> Outcome {
    let act = || {
        let task = containerd.sleeper(&[])?;
        task.sh("true")?;
        task.task(&["pause"])?.ok()?;
        task.task(&["resume"])?.ok()?;
        task.task(&["kill", "--signal", "KILL"])?.ok()?;
        task.await_status("STOPPED")
    };
    let topics = topics(containerd, act, "/tasks/delete")?;
    let want =
        ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"];
    same("topics", topics, want.map(|name| format!("/tasks/{name}")).to_vec())
}

/// A container that takes more memory than it has.
fn out_of_memory(containerd: &Containerd) -> Outcome {
    let act = || {
        let hog = "x=x; while :; do x=$x$x$x$x; done";
        let output = containerd.run(&["--memory-limit", "16777216"], &["sh", "-c", hog])?;
        that(&format!("it ended by itself: {output:?}"), output.code != 0)
    };
    let topics = topics(containerd, act, "/tasks/delete")?;
    that(&format!("there is an event: {topics:?}"), topics.iter().any(|topic| topic == "/tasks/oom"))
}

fn numbers(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&["--memory-limit", "67108864"])?;
    let text = task.task(&["metrics"])?.ok()?;
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        line.and_then(|value| value.parse::<u64>().ok()).ok_or_else(|| format!("no {name} in {text}"))
    };
    same("pids", number("pids.current")?, 1)?;
    let limit = number("memory.limit_in_bytes").or_else(|_| number("memory.usage_limit"))?;
    same("limit", limit, 67_108_864)?;
    that("processor time", number("cpuacct.usage").or_else(|_| number("cpu.usage_usec"))? > 0)
}

fn killed(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let (pid, _) = task.listed()?;
    kill(shim_of(&task.id)?)?;
    eventually(Duration::from_secs(20), || {
        that("its process is gone", !Path::new(&format!("/proc/{pid}")).exists())?;
        let status = task.status();
        that(
            &format!("the task is gone or stopped: {status:?}"),
            status.map_or(true, |status| status != "RUNNING"),
        )?;
        same("the runtime's list", containerd.runtime_list()?, "")?;
        same("mounts", mounts_with(&format!("{}/rootfs", task.id))?, Vec::<String>::new())
    })?;
    // The name can be used again.
    let id = task.id.clone();
    drop(task);
    let run = containerd.client().args(["run", "--rm"]).args(containerd.runtime());
    same("output", run.args([IMAGE, &id, "echo", "again"]).run()?.ok()?, "again")
}

fn restart(containerd: &Containerd) -> Outcome {
    {
        let mut running = containerd.daemon.borrow_mut();
        kill(i32::try_from(running.id()).unwrap_or(0))?;
        running.wait()?;
        *running = daemon(&containerd.dir)?;
    }
    containerd.await_ready()
}

fn restarted(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let before = task.listed()?;
    restart(containerd)?;
    eventually(Duration::from_secs(10), || same("task", task.listed()?, (before.0, "RUNNING".to_owned())))?;
    same("exec", task.sh("echo here")?, "here")?;
    // One that ends while containerd is away is known as ended, with its status.
    let short = containerd.background(&[], &["sh", "-c", "sleep 2; exit 7"])?;
    {
        let mut running = containerd.daemon.borrow_mut();
        kill(i32::try_from(running.id()).unwrap_or(0))?;
        running.wait()?;
        std::thread::sleep(Duration::from_secs(3));
        *running = daemon(&containerd.dir)?;
    }
    containerd.await_ready()?;
    // containerd 2 removes what has no process when it starts, whatever the shim is.
    let log = fs::read_to_string(containerd.log())?;
    if !log.contains(&format!("cleaning leaked shim process\" id={}", short.id)) {
        short.await_status("STOPPED")?;
        same("exit code", short.delete()?, "7")?;
    }
    task.task(&["kill", "--signal", "KILL"])?.ok()?;
    task.await_status("STOPPED")
}

fn both_killed(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let (pid, _) = task.listed()?;
    {
        let mut running = containerd.daemon.borrow_mut();
        kill(i32::try_from(running.id()).unwrap_or(0))?;
        running.wait()?;
        kill(shim_of(&task.id)?)?;
        *running = daemon(&containerd.dir)?;
    }
    containerd.await_ready()?;
    eventually(Duration::from_secs(20), || {
        that("its process is gone", !Path::new(&format!("/proc/{pid}")).exists())?;
        same("the runtime's list", containerd.runtime_list()?, "")
    })
}

fn pod(containerd: &Containerd) -> Outcome {
    let annotation = "io.kubernetes.cri.sandbox-id=pod1";
    let first = containerd.sleeper(&["--annotation", annotation])?;
    eventually(Duration::from_secs(10), || same("shims", shims(), vec![shim_of(&first.id)?]))?;
    let second = containerd.sleeper(&["--annotation", annotation])?;
    same("shims", shims(), vec![shim_of(&first.id)?])?;
    let parent = |task: &Task<'_>| -> Result<String, Stop> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", task.listed()?.0))?;
        Ok(stat.split_whitespace().nth(3).unwrap_or_default().to_owned())
    };
    same("parent", parent(&second)?, parent(&first)?)?;
    drop(first);
    same("the other goes on", second.sh("echo here")?, "here")
}

fn many(containerd: &Containerd) -> Outcome {
    let ids: Vec<String> = (0..30).map(|_| containerd.new_id()).collect();
    let command = |id: &String| {
        let run = containerd.client().args(["run", "--rm"]).args(containerd.runtime());
        run.args([IMAGE, id, "sh", "-c", "sleep 1; echo $((6 * 7)); exit 4"])
    };
    let commands: Vec<_> = ids.iter().map(command).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = commands.into_iter().map(|command| scope.spawn(|| command.run())).collect();
        running.into_iter().try_for_each(|thread| {
            let output = thread.join().map_err(|_| "a thread panicked")??;
            same("output", output.code(4)?, "42")
        })
    })
}

fn many_execs(containerd: &Containerd) -> Outcome {
    let task = containerd.sleeper(&[])?;
    let command = |number: usize| {
        let exec = containerd.client().args(["task", "exec", "--exec-id", &format!("many{number}")]);
        exec.args([&task.id, "sh", "-c", &format!("echo {number}; exit 3")])
    };
    let commands: Vec<_> = (0..40).map(command).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = commands.into_iter().map(|command| scope.spawn(|| command.run())).collect();
        running.into_iter().enumerate().try_for_each(|(number, thread)| {
            let output = thread.join().map_err(|_| "a thread panicked")??;
            same("output", output.code(3)?, number.to_string())
        })
    })?;
    let shim = shim_of(&task.id)?;
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children"))?;
    same("children", children.trim(), &*task.listed()?.0.to_string())?;
    // The streams of a process go with it: the log, the socket, and what belongs to the container stay.
    eventually(Duration::from_secs(5), || {
        let entries = fs::read_dir(format!("/proc/{shim}/fd"))?.flatten();
        let open: Vec<_> = entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        that(&format!("these descriptors are open: {open:?}"), open.len() < 40)
    })
}

/// What `CRIU_UNDER_TEST` names, for a kernel that Debian's CRIU does not know.
fn restored(containerd: &Containerd) -> Outcome {
    let dir = containerd.host_dir("restored")?;
    let file = dir.join("options.toml");
    let criu = std::env::var("CRIU_UNDER_TEST").unwrap_or_else(|_| "criu".to_owned());
    fs::write(&file, format!("CriuPath = \"{criu}\"\nCriuWorkPath = \"{}\"\n", dir.join("work").display()))?;
    let (options, reference) =
        (file.to_string_lossy().into_owned(), format!("checkpoint/{}:1", containerd.tag));
    let mount = format!("type=bind,src={},dst=/data,options=rbind:rw", dir.display());
    let script = "i=0; while sleep 0.1; do i=$((i+1)); echo $i; echo $i >/data/count; done";
    let arguments = ["--runtime-config-path", &options, "--net-host", "--mount", &mount];
    let task = containerd.background(&arguments, &["sh", "-c", script])?;
    let count = || -> Result<u64, Stop> {
        let text = fs::read_to_string(dir.join("count")).unwrap_or_default();
        text.trim().parse().map_err(|_| format!("count {text:?}").into())
    };
    eventually(Duration::from_secs(5), || that("it counts", count()? > 3))?;
    let output = containerd.ctr(&["container", "checkpoint", "--task", "--rw", &task.id, &reference])?;
    if output.code != 0 {
        has("the reason", &output.stderr, "criu failed")?;
        return Err(Stop::Skipped("CRIU cannot save a process of this kernel".to_owned()));
    }
    task.task(&["kill", "--signal", "KILL"])?.ok()?;
    task.await_status("STOPPED")?;
    let before = count()?;
    let restored = Task { engine: containerd, id: containerd.new_id() };
    containerd.ctr(&["container", "restore", "--rw", "--live", &restored.id, &reference])?.ok()?;
    same("status", restored.status()?, "RUNNING")?;
    eventually(Duration::from_secs(5), || that("it counts on", count()? > before))?;
    same("exec", restored.sh("cat /proc/1/comm")?, "sh")?;
    restored.task(&["kill", "--signal", "KILL"])?.ok()?;
    restored.await_status("STOPPED")?;
    same("exit code", restored.delete()?, "137")
}

fn failed(containerd: &Containerd) -> Outcome {
    let before = shims().len();
    let text = containerd.run(&[], &["/etc"])?.fails()?;
    has("reason", &text, "is a directory")?;
    eventually(Duration::from_secs(5), || same("shims", shims().len(), before))?;
    same("the runtime's list", containerd.runtime_list()?, "")
}
