//! Readiness: the container's notify socket and the service manager's.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Bundle, Running as _, finish, privileged, until};

/// A service manager's socket in the bundle's directory.
fn manager(bundle: &Bundle) -> UnixDatagram {
    let socket = UnixDatagram::bind(bundle.path().join("manager")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    socket
}

/// Says through the container's socket that it is ready, as one of its processes would.
fn ready(bundle: &Bundle, id: &str) {
    let path = bundle.state().join(format!("notify:{id}/notify.sock"));
    until("the socket", || path.exists());
    UnixDatagram::unbound().expect("a socket").send_to(b"STATUS=up\nREADY=1", path).expect("sent");
}

#[track_caller]
fn told(manager: &UnixDatagram, pid: &str) {
    let mut bytes = [0; 256];
    for wanted in ["READY=1\n", &format!("MAINPID={pid}\n"), "BARRIER=1"] {
        let count = manager.recv(&mut bytes).expect("a message");
        assert_eq!(String::from_utf8_lossy(&bytes[..count]), wanted);
    }
}

fn spawn(bundle: &Bundle, args: &[&str]) -> Child {
    let mut command = bundle.runtime();
    command.env("NOTIFY_SOCKET", bundle.path().join("manager")).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the runtime")
}

#[test]
fn a_detached_run_ends_when_the_container_is_ready() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let (container, manager) = (bundle.container(), manager(&bundle));
    let mut child = spawn(&bundle, &["run", "--detach", "--pid-file", "pid", &container.id]);
    until("the pid file", || bundle.path().join("pid").exists());
    assert!(child.try_wait().expect("a child").is_none(), "it waits for the container");
    ready(&bundle, &container.id);
    told(&manager, &container.state()["pid"].to_string());
    assert_eq!(finish(&mut child), 0);
    let inside = container.go_with(&["exec"], &["ls", "/run/notify"]).ok();
    assert_eq!(inside.stdout, "notify.sock\n");
    container.go(&["delete", "--force"]).ok();
    assert_eq!(std::fs::read_dir(bundle.state()).expect("the state root").count(), 0, "nothing is left");
}

#[test]
fn start_after_create_binds_the_socket() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let (container, manager) = (bundle.container(), manager(&bundle));
    assert_eq!(finish(&mut spawn(&bundle, &["create", &container.id])), 0);
    let mut child = spawn(&bundle, &["start", &container.id]);
    ready(&bundle, &container.id);
    told(&manager, &container.state()["pid"].to_string());
    assert_eq!(finish(&mut child), 0);
}

/// The program finds its socket from its first instruction on, and a user who is not root may use it: what it says is
/// not lost, also when it ends at once.
#[test]
fn the_socket_is_there_before_the_program() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "stat -c %a $NOTIFY_SOCKET > /tmp/mode"]);
    let (container, _manager) = (bundle.container(), manager(&bundle));
    let mode = bundle.path().join("rootfs/tmp/mode");
    let seen = |how: &[&str]| {
        let text = std::fs::read_to_string(&mode).unwrap_or_default();
        assert_eq!(text, "777\n", "{how:?}");
        std::fs::remove_file(&mode).expect("removed");
    };
    for _ in 0..10 {
        for how in [["run"].as_slice(), &["run", "--detach"]] {
            let mut child = spawn(&bundle, &[how, &[container.id.as_str()]].concat());
            assert_eq!(finish(&mut child), 0, "{how:?}");
            seen(how);
            container.go(&["delete", "--force"]).ok();
        }
        assert_eq!(finish(&mut spawn(&bundle, &["create", &container.id])), 0);
        assert_eq!(finish(&mut spawn(&bundle, &["start", &container.id])), 0);
        seen(&["start"]);
        container.go(&["delete", "--force"]).ok();
    }
}

/// What is in the place of the socket is not the runtime's to change: a process in a created container could have put
/// a link there.
#[test]
fn a_link_in_place_of_the_socket_leads_nowhere() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let (container, _manager) = (bundle.container(), manager(&bundle));
    assert_eq!(finish(&mut spawn(&bundle, &["create", &container.id])), 0);
    let decoy = bundle.path().join("decoy");
    std::fs::write(&decoy, "").expect("a file");
    let mode = || std::fs::metadata(&decoy).expect("the decoy").permissions().mode();
    let before = mode();
    let place = bundle.state().join(format!("notify:{}/notify.sock", container.id));
    std::os::unix::fs::symlink(&decoy, place).expect("a link");
    assert_eq!(finish(&mut spawn(&bundle, &["start", &container.id])), 1);
    assert_eq!(mode(), before);
    assert_eq!(container.status(), "created");
}

#[test]
fn a_taken_id_leaves_the_socket_of_its_container() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let (container, _manager) = (bundle.container(), manager(&bundle));
    let mut child = spawn(&bundle, &["run", "--detach", "--pid-file", "pid", &container.id]);
    until("the pid file", || bundle.path().join("pid").exists());
    for verb in ["create", "run"] {
        assert_eq!(finish(&mut spawn(&bundle, &[verb, &container.id])), 1, "{verb}");
    }
    assert_eq!(finish(&mut spawn(&bundle, &["start", &container.id])), 1);
    ready(&bundle, &container.id);
    assert_eq!(finish(&mut child), 0);
}

#[test]
fn a_container_that_ends_is_not_waited_for() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let (container, _manager) = (bundle.container(), manager(&bundle));
    for options in [["run"].as_slice(), &["run", "--detach"]] {
        assert_eq!(finish(&mut spawn(&bundle, &[options, &[container.id.as_str()]].concat())), 0);
        container.go(&["delete", "--force"]).ok();
    }
}

#[test]
fn a_failed_creation_leaves_no_directory() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["/nosuch"]);
    let (container, manager_path) = (bundle.container(), "/nonexistent");
    let run = bundle.runtime().env("NOTIFY_SOCKET", manager_path).go(&["create", &container.id]);
    assert_eq!(run.code, 1, "{run:?}");
    let left = |path: &Path| std::fs::read_dir(path).map(Iterator::count).unwrap_or(0);
    assert_eq!(left(&bundle.state()), 0);
}
