//! Flags and commands beyond the everyday ones: devices by rule, IPC, terminals from outside, copies, waits.

use std::fs;
use std::time::Duration;

use super::{CLIENT, Docker, SOCKET};
use crate::support::{
    Cmd, Outcome, Stop, Table, cgroup_value, controllers, eventually, growth, has, is_unified, need, same,
    that,
};

pub(super) const CHECKS: &Table<Docker> = &[
    ("run: exit code 125, an option that the engine refuses", engine_refuses),
    ("run: exit code 143, ended by TERM", ended_by_term),
    ("run: --device-cgroup-rule", device_rule),
    ("run: --ipc shareable, then --ipc container", ipc_shared),
    ("run: --ipc none", ipc_none),
    ("run: --shm-size, felt", shm_size),
    ("run: -dt, resized from outside", resized),
    ("run: --mount type=tmpfs", mount_tmpfs),
    ("run: a named volume copies what it covers, --volumes-from", named_volume),
    ("run: --security-opt systempaths=unconfined", system_paths),
    ("run: --add-host, --dns", hosts),
    ("run: --uts host", uts_host),
    ("run: --health-cmd", health),
    ("run: --cidfile, --label, --name", named),
    ("run: --stop-timeout", stop_timeout),
    ("limits: --memory-swappiness, --oom-kill-disable", memory_fields),
    ("limits: --cpuset-mems", memory_nodes),
    ("limits: --cpu-period, --cpu-quota", cpu_period),
    ("limits: --device-write-iops", write_operations),
    ("wait: the exit code, when it ends", wait),
    ("attach: both streams and stdin", attach),
    ("cp: into and out of a running container", copy),
    ("diff, commit: what a container wrote", commit),
    ("restart: policy always", restart_always),
    ("pause: exec in a paused container", pause_exec),
    ("rename, network connect: a running container", connect),
];

fn engine_refuses(docker: &Docker) -> Outcome {
    docker.run(&["--memory", "1k"], &["true"])?.code(125)?;
    // The runtime's own words reach the user.
    let output = docker.run(&["--sysctl", "kernel.hostname=x"], &["true"])?;
    has("message", &output.stderr, "kernel.hostname")?;
    output.code(125).map(drop)
}

fn ended_by_term(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--init"])?;
    container.act(&["kill", "--signal", "TERM"])?;
    same("exit code", container.wait()?, 143)
}

fn device_rule(docker: &Docker) -> Outcome {
    // 10:229 is /dev/fuse, which no container may open by default.
    let script = "mknod /fuse c 10 229; : < /fuse && echo opened";
    let with = ["--cap-add", "MKNOD", "--device-cgroup-rule", "c 10:229 rwm"];
    same("with the rule", docker.sh(&with, script)?, "opened")?;
    let output = docker.run(&["--cap-add", "MKNOD"], &["sh", "-c", script])?;
    has("without", &output.fails()?, "Operation not permitted")
}

fn ipc_shared(docker: &Docker) -> Outcome {
    let first = docker.sleeper(&["--ipc", "shareable"])?;
    first.sh("echo shared > /dev/shm/file")?;
    let peer = format!("container:{}", first.id);
    let second = docker.sleeper(&["--ipc", &peer])?;
    same("read by the other", second.sh("cat /dev/shm/file")?, "shared")?;
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/ipc"));
    same("namespace", namespace(first.pid()?)?, namespace(second.pid()?)?)
}

fn ipc_none(docker: &Docker) -> Outcome {
    same("mounts", docker.sh(&["--ipc", "none"], "grep -c ' /dev/shm ' /proc/mounts; true")?, "0")
}

fn shm_size(docker: &Docker) -> Outcome {
    let command = ["dd", "if=/dev/zero", "of=/dev/shm/a", "bs=64k", "count=32"];
    has("too much", &docker.run(&["--shm-size", "1m"], &command)?.fails()?, "No space left on device")?;
    docker.run(&["--shm-size", "4m"], &command)?.ok().map(drop)
}

/// As an engine's interface does it for a terminal to which nobody is attached.
fn resized(docker: &Docker) -> Outcome {
    need("/usr/bin/curl", "curl")?;
    let container = docker.sleeper(&["-t"])?;
    let socket = SOCKET.trim_start_matches("unix://");
    let resize = |id: &str, rows: u32, columns: u32| {
        let address = format!("http://localhost/containers/{id}/resize?h={rows}&w={columns}");
        let curl = Cmd::new("curl").args(["--silent", "--show-error", "--fail", "--unix-socket", socket]);
        curl.args(["--request", "POST", &address]).run()?.ok()
    };
    for (rows, columns) in [(33, 101), (50, 132)] {
        resize(&container.id, rows, columns)?;
        same("size", container.sh("stty size < /dev/console")?, format!("{rows} {columns}"))?;
    }
    Ok(())
}

fn mount_tmpfs(docker: &Docker) -> Outcome {
    let mount = "type=tmpfs,destination=/scratch,tmpfs-size=1048576,tmpfs-mode=1750";
    let script = "stat -c %a /scratch; df -m /scratch | awk 'END { print $2 }'; touch /scratch/a";
    same("mode and size", docker.sh(&["--mount", mount], script)?, "1750\n1")
}

fn named_volume(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["-v", "flags-data:/home"])?;
    same(
        "copied",
        container.sh("ls /home; stat -c %u /home/tester; echo kept > /home/file")?,
        "tester\n1234",
    )?;
    let peer = docker.sh(&["--volumes-from", &container.id], "cat /home/file")?;
    same("of the other", peer, "kept")?;
    drop(container);
    same("later", docker.sh(&["-v", "flags-data:/later"], "cat /later/file")?, "kept")?;
    docker.docker(&["volume", "rm", "flags-data"])?.ok().map(drop)
}

fn system_paths(docker: &Docker) -> Outcome {
    let script = "grep -cE ' /proc/(kcore|sys|timer_list|bus) ' /proc/mounts; true";
    same("open", docker.sh(&["--security-opt", "systempaths=unconfined"], script)?, "0")?;
    that("closed by default", docker.sh(&[], script)? != "0")
}

fn hosts(docker: &Docker) -> Outcome {
    let options = ["--network", "bridge", "--add-host", "peer:192.0.2.7", "--dns", "192.0.2.8"];
    let text = docker.sh(&options, "cat /etc/hosts /etc/resolv.conf")?;
    has("hosts", &text, "192.0.2.7\tpeer\n")?;
    has("resolv.conf", &text, "nameserver 192.0.2.8")
}

fn uts_host(docker: &Docker) -> Outcome {
    let own = fs::read_to_string("/proc/sys/kernel/hostname")?;
    same("host name", docker.sh(&["--uts", "host"], "hostname")?, own.trim_end())
}

fn health(docker: &Docker) -> Outcome {
    let options = ["--health-cmd", "test -e /healthy", "--health-interval", "100ms", "--health-retries", "1"];
    let container = docker.sleeper(&options)?;
    let is = |want| {
        eventually(Duration::from_secs(20), || {
            same("health", container.inspect("{{.State.Health.Status}}")?, want)
        })
    };
    is("unhealthy")?;
    container.sh("touch /healthy")?;
    is("healthy")
}

fn named(docker: &Docker) -> Outcome {
    let file = docker.host_dir("named")?.join("cid");
    let options = ["--cidfile", &file.to_string_lossy(), "--label", "color=blue", "--name", "named"];
    let container = docker.sleeper(&options)?;
    same("cid file", fs::read_to_string(&file)?, &*container.id)?;
    let filter = ["ps", "-q", "--no-trunc", "--filter", "label=color=blue", "--filter", "name=named"];
    same("found", docker.docker(&filter)?.ok()?, &*container.id)?;
    that("the runtime lists it", docker.runtime_list()?.contains(&container.id))
}

fn stop_timeout(docker: &Docker) -> Outcome {
    let script = "trap '' TERM; touch /ready; while :; do sleep 0.1; done";
    let container = docker.background(&["--stop-timeout", "1"], &["sh", "-c", script])?;
    eventually(Duration::from_secs(20), || container.sh("test -e /ready").map(drop))?;
    container.act(&["stop"])?;
    same("exit code", container.wait()?, 137)
}

fn memory_fields(docker: &Docker) -> Outcome {
    controllers(&["memory"])?;
    if is_unified() {
        return Err(Stop::Skipped("cgroup v2 has neither".to_owned()));
    }
    let options = ["--memory", "64m", "--memory-swappiness", "7", "--oom-kill-disable"];
    let pid = docker.sleeper(&options)?;
    let value = |name| cgroup_value(pid.pid()?, "memory", name, "");
    same("swappiness", value("memory.swappiness")?, "7")?;
    has("OOM killer", &value("memory.oom_control")?, "oom_kill_disable 1")
}

fn memory_nodes(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--cpuset-mems", "0"])?;
    same("nodes", cgroup_value(container.pid()?, "cpuset", "cpuset.mems", "cpuset.mems")?, "0")?;
    has("allowed", &container.sh("cat /proc/self/status")?, "Mems_allowed_list:\t0")
}

fn cpu_period(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&["--cpu-period", "60000", "--cpu-quota", "30000"])?;
    let value = |v1| cgroup_value(container.pid()?, "cpu", v1, "cpu.max");
    let quota = value("cpu.cfs_quota_us")?;
    if quota.contains(' ') {
        return same("cpu.max", quota, "30000 60000");
    }
    same("quota", quota, "30000")?;
    same("period", value("cpu.cfs_period_us")?, "60000")
}

fn write_operations(docker: &Docker) -> Outcome {
    let (name, number) = super::limits::disk(&docker.host_dir("operations")?)?;
    let controller = if is_unified() { "io" } else { "blkio" };
    controllers(&[controller])?;
    let container = docker.sleeper(&["--device-write-iops", &format!("{name}:50")])?;
    let value = cgroup_value(container.pid()?, controller, "blkio.throttle.write_iops_device", "io.max")?;
    has("device", &value, &number)?;
    has("limit", &value, "50")
}

fn wait(docker: &Docker) -> Outcome {
    let container = docker.background(&["-i"], &["sh", "-c", "read line; exit 7"])?;
    let mut waiting = docker.client_daemon(&["wait", &container.id])?;
    that("it waits", waiting.try_wait()?.is_none())?;
    let attach = Cmd::new(CLIENT).args(["--host", SOCKET, "attach", &container.id]).stdin("go\n").run()?;
    attach.code(7)?;
    that("it ended", waiting.wait()?.success())?;
    same("exit code", container.wait()?, 7)
}

fn attach(docker: &Docker) -> Outcome {
    let script = "read line; echo out $line; echo err >&2; exit 11";
    let container = docker.created(&["-i"], &["sh", "-c", script])?;
    container.act(&["start"])?;
    let attach = Cmd::new(CLIENT).args(["--host", SOCKET, "attach", &container.id]).stdin("typed\n").run()?;
    same("stderr", attach.stderr.as_str(), "err\n")?;
    same("stdout", attach.code(11)?, "out typed")
}

fn copy(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("copy")?;
    fs::write(dir.join("in"), "from host")?;
    let container = docker.sleeper(&["--tmpfs", "/scratch"])?;
    let copy = |from: &str, to: &str| docker.docker(&["cp", from, to])?.ok();
    let inside = |path: &str| format!("{}:{path}", container.id);
    copy(&dir.join("in").to_string_lossy(), &inside("/tmp/in"))?;
    same("in", container.sh("cat /tmp/in; echo from box > /tmp/out")?, "from host")?;
    copy(&inside("/tmp/out"), &dir.join("out").to_string_lossy())?;
    same("out", fs::read_to_string(dir.join("out"))?, "from box\n")
}

fn commit(docker: &Docker) -> Outcome {
    let container = docker.sleeper(&[])?;
    container.sh("echo made > /made; rm /etc/group")?;
    let diff = container.act(&["diff"])?;
    has("added", &diff, "A /made")?;
    has("removed", &diff, "D /etc/group")?;
    docker.docker(&["commit", &container.id, "committed"])?.ok()?;
    let run = Cmd::new(CLIENT).args(["--host", SOCKET, "run", "--rm", "--network", "none"]);
    let run = if crate::support::seccomp_is_on() {
        run
    } else {
        run.args(["--security-opt", "seccomp=unconfined"])
    };
    let text =
        run.args(["committed", "sh", "-c", "cat /made; test -e /etc/group || echo gone"]).run()?.ok()?;
    docker.docker(&["rmi", "committed"])?.ok()?;
    same("image", text, "made\ngone")
}

fn restart_always(docker: &Docker) -> Outcome {
    let container = docker.background(&["--restart", "always"], &["sh", "-c", "echo run; sleep 0.2"])?;
    eventually(Duration::from_secs(20), || {
        that("it was started again", container.act(&["logs"])?.lines().count() >= 3)
    })?;
    container.act(&["stop", "--time", "0"])?;
    same("status", container.status()?, "exited")
}

fn pause_exec(docker: &Docker) -> Outcome {
    let dir = docker.host_dir("pause-exec")?;
    let writer = "while :; do echo -n x >> /data/count; usleep 10000; done";
    let container = docker.background(&["-v", &format!("{}:/data", dir.display())], &["sh", "-c", writer])?;
    container.act(&["pause"])?;
    has("refused", &container.exec(&[], &["true"])?.fails()?, "paused")?;
    container.act(&["unpause"])?;
    container.sh("true")?;
    eventually(Duration::from_secs(5), || {
        that("it writes", growth(&dir.join("count"), Duration::from_millis(100))? > 0)
    })
}

fn connect(docker: &Docker) -> Outcome {
    docker.docker(&["network", "create", "more"])?.ok()?;
    let container = docker.sleeper(&["--network", "bridge"])?;
    let result = (|| {
        docker.docker(&["network", "connect", "more", &container.id])?.ok()?;
        same("interfaces", container.sh("ls /sys/class/net")?, "eth0\neth1\nlo")?;
        docker.docker(&["network", "disconnect", "more", &container.id])?.ok()?;
        same("interfaces", container.sh("ls /sys/class/net")?, "eth0\nlo")?;
        docker.docker(&["rename", &container.id, "renamed"])?.ok()?;
        same("by its new name", docker.docker(&["exec", "renamed", "echo", "here"])?.ok()?, "here")
    })();
    drop(container);
    docker.docker(&["network", "rm", "more"])?.ok()?;
    result
}
