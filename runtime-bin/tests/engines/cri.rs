//! containerd as Kubernetes uses it: pods through the Container Runtime Interface, the runtime as a handler.

mod client;
mod message;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::image::{EXTRA_GROUP, USER, USER_ID};
use crate::support::{
    Outcome, Stop, Table, cgroup_value, controllers, directories, engine_test, eventually, exec_joins_cgroup,
    grants_everything, has, hierarchies, mounts_with, names_of, same, seccomp_is_on, status_field, that,
};
use client::{Cri, HANDLER, NODE, POD, Pod, PodWish, Wish};
use message::Message;

const SLEEP: &str = "sleep 1000";
const SOON: Duration = Duration::from_secs(20);

/// The values of `ContainerState`.
const CREATED: u64 = 0;
const RUNNING: u64 = 1;
const EXITED: u64 = 2;

const CHECKS: &Table<Cri> = &[
    ("Version, RunPodSandbox: the pod runs under the runtime", pod),
    ("CreateContainer, StartContainer: status and cgroup", start),
    ("StartContainer: no such program", no_such_program),
    ("ExecSync: both streams and the exit code", exec),
    ("ExecSync: a timeout", exec_timeout),
    ("container: environment, directory, mounts", process),
    ("container: user, groups, read-only root, no new privileges", user),
    ("container: capabilities", capabilities),
    ("container: privileged", privileged),
    ("container: seccomp RuntimeDefault", seccomp),
    ("container: masked and read-only paths", masked),
    ("container: limits", limits),
    ("UpdateContainerResources", update),
    ("ContainerStats", stats),
    ("container: its log file", log),
    ("namespaces: the host's network", host_network),
    ("namespaces: one PID namespace for the pod", pod_pid),
    ("namespaces: the host's PID namespace", host_pid),
    ("network: two containers of a pod share it, pods reach each other", network),
    ("pod: sysctls", sysctls),
    ("pod: hostUsers: false", own_users),
    ("StopContainer: TERM is handled", stop_handled),
    ("StopContainer: KILL after the time", stop_killed),
    ("restart: a second container in the pod", restart),
    ("RemovePodSandbox with a running container", remove),
    ("nothing is left behind", nothing_left),
];

/// The names of all checks, for the page of the engines.
pub(crate) fn names() -> Vec<&'static str> {
    names_of(CHECKS)
}

#[test]
fn engine() {
    engine_test("containerd-cri", "cri::engine", |place, checks| {
        controllers(&["cpu", "memory"])?;
        let cri = Cri::start(place, None)?;
        checks.table(&cri, CHECKS);
        Ok(())
    });
}

/// The same pods with the shim of `examples/shim`.
#[test]
#[ignore = "the area `shim` of .ci/test builds the shim first, and runs this"]
fn shim() {
    engine_test("shim-cri", "cri::shim", |place, checks| {
        controllers(&["cpu", "memory"])?;
        let cri = Cri::start(place, Some(&crate::ctr::shim::path()?))?;
        let (last, others) = CHECKS.split_last().ok_or("no checks")?;
        checks.table(&cri, others);
        checks.run("one shim for a pod, with one thread", || one_shim(&cri));
        checks.run("the pod's shim is killed", || shim_killed(&cri));
        checks.run(last.0, || last.1(&cri));
        Ok(())
    });
}

fn one_shim(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let containers = [pod.start(SLEEP, Wish::default())?, pod.start(SLEEP, Wish::default())?];
    let shims = crate::ctr::shim::shims();
    same("shims of one pod", shims.len(), 1)?;
    for container in &containers {
        let stat = fs::read_to_string(format!("/proc/{}/stat", container.pid()?))?;
        has("the shim is the parent", &stat, &format!(" {} ", shims[0]))?;
    }
    eventually(Duration::from_secs(5), || {
        same("threads", fs::read_dir(format!("/proc/{}/task", shims[0]))?.count(), 1)
    })
}

/// containerd ends and removes every container of the pod, and takes them for ended.
fn shim_killed(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start(SLEEP, Wish::default())?;
    let pids = [pod.pid()?, container.pid()?];
    let shims = crate::ctr::shim::shims();
    same("shims of one pod", shims.len(), 1)?;
    crate::ctr::shim::kill(shims[0])?;
    eventually(SOON, || {
        for pid in pids {
            that("its process is gone", !PathBuf::from(format!("/proc/{pid}")).exists())?;
        }
        same("the container", container.status()?.0.number(3), EXITED)?;
        same("the runtime's list", cri.runtime_list()?, Vec::<String>::new())
    })
}

fn plain(cri: &Cri) -> Result<Pod<'_>, Stop> {
    Pod::run(cri, PodWish::default())
}

fn pod(cri: &Cri) -> Outcome {
    let version = cri.call("Version", &Message::default().text(1, "v1"))?;
    same("engine", [version.text(2), version.text(4)], ["containerd", "v1"])?;
    let pod = plain(cri)?;
    let (status, info) = pod.status()?;
    same("ready", status.number(3), 0_u64)?;
    same("handler", status.text(9), HANDLER)?;
    match &cri.shim {
        Some(_) => same("its type", info["runtimeType"].as_str(), Some("io.containerd.runtime.v2"))?,
        None => same("its options", info["runtimeOptions"]["binary_name"].as_str(), cri.runtime.to_str())?,
    }
    same("the runtime's list", cri.runtime_list()?, vec![pod.id.clone()])?;
    same("comm", fs::read_to_string(format!("/proc/{}/comm", pod.pid()?))?, "pause\n")?;
    let table = fs::read_to_string(format!("/proc/{}/cgroup", pod.pid()?))?;
    has("cgroup", &table, &format!(":/{}/pod-", cri.tag))?;
    has("cgroup", &table, &format!("/{}\n", pod.id))
}

fn start(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.create(SLEEP, Wish::default())?;
    same("state", container.status()?.0.number(3), CREATED)?;
    container.call("StartContainer")?;
    let (status, _) = container.status()?;
    same("state", status.number(3), RUNNING)?;
    that("the runtime lists it", cri.runtime_list()?.contains(&container.id))?;
    same("comm", fs::read_to_string(format!("/proc/{}/comm", container.pid()?))?, "sleep\n")?;
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    has("cgroup", &table, &format!(":/{}/pod-", cri.tag))?;
    has("cgroup", &table, &format!("/{}\n", container.id))?;
    exec_joins_cgroup(|script| container.sh(script))
}

/// The words are those of the runtime, as a pod's events show them.
fn no_such_program(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let entry = Wish { config: Message::default().text(3, "no-such-program"), ..Wish::default() };
    let container = pod.create("", entry)?;
    let text = cri.refused("StartContainer", &Message::default().text(1, &container.id))?;
    has("message", &text, "exec: \"no-such-program\": executable file not found in $PATH")
}

fn exec(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start(SLEEP, Wish::default())?;
    let result = container.exec(&["sh", "-c", "echo out; echo err >&2; exit 5"], 0)?;
    same("streams and code", result, ("out\n".to_owned(), "err\n".to_owned(), 5))?;
    same("the shell's own pid", container.sh("cat /proc/1/comm")?, "sleep")?;
    let request = Message::default().text(1, &container.id).texts(2, &["no-such"]);
    has("no such program", &cri.refused("ExecSync", &request)?, "executable file not found in $PATH")
}

fn exec_timeout(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start(SLEEP, Wish::default())?;
    let request = Message::default().text(1, &container.id).texts(2, &["sleep", "3000"]).number(3, 1);
    has("message", &cri.refused("ExecSync", &request)?, "timeout 1s exceeded")?;
    eventually(SOON, || same("killed", container.sh("ps -o args | grep -c '[s]leep 3000'; true")?, "0"))
}

fn process(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let dir = cri.dir.join("mounts");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("in"), "from host")?;
    let mount = |to: &str, read_only| {
        Message::default().text(1, to).text(2, dir.to_string_lossy()).number(3, read_only)
    };
    let config = Message::default()
        .text(5, "/home/tester")
        .message(6, Message::default().text(1, "A").text(2, "b c"))
        .message(7, mount("/read", 1))
        .message(7, mount("/new/write", 0));
    let container = pod.start(SLEEP, Wish { config, ..Wish::default() })?;
    let script = "echo $A $FROM_IMAGE; pwd; cat /read/in; echo from box > /new/write/out; \
        ! echo x 2>/dev/null > /read/out";
    same("process", container.sh(script)?, "b c yes\n/home/tester\nfrom host")?;
    same("written", fs::read_to_string(dir.join("out"))?, "from box\n")
}

fn user(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let security = Message::default().text(6, USER).number(7, 1).number(8, 77).number(11, 1);
    let container = pod.start(SLEEP, Wish { security, ..Wish::default() })?;
    let text = container.sh("! touch /a 2>/dev/null; cat /proc/1/status")?;
    same("user", status_field(&text, "Uid")?.split('\t').next(), Some(&*USER_ID.to_string()))?;
    let groups: Vec<_> = status_field(&text, "Groups")?.split_whitespace().collect();
    for group in ["77".to_owned(), EXTRA_GROUP.to_string()] {
        that(&format!("{group} is in {groups:?}"), groups.contains(&&*group))?;
    }
    same("NoNewPrivs", status_field(&text, "NoNewPrivs")?, "1")?;
    has("root", &container.sh("grep ' / ' /proc/mounts")?, " overlay ro,")
}

fn capabilities(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let effective = |wish: Message| {
        let security = Message::default().message(1, wish);
        let text = pod.start(SLEEP, Wish { security, ..Wish::default() })?.sh("cat /proc/1/status")?;
        status_field(&text, "CapEff").map(str::to_owned)
    };
    same("default", effective(Message::default())?, "00000000a80425fb")?;
    let wish = Message::default().text(1, "NET_ADMIN").text(2, "ALL");
    same("NET_ADMIN alone", effective(wish)?, "0000000000001000")
}

fn privileged(cri: &Cri) -> Outcome {
    let all = grants_everything(&cri.runtime)?;
    let wish = || Wish { security: Message::default().number(2, 1), ..Wish::default() };
    // Only a privileged pod may have privileged containers.
    let pod = plain(cri)?;
    let text = cri.refused("CreateContainer", &pod.request(SLEEP, wish()))?;
    has("message", &text, "no privileged container allowed in sandbox")?;
    let pod = Pod::run(cri, PodWish { privileged: true, ..PodWish::default() })?;
    let container = pod.start(SLEEP, wish())?;
    let script = "mkdir -p /mnt; mount -t tmpfs x /mnt && echo mounted; test -c /dev/fuse && echo devices; \
        cat /proc/1/status";
    let text = container.sh(script)?;
    has("effects", &text, "mounted\ndevices\n")?;
    same("effective", status_field(&text, "CapEff")?, all)?;
    same("Seccomp", status_field(&text, "Seccomp")?, "0")
}

fn seccomp(cri: &Cri) -> Outcome {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    let pod = plain(cri)?;
    let shown = |kind| {
        let security = Message::default().message(15, Message::default().number(1, kind));
        let container = pod.start(SLEEP, Wish { security, ..Wish::default() })?;
        container.sh("grep Seccomp: /proc/self/status; unshare -U true 2>/dev/null; echo $?")
    };
    same("RuntimeDefault", shown(0)?, "Seccomp:\t2\n1")?;
    same("Unconfined", shown(1)?, "Seccomp:\t0\n0")
}

fn masked(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let security = Message::default().texts(13, &["/proc/kcore", "/etc/group"]).text(14, "/proc/sys");
    let container = pod.start(SLEEP, Wish { security, ..Wish::default() })?;
    let script = "cat /proc/kcore /etc/group | wc -c; ! echo x 2>/dev/null > /proc/sys/kernel/hostname";
    same("bytes", container.sh(script)?, "0")
}

fn of_limits(memory: u64, quota: u64) -> Message {
    Message::default().number(1, 100_000).number(2, quota).number(3, 512).number(4, memory)
}

fn limits(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let resources = of_limits(64 << 20, 50_000).number(5, 700);
    let container = pod.start(SLEEP, Wish { resources, ..Wish::default() })?;
    let pid = container.pid()?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "50000")?;
    same("score", container.sh("cat /proc/1/oom_score_adj")?, "700")
}

fn update(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let resources = of_limits(64 << 20, 50_000);
    let container = pod.start(SLEEP, Wish { resources, ..Wish::default() })?;
    let pid = container.pid()?;
    let request = Message::default().text(1, &container.id).message(2, of_limits(80 << 20, 25_000));
    cri.call("UpdateContainerResources", &request)?;
    same("memory", cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max")?, "83886080")?;
    has("quota", &cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?, "25000")?;
    same("it still runs", container.sh("echo here")?, "here")
}

fn stats(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start("while :; do usleep 1000; done", Wish::default())?;
    eventually(SOON, || {
        let stats = container.call("ContainerStats")?.message(1)?;
        same("id", stats.message(1)?.text(1), &*container.id)?;
        that("CPU time", stats.message(2)?.message(2)?.number(1) > 0)?;
        that("memory", stats.message(3)?.message(2)?.number(1) > 0)
    })
}

fn log(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start("echo out; echo err >&2", Wish::default())?;
    await_exit(&container, 0)?;
    let path = container.status()?.0.text(15);
    eventually(SOON, || {
        let text = fs::read_to_string(&path)?;
        has("stdout", &text, " stdout F out\n")?;
        has("stderr", &text, " stderr F err\n")
    })
}

fn await_exit(container: &client::Container<'_>, code: u64) -> Outcome {
    eventually(SOON, || {
        let (status, _) = container.status()?;
        same("state and exit code", (status.number(3), status.number(7)), (EXITED, code))
    })
}

fn namespace(pid: u32, kind: &str) -> Result<u64, Stop> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/{kind}"))?.ino())
}

/// The namespaces that two processes share.
fn shared(one: u32, two: u32) -> Result<Vec<&'static str>, Stop> {
    let mut shared = Vec::new();
    for kind in ["ipc", "mnt", "net", "pid", "uts"] {
        if namespace(one, kind)? == namespace(two, kind)? {
            shared.push(kind);
        }
    }
    Ok(shared)
}

fn host_network(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start(SLEEP, Wish::default())?;
    same("with the host", shared(container.pid()?, std::process::id())?, vec!["net", "uts"])?;
    same("with the pod", shared(container.pid()?, pod.pid()?)?, vec!["ipc", "net", "uts"])
}

fn pod_pid(cri: &Cri) -> Outcome {
    let pod = Pod::run(cri, PodWish { pid: POD, ..PodWish::default() })?;
    let (one, two) = (pod.start(SLEEP, Wish::default())?, pod.start("sleep 2000", Wish::default())?);
    same("with the pod", shared(one.pid()?, pod.pid()?)?, vec!["ipc", "net", "pid", "uts"])?;
    let seen = one.sh("cat /proc/1/comm; ps -o args | grep -c '[s]leep [12]000'")?;
    same("seen by one", seen, "pause\n2")?;
    // A container without a PID namespace of its own still ends as a whole.
    two.exec(&["sh", "-c", "sleep 3000 > /dev/null 2>&1 &"], 0)?;
    two.stop(0)?;
    eventually(SOON, || {
        let count = one.sh("ps -o args | grep -c '[s]leep [23]000'; true")?;
        same("processes of two", count, "0")
    })
}

fn host_pid(cri: &Cri) -> Outcome {
    let pod = Pod::run(cri, PodWish { pid: NODE, ..PodWish::default() })?;
    let container = pod.start(SLEEP, Wish::default())?;
    let own = std::process::id();
    same("with the host", shared(container.pid()?, own)?, vec!["net", "pid", "uts"])?;
    same("seen", container.sh(&format!("cat /proc/{own}/comm"))?, {
        fs::read_to_string("/proc/self/comm")?.trim_end().to_owned()
    })
}

fn network(cri: &Cri) -> Outcome {
    let pod = Pod::run(cri, PodWish { network: POD, ..PodWish::default() })?;
    let address = pod.status()?.0.message(5)?.text(1);
    has("address", &address, "10.199.0.")?;
    let serve = format!("mkdir /www; echo page > /www/index.html; exec httpd -f -p {address}:8080 -h /www");
    let (server, client) = (pod.start(&serve, Wish::default())?, pod.start(SLEEP, Wish::default())?);
    same("the two", shared(server.pid()?, client.pid()?)?, vec!["ipc", "net", "uts"])?;
    same("host name", client.sh("hostname")?, "box")?;
    let ask = |url: &str| format!("wget -q -O - http://{url}/index.html");
    eventually(SOON, || same("in the pod", client.sh(&ask(&format!("{address}:8080")))?, "page"))?;
    let other = Pod::run(cri, PodWish { network: POD, ..PodWish::default() })?;
    let third = other.start(SLEEP, Wish::default())?;
    same("from another pod", third.sh(&ask(&format!("{address}:8080")))?, "page")
}

fn sysctls(cri: &Cri) -> Outcome {
    let sysctls = [("net.ipv4.ip_unprivileged_port_start", "7"), ("kernel.msgmax", "9000")];
    let pod = Pod::run(cri, PodWish { network: POD, sysctls: &sysctls, ..PodWish::default() })?;
    let container = pod.start(SLEEP, Wish::default())?;
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax";
    same("values", container.sh(script)?, "7\n9000")
}

/// Users of the pod's own: the image's files belong to its root, and a directory of the host is shown so too.
fn own_users(cri: &Cri) -> Outcome {
    if cri
        .call("Version", &Message::default().text(1, "v1"))?
        .text(3)
        .trim_start_matches('v')
        .starts_with('1')
    {
        return Err(Stop::Skipped("containerd 1 ignores the wish, or copies the image".to_owned()));
    }
    let users = Some((200_000, 65_536));
    let pod = Pod::run(cri, PodWish { network: POD, users, ..PodWish::default() })?;
    let volume = cri.dir.join("volume");
    fs::create_dir_all(&volume)?;
    fs::write(volume.join("file"), "")?;
    let map = || Message::default().number(1, 200_000).number(2, 0).number(3, 65_536);
    let mount = Message::default().text(1, "/volume").text(2, volume.to_string_lossy());
    let config = Message::default().message(7, mount.message(6, map()).message(7, map()));
    let container = pod.start(SLEEP, Wish { config, ..Wish::default() })?;
    for pid in [pod.pid()?, container.pid()?] {
        let text = fs::read_to_string(format!("/proc/{pid}/uid_map"))?;
        same("map", text.split_whitespace().collect::<Vec<_>>(), ["0", "200000", "65536"])?;
    }
    let script = "stat -c %u:%g /bin/busybox /home/tester /volume/file; cat /proc/self/uid_map | tr -s ' '; \
        echo new > /etc/passwd && touch /volume/new && echo wrote";
    let want = format!("0:0\n{USER_ID}:{USER_ID}\n0:0\n 0 200000 65536\nwrote");
    same("inside", container.sh(script)?, want)?;
    same("on the host", fs::metadata(volume.join("new"))?.uid(), 0)?;
    that("no layer stays mounted", mounts_with("ovl-idmapped")?.is_empty())
}

fn stop_handled(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let script = "trap 'exit 9' TERM; touch /ready; while :; do sleep 0.1; done";
    let container = pod.start(script, Wish::default())?;
    eventually(SOON, || container.sh("test -e /ready").map(drop))?;
    container.stop(30)?;
    await_exit(&container, 9)
}

fn stop_killed(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start("trap '' TERM; touch /ready; while :; do sleep 0.1; done", Wish::default())?;
    eventually(SOON, || container.sh("test -e /ready").map(drop))?;
    let pid = container.pid()?;
    container.stop(1)?;
    await_exit(&container, 137)?;
    that("its process is gone", !PathBuf::from(format!("/proc/{pid}")).exists())
}

fn restart(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let first = pod.start("exit 3", Wish::default())?;
    await_exit(&first, 3)?;
    first.call("RemoveContainer")?;
    let second = pod.start(SLEEP, Wish::default())?;
    let mut list = cri.runtime_list()?;
    list.retain(|id| *id != pod.id);
    same("the runtime's list", list, vec![second.id.clone()])
}

fn remove(cri: &Cri) -> Outcome {
    let pod = plain(cri)?;
    let container = pod.start(SLEEP, Wish::default())?;
    let pids = [pod.pid()?, container.pid()?];
    drop(pod);
    for pid in pids {
        that("its process is gone", !PathBuf::from(format!("/proc/{pid}")).exists())?;
    }
    that("containerd does not know it", container.status().is_err())?;
    same("the runtime's list", cri.runtime_list()?, Vec::<String>::new())
}

/// No container, no cgroup below a pod's, no mount.
fn nothing_left(cri: &Cri) -> Outcome {
    same("the runtime's list", cri.runtime_list()?, Vec::<String>::new())?;
    let pods = hierarchies().into_iter().flat_map(|root| directories(&root.join(&cri.tag)));
    same("cgroups", pods.flat_map(|pod| directories(&pod)).collect::<Vec<_>>(), Vec::<PathBuf>::new())?;
    same("mounts", mounts_with("/io.containerd.runtime")?, Vec::<String>::new())
}
