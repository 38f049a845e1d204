//! The real thing: containers that go on where they were.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

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
        let mut restore = bundle.runtime();
        restore.args(["restore", "--detach", "--work-path", "work", "--manage-cgroups-mode", "ignore"]);
        let code = streams.run(restore.arg(&container.id));
        assert_eq!(
            code,
            0,
            "{}",
            std::fs::read_to_string(bundle.path().join("work/restore.log")).unwrap_or_default()
        );
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
    use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
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
