//! The life of a container after its start: exec, stop, kill, pause, top, logs, restart, removal.

use std::time::Duration;

use super::Docker;
use crate::image::{USER, USER_ID};
use crate::support::{
    Outcome, Table, directories, eventually, grants_everything, growth, has, hierarchies, mounts_with, same,
    seccomp_is_on, status_field, that,
};

pub(super) const CHECKS: &Table<Docker> = &[
    ("exec: sees the container", exec_sees),
    ("exec: environment, user, directory", exec_process),
    ("exec: exit codes", exec_codes),
    ("exec: stdin", exec_stdin),
    ("exec: -d", exec_detached),
    ("exec: -t", exec_tty),
    ("exec: --privileged", exec_privileged),
    ("exec: has the container's restrictions", exec_restricted),
    ("exec: many times", exec_many),
    ("created: not running until started", created),
    ("created: removed without a start", created_removed),
    ("start: failed start leaves nothing", failed_start),
    ("stop: TERM is handled", stop_handled),
    ("stop: KILL after the time", stop_killed),
    ("stop: --stop-signal", stop_signal),
    ("kill: a signal that is handled", kill_signal),
    ("kill: KILL", kill),
    ("kill: not running", kill_stopped),
    ("pause: the process does not progress", pause),
    ("pause: a paused container can be killed", pause_kill),
    ("top: lists the processes", top),
    ("logs: both streams", logs),
    ("restart: a new process", restart),
    ("restart: policy on-failure", restart_policy),
    ("attach: docker start -a", attach),
    ("rm: --force of a running container", remove_running),
    ("four containers at once", at_once),
];

fn exec_sees(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--hostname", "box", "--env", "FROM_RUN=1", "--tmpfs", "/scratch"])?;
    let text =
        container.sh("hostname; echo $FROM_RUN; cat /proc/1/comm; touch /scratch/a && ls /scratch; pwd")?;
    same("seen", text, "box\n1\nsleep\na\n/")?;
    let names = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/PID/ns/$n; done";
    same(
        "namespaces",
        container.sh(&names.replace("PID", "self"))?,
        container.sh(&names.replace("PID", "1"))?,
    )
}

fn exec_process(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--env", "A=old"])?;
    let options = ["--env", "A=new", "--env", "B=c d", "--user", USER, "--workdir", "/etc"];
    let text =
        container.exec(&options, &["sh", "-c", "echo $A $B; id -u; pwd; cat /proc/self/status"])?.ok()?;
    has("process", &text, &format!("new c d\n{USER_ID}\n/etc\n"))?;
    same("effective capabilities", status_field(&text, "CapEff")?, "0000000000000000")
}

fn exec_codes(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    for (command, code) in [
        (&["sh", "-c", "exit 5"][..], 5),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["/not-executable"], 126),
        (&["/etc"], 126),
    ] {
        container.exec(&[], command)?.code(code)?;
    }
    // Docker 20.10 gives 126 for these too, later ones 127.
    for (program, message) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
    ] {
        let output = container.exec(&[], &[program])?;
        has("message", &(output.stdout.clone() + &output.stderr), message)?;
        that(&format!("exit code {}", output.code), [126, 127].contains(&output.code))?;
    }
    Ok(())
}

fn exec_stdin(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    let exec = super::client().args(["exec", "-i", &container.id, "sh", "-c", "cat; echo err >&2"]);
    let output = exec.stdin("from outside").run()?;
    same("stderr", output.stderr.as_str(), "err\n")?;
    same("stdout", output.ok()?, "from outside")
}

fn exec_detached(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    container.exec(&["-d"], &["sh", "-c", "echo done > /detached; exec sleep 3000"])?.ok()?;
    eventually(Duration::from_secs(5), || {
        same("processes", container.sh("cat /detached; ps -o args | grep -c '[s]leep 3000'")?, "done\n1")
    })
}

fn exec_tty(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    let text = container.exec(&["-t"], &["sh", "-c", "tty; test -t 0 && echo terminal; exit 6"])?.code(6)?;
    has("terminal", &text, "\r\nterminal")?;
    has("tty", &text, "/dev/pts/")
}

fn exec_privileged(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    grants_everything(&docker.runtime)?;
    let text = container.exec(&["--privileged"], &["cat", "/proc/self/status"])?.ok()?;
    let got = status_field(&text, "CapEff")?;
    same("effective", got, super::run::privileged_set(docker, got)?)
}

fn exec_restricted(docker: &Docker) -> Outcome {
    let options = [
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CHOWN",
        "--security-opt",
        "no-new-privileges",
        "--ulimit",
        "nofile=77:77",
        "--oom-score-adj",
        "300",
    ];
    let container = docker.sleeper(&options)?;
    let text = container.sh("cat /proc/self/status; ulimit -n; cat /proc/self/oom_score_adj")?;
    for (name, want) in [("CapEff", "0000000000000001"), ("CapBnd", "0000000000000001"), ("NoNewPrivs", "1")]
    {
        same(name, status_field(&text, name)?, want)?;
    }
    same("Seccomp", status_field(&text, "Seccomp")?, if seccomp_is_on() { "2" } else { "0" })?;
    that(&format!("limit and score in {text:?}"), text.ends_with("\n77\n300"))
}

fn exec_many(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    for round in 0..10 {
        same("echo", container.exec(&[], &["echo", &round.to_string()])?.ok()?, round.to_string())?;
    }
    same("processes left", container.sh("ps -o args | grep -c '[s]leep'")?, "1")
}

fn created(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("created")?;
    let container = docker
        .created(&["-v", &format!("{}:/data", dir.display())], &["sh", "-c", "touch /data/ran; exit 8"])?;
    same("status", container.status()?, "created")?;
    that("it has not run", !dir.join("ran").exists())?;
    container.act(&["start"])?;
    same("exit code", container.wait()?, 8)?;
    that("it has run", dir.join("ran").exists())
}

fn created_removed(docker: &Docker) -> Outcome {
    let container = docker.created(&[], &["true"])?;
    container.act(&["rm"])?;
    has("gone", &docker.docker(&["inspect", &container.id])?.fails()?, "No such object")
}

fn failed_start(docker: &Docker) -> Outcome {
    let container = docker.created(&[], &["/no/such/program"])?;
    let output = docker.docker(&["start", &container.id])?.fails()?;
    has("message", &output, "no such file or directory")?;
    same("exit code", container.inspect("{{.State.ExitCode}}")?, "127")?;
    that("the runtime does not list it", !docker.runtime_list()?.contains(&container.id))?;
    no_cgroup(&container.id)
}

fn stop_handled(docker: &Docker) -> Outcome {
    let script = "trap 'echo got TERM; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let container = docker.background(&[], &["sh", "-c", script])?;
    ready(&container)?;
    container.act(&["stop", "--time", "10"])?;
    same("exit code", container.wait()?, 9)?;
    same("log", container.act(&["logs"])?, "ready\ngot TERM")
}

fn stop_killed(docker: &Docker) -> Outcome {
    // PID 1 without a handler ignores TERM.
    let container = docker.sleeper(&[])?;
    container.act(&["stop", "--time", "1"])?;
    same("exit code", container.wait()?, 137)?;
    same("status", container.status()?, "exited")
}

fn stop_signal(docker: &Docker) -> Outcome {
    let script = "trap 'exit 10' USR2; echo ready; while :; do sleep 0.1; done";
    let container = docker.background(&["--stop-signal", "USR2"], &["sh", "-c", script])?;
    ready(&container)?;
    container.act(&["stop"])?;
    same("exit code", container.wait()?, 10)
}

fn ready(container: &super::Container<'_>) -> Outcome {
    eventually(Duration::from_secs(5), || has("log", &container.act(&["logs"])?, "ready"))
}

fn kill_signal(docker: &Docker) -> Outcome {
    let script = "trap 'echo one' USR1; echo ready; while :; do sleep 0.1; done";
    let container = docker.background(&[], &["sh", "-c", script])?;
    ready(&container)?;
    for signal in ["USR1", "SIGUSR1", "10"] {
        container.act(&["kill", "--signal", signal])?;
        std::thread::sleep(Duration::from_millis(300));
    }
    eventually(Duration::from_secs(5), || same("log", container.act(&["logs"])?, "ready\none\none\none"))?;
    same("status", container.status()?, "running")
}

fn kill(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    container.act(&["kill"])?;
    same("exit code", container.wait()?, 137)
}

fn kill_stopped(docker: &Docker) -> Outcome {
    let container = docker.background(&[], &["true"])?;
    container.wait()?;
    has("message", &docker.docker(&["kill", &container.id])?.fails()?, "is not running")
}

/// Writes a byte about every 10 ms into a file of the host.
const WRITER: &str = "while :; do echo -n x >> /data/count; usleep 10000; done";

fn pause(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("pause")?;
    let count = dir.join("count");
    let container = docker.background(&["-v", &format!("{}:/data", dir.display())], &["sh", "-c", WRITER])?;
    let (short, long) = (Duration::from_millis(100), Duration::from_millis(500));
    let moving = || eventually(Duration::from_secs(5), || that("it writes", growth(&count, short)? > 0));
    moving()?;
    container.act(&["pause"])?;
    same("status", container.status()?, "paused")?;
    same("bytes written while paused", growth(&count, long)?, 0)?;
    has("exec", &container.exec(&[], &["true"])?.fails()?, "is paused")?;
    container.act(&["unpause"])?;
    same("status", container.status()?, "running")?;
    moving()?;
    same("exec", container.sh("echo here")?, "here")
}

fn pause_kill(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    container.act(&["pause"])?;
    container.act(&["rm", "--force"])?;
    has("gone", &docker.docker(&["inspect", &container.id])?.fails()?, "No such object")
}

fn top(docker: &Docker) -> Outcome {
    let container = docker.background(&[], &["sh", "-c", "sleep 4000 & sleep 5000; true"])?;
    eventually(Duration::from_secs(5), || {
        let text = container.docker.docker(&["top", &container.id])?.ok()?;
        has("default columns", &text, "PPID")?;
        same("processes", text.lines().filter(|line| line.contains("sleep")).count(), 3)?;
        let text = container.docker.docker(&["top", &container.id, "-o", "pid,args"])?.ok()?;
        has("own columns", &text, "sleep 4000")?;
        has("its pid", &text, &container.pid()?.to_string())
    })
}

fn logs(docker: &Docker) -> Outcome {
    let container = docker.background(&[], &["sh", "-c", "echo out; echo err >&2"])?;
    container.wait()?;
    let output = docker.docker(&["logs", &container.id])?;
    same("stderr", output.stderr.as_str(), "err\n")?;
    same("stdout", output.ok()?, "out")?;
    let many = docker.background(&[], &["seq", "20000"])?;
    many.wait()?;
    has("the last of many lines", &many.act(&["logs", "--tail", "2"])?, "19999\n20000")
}

fn restart(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("restart")?;
    let script = "echo start >> /data/starts; exec sleep 1000";
    let container = docker.background(&["-v", &format!("{}:/data", dir.display())], &["sh", "-c", script])?;
    let started = |count| {
        eventually(Duration::from_secs(5), || {
            same("starts", std::fs::read_to_string(dir.join("starts"))?.lines().count(), count)
        })
    };
    started(1)?;
    let before = container.pid()?;
    container.act(&["restart", "--time", "0"])?;
    started(2)?;
    that("the process is another", container.pid()? != before)?;
    same("status", container.status()?, "running")?;
    same("exec", container.sh("cat /proc/1/comm")?, "sleep")
}

fn restart_policy(docker: &Docker) -> Outcome {
    let container = docker.background(&["--restart", "on-failure:2"], &["sh", "-c", "echo run; exit 1"])?;
    eventually(Duration::from_secs(20), || {
        same("restarts", container.inspect("{{.RestartCount}} {{.State.Status}}")?, "2 exited")
    })?;
    same("log", container.act(&["logs"])?, "run\nrun\nrun")
}

fn attach(docker: &Docker) -> Outcome {
    let container = docker.created(&[], &["sh", "-c", "echo attached; exit 11"])?;
    same("output", docker.docker(&["start", "-a", &container.id])?.code(11)?, "attached")
}

fn remove_running(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    container.exec(&["-d"], &["sleep", "3000"])?.ok()?;
    let pid = container.pid()?;
    container.act(&["rm", "--force"])?;
    that("its process is gone", !std::path::Path::new(&format!("/proc/{pid}")).exists())?;
    that("the runtime does not list it", !docker.runtime_list()?.contains(&container.id))?;
    no_cgroup(&container.id)
}

fn at_once(docker: &Docker) -> Outcome {
    let results = std::thread::scope(|scope| {
        let runs = [0, 1, 2, 3]
            .map(|code| scope.spawn(move || docker.run(&[], &["sh", "-c", &format!("exit {code}")])));
        runs.map(|run| run.join())
    });
    for (code, result) in (0..).zip(results) {
        result.map_err(|_| "the thread panicked")??.code(code)?;
    }
    Ok(())
}

/// No hierarchy has a cgroup of this name below any of its top directories.
fn no_cgroup(name: &str) -> Outcome {
    let left: Vec<_> = hierarchies()
        .iter()
        .flat_map(|root| directories(root))
        .map(|parent| parent.join(name))
        .filter(|path| path.exists())
        .collect();
    that(&format!("no cgroup is left: {left:?}"), left.is_empty())
}

/// After all containers: no process of theirs, no cgroup, no mount, no state of the runtime.
pub(super) fn nothing_left(docker: &Docker) -> Outcome {
    same("containers", docker.docker(&["ps", "-aq"])?.ok()?, "")?;
    same("the runtime's list", docker.runtime_list()?, Vec::<String>::new())?;
    let parents = hierarchies().into_iter().map(|root| root.join(&docker.tag));
    let cgroups: Vec<_> = parents.flat_map(|parent| directories(&parent)).collect();
    same("cgroups", cgroups, Vec::<std::path::PathBuf>::new())?;
    same("mounts", mounts_with("/overlay2/")?, Vec::<String>::new())?;
    eventually(Duration::from_secs(5), || {
        let comms = directories(std::path::Path::new("/proc")).into_iter();
        let comms = comms.flat_map(|path| std::fs::read_to_string(path.join("comm")));
        let left: Vec<_> = comms.filter(|comm| comm.contains("shim") || comm.starts_with("sleep")).collect();
        same("processes", left, Vec::<String>::new())
    })
}
