//! Callers without privileges: a user of the machine with no rights but its own.

use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::seccomp_agent::{Agent, Answers};
use crate::support::{Bundle, Run, Running as _, copy_runtime, privileged, until};

/// An id that no machine gives to anybody.
const USER: u32 = 54_321;

/// A bundle of the user, and a copy of the program that the user can reach.
struct Rootless {
    bundle: Bundle,
    program: PathBuf,
    number: u32,
}

impl Rootless {
    /// A bundle with the configuration that `spec --rootless` writes, for `args`.
    fn new(args: &[&str]) -> Self {
        let bundle = Bundle::new(args);
        let program = bundle.path().join("runtime");
        copy_runtime(&program);
        std::fs::create_dir(bundle.path().join("run")).expect("a directory");
        std::fs::remove_file(bundle.path().join("config.json")).expect("removed");
        give(bundle.path());
        let mut rootless = Self { bundle, program, number: 0 };
        rootless.go(&["spec", "--rootless"]).ok();
        let text = std::fs::read(rootless.bundle.path().join("config.json")).expect("config.json");
        let config: Value = serde_json::from_slice(&text).expect("JSON");
        rootless.change(|whole| {
            *whole = config;
            whole["process"]["terminal"] = json!(false);
            whole["process"]["args"] = json!(args);
        });
        rootless
    }

    fn change(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.bundle.config);
        self.bundle.write();
    }

    /// Runs the program as the user, who has the bundle's `run` as XDG_RUNTIME_DIR.
    fn go(&self, words: &[&str]) -> Run {
        Command::new("setpriv")
            .args(["--clear-groups", "--inh-caps=-all", "--bounding-set=+all", "--reuid"])
            .arg(USER.to_string())
            .arg("--regid")
            .arg(USER.to_string())
            .arg(&self.program)
            .current_dir(self.bundle.path())
            .env("XDG_RUNTIME_DIR", self.bundle.path().join("run"))
            .env_remove("USER")
            .go(words)
    }

    fn id(&mut self) -> String {
        self.number += 1;
        format!("rootless-{}", self.number)
    }

    fn state(&self) -> PathBuf {
        self.bundle.path().join("run/runtime")
    }

    fn status(&self, id: &str) -> String {
        let state: Value = serde_json::from_str(&self.go(&["state", id]).ok().stdout).expect("JSON");
        state["status"].as_str().expect("a status").to_owned()
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        for number in 1..=self.number {
            let run = self.go(&["delete", "--force", &format!("rootless-{number}")]);
            assert!(run.code == 0 || std::thread::panicking(), "delete --force: {run:?}");
        }
    }
}

/// Gives a directory with all that is in it to the user.
fn give(path: &Path) {
    lchown(path, Some(USER), Some(USER)).expect("an owner");
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).expect("a directory") {
            give(&entry.expect("an entry").path());
        }
    }
}

#[test]
fn without_a_cgroup_and_a_pid_namespace_there_is_a_warning() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["sleep", "1000"]);
    let warning = "no cgroup and no PID namespace of its own";
    let id = user.id();
    let own = user.go(&["create", &id]).ok();
    assert!(!own.stderr.contains(warning), "{own:?}");
    user.change(|config| {
        let list = |name: &str| config["linux"][name].as_array().cloned();
        let mut namespaces = list("namespaces").expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "pid");
        config["linux"]["namespaces"] = json!(namespaces);
        // The procfs of another PID namespace cannot be mounted.
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["type"] != "proc");
        mounts.insert(0, json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]}));
    });
    for words in [&["create"][..], &["run", "-d"]] {
        let id = user.id();
        let shared = user.go(&[words, &[&id]].concat());
        assert!(shared.code == 0 && shared.stderr.contains(warning), "{shared:?}");
    }
}

#[test]
fn a_cgroup_of_the_same_name_is_not_in_the_way() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["true"]);
    let id = format!("{}-{}", user.id(), std::process::id());
    // An empty one, of root, in every hierarchy.
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let hierarchies = text.lines().filter(|line| line.contains(" - cgroup"));
    let taken: Vec<PathBuf> = hierarchies
        .map(|line| Path::new(line.split(' ').nth(4).expect("a mount point")).join(&id))
        .filter(|path| !path.exists() && std::fs::create_dir(path).is_ok())
        .collect();
    let run = user.go(&["run", &id]);
    for path in &taken {
        std::fs::remove_dir(path).expect("it is empty");
    }
    assert!(!taken.is_empty(), "no cgroups");
    run.ok();
}

#[test]
fn the_rootless_configuration_runs() {
    if !privileged() {
        return;
    }
    let script = "id -u; id -g; cat /proc/self/uid_map; touch /tmp/file; grep Cap[EB] /proc/self/status";
    let mut user = Rootless::new(&["sh", "-c", script]);
    user.change(|config| config["root"]["readonly"] = json!(false));
    let id = user.id();
    let text = user.go(&["run", &id]).ok().stdout;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = USER.to_string();
    let mask = "0000000020000420";
    assert_eq!(words, ["0", "0", "0", &number, "1", "CapEff:", mask, "CapBnd:", mask]);
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(user.bundle.path().join("rootfs/tmp/file")).expect("a file");
    assert_eq!((file.uid(), file.gid()), (USER, USER));
}

/// The init waits for the agent without any privilege of the caller over the host.
#[test]
fn a_seccomp_agent_of_the_user() {
    if !privileged() {
        return;
    }
    for value in [true, false] {
        let mut user = Rootless::new(&["sh", "-c", "echo hello"]);
        let socket = user.bundle.path().join("agent");
        user.change(|config| {
            config["process"]["noNewPrivileges"] = json!(value);
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": socket});
        });
        let agent = Agent::new(&socket, Answers::Continue);
        let id = user.id();
        assert_eq!(user.go(&["run", &id]).ok().stdout, "hello\n");
        agent.state();
        let id = user.id();
        user.go(&["create", &id]).ok();
        agent.state();
        user.go(&["start", &id]).ok();
        assert!(agent.is_idle());
    }
}

/// The init of an `exec` was executed outside of the container's user namespace and is not dumpable, so that
/// only the host's root may reach into it: the caller is told, and nothing of the process stays.
#[test]
fn an_exec_that_cannot_give_its_listener() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["sleep", "1000"]);
    let socket = user.bundle.path().join("agent");
    user.change(|config| {
        let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
        config["linux"]["seccomp"] =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": socket});
        config["root"]["readonly"] = json!(false);
    });
    let agent = Agent::new(&socket, Answers::Continue);
    let id = user.id();
    user.go(&["create", &id]).ok();
    user.go(&["start", &id]).ok();
    agent.state();
    let run = user.go(&["exec", &id, "touch", "/tmp/ran"]).fails(255, "pidfd_getfd of the seccomp listener");
    assert!(run.stderr.contains("CAP_SYS_PTRACE"), "{run:?}");
    assert_eq!(user.status(&id), "running");
    assert!(!user.bundle.path().join("rootfs/tmp/ran").exists());
    assert!(agent.is_idle());
}

#[test]
fn life_of_a_rootless_container() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["sleep", "1000"]);
    let id = user.id();
    user.go(&["create", &id]).ok();
    assert_eq!(user.status(&id), "created");
    assert!(user.state().join(&id).is_dir());
    let mode = std::fs::metadata(user.state()).expect("the state").permissions().mode();
    assert_eq!(mode & 0o7777, 0o1700, "{mode:o}");
    user.go(&["start", &id]).ok();
    let run = user.go(&[
        "exec",
        &id,
        "sh",
        "-c",
        "id -u; readlink /proc/1/ns/user; readlink /proc/self/ns/user; exit 4",
    ]);
    assert_eq!((run.code, run.stderr.as_str()), (4, ""), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!((lines[0], lines[1]), ("0", lines[2]));
    assert!(user.go(&["list", "-q"]).ok().stdout.lines().eq([id.as_str()]));
    user.go(&["delete", &id]).fails(1, "that is not stopped");
    user.go(&["kill", &id, "KILL"]).ok();
    until("the end", || user.status(&id) == "stopped");
    user.go(&["delete", &id]).ok();
    assert!(!user.state().join(&id).exists());
}

/// Takes the namespaces of these kinds from a process, the user's among them.
fn join(config: &mut Value, pid: &Value, joins: fn(&str) -> bool) {
    for namespace in config["linux"]["namespaces"].as_array_mut().expect("namespaces") {
        let kind = namespace["type"].as_str().expect("a type");
        if joins(kind) {
            let name = if kind == "network" { "net" } else { kind };
            namespace["path"] = json!(format!("/proc/{pid}/ns/{name}"));
        }
    }
    for map in ["uidMappings", "gidMappings"] {
        config["linux"].as_object_mut().expect("linux").remove(map);
    }
}

/// What a single id is mapped in denies setgroups(2) to all who join it.
#[test]
fn all_namespaces_of_another_container() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["sleep", "1000"]);
    let target = user.id();
    user.go(&["run", "--detach", &target]).ok();
    let state: Value = serde_json::from_str(&user.go(&["state", &target]).ok().stdout).expect("JSON");
    user.change(|config| {
        join(config, &state["pid"], |kind| kind != "mount");
        config["process"]["args"] =
            json!(["sh", "-c", "cat /proc/self/setgroups; cat /proc/1/cmdline; id -u"]);
    });
    let id = user.id();
    let run = user.go(&["run", &id]);
    // There is a warning: its own end takes no other process with it.
    assert_eq!((run.code, run.stdout.as_str()), (0, "deny\nsleep\x001000\x000\n"), "{run:?}");
}

/// As the containers of a pod: they share namespaces, and each has processes of its own.
#[test]
fn a_pid_namespace_beside_joined_ones() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["sleep", "1000"]);
    let target = user.id();
    user.go(&["run", "--detach", &target]).ok();
    let state: Value = serde_json::from_str(&user.go(&["state", &target]).ok().stdout).expect("JSON");
    user.change(|config| {
        join(config, &state["pid"], |kind| ["user", "ipc"].contains(&kind));
        config["process"]["args"] = json!(["sleep", "2345"]);
    });
    let id = user.id();
    user.go(&["run", "--detach", &id]).ok();
    assert_eq!(user.status(&id), "running");
    let state: Value = serde_json::from_str(&user.go(&["state", &id]).ok().stdout).expect("JSON");
    // That of a zombie is empty.
    let program = || std::fs::read_to_string(format!("/proc/{}/cmdline", state["pid"])).unwrap_or_default();
    assert_eq!(program(), "sleep\x002345\0");
    user.go(&["delete", "--force", &id]).ok();
    assert_eq!(program(), "");
}

#[test]
fn limits_without_the_right_to_a_cgroup_are_errors() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["true"]);
    let id = user.id();
    user.go(&["run", &id]).ok();
    user.change(|config| config["linux"]["resources"] = json!({"memory": {"limit": 64 << 20}}));
    let run = user.go(&["run", &id]);
    for part in ["cgroup", "linux.resources.memory.limit", "hint: "] {
        assert!(run.code == 1 && run.stderr.contains(part), "{part}: {run:?}");
    }
    assert!(!user.state().join(&id).exists());
    user.go(&["state", &id]).fails(1, "does not exist");
}

/// A cgroup of v2 that a test made, and those below it.
struct Given(PathBuf);

impl Given {
    fn new() -> Self {
        let path = PathBuf::from(format!("/sys/fs/cgroup/rootless-test-{}", std::process::id()));
        let given = Self(path);
        given.add("");
        given
    }

    /// Makes a cgroup below it, which is the user's.
    fn add(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir(&path).expect("a cgroup");
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            lchown(path.join(file), Some(USER), Some(USER)).expect("an owner");
        }
        path
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        for path in ["user", ""] {
            let left = || std::fs::remove_dir(self.0.join(path)).is_ok() || !self.0.join(path).exists();
            until("an empty cgroup", left);
        }
    }
}

#[test]
fn in_a_delegated_tree() {
    if !privileged() {
        return;
    }
    if !Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
        eprintln!("skipped: needs cgroup v2 alone");
        return;
    }
    let given = Given::new();
    let mut user = Rootless::new(&["cat", "/proc/self/cgroup"]);
    let path = format!("/{}/containers", given.0.file_name().expect("a name").to_string_lossy());
    user.change(|config| {
        config["linux"]["cgroupsPath"] = json!(path);
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    });
    let id = user.id();
    // From outside of it: the error says step, path and way out.
    let run = user.go(&["run", &id]);
    for part in [
        &format!("put a process into cgroup \\\"/sys/fs/cgroup{path}\\\""),
        "clone3 of the container's init: permission denied",
        "hint: ",
        "the tree that was delegated",
    ] {
        assert!(run.code == 1 && run.stderr.contains(part), "{part}: {run:?}");
    }
    assert!(!given.0.join("containers").exists());

    let own = given.add("user");
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", own.display());
    let inside = |user: &Rootless| {
        Command::new("sh")
            .args(["-c", &script, "_", "setpriv", "--clear-groups", "--inh-caps=-all", "--bounding-set=+all"])
            .args(["--reuid", &USER.to_string(), "--regid", &USER.to_string()])
            .arg(&user.program)
            .current_dir(user.bundle.path())
            .env("XDG_RUNTIME_DIR", user.bundle.path().join("run"))
            .env_remove("USER")
            .go(&["run", &id])
            .ok()
    };
    let run = inside(&user);
    assert!(run.stdout.lines().any(|line| line == format!("0::{path}")), "{run:?}");
    assert!(!given.0.join("containers").exists(), "the container's cgroup goes with it");

    // Without a path it is found: beside the cgroup of the caller.
    user.change(|config| config["linux"]["cgroupsPath"] = Value::Null);
    let run = inside(&user);
    let beside = format!("0::/{}/{id}", given.0.file_name().expect("a name").to_string_lossy());
    assert!(run.stdout.lines().any(|line| line == beside), "{beside}: {run:?}");
    assert!(!given.0.join(&id).exists(), "the container's cgroup goes with it");
}

#[test]
fn delegated_hierarchies_of_v1_are_enough() {
    if !privileged() {
        return;
    }
    if !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        eprintln!("skipped: needs the hybrid view");
        return;
    }
    let name = format!("runtime-user-{}", std::process::id());
    let text = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let given: Vec<PathBuf> = text
        .lines()
        .filter(|line| line.contains(" - cgroup "))
        .map(|line| Path::new(line.split(' ').nth(4).expect("a mount point")).join(&name))
        .filter(|path| std::fs::create_dir(path).is_ok())
        .collect();
    for path in &given {
        for file in
            ["cpuset.cpus", "cpuset.mems"].map(|file| path.join(file)).iter().filter(|file| file.exists())
        {
            let above = path.parent().expect("a hierarchy").join(file.file_name().expect("a name"));
            std::fs::write(file, std::fs::read(above).expect("a list")).expect("a list");
        }
        give(path);
    }
    let mut user = Rootless::new(&["cat", "/proc/self/cgroup"]);
    user.change(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{name}/container"));
        config["linux"]["resources"] = json!({"pids": {"limit": 100}});
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    });
    let id = user.id();
    let run = user.go(&["run", &id]);
    user.change(|config| config["linux"]["resources"] = json!({"unified": {"cgroup.max.depth": "5"}}));
    let refused = user.go(&["run", &id]);
    for path in &given {
        std::fs::remove_dir(path).expect("it is empty");
    }
    let run = run.ok();
    let place = |line: &str, controller| line.ends_with(&format!(":{controller}:/{name}/container"));
    assert!(run.stdout.lines().any(|line| place(line, "pids")), "{run:?}");
    assert!(!run.stdout.lines().any(|line| line.starts_with("0::") && line.contains(&name)), "{run:?}");
    assert!(refused.code == 1 && refused.stderr.contains("permission denied"), "{refused:?}");
}

#[test]
fn without_a_user_namespace_the_error_is_clear() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["true"]);
    user.change(|config| {
        let linux = config["linux"].as_object_mut().expect("linux");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        let namespaces = linux["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "user");
    });
    let id = user.id();
    let run = user.go(&["run", &id]);
    assert!(run.code == 1 && run.stderr.contains("user namespace"), "{run:?}");
    assert!(!user.state().join(&id).exists());
}

#[test]
fn groups_without_the_right_to_set_them_are_errors() {
    if !privileged() {
        return;
    }
    let mut user = Rootless::new(&["true"]);
    user.change(|config| config["process"]["user"]["additionalGids"] = json!([0]));
    let id = user.id();
    user.go(&["run", &id]).fails(1, "process.user.additionalGids");
}

/// Covers a file of /etc with a changed copy, in this thread's mount namespace.
fn cover(user: &Rootless, name: &str, line: &str) {
    let etc = Path::new("/etc").join(name);
    let text = std::fs::read_to_string(&etc).unwrap_or_default();
    let copy = user.bundle.path().join(name);
    std::fs::write(&copy, format!("{text}{line}\n")).expect("a copy");
    mount(Some(&copy), &etc, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("a mount");
}

#[test]
fn ranges_by_newuidmap() {
    if !privileged() {
        return;
    }
    if !Path::new("/usr/bin/newuidmap").exists() || !Path::new("/etc/subuid").exists() {
        eprintln!("skipped: needs uidmap");
        return;
    }
    let script = "cat /proc/self/uid_map /proc/self/gid_map; touch /tmp/file; chown 7:8 /tmp/file; id -G";
    let mut user = Rootless::new(&["sh", "-c", script]);
    let map = |second: u32| {
        json!([
            {"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": second, "size": 1000},
        ])
    };
    user.change(|config| {
        config["root"]["readonly"] = json!(false);
        config["linux"]["uidMappings"] = map(700_000);
        config["linux"]["gidMappings"] = map(800_000);
        config["process"]["user"]["additionalGids"] = json!([5]);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_CHOWN"]);
        }
    });
    cover(&user, "passwd", &format!("rootlesstest:x:{USER}:{USER}::/:/bin/sh"));
    cover(&user, "subuid", "rootlesstest:700000:1000");
    cover(&user, "subgid", "rootlesstest:800000:1000");
    let id = user.id();
    let text = user.go(&["run", &id]).ok().stdout;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = USER.to_string();
    let maps = ["0", &number, "1", "1", "700000", "1000", "0", &number, "1", "1", "800000", "1000"];
    assert_eq!(words, [maps.as_slice(), &["0", "5"]].concat());
    use std::os::unix::fs::MetadataExt as _;
    let file = std::fs::metadata(user.bundle.path().join("rootfs/tmp/file")).expect("a file");
    assert_eq!((file.uid(), file.gid()), (700_006, 800_007));

    user.change(|config| config["linux"]["uidMappings"] = map(600_000));
    let run = user.go(&["run", &id]);
    assert!(run.stderr.contains("newuidmap") && run.stderr.contains("/etc/subuid"), "{run:?}");
    run.fails(1, "linux.uidMappings");
    assert!(!user.state().join(&id).exists());
}
