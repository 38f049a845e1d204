//! linux.namespaces: made, joined, shared; id maps and clocks.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::support::{Bundle, Container, Run, Running as _, privileged, until};

/// The kinds, and the names of their files in /proc/PID/ns.
const KINDS: [(&str, &str); 8] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mount", "mnt"),
    ("network", "net"),
    ("pid", "pid"),
    ("time", "time"),
    ("user", "user"),
    ("uts", "uts"),
];

/// Prints the namespaces that a process of the container sees, in the order of [`KINDS`].
const SCRIPT: &str = "for k in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$k; done";

fn requests(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({"type": kind})).collect()
}

fn all_kinds() -> Value {
    requests(&KINDS.map(|(kind, _)| kind))
}

/// The namespace of a process, as its link in /proc says it.
fn link(process: &str, file: &str) -> String {
    let link = std::fs::read_link(format!("/proc/{process}/ns/{file}")).expect("a namespace");
    link.to_string_lossy().into_owned()
}

/// The namespaces of the calling thread: what the runtime gets from a test.
fn own() -> Vec<String> {
    KINDS.iter().map(|(_, file)| link("thread-self", file)).collect()
}

fn lines(run: Run) -> Vec<String> {
    run.ok().stdout.lines().map(str::to_owned).collect()
}

/// Maps root to itself, as the files of the bundle belong to it.
fn map_all(config: &mut Value) {
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    }
}

fn without_mount(config: &mut Value, destination: &str) {
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["destination"] != destination);
}

/// A bundle with these namespaces; a sysfs would need a network namespace of the same owner.
fn bundle(args: &[&str], namespaces: Value) -> Bundle {
    Bundle::new(args).with(|config| {
        let list = namespaces.as_array().expect("namespaces");
        let request = |kind| list.iter().find(|request| request["type"] == kind);
        if request("uts").is_none() {
            config["hostname"] = json!("");
        }
        if request("user").is_some_and(|request| request.get("path").is_none()) {
            map_all(config);
        }
        config["linux"]["namespaces"] = namespaces;
        without_mount(config, "/sys");
        without_mount(config, "/sys/fs/cgroup");
        without_mount(config, "/dev/mqueue");
    })
}

/// A process with namespaces of its own, ended with the test.
struct Holder(Child);

impl Holder {
    /// `options` are those of unshare(1), of which `file` is to be made.
    fn new(options: &[&str], file: &str) -> Self {
        let child = Command::new("unshare").args(options).args(["sleep", "1000"]).spawn().expect("unshare");
        let holder = Self(child);
        let outside = link("thread-self", file);
        until("unshare", || {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", holder.0.id())).expect("a process");
            name.trim() == "sleep" && holder.link(file) != outside
        });
        holder
    }

    fn link(&self, file: &str) -> String {
        link(&self.0.id().to_string(), file)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

/// What the runtime keeps of a container is not there.
fn nothing_left(bundle: &Bundle, container: &Container<'_>) {
    container.go(&["state"]).fails(1, "does not exist");
    let left: Vec<PathBuf> = match std::fs::read_dir(bundle.state()) {
        Ok(entries) => entries.map(|entry| entry.expect("an entry").path()).collect(),
        Err(_) => Vec::new(),
    };
    let left: Vec<_> = left.iter().filter(|path| path.ends_with(&container.id)).collect();
    assert!(left.is_empty(), "{left:?}");
    // Other tests make and remove cgroups meanwhile, of which find may complain.
    let name = format!("*{}*", container.id);
    let cgroups = Command::new("find").arg("/sys/fs/cgroup").go(&["-name", &name]);
    assert_eq!(cgroups.stdout, "");
}

#[test]
fn each_kind_is_made() {
    if !privileged() {
        return;
    }
    for (index, (kind, _)) in KINDS.iter().enumerate() {
        // A procfs is of a PID namespace, which has to be of the same user namespace.
        let mut kinds = vec!["mount", kind];
        kinds.extend((*kind == "user").then_some("pid"));
        kinds.dedup();
        let bundle = bundle(&["sh", "-c", SCRIPT], requests(&kinds));
        let seen = lines(bundle.container().go(&["run"]));
        let outside = own();
        for (at, (other, _)) in KINDS.iter().enumerate() {
            let is_own = kinds.contains(other);
            assert_eq!(seen[at] != outside[at], is_own, "{kind}: {other}: {seen:?}");
        }
        assert_ne!(seen[index], outside[index]);
    }
}

#[test]
fn all_kinds_at_once_and_in_exec() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["sleep", "1000"], all_kinds());
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let seen = lines(container.go_with(&["exec"], &["sh", "-c", SCRIPT]));
    let pid = container.state()["pid"].to_string();
    for ((seen, outside), (kind, file)) in seen.iter().zip(own()).zip(KINDS) {
        assert_ne!(*seen, outside, "{kind}");
        assert_eq!(*seen, link(&pid, file), "{kind}");
    }
}

#[test]
fn what_is_not_asked_for_is_shared() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["/bin/true"]).with(|config| {
        config["linux"] = json!({});
        config["mounts"] = json!([]);
        config["hostname"] = json!("");
    });
    let container = bundle.container();
    container.go(&["create"]).ok();
    let pid = container.state()["pid"].to_string();
    for (kind, file) in KINDS {
        assert_eq!(link(&pid, file), link("thread-self", file), "{kind}");
    }
}

#[test]
fn each_kind_is_joined() {
    if !privileged() {
        return;
    }
    let holder = Holder::new(&["-m", "-u", "-i", "-n", "-C", "-T", "--propagation", "private"], "uts");
    for (index, (kind, file)) in KINDS.iter().enumerate() {
        if matches!(*kind, "pid" | "user") {
            continue;
        }
        let mut namespaces = vec![json!({"type": kind, "path": holder.path(file)})];
        if *kind != "mount" {
            namespaces.push(json!({"type": "mount"}));
        }
        let bundle = bundle(&["sh", "-c", SCRIPT], Value::from(namespaces));
        let seen = lines(bundle.container().go(&["run"]));
        assert_eq!(seen[index], holder.link(file), "{kind}: {seen:?}");
        let outside = own();
        for (at, (other, _)) in KINDS.iter().enumerate() {
            let shared = other != kind && *other != "mount";
            assert!(!shared || seen[at] == outside[at], "{kind}: {other} is not the host's: {seen:?}");
        }
    }
}

#[test]
fn a_user_namespace_is_joined() {
    if !privileged() {
        return;
    }
    let first = bundle(&["sleep", "1000"], all_kinds());
    let holder = first.container();
    holder.go(&["run", "-d"]).ok();
    let pid = holder.state()["pid"].to_string();
    let joined = ["user", "network", "ipc"];
    let namespaces: Vec<Value> = KINDS
        .iter()
        .map(|(kind, file)| match joined.contains(kind) {
            true => json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}),
            false => json!({"type": kind}),
        })
        .collect();
    let second = bundle(&["sh", "-c", SCRIPT], Value::from(namespaces));
    let seen = lines(second.container().go(&["run"]));
    for ((kind, file), seen) in KINDS.iter().zip(&seen) {
        assert_eq!(*seen == link(&pid, file), joined.contains(kind), "{kind}: {seen}");
    }
    assert!(seen.iter().zip(own()).all(|(seen, outside)| *seen != outside), "{seen:?}");
}

/// The way of a pod with users of its own: user and network namespace are joined, and the init forks last. Its procfs is made
/// after the fork then, and has sysctls.
#[test]
fn a_sysctl_in_a_joined_network_of_joined_users() {
    if !privileged() {
        return;
    }
    let first = bundle(&["sleep", "1000"], all_kinds());
    let holder = first.container();
    holder.go(&["run", "-d"]).ok();
    let pid = holder.state()["pid"].to_string();
    let path = |file: &str| format!("/proc/{pid}/ns/{file}");
    let namespaces = json!([
        {"type": "user", "path": path("user")}, {"type": "network", "path": path("net")},
        {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
    ]);
    let name = "net.ipv4.ip_unprivileged_port_start";
    let second =
        bundle(&["cat", &format!("/proc/sys/{}", name.replace('.', "/"))], namespaces).with(|config| {
            config["linux"]["sysctl"] = json!({ name: "77" });
            // What a pod has: masked parts of /proc, and sysctls that the program cannot write.
            config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
            config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        });
    assert_eq!(second.container().go(&["run"]).ok().stdout, "77\n");
}

#[test]
fn a_new_user_namespace_with_a_joined_network() {
    if !privileged() {
        return;
    }
    let holder = Holder::new(&["-n"], "net");
    let namespaces = json!([
        {"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "uts"},
        {"type": "network", "path": holder.path("net")},
    ]);
    let bundle = bundle(&["sleep", "1000"], namespaces);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let seen = lines(container.go_with(&["exec"], &["sh", "-c", SCRIPT]));
    let outside = own();
    assert_eq!(seen[3], holder.link("net"));
    assert_ne!(seen[6], outside[6]);
    assert_eq!(seen[1], outside[1], "the ipc namespace is the host's");
    // The new ones belong to the new user namespace: its root may change what is theirs.
    container.go_with(&["exec", "--cap", "CAP_SYS_ADMIN"], &["hostname", "inside"]).ok();
}

/// The attributes of the host's mounts, and what lies below them, stay out of reach of a container with
/// all capabilities in its user namespace, however it came to that. Control: its own may be changed.
#[test]
fn the_hosts_mounts_are_locked_in_every_user_namespace() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    if !privileged() {
        return;
    }
    let first = bundle(&["sleep", "1000"], all_kinds());
    let holder = first.container();
    holder.go(&["run", "-d"]).ok();
    let pid = holder.state()["pid"].to_string();
    let path = |file: &str| format!("/proc/{pid}/ns/{file}");
    let source = first.path().join("source");
    std::fs::create_dir_all(source.join("sub")).expect("a directory");
    std::fs::write(source.join("sub/secret"), "").expect("a file");
    let none = None::<&str>;
    mount(Some(&source), &source, none, MsFlags::MS_BIND, none).expect("a bind mount");
    mount(Some("tmpfs"), &source.join("sub"), Some("tmpfs"), MsFlags::empty(), none).expect("a tmpfs");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    mount(none, &source, none, flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT, none).expect("a remount");
    let holder_net = Holder::new(&["-n"], "net");
    let script = "for place in /plain /named; do
            for option in rw ro,suid,nodev ro,dev,nosuid; do
                mount -o remount,bind,$option $place 2>/dev/null && echo $place $option
            done
            umount $place/sub 2>/dev/null; test -e $place/sub/secret && echo $place uncovered
            touch $place/x 2>/dev/null && echo $place written
        done; mount -o remount,bind,ro /own && echo control";
    for namespaces in [
        json!([{"type": "user"}, {"type": "mount"}, {"type": "pid"}]),
        json!([{"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "network", "path": holder_net.path("net")}]),
        json!([{"type": "user", "path": path("user")}, {"type": "mount"}, {"type": "pid"}]),
        json!([{"type": "user", "path": path("user")}, {"type": "mount"}, {"type": "pid", "path": path("pid")}]),
    ] {
        let bundle = bundle(&["sh", "-c", script], namespaces.clone()).with(|config| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
            }
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.push(json!({"destination": "/plain", "source": source, "options": ["rbind"]}));
            mounts.push(json!({"destination": "/named", "source": source, "options": ["rbind", "noexec"]}));
            mounts.push(json!({"destination": "/own", "type": "tmpfs", "source": "tmpfs"}));
        });
        let run = bundle.container().go(&["run"]);
        assert_eq!(run.ok().stdout, "control\n", "{namespaces}");
    }
    for place in [source.join("sub"), source] {
        umount2(&place, MntFlags::MNT_DETACH).expect("unmounted");
    }
}

/// A failed create gives the interface back that it took. In a joined network somebody may have put another
/// under its name meanwhile; that one stays where it is.
#[test]
fn no_foreign_network_device_comes_back() {
    if !privileged() {
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network of the test's own");
    let ip = |words: &str| Command::new("ip").args(words.split(' ')).go::<&str>(&[]);
    ip("link add host0 address 02:00:00:00:00:01 type veth").ok();
    let holder = Holder::new(&["-n"], "net");
    let inside = format!("nsenter -t {} -n ip link", holder.0.id());
    let script = format!(
        "{inside} set host0 down && {inside} set host0 name taken && \
         {inside} add host0 address 02:00:00:00:00:99 type veth && exit 3"
    );
    let network = json!({"type": "network", "path": holder.path("net")});
    let bundle = bundle(&["true"], json!([{"type": "mount"}, {"type": "pid"}, network])).with(|config| {
        config["linux"]["netDevices"] = json!({"host0": {}});
        let env = [format!("PATH={}", std::env::var("PATH").expect("a path"))];
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": env});
        config["hooks"] = json!({"createRuntime": [hook]});
    });
    bundle.container().go(&["run"]).fails(1, "exit status 3");
    let table = ip("link show host0").ok().stdout;
    assert!(table.contains("02:00:00:00:00:01"), "{table}");
}

/// In a joined network somebody may take it away and put his own in its place, with the same index, whose
/// other end is his.
#[test]
fn a_network_device_of_another_does_not_get_to_the_host() {
    if !privileged() {
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network of the test's own");
    let ip = |words: &str| Command::new("ip").args(words.split(' ')).go::<&str>(&[]);
    let holder = Holder::new(&["-n"], "net");
    let inside = format!("nsenter -t {} -n ip link", holder.0.id());
    let network = json!({"type": "network", "path": holder.path("net")});
    let mut bundle = bundle(&["true"], json!([{"type": "mount"}, {"type": "pid"}, network]));
    bundle.config["linux"]["netDevices"] = json!({"host0": {}});
    let mut fails = |script: &str| {
        let env = [format!("PATH={}", std::env::var("PATH").expect("a path"))];
        let script = format!("{inside} show host0 && {script} exit 3");
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": env});
        bundle.config["hooks"] = json!({"createRuntime": [hook]});
        bundle.write();
        bundle.container().go(&["run"]).fails(1, "exit status 3");
    };
    let there = || Command::new("sh").go(&["-c", &format!("{inside} show")]).ok().stdout;
    let is_clean = || {
        let table = ip("-oneline link show").ok().stdout;
        let names: Vec<&str> = table.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        // Some kernels make tunnels to nowhere in each network namespace.
        let is_own = |name: &&str| !name.contains('@') || name.ends_with("@NONE");
        assert!(names.iter().all(|name| is_own(name) && *name != "host0"), "{table}");
    };
    ip("link add host0 index 77 type veth peer name peer0").ok();
    fails(&format!("{inside} del host0 && {inside} add host0 index 77 type veth peer name his &&"));
    is_clean();
    assert!(there().contains("77: host0@his"), "{}", there());
    Command::new("sh").go(&["-c", &format!("{inside} del host0")]).ok();

    // The name under which it would have to go back is taken.
    ip("link add host0 index 78 type veth peer name peer0").ok();
    fails(&format!(
        "{inside} del host0 && {inside} add other index 78 type veth peer name his && \
         {inside} add host0 type veth peer name more &&"
    ));
    is_clean();
    assert!(there().contains("@his: "), "{}", there());
    for name in ["his", "more"] {
        Command::new("sh").go(&["-c", &format!("{inside} del {name}")]).ok();
    }

    // Who made a tap device has its other end, whoever that was: it stays where it is.
    ip("tuntap add host0 mode tap").ok();
    fails("");
    is_clean();
    assert!(there().contains(" host0: "), "{}", there());
}

/// The index of the interface on the host is taken in the joined network, and at the end its name on the host.
#[test]
fn a_network_device_comes_back_whatever_is_taken() {
    if !privileged() {
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network of the test's own");
    let ip = |words: &str| Command::new("ip").args(words.split(' ')).go::<&str>(&[]);
    ip("link add host0 index 77 address 02:00:00:00:00:01 type veth peer name peer0").ok();
    ip("addr add 192.0.2.1/24 dev host0").ok();
    let holder = Holder::new(&["-n"], "net");
    let inside = format!("nsenter -t {} -n ip link", holder.0.id());
    let other = format!("{inside} add other index 77 address 02:00:00:00:00:99 type veth peer name peer1");
    Command::new("sh").go(&["-c", &other]).ok();
    let network = json!({"type": "network", "path": holder.path("net")});
    let namespaces = json!([{"type": "mount"}, {"type": "pid"}, network]);
    let mut bundle = bundle(&["true"], namespaces);
    let mut fails = |name: &str, script: &str| {
        bundle.config["linux"]["netDevices"] = json!({"host0": {"name": name}});
        let env = [format!("PATH={}", std::env::var("PATH").expect("a path"))];
        let script = format!("{inside} show {name} && {script} exit 3");
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": env});
        bundle.config["hooks"] = json!({"createRuntime": [hook]});
        bundle.write();
        bundle.container().go(&["run"]).fails(1, "exit status 3");
    };
    let is_back_as = |name: &str| {
        let table = ip("-oneline addr show").ok().stdout + &ip("-oneline link show").ok().stdout;
        let lines: Vec<&str> =
            table.lines().filter(|line| line.starts_with(&format!("77: {name}"))).collect();
        let has = |word: &str| lines.iter().any(|line| line.contains(word));
        assert!(has("02:00:00:00:00:01") && has("192.0.2.1/24"), "no {name} in {table}");
    };
    fails("eth0", "");
    is_back_as("host0");
    // Another has its name: it is there with the one that it had in the container, ...
    fails("eth0", "ip link add host0 type veth peer name peer2;");
    is_back_as("eth0");
    for words in ["link del host0", "link set eth0 down", "link set eth0 name host0", "link set host0 up"] {
        ip(words).ok();
    }
    // ... and if that is taken as well, with one that the kernel chooses.
    fails("eth0", "ip link add host0 type veth peer name eth0;");
    is_back_as("dev");
    let others = Command::new("sh").go(&["-c", &format!("{inside} show other")]).ok().stdout;
    assert!(others.starts_with("77: ") && others.contains("02:00:00:00:00:99"), "{others}");
}

#[test]
fn a_pid_namespace_is_joined() {
    if !privileged() {
        return;
    }
    let first = bundle(&["sleep", "1000"], requests(&["mount", "pid"]));
    let holder = first.container();
    holder.go(&["run", "-d"]).ok();
    let path = format!("/proc/{}/ns/pid", holder.state()["pid"]);
    let second = bundle(
        &["sh", "-c", "echo $$ > /tmp/pid; exec sleep 2345"],
        json!([{"type": "mount"}, {"type": "pid", "path": path}]),
    );
    let container = second.container();
    container.go(&["run", "-d"]).ok();
    let mut inside = String::new();
    until("a pid", || {
        inside = std::fs::read_to_string(second.path().join("rootfs/tmp/pid")).unwrap_or_default();
        inside.ends_with('\n')
    });
    assert_ne!(inside.trim(), "1");
    let command = format!("/proc/{}/cmdline", inside.trim());
    until("the program", || holder.go_with(&["exec"], &["cat", &command]).ok().stdout == "sleep\x002345\0");
    // Its way there took a process more, which is not the one to know.
    assert_eq!(container.status(), "running");
    let own = std::fs::read_to_string(format!("/proc/{}/cmdline", container.state()["pid"]));
    assert_eq!(own.expect("the program"), "sleep\x002345\0");
    // The end of one is not the end of the other.
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    assert_eq!(holder.status(), "running");
}

#[test]
fn clocks_have_offsets() {
    if !privileged() {
        return;
    }
    let offsets = json!({"boottime": {"secs": 7_000_000, "nanosecs": 5}, "monotonic": {"secs": 2_000_000}});
    let bundle = bundle(&["sleep", "1000"], requests(&["mount", "pid", "time"]))
        .with(|config| config["linux"]["timeOffsets"] = offsets);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let run = container
        .go_with(&["exec"], &["sh", "-c", "cut -d. -f1 /proc/uptime; cat /proc/self/timens_offsets"]);
    let text = run.ok().stdout;
    let mut lines = text.lines();
    let uptime = |text: &str| text.parse::<u64>().expect("seconds");
    let outside = std::fs::read_to_string("/proc/uptime").expect("the uptime");
    let outside = uptime(outside.split('.').next().unwrap_or_default());
    let ahead = uptime(lines.next().unwrap_or_default()) - outside;
    assert!((6_999_900..7_000_100).contains(&ahead), "{ahead}");
    let clocks: Vec<Vec<&str>> = lines.map(|line| line.split_ascii_whitespace().collect()).collect();
    assert_eq!(clocks, [["monotonic", "2000000", "0"], ["boottime", "7000000", "5"]]);
}

#[test]
fn id_maps_with_several_extents() {
    if !privileged() {
        return;
    }
    let script =
        "cat /proc/self/uid_map; echo; cat /proc/self/gid_map; id -u; touch /tmp/new; touch /tmp/user
        chown 1000:1000 /tmp/user; stat -c '%u %g' /tmp/new /tmp/user /tmp/old";
    let bundle = bundle(&["sh", "-c", script], all_kinds()).with(|config| {
        let map = json!([
            {"containerID": 0, "hostID": 200_000, "size": 10},
            {"containerID": 10, "hostID": 200_010, "size": 90},
            {"containerID": 1000, "hostID": 5000, "size": 1},
        ]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_CHOWN"]);
        }
    });
    let open = |path: &str, mode: u32| {
        let path = bundle.path().join(path);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    open("", 0o755);
    open("rootfs/tmp", 0o777);
    chown(bundle.path().join("rootfs"), Some(200_000), Some(200_000)).expect("an owner");
    std::fs::write(bundle.path().join("rootfs/tmp/old"), "").expect("a file");
    let text = bundle.container().go(&["run"]).ok().stdout;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let map = ["0", "200000", "100", "1000", "5000", "1"];
    let rest = ["0", "0", "0", "1000", "1000", "65534", "65534"];
    assert_eq!(words, [map.as_slice(), &map, &rest].concat(), "{text}");
    let owner = |name: &str| {
        let file = std::fs::metadata(bundle.path().join("rootfs/tmp").join(name)).expect("a file");
        (file.uid(), file.gid())
    };
    assert_eq!((owner("new"), owner("user")), ((200_000, 200_000), (5000, 5000)));
}

/// A map of so many extents that nothing joins together.
fn scattered(count: u32) -> Value {
    (0..count).map(|at| json!({"containerID": at * 2, "hostID": at * 3, "size": 1})).collect()
}

#[test]
fn at_most_340_extents() {
    if !privileged() {
        return;
    }
    let with = |count| {
        bundle(&["wc", "-l", "/proc/self/uid_map"], all_kinds()).with(|config| {
            config["linux"]["uidMappings"] = scattered(count);
        })
    };
    let bundle = with(340);
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "340 /proc/self/uid_map\n");
    let bundle = with(341);
    let container = bundle.container();
    container.go(&["create", "--pid-file", "pid"]).fails(1, "linux.uidMappings: has 341 extents");
    nothing_left(&bundle, &container);
    assert!(!bundle.path().join("pid").exists());
}

#[test]
fn bad_paths_are_errors_with_their_place() {
    if !privileged() {
        return;
    }
    for (path, text) in [
        ("/proc/self/ns/uts", "is a namespace of another type"),
        ("/etc/passwd", "not a namespace"),
        ("/proc/self/ns", "not a namespace"),
        ("/nonexistent/net", "no such file or directory"),
        ("proc/self/ns/net", "is not an absolute path"),
        ("/proc/self/ns/net\0", ""),
    ] {
        let namespaces = json!([{"type": "mount"}, {"type": "pid"}, {"type": "network", "path": path}]);
        let bundle = bundle(&["true"], namespaces);
        let container = bundle.container();
        let run = container.go(&["create", "--pid-file", "pid"]);
        assert!(run.stderr.contains("linux.namespaces[2].path"), "{path:?}: {run:?}");
        run.fails(1, text);
        nothing_left(&bundle, &container);
    }
}

#[test]
fn a_kind_twice_is_an_error() {
    if !privileged() {
        return;
    }
    let bundle = bundle(&["true"], requests(&["mount", "uts", "mount"]));
    let container = bundle.container();
    container.go(&["create"]).fails(1, "linux.namespaces[2]: duplicated namespace");
    nothing_left(&bundle, &container);
}
