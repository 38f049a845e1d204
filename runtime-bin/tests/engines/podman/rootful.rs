//! What needs root: cgroup limits, pause, the bridge, pods, hooks.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{IMAGE, Podman};
use crate::image;
use crate::seccomp_agent::{Agent, Answers};
use crate::support::{
    Outcome, Stop, Table, cgroup_value, directories, eventually, exec_joins_cgroup, grants_everything,
    growth, has, hierarchies, same, seccomp_is_on, status_field, that,
};

pub(super) const CHECKS: &Table<Podman> = &[
    ("run: --memory, --cpus, --pids-limit", limits),
    ("update: --memory, --cpus", update),
    ("run: --privileged", privileged),
    ("run: --uidmap", user_namespace),
    ("run: --network bridge", bridge),
    ("run: --rootfs", rootfs),
    ("run: --hooks-dir", hooks),
    ("run: a seccomp profile with a listener", listener),
    ("pause: the process does not progress", pause),
    ("healthcheck run", health),
    ("pod: shared namespaces", pod_shares),
    ("pod: pause, stop, start, remove", pod_life),
    ("no cgroup is left behind", no_cgroup_left),
];

fn limits(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&["--memory", "64m", "--cpus", "0.5", "--pids-limit", "33"])?;
    let pid = container.pid()?;
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    has("cgroup", &table, &format!(":/{}/libpod-{}", podman.tag, container.id))?;
    same("pids", cgroup_value(pid, "pids", "pids.max", "pids.max")?, "33")?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "50000")?;
    exec_joins_cgroup(|script| container.sh(script))
}

/// Docker 20.10 drops `listenerPath` from a profile; Podman passes it on.
fn listener(podman: &Podman) -> Outcome {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    let (socket, profile) = (podman.dir.join("seccomp-agent"), podman.dir.join("listener.json"));
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"});
    let text = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "from podman",
        "syscalls": [rule]});
    fs::write(&profile, text.to_string())?;
    let agent = Agent::new(&socket, Answers::Continue);
    let option = format!("seccomp={}", profile.display());
    same("output", podman.sh(&["--security-opt", &option], "mkdir /made && echo made")?, "made")?;
    let state = agent.next_state().unwrap_or_default();
    same("metadata", state["metadata"].as_str().unwrap_or_default(), "from podman")?;
    same("calls", format!("{:?}", agent.calls()), format!("{:?}", [libc::SYS_mkdir]))
}

fn update(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&["--memory", "64m"])?;
    let pid = container.pid()?;
    cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?;
    container.act(&["update", "--memory", "80m", "--memory-swap", "160m", "--cpus", "0.25"])?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "83886080")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "25000")
}

fn privileged(podman: &Podman) -> Outcome {
    let all = grants_everything(&podman.runtime)?;
    let text = podman.sh(
        &["--privileged"],
        "cat /proc/self/status; mkdir -p /mnt; mount -t tmpfs x /mnt && echo mounted",
    )?;
    same("effective", status_field(&text, "CapEff")?, all)?;
    same("Seccomp", status_field(&text, "Seccomp")?, "0")?;
    that("mounted", text.ends_with("\nmounted"))
}

fn user_namespace(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"])?;
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid()?))?;
    same("uid outside", status_field(&status, "Uid")?.split('\t').next(), Some("100000"))?;
    same("gid outside", status_field(&status, "Gid")?.split('\t').next(), Some("200000"))?;
    let script = "id -u; awk '{print $1, $2, $3}' /proc/self/uid_map; touch /a && stat -c %u /a /home/tester";
    same("inside", container.sh(script)?, format!("0\n0 100000 65536\n0\n{}", image::USER_ID))
}

fn bridge(podman: &Podman) -> Outcome {
    let container = podman.sleeper(&["--network", "bridge", "--cap-add", "NET_RAW"])?;
    let gateway = container.inspect("{{.NetworkSettings.Gateway}}")?;
    let script = format!("ls /sys/class/net; ping -c 1 -w 3 {gateway} > /dev/null && echo pong");
    same("network", container.sh(&script)?, "eth0\nlo\npong")
}

fn rootfs(podman: &Podman) -> Outcome {
    let root = podman.dir.join("rootfs");
    image::unpack(&podman.dir.join("busybox.tar"), &root)?;
    let run = podman.new_container(&["run", "--rm"], &["--rootfs"]).arg(&root);
    same("output", run.args(["sh", "-c", "touch /made; pwd"]).run()?.ok()?, "/")?;
    that("written", root.join("made").exists())
}

fn hooks(podman: &Podman) -> Outcome {
    let dir = podman.host_dir("hooks")?;
    let (script, state) = (dir.join("hook.sh"), dir.join("state"));
    fs::write(&script, format!("#!/bin/sh\ncat >> {0}\necho \" $1\" >> {0}\n", state.display()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    for stage in ["prestart", "createRuntime", "poststart", "poststop"] {
        let hook = serde_json::json!({
            "version": "1.0.0",
            "hook": { "path": script, "args": ["hook", stage] },
            "when": { "always": true },
            "stages": [stage],
        });
        fs::write(dir.join(format!("{stage}.json")), hook.to_string())?;
    }
    let hooks = format!("--hooks-dir={}", dir.display());
    podman.new_container(&[&hooks, "run"], &["--rm", IMAGE, "sleep", "0.3"]).run()?.ok()?;
    eventually(Duration::from_secs(5), || {
        let text = fs::read_to_string(&state)?;
        let stages: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
        same("stages", stages, vec!["prestart", "createRuntime", "poststart", "poststop"])?;
        has("the state given to them", &text, "\"status\":\"stopped\"")
            .or_else(|_| has("the state", &text, "\"status\": \"stopped\""))
    })
}

fn pause(podman: &Podman) -> Outcome {
    let dir = podman.host_dir("pause")?;
    let count = dir.join("count");
    let volume = format!("{}:/data", dir.display());
    let writer = "while :; do echo -n x >> /data/count; usleep 10000; done";
    let container = podman.background(&["-v", &volume], &["sh", "-c", writer])?;
    let moving = || {
        eventually(Duration::from_secs(5), || {
            that("it writes", growth(&count, Duration::from_millis(100))? > 0)
        })
    };
    moving()?;
    container.act(&["pause"])?;
    same("status", container.status()?, "paused")?;
    same("bytes written while paused", growth(&count, Duration::from_millis(500))?, 0)?;
    container.act(&["unpause"])?;
    same("status", container.status()?, "running")?;
    moving()
}

fn health(podman: &Podman) -> Outcome {
    let options =
        ["--health-cmd", "test -e /healthy", "--health-interval", "disable", "--health-retries", "1"];
    let container = podman.sleeper(&options)?;
    podman.podman(&["healthcheck", "run", &container.id])?.code(1)?;
    container.sh("touch /healthy")?;
    podman.podman(&["healthcheck", "run", &container.id])?.code(0).map(drop)
}

/// A pod with a pause program of our own, for Podman's own one is built from another package.
struct Pod<'a> {
    podman: &'a Podman,
    name: &'static str,
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        self.podman.podman(&["pod", "rm", "--force", "--time", "0", self.name]).ok();
    }
}

const PAUSE_IMAGE: &str = "localhost/pause";

impl<'a> Pod<'a> {
    fn create(podman: &'a Podman, name: &'static str) -> Result<Self, Stop> {
        let entry = "ENTRYPOINT [\"sh\", \"-c\", \"trap 'exit 0' TERM; while :; do sleep 0.1; done\"]";
        let tar = podman.dir.join("busybox.tar");
        podman.podman(&["import", "--change", entry, &tar.to_string_lossy(), PAUSE_IMAGE])?.ok()?;
        let pod = Pod { podman, name };
        let parent = format!("/{}", podman.tag);
        let options = ["--cgroup-parent", &parent, "--share", "net,ipc,uts,pid", "--network", "none"];
        let create = podman.client().args(["pod", "create", "--infra-image", PAUSE_IMAGE, "--name", name]);
        create.args(options).run()?.ok()?;
        Ok(pod)
    }

    /// Starts a sleeping container in the pod.
    fn add(&self, name: &str) -> Outcome {
        let options = ["--pod", self.name, "--name", name, IMAGE];
        let run = self.podman.new_container(&["run", "--detach"], &options);
        run.args(["sleep", "1000"]).run()?.ok().map(drop)
    }

    fn pid(&self, name: &str) -> Result<String, Stop> {
        self.podman.podman(&["container", "inspect", "--format", "{{.State.Pid}}", name])?.ok()
    }

    fn status(&self) -> Result<String, Stop> {
        self.podman
            .podman(&["pod", "ps", "--filter", &format!("name={}", self.name), "--format", "{{.Status}}"])?
            .ok()
    }

    fn act(&self, command: &[&str]) -> Outcome {
        self.podman.podman(&[&["pod"], command, &[self.name]].concat())?.ok().map(drop)
    }
}

fn pod_shares(podman: &Podman) -> Outcome {
    let pod = Pod::create(podman, "shares")?;
    pod.add("one")?;
    pod.add("two")?;
    let (one, two) = (pod.pid("one")?, pod.pid("two")?);
    let namespace =
        |pid: &str, kind: &str| Ok::<_, Stop>(fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino());
    for kind in ["net", "ipc", "uts", "pid"] {
        same(kind, namespace(&one, kind)?, namespace(&two, kind)?)?;
        that(&format!("{kind} is not the host's"), namespace(&one, kind)? != namespace("self", kind)?)?;
    }
    that("mnt differs", namespace(&one, "mnt")? != namespace(&two, "mnt")?)?;
    let text =
        podman.podman(&["exec", "one", "sh", "-c", "hostname; ps -o args | grep -c '[s]leep 1000'"])?.ok()?;
    same("seen by one", text, "shares\n2")?;
    has("cgroup", &fs::read_to_string(format!("/proc/{one}/cgroup"))?, &format!(":/{}/", podman.tag))
}

fn pod_life(podman: &Podman) -> Outcome {
    let pod = Pod::create(podman, "life")?;
    same("created", pod.status()?, "Created")?;
    pod.add("worker")?;
    same("running", pod.status()?, "Running")?;
    pod.act(&["pause"])?;
    same("paused", pod.status()?, "Paused")?;
    pod.act(&["unpause"])?;
    pod.act(&["stop", "--time", "1"])?;
    same("stopped", pod.status()?, "Exited")?;
    pod.act(&["start"])?;
    same("again", pod.status()?, "Running")?;
    let pid = pod.pid("worker")?;
    pod.act(&["rm", "--force", "--time", "0"])?;
    that("its process is gone", !std::path::Path::new("/proc").join(pid).exists())?;
    same("no pod", pod.status()?, "")
}

/// Podman forgets some of the cgroups that it makes itself, for pods and monitors; the runtime's must be gone.
fn no_cgroup_left(podman: &Podman) -> Outcome {
    fn containers(below: &Path, found: &mut Vec<PathBuf>) {
        for path in directories(below) {
            containers(&path, found);
            if path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"libpod-")) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    hierarchies().iter().for_each(|root| containers(&root.join(&podman.tag), &mut found));
    same("cgroups left", found, Vec::<PathBuf>::new())
}
