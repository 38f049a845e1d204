//! What a node of Kubernetes 1.36 asks for beyond the plain calls: volumes, limits, a pod with users of its own, and
//! the environment of its monitors.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::engine::Engine;
use crate::support::{Running as _, privileged, runtime_path, until};

/// A tmpfs in the test's own mount namespace; undone at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(path: &str) -> Self {
        fs::create_dir_all(path).expect("a directory");
        let none = None::<&str>;
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), none).expect("a tmpfs");
        mount(none, path, none, MsFlags::MS_PRIVATE, none).expect("propagation");
        Self(path.into())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).expect("unmounted");
    }
}

fn mounts(engine: &mut Engine) -> &mut Vec<Value> {
    engine.bundle.config["mounts"].as_array_mut().expect("mounts")
}

/// CRI-O reads both streams together, and decides by it what handlers can do.
#[test]
fn features_are_all_that_is_printed() {
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(runtime_path());
    let run = command.go(&["features"]).ok();
    let features: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    assert!(features["linux"]["intelRdt"]["enabled"].is_boolean(), "{features}");
}

/// CRI-O gives no `--log`: what is said of capabilities goes into the container's log once, and not into each exec's.
#[test]
fn capabilities_are_warned_of_once() {
    if !privileged() {
        return;
    }
    let mut engine = Engine::new("sleep 1000");
    let set = json!(["CAP_KILL", "CAP_NO_SUCH"]);
    engine.bundle.config["process"]["capabilities"] =
        json!({"bounding": set, "permitted": set, "effective": set});
    engine.bundle.write();
    let (root, bundle) = (engine.root(), engine.path(""));
    let created = engine.go(&["--root", &root, "create", "--bundle", &bundle, &engine.id]);
    let lines = created.stderr.lines().count();
    assert!(created.code == 0 && created.stderr.contains("CAP_NO_SUCH") && lines == 1, "{created:?}");
    engine.silent(&["--root", &root, "start", &engine.id]);
    let process = engine.process(&["true"], |_| {});
    engine.silent(&["--root", &root, "exec", "--process", &process, &engine.id]);
}

/// conmon's `create`: pipes that are its own, and no HOME.
#[test]
fn create_by_conmon_with_its_pipes() {
    if !privileged() {
        return;
    }
    let engine =
        Engine::new("env > /data/new; ls /proc/self/fd > /data/fds; mv /data/new /data/env; sleep 1000");
    let (root, bundle, pid) = (format!("--root={}", engine.root()), engine.path(""), engine.path("pidfile"));
    // conmon closes its ends for the runtime (FD_CLOEXEC), but leaves their numbers in the environment.
    let mut command = engine.command();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("_OCI_SYNCPIPE", "3").env("_OCI_STARTPIPE", "4");
    let run = command.go(&[&root, "create", "--bundle", &bundle, "--pid-file", &pid, &engine.id]);
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (0, "", ""));
    assert!(engine.pid("pidfile") > 1);
    engine.silent(&[&root, "start", &engine.id]);
    engine.wait_for_file("env");
    let environment = fs::read_to_string(engine.path("env")).expect("variables");
    assert!(!environment.contains("_OCI_"), "{environment}");
    assert!(environment.contains("HOME=/root\n"), "the one of /etc/passwd: {environment}");
    // 3 is that of ls(1) itself.
    assert_eq!(fs::read_to_string(engine.path("fds")).expect("numbers"), "0\n1\n2\n3\n");
}

/// An image as a volume: an overlay of lower directories alone, which nobody can write.
#[test]
fn an_image_is_a_volume() {
    if !privileged() {
        return;
    }
    let mut engine = Engine::new("sleep 1000");
    for (layer, file) in [("upper", "both"), ("upper", "one"), ("lower", "both"), ("lower", "other")] {
        fs::create_dir_all(engine.path(layer)).expect("a layer");
        fs::write(engine.path(&format!("{layer}/{file}")), layer).expect("a file");
    }
    let layers = format!("lowerdir={}:{}", engine.path("upper"), engine.path("lower"));
    let volume =
        json!({"destination": "/image", "type": "overlay", "source": "overlay", "options": [layers]});
    mounts(&mut engine).push(volume);
    engine.bundle.write();
    let engine = engine.started();
    assert_eq!(engine.sh("cd /image; ls; cat both one other"), "both\none\nother\nupperupperlower");
    assert_eq!(engine.sh("touch /image/new 2>&1; true"), "touch: /image/new: Read-only file system\n");
}

/// `recursiveReadOnly: Enabled`, with the options of CRI-O.
#[test]
fn a_volume_is_read_only_with_all_below() {
    if !privileged() {
        return;
    }
    let mut engine = Engine::new("sleep 1000");
    fs::create_dir(engine.path("volume")).expect("a directory");
    let _below = Tmpfs::new(&engine.path("volume/below"));
    for (at, options) in [
        ("/ro", json!(["rbind", "rprivate", "rro", "bind"])),
        ("/rw", json!(["rbind", "rprivate", "ro", "bind"])),
    ] {
        let volume =
            json!({"destination": at, "type": "bind", "source": engine.path("volume"), "options": options});
        mounts(&mut engine).push(volume);
    }
    engine.bundle.write();
    let engine = engine.started();
    let refused = "touch: /ro/new: Read-only file system\ntouch: /ro/below/new: Read-only file system\n";
    assert_eq!(engine.sh("touch /ro/new 2>&1; touch /ro/below/new 2>&1; true"), refused);
    // Without the first r, the mount below stays as it is.
    assert_eq!(engine.sh("touch /rw/below/new && ls /ro/below"), "new\n");
    assert!(!engine.sh("cat /proc/self/mountinfo").contains("shared:"), "rprivate");
}

/// The value of a limit in the container's cgroup, on v1 or v2.
fn limit(engine: &Engine, files: [(&str, &str); 2]) -> Option<String> {
    let state = engine.json(&["--root", &engine.root(), "state", &engine.id]);
    let table = fs::read_to_string(format!("/proc/{}/cgroup", state["pid"])).expect("cgroups");
    let [(controller, v1), (_, v2)] = files;
    let found = table.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        match names.split(',').any(|name| name == controller) {
            true => fs::read_to_string(format!("/sys/fs/cgroup/{controller}{path}/{v1}")).ok(),
            false if names.is_empty() => fs::read_to_string(format!("/sys/fs/cgroup{path}/{v2}")).ok(),
            false => None,
        }
    });
    found.map(|text| text.trim().to_owned())
}

/// A pod that is resized in place: the shim of containerd 2.4 hands over what CRI said, and the container runs on.
#[test]
fn resize_in_place() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let root = engine.root();
    let pid = engine.json(&["--root", &root, "state", &engine.id])["pid"].clone();
    let memory = [("memory", "memory.limit_in_bytes"), ("memory", "memory.max")];
    let weight = [("cpu", "cpu.shares"), ("cpu", "cpu.weight")];
    let quota = [("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.max")];
    let (has_memory, has_cpu) = (limit(&engine, memory).is_some(), limit(&engine, weight).is_some());
    if !has_memory && !has_cpu {
        eprintln!("skipped: no controller for memory or cpu in this view");
        return;
    }
    for (size, shares, weights, time) in
        [(128_u64 << 20, 512, ["512", "59"], 50_000), (64 << 20, 2, ["2", "1"], 20_000)]
    {
        let mut resources = json!({"unified": {}, "hugepageLimits": []});
        if has_memory {
            resources["memory"] = json!({"limit": size, "swap": size});
        }
        if has_cpu {
            resources["cpu"] =
                json!({"shares": shares, "quota": time, "period": 100_000, "cpus": "", "mems": ""});
        }
        let run =
            engine.go_with(&resources.to_string(), &["--root", &root, "update", "--resources=-", &engine.id]);
        assert_eq!((run.code, &*run.stdout, &*run.stderr), (0, "", ""));
        if has_memory {
            assert_eq!(limit(&engine, memory), Some(size.to_string()));
        }
        if has_cpu {
            let found = limit(&engine, weight).expect("a weight");
            assert!(weights.contains(&&*found), "{shares} shares are {found}");
            let found = limit(&engine, quota).expect("a quota");
            assert!([time.to_string(), format!("{time} 100000")].contains(&found), "{found}");
        }
    }
    let state = engine.json(&["--root", &root, "state", &engine.id]);
    assert_eq!((&state["pid"], &state["status"]), (&pid, &json!("running")));
}

/// A besteffort container of CRI-O: the least share, and a limit of 0 for each size of huge pages, whether the
/// machine can limit them or not. It is ended right after its start.
#[test]
fn a_besteffort_container_that_ends_at_once() {
    if !privileged() {
        return;
    }
    let sizes: Vec<Value> = fs::read_dir("/sys/kernel/mm/hugepages")
        .map(|entries| {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_else(|_| vec!["hugepages-2048kB".to_owned()])
        .iter()
        .filter_map(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok())
        .map(|kilobytes| match kilobytes {
            1_048_576.. => format!("{}GB", kilobytes >> 20),
            1024.. => format!("{}MB", kilobytes >> 10),
            _ => format!("{kilobytes}KB"),
        })
        .map(|size| json!({"pageSize": size, "limit": 0}))
        .collect();
    let mut engine = Engine::new("trap 'exit 9' TERM; touch /data/ready; while :; do sleep 0.01; done");
    engine.bundle.config["linux"]["resources"]["hugepageLimits"] = json!(sizes);
    let shares = limit_of_cpu_is_possible();
    if shares {
        engine.bundle.config["linux"]["resources"]["cpu"] = json!({"shares": 2});
    }
    engine.bundle.write();
    let (root, bundle) = (engine.root(), engine.path(""));
    engine.silent(&["--root", &root, "create", "--bundle", &bundle, &engine.id]);
    if shares {
        let found = limit(&engine, [("cpu", "cpu.shares"), ("cpu", "cpu.weight")]).expect("a weight");
        assert!(["2", "1"].contains(&&*found), "{found}");
    }
    engine.silent(&["--root", &root, "start", &engine.id]);
    let end = || engine.go(&["--root", &root, "kill", &engine.id, "15"]);
    assert_eq!(end().code, 0, "it runs");
    // Its program may not have had a handler yet: as the init of its namespace it did not see the signal then.
    until("stopped", || {
        let stopped = engine.status() == "stopped";
        if !stopped && Path::new(&engine.path("ready")).exists() {
            end();
        }
        stopped
    });
    engine.go(&["--root", &root, "kill", "-a", &engine.id, "9"]);
    engine.silent(&["--root", &root, "delete", &engine.id]);
}

fn limit_of_cpu_is_possible() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    Path::new("/sys/fs/cgroup/cpu").exists() || controllers.split_whitespace().any(|name| name == "cpu")
}

/// The last bytes of a short `kubectl exec -it` arrive. The terminal shows the NUL (`^@`) that script(1) types at the end of
/// its own input.
#[test]
fn the_last_bytes_of_a_terminal_arrive() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let process =
        engine.process(&["sh", "-c", "seq 1 500; echo last"], |process| process["terminal"] = json!(true));
    let line = format!(
        "exec {} --root {} exec --process {process} {}",
        runtime_path().display(),
        engine.root(),
        engine.id
    );
    for round in 0..30 {
        let run = Command::new("script").args(["-qec", &line, "/dev/null"]).go::<&str>(&[]);
        let text = run.stdout.replace("^@", "");
        assert!(run.code == 0 && text.ends_with("\r\n500\r\nlast\r\n"), "round {round}: {run:?}");
    }
}

const FIRST: u32 = 700_000;
const COUNT: u32 = 65_536;

/// Gives a bundle the users of the pod, as the engine does with the layers of its image.
fn remap(engine: &mut Engine) {
    let map = json!([{"containerID": 0, "hostID": FIRST, "size": COUNT}]);
    engine.bundle.config["linux"]["uidMappings"] = map.clone();
    engine.bundle.config["linux"]["gidMappings"] = map;
    let script = format!("chmod 755 {0} && chown -hR {FIRST}:{FIRST} {0}/rootfs", engine.path(""));
    Command::new("sh").args(["-c", &script]).go::<&str>(&[]).ok();
    // The engine's own files are root's, and stay so: the test looks at what the container makes.
    fs::create_dir(engine.path("said")).expect("a directory");
    chown(engine.path("said"), Some(FIRST), Some(FIRST)).expect("an owner");
}

fn namespaces(engine: &mut Engine, list: &[Value]) {
    engine.bundle.config["linux"]["namespaces"] = json!(list);
}

/// `hostUsers: false`: the sandbox makes the user namespace and all that belongs to it, and the container joins by path,
/// with the same maps.
#[test]
fn a_pod_with_its_own_users() {
    if !privileged() {
        return;
    }
    let new = |kind: &str| json!({"type": kind});
    let mut sandbox = Engine::new("exec sleep 1000");
    remap(&mut sandbox);
    namespaces(&mut sandbox, &["user", "pid", "ipc", "uts", "mount", "network"].map(new));
    sandbox.bundle.config["hostname"] = json!("pod");
    sandbox.bundle.config["linux"]["sysctl"] =
        json!({"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 65535"});
    sandbox.bundle.write();
    let sandbox = sandbox.started();
    let pid = sandbox.json(&["--root", &sandbox.root(), "state", &sandbox.id])["pid"].clone();
    let outside = fs::metadata(format!("/proc/{pid}")).expect("a process");
    assert_eq!(outside.uid(), FIRST, "root of the pod is nobody on the host");
    assert_eq!(sandbox.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "0\n");

    let mut engine = Engine::new("exec sleep 1000");
    remap(&mut engine);
    let join = |kind: &str, file: &str| json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")});
    namespaces(
        &mut engine,
        &[
            join("user", "user"),
            join("network", "net"),
            join("ipc", "ipc"),
            join("uts", "uts"),
            new("pid"),
            new("mount"),
        ],
    );
    engine.bundle.config.as_object_mut().expect("an object").remove("hostname");
    let volume = json!({"destination": "/said", "type": "bind", "source": engine.path("said"), "options": ["rbind", "rprivate", "rw"]});
    mounts(&mut engine).push(volume);
    engine.bundle.write();
    let engine = engine.started();
    let map = engine.sh("tr -s ' ' < /proc/self/uid_map");
    assert_eq!(map.trim(), format!("0 {FIRST} {COUNT}"));
    assert_eq!(
        engine.sh("id -u; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"),
        "0\npod\n0\n"
    );
    // Both see one network, with its own sysfs.
    assert_eq!(engine.sh("ls /sys/class/net"), sandbox.sh("ls /sys/class/net"));
    engine.sh("touch /said/file && chown 5:6 /said/file 2>/dev/null || true");
    let file = fs::metadata(engine.path("said/file")).expect("a file");
    assert!(file.uid() >= FIRST, "the host sees an id of the pod: {}", file.uid());
    // What is the node's root's, in the pod is nobody's, and not writable.
    assert_eq!(engine.sh("stat -c %u /data; touch /data/new 2>&1 | grep -c denied"), "65534\n1\n");
    for one in [&engine, &sandbox] {
        one.silent(&["--root", &one.root(), "kill", &one.id, "KILL"]);
        one.wait_for("stopped");
        one.silent(&["--root", &one.root(), "delete", &one.id]);
    }
}

/// A volume of such a pod has maps of its own and no option for them: its files belong to the pod's users inside and to
/// the node's outside.
#[test]
fn a_volume_with_maps_and_no_option() {
    if !privileged() {
        return;
    }
    let mut engine = Engine::new("exec sleep 1000");
    remap(&mut engine);
    namespaces(
        &mut engine,
        &["user", "pid", "ipc", "uts", "mount", "network"].map(|kind| json!({"type": kind})),
    );
    fs::create_dir(engine.path("volume")).expect("a directory");
    fs::write(engine.path("volume/old"), "").expect("a file");
    chown(engine.path("volume/old"), Some(5), Some(6)).expect("an owner");
    let map = json!([{"containerID": 0, "hostID": FIRST, "size": COUNT}]);
    let volume = json!({
        "destination": "/volume", "type": "bind", "source": engine.path("volume"),
        "options": ["rbind", "rprivate", "rw"], "uidMappings": map, "gidMappings": map,
    });
    mounts(&mut engine).push(volume);
    engine.bundle.write();
    let (root, bundle) = (engine.root(), engine.path(""));
    let run = engine.go(&["--root", &root, "create", "--bundle", &bundle, &engine.id]);
    // EINVAL is also what a wrong call gives: only file systems known for it may skip.
    let known = nix::sys::statfs::statfs(engine.bundle.path()).expect("statfs").filesystem_type();
    if run.code != 0 && known != nix::sys::statfs::EXT4_SUPER_MAGIC {
        eprintln!("skipped: no idmapped mounts on file system {known:?}: {}", run.stderr);
        return;
    }
    run.ok();
    engine.silent(&["--root", &root, "start", &engine.id]);
    assert_eq!(engine.sh("stat -c %u:%g /volume/old; touch /volume/new"), "5:6\n");
    let new = fs::metadata(engine.path("volume/new")).expect("a file");
    assert_eq!((new.uid(), new.gid()), (0, 0), "root of the pod writes as root of the node");
    until("the end", || engine.go(&["--root", &root, "kill", &engine.id, "9"]).code == 0);
}
