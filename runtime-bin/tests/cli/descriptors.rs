//! Descriptors that are passed on: --preserve-fds, LISTEN_FDS, sockets; and those that are not.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::json;

use crate::support::{Bundle, Running as _, privileged, read_until, runtime_path};

/// Runs the runtime from a shell, which opens descriptors for it.
fn from_shell(bundle: &Bundle, script: &str) -> crate::support::Run {
    Command::new("bash")
        .current_dir(bundle.path())
        .env("RUNTIME", runtime_path())
        .env("ROOT", bundle.state())
        .go(&["-c", script])
}

#[test]
fn only_the_preserved_descriptors() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "cat <&3; ls /proc/self/fd"]);
    std::fs::write(bundle.path().join("file"), "from outside\n").expect("a file");
    let container = bundle.container();
    let run = from_shell(
        &bundle,
        &format!(
            "exec 3<file 4</ 7</etc/passwd; exec $RUNTIME --root $ROOT run --preserve-fds 1 {}",
            container.id
        ),
    );
    // ls itself opens the directory as 4.
    assert_eq!(run.ok().stdout, "from outside\n0\n1\n2\n3\n4\n");
}

/// Podman passes a count that reaches up to the highest of the descriptors that it wants to pass.
#[test]
fn closed_descriptors_between_the_preserved_ones_stay_closed() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "cat <&5; exec ls /proc/self/fd"]);
    std::fs::write(bundle.path().join("file"), "from outside\n").expect("a file");
    let container = bundle.container();
    let opened = "exec 3<&- 4<&- 5<file 6</ 7<&- 8<&- 9<&-; exec $RUNTIME --root $ROOT";
    // The directory that ls opens is 3; 7 to 9 are not open.
    for count in [4, 7] {
        let run = from_shell(&bundle, &format!("{opened} run --preserve-fds {count} {}", container.id));
        assert_eq!(run.ok().stdout, "from outside\n0\n1\n2\n3\n5\n6\n");
    }
    // What else the environment of the test has open is passed on, too.
    let all = from_shell(&bundle, &format!("{opened} run --preserve-fds 1048576 {}", container.id)).ok();
    assert!(all.stdout.starts_with("from outside\n"), "{all:?}");
    let sleeping = Bundle::new(&["sleep", "1000"]);
    std::fs::write(sleeping.path().join("file"), "from outside\n").expect("a file");
    let container = sleeping.container();
    container.go(&["run", "-d"]).ok();
    let program = "sh -c 'cat <&5; exec ls /proc/self/fd'";
    let run = from_shell(&sleeping, &format!("{opened} exec --preserve-fds 4 {} {program}", container.id));
    assert_eq!(run.ok().stdout, "from outside\n0\n1\n2\n3\n5\n6\n");
}

#[test]
fn sockets_of_a_service_manager() {
    if !privileged() {
        return;
    }
    let bundle =
        Bundle::new(&["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; ls /proc/self/fd"]);
    std::fs::write(bundle.path().join("one"), "1\n").expect("a file");
    std::fs::write(bundle.path().join("two"), "2\n").expect("a file");
    let container = bundle.container();
    let script = |pid: &str| {
        format!(
            "exec 3<one 4<two; LISTEN_FDS=1 LISTEN_PID={pid} exec $RUNTIME --root $ROOT run --preserve-fds=1 {}",
            container.id
        )
    };
    assert_eq!(from_shell(&bundle, &script("$$")).ok().stdout, "1 1\n1\n2\n0\n1\n2\n3\n4\n5\n");
    // Meant for another process: only the preserved descriptor is passed on.
    let run = from_shell(&bundle, &script("1"));
    assert!(run.stdout.starts_with("\n1\n"), "{run:?}");
}

pub(crate) fn accept(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).expect("non-blocking");
    let mut stream = None;
    crate::support::until("a connection", || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let (stream, _) = stream.expect("a connection");
    stream.set_nonblocking(false).expect("blocking");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("a limit");
    stream
}

pub(crate) fn receive(stream: &UnixStream) -> (String, OwnedFd) {
    let mut bytes = [0; 4096];
    let mut data = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
        .expect("a message");
    let descriptor = message
        .cmsgs()
        .expect("control data")
        .find_map(|control| match control {
            ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
            _ => None,
        })
        .expect("a descriptor");
    let length = message.bytes;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    // SAFETY: the kernel has just made this descriptor for this process; nobody else owns it.
    (text, unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[test]
fn console_socket() {
    if !privileged() {
        return;
    }
    let script = "stty size; tty; echo -n 'name: '; read x; echo hello $x";
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({"height": 11, "width": 22});
    });
    let listener = UnixListener::bind(bundle.path().join("console")).expect("a socket");
    let container = bundle.container();
    container
        .go(&["create"])
        .fails(1, "cannot allocate tty if runtime will detach without setting console socket");
    container.go(&["create", "--console-socket", "console"]).ok();
    let stream = accept(&listener);
    let (name, master) = receive(&stream);
    assert_eq!(name, "/dev/ptmx");
    container.go(&["start"]).ok();
    let mut master = std::fs::File::from(master);
    let text = read_until(&mut master, "name: ");
    assert!(text.contains("11 22") && text.contains("/dev/"), "{text:?}");
    std::io::Write::write_all(&mut master, b"you\n").expect("written");
    read_until(&mut master, "hello you");
    container.wait_for("stopped");
}

#[test]
fn console_socket_of_exec() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let listener = UnixListener::bind(bundle.path().join("console")).expect("a socket");
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let options = ["exec", "--detach", "--tty", "--console-socket", "console"];
    container.go_with(&options, &["sh", "-c", "tty && echo ready"]).ok();
    let stream = accept(&listener);
    let (name, master) = receive(&stream);
    assert_eq!(name, "/dev/ptmx");
    let mut master = std::fs::File::from(master);
    assert!(read_until(&mut master, "ready").contains("/dev/pts/"));
    container
        .go_with(&["exec", "--console-socket", "console"], &["true"])
        .fails(255, "cannot use console socket");
}

/// What `create` ignores without a terminal is no fault of an `exec` that has one.
#[test]
fn a_console_size_that_is_ignored() {
    if !privileged() {
        return;
    }
    for size in [serde_json::json!({"height": 24}), serde_json::json!("large")] {
        let bundle =
            Bundle::new(&["sleep", "1000"]).with(|config| config["process"]["consoleSize"] = size.clone());
        let listener = UnixListener::bind(bundle.path().join("console")).expect("a socket");
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        container.go_with(&["exec"], &["true"]).ok();
        let options = ["exec", "--detach", "--tty", "--console-socket", "console"];
        container.go_with(&options, &["sh", "-c", "tty && echo ready"]).ok();
        let (_, master) = receive(&accept(&listener));
        read_until(&mut std::fs::File::from(master), "ready");
    }
}

/// Whoever waits at the console socket sees an end, whatever fails and however early.
#[test]
fn a_failed_command_ends_the_wait_at_the_console_socket() {
    if !privileged() {
        return;
    }
    let good = Bundle::new(&["sleep", "1000"]).with(|config| config["process"]["terminal"] = json!(true));
    let listener = UnixListener::bind(good.path().join("console")).expect("a socket");
    listener.set_nonblocking(true).expect("non-blocking");
    let socket = good.path().join("console");
    let socket = socket.to_str().expect("a path");
    let ended = |bundle: &Bundle, words: &[&str], what: &str| {
        let run = bundle.go(words);
        assert!(run.code != 0, "{what}: {run:?}");
        let (mut stream, _) = listener.accept().unwrap_or_else(|error| panic!("{what}: {error}: {run:?}"));
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut rest).expect("an end");
        assert!(rest.is_empty(), "{what}");
    };
    type Fault = (&'static str, fn(&mut serde_json::Value));
    let faults: [Fault; 4] = [
        ("an invalid field", |config| config["process"]["cwd"] = json!("relative")),
        ("a mount of nothing", |config| config["mounts"][0]["source"] = json!("\0")),
        ("no terminal", |config| config["process"]["terminal"] = json!(false)),
        ("no program", |config| config["process"]["args"] = json!(["/nosuch"])),
    ];
    for (what, fault) in faults {
        let bundle = Bundle::new(&["true"]).with(|config| {
            config["process"]["terminal"] = json!(true);
            fault(config);
        });
        let container = bundle.container();
        ended(&bundle, &["create", "--console-socket", socket, &container.id], what);
        ended(&bundle, &["run", "-d", "--console-socket", socket, &container.id], what);
    }
    let missing = ["create", "--bundle", "/nosuch", "--console-socket", socket, "any"];
    ended(&good, &missing, "no bundle");
    ended(&good, &["exec", "-d", "-t", "--console-socket", socket, "none", "true"], "no container");
}

#[test]
fn pidfd_socket() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let listener = UnixListener::bind(bundle.path().join("pidfd")).expect("a socket");
    let container = bundle.container();
    container.go(&["run", "-d", "--pidfd-socket", "pidfd"]).ok();
    let stream = accept(&listener);
    let (_, pidfd) = receive(&stream);
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).expect("fdinfo");
    let pid = container.state()["pid"].to_string();
    assert!(info.lines().any(|line| line == format!("Pid:\t{pid}")), "{info}");
}
