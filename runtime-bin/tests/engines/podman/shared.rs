//! What holds with and without root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{Container, IMAGE, Podman};
use crate::image::{USER, USER_ID};
use crate::support::{Cmd, Outcome, Stop, Table, eventually, has, same, seccomp_is_on, status_field, that};

pub(super) const CHECKS: &Table<Podman> = &[
    ("run: output and exit code 0", output),
    ("run: stdin reaches the program", stdin),
    ("run: exit codes 3, 126, 127", exit_codes),
    ("run: --hostname, --env, --workdir, --user", process),
    ("run: -v, read-only and writable", volumes),
    ("run: --read-only", read_only),
    ("run: --tmpfs copies what it covers", tmpfs),
    ("run: default mounts and devices", default_files),
    ("run: capabilities", capabilities),
    ("run: default seccomp profile", seccomp),
    ("run: no-new-privileges", no_new_privileges),
    ("run: --ulimit, --sysctl", limits),
    ("run: --network none", network_none),
    ("run: --network host", network_host),
    ("run: --pid, --uts, --ipc host", namespaces_host),
    ("run: --preserve-fds", preserve_fds),
    ("run: only three descriptors", descriptors),
    ("run: -t", tty),
    ("run: -it, terminal size", tty_size),
    ("exec: environment, user, directory", exec_process),
    ("exec: exit codes", exec_codes),
    ("exec: stdin", exec_stdin),
    ("exec: -t", exec_tty),
    ("exec: -d", exec_detached),
    ("init: created, then started", init),
    ("inspect: state", inspect),
    ("stop: TERM is handled", stop_handled),
    ("stop: KILL after the time", stop_killed),
    ("kill: USR1, then KILL", kill),
    ("top: lists the processes", top),
    ("logs: both streams", logs),
    ("restart: a new process", restart),
    ("rm: --force of a running container", remove_running),
    ("nothing is left behind", nothing_left),
];

fn output(podman: &Podman) -> Outcome {
    let output = podman.run(&[], &["sh", "-c", "echo out; echo err >&2"])?;
    same("stderr", output.stderr.as_str(), "err\n")?;
    same("stdout", output.ok()?, "out")
}

fn stdin(podman: &Podman) -> Outcome {
    let run = podman.new_container(&["run", "--rm", "-i"], &[]).args([IMAGE, "sort"]);
    same("sorted", run.stdin("b\na\n").run()?.ok()?, "a\nb")
}

fn exit_codes(podman: &Podman) -> Outcome {
    podman.run(&[], &["sh", "-c", "exit 3"])?.code(3)?;
    podman.run(&[], &["/not-executable"])?.code(126)?;
    podman.run(&[], &["no-such-program"])?.code(127)?;
    podman.run(&[], &["/no/such/program"])?.code(127).map(drop)
}

fn process(podman: &Podman) -> Outcome {
    let options = ["--hostname", "box", "--env", "A=b c", "--workdir", "/home/tester", "--user", USER];
    let text = podman.sh(&options, "hostname; echo $A; pwd; id -u; id -G")?;
    same("process", text, format!("box\nb c\n/home/tester\n{USER_ID}\n{USER_ID} 4321"))
}

fn volumes(podman: &Podman) -> Outcome {
    let dir = podman.host_dir("volumes")?;
    fs::write(dir.join("in"), "from host")?;
    let (read, write) = (format!("{}:/read:ro", dir.display()), format!("{}:/new/write", dir.display()));
    let script = "cat /read/in; echo from box > /new/write/out; ! echo x > /read/out";
    let output = podman.run(&["-v", &read, "-v", &write], &["sh", "-c", script])?;
    has("read-only", &output.stderr, "Read-only file system")?;
    same("read", output.ok()?, "from host")?;
    same("written", fs::read_to_string(dir.join("out"))?, "from box\n")
}

fn read_only(podman: &Podman) -> Outcome {
    let output = podman.run(&["--read-only"], &["sh", "-c", "echo x > /tmp/a && cat /tmp/a && touch /a"])?;
    has("touch", &output.stderr, "Read-only file system")?;
    same("tmp", output.code(1)?, "x")
}

fn tmpfs(podman: &Podman) -> Outcome {
    let script = "ls /home; stat -c %u /home/tester; grep ' /home ' /proc/mounts; touch /home/a";
    let text = podman.sh(&["--tmpfs", "/home:size=1m"], script)?;
    has("content", &text, &format!("tester\n{USER_ID}\n"))?;
    has("mount", &text, "tmpfs /home tmpfs rw,nosuid,nodev")
}

fn default_files(podman: &Podman) -> Outcome {
    let text = podman.sh(
        &[],
        "cat /proc/mounts; cat /proc/kcore | wc -c; echo x > /dev/null; head -c 3 /dev/zero | wc -c",
    )?;
    for (path, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/sys", "sysfs"),
    ] {
        has("mounts", &text, &format!(" {path} {kind} "))?;
    }
    that("/proc/kcore is empty, /dev/zero is not", text.ends_with("\n0\n3"))?;
    let output = podman.run(&[], &["sh", "-c", "echo x > /proc/sys/kernel/hostname"])?;
    has("/proc/sys", &output.fails()?, "Read-only file system")
}

fn capabilities(podman: &Podman) -> Outcome {
    let sets = |options: &[&str]| {
        let text = podman.sh(options, "cat /proc/self/status")?;
        let field = |name| status_field(&text, name).map(str::to_owned);
        Ok::<_, Stop>([field("CapPrm")?, field("CapEff")?, field("CapBnd")?])
    };
    let default = sets(&[])?;
    that(
        &format!("a small default set {default:?}"),
        default.iter().all(|set| set.starts_with("00000000800") || set.starts_with("00000000a80")),
    )?;
    same("none", sets(&["--cap-drop", "ALL"])?, ["0000000000000000"; 3])?;
    same("NET_ADMIN", sets(&["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"])?, ["0000000000001000"; 3])
}

fn seccomp(podman: &Podman) -> Outcome {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    // In a new user namespace the kernel lets root set the host name; the profile still does not.
    let script = "grep Seccomp: /proc/self/status; unshare -U -r -u hostname other; echo $?";
    same("filtered", podman.sh(&[], script)?, "Seccomp:\t2\n1")?;
    same("unconfined", podman.sh(&["--security-opt", "seccomp=unconfined"], script)?, "Seccomp:\t0\n0")
}

fn no_new_privileges(podman: &Podman) -> Outcome {
    let text = podman.sh(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status")?;
    same("with", text, "NoNewPrivs:\t1")
}

fn limits(podman: &Podman) -> Outcome {
    // With any --ulimit Podman asks for more processes than these machines may give.
    let options =
        ["--ulimit", "nofile=100:200", "--ulimit", "nproc=500:500", "--sysctl", "kernel.msgmax=9000"];
    same(
        "values",
        podman.sh(&options, "ulimit -Sn; ulimit -Hn; cat /proc/sys/kernel/msgmax")?,
        "100\n200\n9000",
    )
}

fn network_none(podman: &Podman) -> Outcome {
    let text = podman.sh(
        &["--cap-add", "NET_RAW"],
        "ls /sys/class/net; ping -c 1 -w 2 127.0.0.1 > /dev/null && echo lo works",
    )?;
    same("interfaces", text, "lo\nlo works")
}

fn namespace(pid: &str, kind: &str) -> Result<u64, Stop> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino())
}

fn network_host(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&["--network", "host"])?;
    same("namespace", namespace(&container.pid()?.to_string(), "net")?, namespace("self", "net")?)?;
    has("lo", &container.sh("cat /proc/net/dev")?, "lo:")
}

fn namespaces_host(podman: &Podman) -> Outcome {
    // Without root Podman mounts the host's /dev/mqueue for --ipc host, which is not everywhere.
    let ipc = !podman.rootless || std::path::Path::new("/dev/mqueue").exists();
    let kinds = if ipc { &["pid", "uts", "ipc"][..] } else { &["pid", "uts"] };
    let options: Vec<_> = kinds.iter().map(|kind| format!("--{kind}=host")).collect();
    let container = podman.sleeper(&options.iter().map(String::as_str).collect::<Vec<_>>())?;
    let pid = container.pid()?.to_string();
    for kind in kinds {
        same(kind, namespace(&pid, kind)?, namespace("self", kind)?)?;
    }
    that("net is new", namespace(&pid, "net")? != namespace("self", "net")?)?;
    same("its pid", container.sh(&format!("cat /proc/{pid}/comm"))?, "sleep")
}

/// Shows the shell's descriptors: not as its last command, which it would become, nor in a pipe, whose
/// ends it may still hold.
const OWN_DESCRIPTORS: &str = "ls /proc/$$/fd; true";

fn preserve_fds(podman: &Podman) -> Outcome {
    let file = podman.host_dir("fds")?.join("three");
    fs::write(&file, "from descriptor 3")?;
    let run = podman.new_container(&["run", "--rm"], &["--preserve-fds", "1", IMAGE]);
    let run = run.args(["sh", "-c", &format!("cat <&3; echo; {OWN_DESCRIPTORS}")]);
    let script = format!("exec 3< {}; exec \"$@\"", file.display());
    same("read", run.under(&["sh", "-c", &script, "sh"]).run()?.ok()?, "from descriptor 3\n0\n1\n2\n3")
}

fn descriptors(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    same("init's", container.sh("ls /proc/1/fd")?, "0\n1\n2")?;
    same("exec's", container.sh(OWN_DESCRIPTORS)?, "0\n1\n2")
}

fn tty(podman: &Podman) -> Outcome {
    let text = podman.run(&["-t"], &["sh", "-c", "tty; test -t 0 && test -t 2 && echo terminal"])?.ok()?;
    same("terminal", text, "/dev/pts/0\r\nterminal")
}

/// `podman run` on a terminal of its own.
fn tty_size(podman: &Podman) -> Outcome {
    let inside = "for i in 1 2 3 4 5 6 7 8 9; do stty size; sleep 0.1; done; tty; exit 4";
    let run = podman.new_container(&["run", "--rm"], &["-it", IMAGE, "sh", "-c", inside]);
    let shell = "stty rows 33 cols 101; exec \"$@\"";
    let output = run.under(&["sh", "-c", shell, "sh"]).on_terminal().env("TERM", "vt100").run()?;
    has("size", &output.stdout, "33 101")?;
    has("tty", &output.stdout, "/dev/pts/0")?;
    output.code(4).map(drop)
}

fn exec_process(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&["--env", "A=old", "--hostname", "box"])?;
    let options = ["--env", "A=new", "--user", USER, "--workdir", "/etc"];
    let text = container
        .exec(&options, &["sh", "-c", "echo $A; id -u; pwd; hostname; cat /proc/self/status"])?
        .ok()?;
    has("process", &text, &format!("new\n{USER_ID}\n/etc\nbox\n"))?;
    same("effective capabilities", status_field(&text, "CapEff")?, "0000000000000000")?;
    same("Seccomp", status_field(&text, "Seccomp")?, if seccomp_is_on() { "2" } else { "0" })
}

fn exec_codes(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    for (command, code) in [
        (&["sh", "-c", "exit 5"][..], 5),
        (&["sh", "-c", "kill -9 $$"], 137),
        (&["no-such-program"], 127),
        (&["/no/such/program"], 127),
        (&["/not-executable"], 126),
    ] {
        container.exec(&[], command)?.code(code)?;
    }
    Ok(())
}

fn exec_stdin(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    let exec = podman.client().args(["exec", "-i", &container.id, "cat"]).stdin("from outside");
    same("stdout", exec.run()?.ok()?, "from outside")
}

fn exec_tty(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    let text = container.exec(&["-t"], &["sh", "-c", "tty; exit 6"])?.code(6)?;
    has("tty", &text, "/dev/pts/")
}

fn exec_detached(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    container.exec(&["-d"], &["sleep", "3000"])?.ok()?;
    eventually(Duration::from_secs(5), || {
        same("processes", container.sh("ps -o args | grep -c '[s]leep 3000'; true")?, "1")
    })
}

/// `podman init` is the runtime's `create` without its `start`.
fn init(podman: &Podman) -> Outcome {
    let dir = podman.host_dir("init")?;
    let volume = format!("{}:/data", dir.display());
    let container = podman.created(&["-v", &volume], &["sh", "-c", "touch /data/ran; exit 8"])?;
    container.act(&["init"])?;
    same("status", container.status()?, "initialized")?;
    let pid = container.pid()?;
    that("a process waits", std::path::Path::new(&format!("/proc/{pid}")).exists())?;
    std::thread::sleep(Duration::from_millis(200));
    that("it has not run", !dir.join("ran").exists())?;
    container.act(&["start"])?;
    same("exit code", container.wait()?, 8)?;
    that("it has run", dir.join("ran").exists())
}

fn inspect(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    same("status", container.status()?, "running")?;
    let comm = fs::read_to_string(format!("/proc/{}/comm", container.pid()?))?;
    same("program of the pid", comm, "sleep\n")?;
    container.act(&["stop", "--time", "0"])?;
    same(
        "after stop",
        container.inspect("{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}")?,
        "exited 137 0",
    )
}

fn ready(container: &Container<'_>) -> Outcome {
    eventually(Duration::from_secs(5), || has("log", &container.act(&["logs"])?, "ready"))
}

fn stop_handled(podman: &Podman) -> Outcome {
    let script = "trap 'echo got TERM; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let container = podman.background(&[], &["sh", "-c", script])?;
    ready(&container)?;
    container.act(&["stop"])?;
    same("exit code", container.wait()?, 9)?;
    same("log", container.act(&["logs"])?, "ready\ngot TERM")
}

fn stop_killed(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    container.act(&["stop", "--time", "1"])?;
    same("exit code", container.wait()?, 137)
}

fn kill(podman: &Podman) -> Outcome {
    let script = "trap 'echo one' USR1; echo ready; while :; do sleep 0.1; done";
    let container = podman.background(&[], &["sh", "-c", script])?;
    ready(&container)?;
    container.act(&["kill", "--signal", "USR1"])?;
    eventually(Duration::from_secs(5), || same("log", container.act(&["logs"])?, "ready\none"))?;
    container.act(&["kill"])?;
    same("exit code", container.wait()?, 137)
}

fn top(podman: &Podman) -> Outcome {
    let container = podman.background(&[], &["sh", "-c", "sleep 4000 & sleep 5000; true"])?;
    eventually(Duration::from_secs(5), || {
        let text = podman.podman(&["top", &container.id, "pid", "args"])?.ok()?;
        same("lines", text.lines().count(), 4)?;
        has("a process", &text, "sleep 4000")
    })
}

fn logs(podman: &Podman) -> Outcome {
    let container = podman.background(&[], &["sh", "-c", "echo out; echo err >&2"])?;
    container.wait()?;
    let output = podman.podman(&["logs", &container.id])?;
    same("stderr", output.stderr.as_str(), "err\n")?;
    same("stdout", output.ok()?, "out")
}

fn restart(podman: &Podman) -> Outcome {
    let container = podman.background(&[], &["sh", "-c", "echo start >> /starts; exec sleep 1000"])?;
    let before = container.pid()?;
    container.act(&["restart", "--time", "0"])?;
    that("the process is another", container.pid()? != before)?;
    eventually(Duration::from_secs(5), || same("starts", container.sh("wc -l < /starts")?, "2"))
}

fn remove_running(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&[])?;
    let pid = container.pid()?;
    container.act(&["rm", "--force", "--time", "0"])?;
    that("its process is gone", !std::path::Path::new(&format!("/proc/{pid}")).exists())?;
    let gone = podman.podman(&["container", "exists", &container.id])?;
    same("exists", gone.code, 1)
}

fn nothing_left(podman: &Podman) -> Outcome {
    same("containers", podman.podman(&["ps", "-aq"])?.ok()?, "")?;
    let state = if podman.rootless {
        let list = podman.client().args(["unshare"]).arg(&podman.runtime).args(["list", "-q"]);
        list.run()?.ok()?
    } else {
        Cmd::new(&podman.runtime).args(["list", "-q"]).run()?.ok()?
    };
    same("the runtime's list", state, "")?;
    eventually(Duration::from_secs(5), || {
        let comms = crate::support::directories(std::path::Path::new("/proc")).into_iter();
        let comms = comms.flat_map(|path| fs::read_to_string(path.join("comm")));
        let left: Vec<_> =
            comms.filter(|comm| comm.starts_with("conmon") || comm.starts_with("sleep")).collect();
        same("processes", left, Vec::<String>::new())
    })
}
