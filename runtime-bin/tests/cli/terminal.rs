//! run and exec on a terminal: relay, size, raw mode and its end.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::json;

use crate::support::{Bundle, Container, finish, privileged, read_until, until};

/// A command on a terminal of its own, with the terminal's other side.
struct Session {
    child: Child,
    master: File,
    tty: OwnedFd,
}

impl Session {
    fn start(command: &mut Command) -> Self {
        let size = Winsize { ws_row: 33, ws_col: 44, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal");
        let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the runtime");
        Self { child, master: File::from(pty.master), tty: pty.slave }
    }

    fn raw(&self) -> bool {
        !tcgetattr(&self.tty).expect("the modes").local_flags.contains(LocalFlags::ICANON)
    }
}

fn bundle(script: &str) -> Bundle {
    Bundle::new(&["sh", "-c", script]).with(|config| config["process"]["terminal"] = json!(true))
}

fn run(bundle: &Bundle, container: &Container<'_>) -> Session {
    Session::start(bundle.runtime().args(["run", &container.id]))
}

#[test]
fn both_directions_and_the_size() {
    if !privileged() {
        return;
    }
    let bundle = bundle("stty size; read x; echo got $x; exit 6");
    let container = bundle.container();
    let mut session = run(&bundle, &container);
    read_until(&mut session.master, "33 44");
    assert!(session.raw());
    session.master.write_all(b"word\r").expect("written");
    read_until(&mut session.master, "got word");
    assert_eq!(finish(&mut session.child), 6);
    assert!(!session.raw(), "the mode is restored");
}

#[test]
fn the_mode_is_restored_after_a_signal() {
    if !privileged() {
        return;
    }
    let bundle = bundle("trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done");
    let container = bundle.container();
    let mut session = run(&bundle, &container);
    read_until(&mut session.master, "up");
    assert!(session.raw());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(session.child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).expect("sent");
    assert_eq!(finish(&mut session.child), 9);
    assert!(!session.raw(), "the mode is restored");
}

#[test]
fn the_mode_is_restored_after_a_failure() {
    if !privileged() {
        return;
    }
    let bundle = bundle("true").with(|config| config["process"]["args"] = json!(["/nosuch"]));
    let container = bundle.container();
    let mut session = run(&bundle, &container);
    read_until(&mut session.master, "no such file or directory");
    assert_eq!(finish(&mut session.child), 1);
    assert!(!session.raw(), "the mode is restored");
}

/// Size and modes are set before the program runs: it sees no change of them, and its first line ends as all others do.
#[test]
fn a_program_of_exec_finds_its_terminal_ready() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    for _ in 0..10 {
        let script = "stty -a; stty size; echo end";
        let mut command = bundle.runtime();
        command.args(["exec", "-t", &container.id, "sh", "-c", script]);
        let mut session = Session::start(&mut command);
        let text = read_until(&mut session.master, "end");
        assert!(text.contains(" -onlcr"), "{text:?}");
        assert!(text.contains("33 44\r\n") && !text.contains("\r\r\n"), "{text:?}");
        assert_eq!(finish(&mut session.child), 0);
        assert!(!session.raw(), "the mode is restored");
    }
}

#[test]
fn the_mode_is_restored_after_a_failure_of_exec() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let mut session = Session::start(bundle.runtime().args(["exec", "-t", &container.id, "/nosuch"]));
    read_until(&mut session.master, "no such file or directory");
    assert_eq!(finish(&mut session.child), 255);
    assert!(!session.raw(), "the mode is restored");
}

#[test]
fn control_c_reaches_the_container() {
    if !privileged() {
        return;
    }
    let bundle = bundle("trap 'echo int; exit 2' INT; echo up; while :; do sleep 0.05; done");
    let container = bundle.container();
    let mut session = run(&bundle, &container);
    read_until(&mut session.master, "up");
    until("raw mode", || session.raw());
    session.master.write_all(b"\x03").expect("written");
    read_until(&mut session.master, "int");
    assert_eq!(finish(&mut session.child), 2);
}

#[test]
fn much_output_arrives_whole() {
    if !privileged() {
        return;
    }
    let bundle = bundle("seq 1 20000; echo end");
    let container = bundle.container();
    let mut session = run(&bundle, &container);
    let text = read_until(&mut session.master, "end");
    assert_eq!(text.lines().filter(|line| !line.is_empty()).count(), 20_001);
    assert_eq!(finish(&mut session.child), 0);
}

#[test]
fn a_terminal_of_exec() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let mut session = Session::start(bundle.runtime().args([
        "exec",
        "-t",
        container.id.as_str(),
        "sh",
        "-c",
        "stty size; tty; exit 12",
    ]));
    let text = read_until(&mut session.master, "/dev/pts/");
    assert!(text.contains("33 44"), "{text:?}");
    assert_eq!(finish(&mut session.child), 12);
}

/// The library takes names in any case; the program believes what that has understood.
#[test]
fn a_process_file_asks_for_a_terminal_in_another_case() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let process = json!({
        "Terminal": true, "ConsoleSize": {"Height": 11, "Width": 22}, "cwd": "/", "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "stty size; tty; exit 12"],
    });
    std::fs::write(bundle.path().join("process.json"), process.to_string()).expect("written");
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let words = ["exec", "--process", "process.json", container.id.as_str()];
    let mut session = Session::start(bundle.runtime().args(words));
    let text = read_until(&mut session.master, "/dev/pts/");
    assert!(text.contains("33 44"), "{text:?}");
    assert_eq!(finish(&mut session.child), 12);
    container
        .go(&["exec", "--detach", "--process", "process.json"])
        .fails(255, "cannot allocate tty if runtime will detach without setting console socket");
}

#[test]
fn the_end_of_a_piped_input() {
    if !privileged() {
        return;
    }
    let bundle = bundle("cat; echo end");
    let container = bundle.container();
    let mut child = bundle
        .runtime()
        .args(["run", &container.id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the runtime");
    child.stdin.take().expect("a pipe").write_all(b"line").expect("written");
    let mut output = File::from(OwnedFd::from(child.stdout.take().expect("a pipe")));
    read_until(&mut output, "end");
    assert_eq!(finish(&mut child), 0);
}
