//! The real thing: containers that go on where they were.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::json;

use crate::streams::Streams;
use crate::support::{Bundle, Container, Running as _, finish, privileged, read_until, until};

/// Whether this machine's CRIU knows its kernel.
fn works() -> bool {
    if !privileged() {
        return false;
    }
    let check = Command::new("criu").arg("check").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match check {
        Ok(status) if status.success() => true,
        Ok(_) => {
            eprintln!("skipped: criu does not know this kernel");
            false
        }
        Err(error) => {
            eprintln!("skipped: criu is not installed: {error}");
            false
        }
    }
}

/// Counts the lines that it reads: the count is in its memory alone.
const COUNTING: &str = "n=0; while read line; do n=$((n+1)); echo $n $line; done; exit 7";

/// What restores a container, with the log of that in its bundle.
fn restore(bundle: &Bundle, container: &Container<'_>) -> Command {
    let mut command = bundle.runtime();
    command.args(["restore", "--detach", "--work-path", "work", "--manage-cgroups-mode", "ignore"]);
    command.arg(&container.id);
    command
}

fn restore_log(bundle: &Bundle) -> String {
    std::fs::read_to_string(bundle.path().join("work/restore.log")).unwrap_or_default()
}

fn checkpoint(bundle: &Bundle, container: &Container<'_>, words: &[&str]) {
    let words = [&["checkpoint", "--work-path", "work", "--manage-cgroups-mode", "ignore"], words].concat();
    let run = bundle.runtime().args(words).go(&[&container.id]);
    let log = std::fs::read_to_string(bundle.path().join("work/dump.log")).unwrap_or_default();
    assert_eq!(run.code, 0, "{run:?}\n{}", log.lines().rev().take(30).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_container_goes_on_with_its_memory_and_pipes() {
    if !works() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", COUNTING]).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"destination": "/link", "source": "/usr/share", "options": ["rbind", "ro"]}));
        mounts.push(json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"}));
    });
    std::fs::create_dir(bundle.path().join("rootfs/real")).expect("a directory");
    std::os::unix::fs::symlink("/real", bundle.path().join("rootfs/link")).expect("a link");
    let (container, mut streams) = (bundle.container(), Streams::new());
    assert_eq!(streams.run(bundle.runtime().args(["run", "--detach", &container.id])), 0);
    writeln!(streams.stdin, "one").expect("written");
    read_until(&mut streams.stdout, "1 one");
    container.go_with(&["exec"], &["sh", "-c", "echo kept > /scratch/file"]).ok();

    for round in ["2 again", "3 again"] {
        checkpoint(&bundle, &container, &[]);
        container.go(&["state"]).fails(1, "does not exist");
        let code = streams.run(&mut restore(&bundle, &container));
        assert_eq!(code, 0, "{}", restore_log(&bundle));
        assert_eq!(container.status(), "running");
        writeln!(streams.stdin, "again").expect("written");
        read_until(&mut streams.stdout, round);
    }
    let exec =
        container.go_with(&["exec"], &["sh", "-c", "cat /scratch/file; ls /real | head -1; echo $$ >&2"]);
    assert!(exec.code == 0 && exec.stdout.starts_with("kept\n"), "{exec:?}");
    assert!(exec.stdout.lines().count() == 2, "{exec:?}");
    let processes: Vec<i32> =
        serde_json::from_str(&container.go(&["ps", "--format", "json"]).stdout).expect("JSON");
    assert_eq!(json!(processes), json!([container.state()["pid"]]), "in its own cgroup");
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
}

/// As systemd leaves a host: what is mounted on it shows in its containers.
#[test]
fn on_a_host_with_shared_mounts() {
    if !works() {
        return;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)
        .expect("shared mounts");
    let bundle = Bundle::new(&["sh", "-c", COUNTING]).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"destination": "/bundle", "source": ".", "options": ["bind"]}));
    });
    let (container, streams) = (bundle.container(), Streams::new());
    assert_eq!(streams.run(bundle.runtime().args(["run", "--detach", &container.id])), 0);
    let table = || {
        let lines = container.go_with(&["exec"], &["cat", "/proc/self/mountinfo"]).ok().stdout;
        // Without ids and the numbers of groups: which mounts are slaves of the host's.
        let slave = |line: &str| (line.split(' ').nth(4).map(str::to_owned), line.contains(" master:"));
        lines.lines().map(slave).collect::<BTreeSet<_>>()
    };
    let before = table();
    for _ in 0..2 {
        checkpoint(&bundle, &container, &[]);
        let code = streams.run(&mut restore(&bundle, &container));
        assert_eq!(code, 0, "{}", restore_log(&bundle));
        assert_eq!(table(), before);
    }
    assert!(before.contains(&(Some("/".to_owned()), true)), "{before:?}");
    container.go_with(&["exec"], &["test", "-e", "/bundle/config.json"]).ok();
    container.go(&["delete", "--force"]).ok();
}

/// The namespace is not in the image, nor is what is in it.
#[test]
fn in_a_network_that_it_has_joined() {
    if !works() {
        return;
    }
    let network = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network");
        File::open("/proc/thread-self/ns/net").expect("its file")
    };
    let joined = network();
    let (own, ip) = (network(), |words: &str| Command::new("ip").args(words.split(' ')).go::<&str>(&[]));
    // CRIU tries its sockets in the network of its caller.
    ip("link set lo up").ok();
    ip("link add here0 mtu 1400 type veth peer name peer0").ok();
    ip("address add 192.0.2.1/24 dev here0").ok();
    let path = format!("/proc/{}/fd/{}", std::process::id(), joined.as_raw_fd());
    let bundle = Bundle::new(&["sh", "-c", COUNTING]).with(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "network", "path": path}));
        config["linux"]["netDevices"] = json!({"here0": {"name": "eth0"}});
    });
    let (container, streams) = (bundle.container(), Streams::new());
    assert_eq!(streams.run(bundle.runtime().args(["run", "--detach", &container.id])), 0);
    for _ in 0..2 {
        checkpoint(&bundle, &container, &[]);
        let code = streams.run(&mut restore(&bundle, &container));
        assert_eq!(code, 0, "{}", restore_log(&bundle));
        let enter = format!("--net=/proc/{}/ns/net", container.state()["pid"]);
        let words = [&enter, "ip", "address", "show", "dev", "eth0"];
        let shown = Command::new("nsenter").go(&words).ok().stdout;
        assert!(shown.contains("mtu 1400") && shown.contains("192.0.2.1/24"), "{shown}");
    }
    checkpoint(&bundle, &container, &[]);
    setns(&joined, CloneFlags::CLONE_NEWNET).expect("the network");
    ip("link delete eth0").ok();
    setns(&own, CloneFlags::CLONE_NEWNET).expect("the network");
    let code = streams.run(&mut restore(&bundle, &container));
    assert_ne!(code, 0, "its device is gone");
    container.go(&["state"]).fails(1, "does not exist");
}

/// As engines do it: paused before, and paused after it.
#[test]
fn a_paused_container() {
    if !works() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", COUNTING]);
    let (container, mut streams) = (bundle.container(), Streams::new());
    assert_eq!(streams.run(bundle.runtime().args(["run", "--detach", &container.id])), 0);
    writeln!(streams.stdin, "x").expect("written");
    read_until(&mut streams.stdout, "1 x");
    container.go(&["pause"]).ok();
    checkpoint(&bundle, &container, &["--leave-running"]);
    assert_eq!(container.status(), "paused");
    writeln!(streams.stdin, "y").expect("written");
    container.go(&["resume"]).ok();
    assert_eq!(container.status(), "running");
    read_until(&mut streams.stdout, "2 y");
    for round in ["3 z", "4 z"] {
        container.go(&["pause"]).ok();
        checkpoint(&bundle, &container, &[]);
        container.go(&["state"]).fails(1, "does not exist");
        let code = streams.run(&mut restore(&bundle, &container));
        assert_eq!(code, 0, "{}", restore_log(&bundle));
        assert_eq!(container.status(), "running");
        writeln!(streams.stdin, "z").expect("written");
        read_until(&mut streams.stdout, round);
    }
    container.go(&["delete", "--force"]).ok();
}

#[test]
fn a_copy_that_runs_on_and_the_exit_code_of_a_restore() {
    if !works() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", COUNTING]);
    let (container, mut streams) = (bundle.container(), Streams::new());
    assert_eq!(streams.run(bundle.runtime().args(["run", "--detach", &container.id])), 0);
    writeln!(streams.stdin, "x").expect("written");
    read_until(&mut streams.stdout, "1 x");
    checkpoint(&bundle, &container, &["--leave-running"]);
    assert_eq!(container.status(), "running");
    writeln!(streams.stdin, "y").expect("written");
    read_until(&mut streams.stdout, "2 y");
    container.go(&["delete", "--force"]).ok();

    // The image is from before the second line.
    writeln!(streams.stdin, "z").expect("written");
    let [stdin, stdout, stderr] =
        streams.theirs.each_ref().map(|file| file.try_clone().expect("a descriptor"));
    let mut restore = bundle.runtime();
    restore.args(["restore", "--work-path", "work", "--manage-cgroups-mode", "ignore", &container.id]);
    let mut child = restore.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("the runtime");
    read_until(&mut streams.stdout, "2 z");
    let Streams { stdin, theirs, stdout: _stdout } = streams;
    drop(theirs);
    // Its own pipe ends with the last writer.
    drop(stdin);
    assert_eq!(finish(&mut child), 7);
    container.go(&["state"]).fails(1, "does not exist");
}

#[test]
fn a_terminal_comes_over_the_socket() {
    if !works() {
        return;
    }
    let script = "n=0; while read line; do n=$((n+1)); echo $n $line; done";
    let bundle =
        Bundle::new(&["sh", "-c", script]).with(|config| config["process"]["terminal"] = json!(true));
    let container = bundle.container();
    let path = bundle.path().join("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let socket = path.to_str().expect("a path");
    container.go(&["run", "--detach", "--console-socket", socket]).ok();
    let mut master = receive(&listener);
    master.write_all(b"first\n").expect("written");
    read_until(&mut master, "1 first");
    checkpoint(&bundle, &container, &[]);
    drop(master);
    let words = ["restore", "--detach", "--console-socket", socket, "--work-path", "work"];
    let words = [&words[..], &["--manage-cgroups-mode", "ignore"]].concat();
    container.go(&words).ok();
    let mut master = receive(&listener);
    master.write_all(b"second\n").expect("written");
    read_until(&mut master, "2 second");
    let unchanged = || container.status() == "running";
    until("the container runs", unchanged);
}

fn receive(listener: &std::os::unix::net::UnixListener) -> File {
    use std::os::fd::{FromRawFd as _, RawFd};
    let (connection, _) = listener.accept().expect("a connection");
    let mut bytes = [0; 64];
    let mut data = [std::io::IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let flags = nix::sys::socket::MsgFlags::MSG_CMSG_CLOEXEC;
    let message = nix::sys::socket::recvmsg::<()>(connection.as_raw_fd(), &mut data, Some(&mut space), flags);
    let message = message.expect("a message");
    let number = message.cmsgs().expect("control data").find_map(|control| match control {
        nix::sys::socket::ControlMessageOwned::ScmRights(numbers) => numbers.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for this process; nobody else owns it.
    unsafe { File::from_raw_fd(number.expect("a descriptor")) }
}
