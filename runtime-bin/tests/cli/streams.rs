//! Standard streams on devices: those of the container, never the host's.
//!
//! The host is a private /dev here: a container that reaches it changes nothing of the machine.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::support::{Bundle, finish, privileged};

const NODES: [(&str, u64); 5] = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];

/// A /dev of this thread's own; false where the test cannot run.
fn private_dev() -> bool {
    if !privileged() {
        return false;
    }
    mount(Some("none"), "/dev", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a private /dev");
    let node = |name: &str, major, minor| {
        let path = Path::new("/dev").join(name);
        let everybody = Mode::from_bits_truncate(0o666);
        mknod(&path, SFlag::S_IFCHR, everybody, makedev(major, minor)).expect("a node");
        fs::set_permissions(path, Permissions::from_mode(0o666)).expect("a mode");
    };
    NODES.into_iter().for_each(|(name, minor)| node(name, 1, minor));
    node("tty", 5, 0);
    true
}

/// Mode and owner of the nodes of the host.
fn nodes() -> Vec<(u32, u32)> {
    let of = |name: &str| fs::metadata(Path::new("/dev").join(name)).expect("a node");
    NODES.iter().map(|(name, _)| of(name)).map(|node| (node.mode() & 0o7777, node.uid())).collect()
}

fn may_change_files(config: &mut Value) {
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(["CAP_FOWNER", "CAP_CHOWN"]);
    }
    config["process"]["capabilities"]["ambient"] = json!([]);
}

/// A user namespace with all users of the host, root too.
fn user_namespace(config: &mut Value) {
    config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

/// Runs the program under test with a device of the host as standard input; what it wrote.
fn with_input(bundle: &Bundle, device: &str, words: &[&str]) -> String {
    let output = tempfile::NamedTempFile::new().expect("a file");
    let stream = || Stdio::from(output.reopen().expect("a descriptor"));
    let input = File::open(Path::new("/dev").join(device)).expect("the device");
    let mut command = bundle.runtime();
    command.args(words).stdin(input).stdout(stream()).stderr(stream());
    let code = finish(&mut command.spawn().expect("the runtime"));
    let text = fs::read_to_string(output.path()).expect("the output");
    assert_eq!(code, 0, "{text}");
    text
}

const CHANGE: &str = "chmod 0601 /proc/self/fd/0; chown 1:1 /proc/self/fd/0; chmod 0601 /dev/zero; chown 1:1 /dev/zero; \
                      echo changed > /tmp/done";

#[test]
fn the_nodes_of_the_host_stay_as_they_are() {
    if !private_dev() {
        return;
    }
    let before = nodes();
    for namespace in [|_: &mut Value| {}, user_namespace] {
        let bundle = Bundle::new(&["sh", "-c", CHANGE]).with(may_change_files).with(namespace);
        for (device, _) in NODES {
            let container = bundle.container();
            with_input(&bundle, device, &["run", &container.id]);
            assert_eq!(nodes(), before, "run with {device}");
            fs::remove_file(bundle.path().join("rootfs/tmp/done")).expect("the program ran");
        }
        let container = bundle.container();
        with_input(&bundle, "null", &["create", &container.id]);
        container.go(&["start"]).ok();
        container.wait_for("stopped");
        assert_eq!(nodes(), before, "create and start");
    }
}

#[test]
fn exec_gets_the_containers_node_too() {
    if !private_dev() {
        return;
    }
    let before = nodes();
    let bundle = Bundle::new(&["sleep", "1000"]).with(may_change_files);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let same = "[ $(stat -L -c %d:%i /proc/self/fd/0) = $(stat -c %d:%i /dev/null) ] && echo same";
    assert_eq!(with_input(&bundle, "null", &["exec", &container.id, "sh", "-c", same]), "same\n");
    with_input(&bundle, "null", &["exec", &container.id, "sh", "-c", CHANGE]);
    assert_eq!(nodes(), before);
    // A user who is not root gets it, too.
    let words = ["exec", "--user", "1000:1000", &container.id, "sh", "-c", same];
    assert_eq!(with_input(&bundle, "null", &words), "same\n");
}

#[test]
fn a_stream_is_opened_as_it_was() {
    if !private_dev() {
        return;
    }
    let script = "for fd in 0 1 2; do grep flags /proc/self/fdinfo/$fd >> /tmp/flags; done";
    let bundle = Bundle::new(&["sh", "-c", script]);
    let container = bundle.container();
    let null = |options: &mut OpenOptions| options.open("/dev/null").expect("/dev/null");
    let streams = [
        null(OpenOptions::new().read(true)),
        null(OpenOptions::new().append(true)),
        null(OpenOptions::new().read(true).write(true)),
    ];
    let flags = |fd: i32| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("fdinfo");
        let line = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
        i32::from_str_radix(line, 8).expect("octal") & !libc::O_CLOEXEC
    };
    let expected: Vec<i32> =
        streams.iter().map(|file| flags(std::os::fd::AsRawFd::as_raw_fd(file))).collect();
    let [stdin, stdout, stderr] = streams;
    let mut command = bundle.runtime();
    command.args(["run", &container.id]).stdin(stdin).stdout(stdout).stderr(stderr);
    assert_eq!(finish(&mut command.spawn().expect("the runtime")), 0);
    let seen = fs::read_to_string(bundle.path().join("rootfs/tmp/flags")).expect("the flags");
    let seen = seen.lines().map(|line| line.rsplit('\t').next().unwrap_or_default());
    let seen: Vec<i32> = seen.map(|octal| i32::from_str_radix(octal, 8).expect("octal")).collect();
    assert_eq!(seen, expected);
}

/// A /dev of the configuration without the node, or with another file under its name: the caller's stream stays,
/// and the file of the image never becomes one.
#[test]
fn without_a_node_the_stream_stays() {
    if !private_dev() {
        return;
    }
    for name in [None, Some("file"), Some("link"), Some("fifo"), Some("directory")] {
        let script = "stat -L -c %t:%T /proc/self/fd/0 && cat";
        let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
            config["mounts"] = json!([
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "source": "devices", "options": ["bind"]},
            ]);
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
        });
        let devices = bundle.path().join("devices");
        fs::create_dir(&devices).expect("a directory");
        let null = devices.join("null");
        match name {
            Some("file") => fs::write(&null, "of the image\n").expect("a file"),
            Some("link") => std::os::unix::fs::symlink("/etc/passwd", &null).expect("a link"),
            Some("fifo") => nix::unistd::mkfifo(&null, Mode::S_IRWXU).expect("a FIFO"),
            Some(_) => fs::create_dir(&null).expect("a directory"),
            None => {}
        }
        let container = bundle.container();
        assert_eq!(with_input(&bundle, "null", &["run", &container.id]), "1:3\n", "{name:?}");
    }
}
