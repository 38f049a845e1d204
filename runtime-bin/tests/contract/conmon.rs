//! conmon, under Podman and CRI-O: `src/runtime_args.c`. The options of the engine come before the command, those
//! of `--runtime-opt` after it, and the id last.

use std::fs;

use serde_json::json;

use super::engine::{Engine, read_all};
use crate::support::{Running as _, privileged, until};

#[test]
fn create_with_podmans_log() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000");
    let (root, log, bundle, pid) =
        (engine.root(), engine.path("oci-log"), engine.path(""), engine.path("pidfile"));
    let create = ["--root", &root, "--log-format=json", "--log", &log, "create", "--bundle", &bundle];
    engine.silent(&[&create[..], &["--pid-file", &pid, &engine.id]].concat());
    assert_eq!(engine.status(), "created");
    let state = engine.json(&["--root", &root, "state", &engine.id]);
    assert_eq!(state["pid"], engine.pid("pidfile"));
}

#[test]
fn the_root_in_each_form() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let root = engine.root();
    let (joined, single) = (format!("--root={root}"), format!("-root={root}"));
    for words in [&["--root", &root][..], &[&joined], &[&single], &["--root", "/nowhere", &joined]] {
        let list = engine.go(&[words, &["list", "-q"]].concat()).ok();
        assert_eq!(list.stdout.trim(), engine.id, "{words:?}");
    }
}

#[test]
fn create_with_every_option() {
    if !privileged() {
        return;
    }
    let mut engine = Engine::new("exec sleep 1000");
    engine.bundle.config["process"]["terminal"] = json!(true);
    engine.bundle.write();
    let (root, bundle, pid) = (engine.path("state"), engine.path(""), engine.path("pidfile"));
    let (console, root) = (engine.console(), format!("--root={root}"));
    let socket = console.path();
    let create = [&root, "--systemd-cgroup=false", "create", "--bundle", &bundle, "--pid-file", &pid];
    let more = ["--no-pivot", "--no-new-keyring", "--console-socket", &socket, &engine.id];
    engine.silent(&[&create[..], &more].concat());
    let terminal = console.terminal();
    engine.silent(&[&root, "start", &engine.id]);
    until("sleep", || engine.sh("cat /proc/1/comm") == "sleep\n");
    assert!(engine.sh("readlink /proc/1/fd/0").starts_with("/dev/pts/"));
    engine.silent(&[&root, "kill", &engine.id, "9"]);
    read_all(terminal);
    engine.wait_for("stopped");
}

#[test]
fn exec_detached() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let (root, pid) = (format!("--root={}", engine.root()), engine.path("exec-pidfile"));
    let process = engine.process(&["sh", "-c", "echo said > /data/said; exec sleep 2000"], |_| {});
    engine.silent(&[&root, "exec", "--pid-file", &pid, "--process", &process, "--detach", &engine.id]);
    until("output", || fs::read_to_string(engine.path("said")).is_ok_and(|text| text == "said\n"));
    let status = fs::read_to_string(format!("/proc/{}/status", engine.pid("exec-pidfile"))).expect("it runs");
    assert!(status.contains("NSpid:"), "{status}");
    let process = engine.process(&["sh", "-c", "tty; stty size"], |process| {
        process["terminal"] = json!(true);
        process["consoleSize"] = json!({"height": 33, "width": 101});
    });
    let console = engine.console();
    let socket = console.path();
    let exec = [&root, "exec", "--pid-file", &pid, "--process", &process, "--detach"];
    engine.silent(&[&exec[..], &["--console-socket", &socket, &engine.id]].concat());
    let text = read_all(console.terminal());
    assert!(text.starts_with("/dev/pts/") && text.ends_with("33 101\r\n"), "{text:?}");
}

/// Podman's `exec --preserve-fds`: what it hands to conmon comes after conmon's own words.
#[test]
fn exec_with_preserved_descriptors() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    fs::write(engine.path("kept"), "kept").expect("a file");
    let process = engine.process(&["sh", "-c", "cat <&3 > /data/said; touch /data/done"], |_| {});
    let script = format!("exec 3<{}; exec \"$@\"", engine.path("kept"));
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]).arg(crate::support::runtime_path()).env_clear();
    let (root, pid) = (format!("--root={}", engine.root()), engine.path("exec-pidfile"));
    let exec = [&root, "exec", "--pid-file", &pid, "--process", &process, "--detach"];
    command.go(&[&exec[..], &["--preserve-fds", "1", &engine.id]].concat()).ok();
    engine.wait_for_file("done");
    assert_eq!(fs::read_to_string(engine.path("said")).expect("output"), "kept");
}

#[test]
fn restore_without_criu() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000");
    let (root, bundle, pid, image) =
        (format!("--root={}", engine.root()), engine.path(""), engine.path("pidfile"), engine.path("image"));
    let restore = [&root, "restore", "--bundle", &bundle, "--pid-file", &pid, "--detach"];
    let more =
        ["--image-path", &image, "--work-path", &bundle, "--tcp-established", "--file-locks", &engine.id];
    let run = engine.go(&[&restore[..], &more].concat());
    assert_eq!((run.code, &*run.stdout), (1, ""), "{run:?}");
    assert!(run.stderr.to_lowercase().contains("criu"), "{run:?}");
    engine.go(&[&root, "state", &engine.id]).fails(1, "does not exist");
}
