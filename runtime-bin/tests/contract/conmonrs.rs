//! conmon-rs, CRI-O's other monitor: `server.rs` of containers/conmon-rs. It gives a program's words after the id,
//! so that the program's own options must stay the program's.

use std::fs;

use serde_json::json;

use super::engine::{Engine, read_all};
use crate::support::{privileged, until};

#[test]
fn create_with_a_terminal() {
    if !privileged() {
        return;
    }
    let mut engine = Engine::new("tty; exit 3");
    engine.bundle.config["process"]["terminal"] = json!(true);
    engine.bundle.write();
    let (root, bundle, pid) = (format!("--root={}", engine.root()), engine.path(""), engine.path("pidfile"));
    let console = engine.console();
    let socket = format!("--console-socket={}", console.path());
    let create = [&root, "create", "--bundle", &bundle, "--pid-file", &pid, &socket, &engine.id];
    engine.silent(&create);
    assert!(engine.pid("pidfile") > 1);
    let terminal = console.terminal();
    engine.silent(&[&root, "start", &engine.id]);
    assert_eq!(read_all(terminal), "/dev/pts/0\r\n");
    engine.wait_for("stopped");
}

#[test]
fn exec_of_words_after_the_id() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let (root, pid) = (format!("--root={}", engine.root()), format!("--pid-file={}", engine.path("exec")));
    let script = "echo \"$@\" > /data/new; mv /data/new /data/said";
    let words = ["sh", "-c", script, "--root", "-d", "--tty", "--", "--pid-file=x"];
    engine.silent(&[&[&root, "exec", "-d", &pid, &engine.id], &words[..]].concat());
    engine.wait_for_file("said");
    assert_eq!(fs::read_to_string(engine.path("said")).expect("output"), "-d --tty -- --pid-file=x\n");
    assert!(engine.pid("exec") > 1);
}

#[test]
fn exec_with_a_terminal() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let (root, pid) = (format!("--root={}", engine.root()), format!("--pid-file={}", engine.path("exec")));
    let console = engine.console();
    let socket = format!("--console-socket={}", console.path());
    let exec = [&root, "exec", "-d", &socket, "--tty", &pid, &engine.id, "sh", "-c", "tty; exit 3"];
    engine.silent(&exec);
    assert!(read_all(console.terminal()).starts_with("/dev/pts/"));
}

/// The monitor takes a failure from the exit code and the two streams.
#[test]
fn exec_of_nothing() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let (root, pid) = (format!("--root={}", engine.root()), format!("--pid-file={}", engine.path("exec")));
    let run = engine.go(&[&root, "exec", "-d", &pid, &engine.id, "no-such-program"]);
    run.fails(255, "executable file not found in $PATH");
    assert!(!std::path::Path::new(&engine.path("exec")).exists());
    until("the container", || engine.status() == "running");
}
