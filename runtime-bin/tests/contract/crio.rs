//! CRI-O beside its monitor: `internal/oci/runtime_oci.go`. It runs with conmon in `tests/engines`, too.

use std::process::Command;

use serde_json::{Value, json};

use super::engine::Engine;
use crate::support::{Running as _, privileged, runtime_path, until};

#[test]
fn what_a_handler_can_do() {
    let engine = Engine::new("");
    let features = engine.json(&["features"]);
    let lists = |list: &Value, word: &str| list.as_array().is_some_and(|list| list.contains(&json!(word)));
    assert!(lists(&features["mountOptions"], "rro"), "{features}");
    assert!(lists(&features["linux"]["namespaces"], "user"), "{features}");
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
    engine.go(&["checkpoint", "--help"]).ok();
}

#[test]
fn exec_in_the_foreground() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let root = engine.root();
    let script = "read line; echo got $line; echo err >&2; exit 7";
    let process = engine.process(&["sh", "-c", script], |_| {});
    let run = engine.go_with("typed\n", &["--root", &root, "exec", "--process", &process, &engine.id]);
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (7, "got typed\n", "err\n"));
    let process = engine.process(&["sh", "-c", "kill -TERM $$"], |_| {});
    assert_eq!(engine.go(&["--root", &root, "exec", "--process", &process, &engine.id]).code, 143);
}

/// For `kubectl exec -it` CRI-O gives the runtime itself a terminal, and passes the bytes on.
#[test]
fn exec_on_the_callers_terminal() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let process = engine.process(&["sh", "-c", "tty; stty size; exit 4"], |process| {
        process["terminal"] = json!(true);
    });
    let line = format!(
        "stty rows 33 cols 101; exec {} --root {} exec --process {process} {}",
        runtime_path().display(),
        engine.root(),
        engine.id
    );
    let run = Command::new("script").args(["-qec", &line, "/dev/null"]).go::<&str>(&[]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.stdout.contains("/dev/pts/") && run.stdout.contains("33 101"), "{run:?}");
}

#[test]
fn stop_signals_in_each_form() {
    if !privileged() {
        return;
    }
    let script = "trap 'echo x >> /data/count' TERM; touch /data/ready; while :; do sleep 0.01; done";
    let engine = Engine::new(script).started();
    let root = engine.root();
    engine.wait_for_file("ready");
    let count = || std::fs::read_to_string(engine.path("count")).map_or(0, |text| text.lines().count());
    for (before, signal) in ["TERM", "SIGTERM", "15", "term", "sigterm"].iter().enumerate() {
        engine.silent(&["--root", &root, "kill", &engine.id, signal]);
        until(signal, || count() > before);
    }
    engine.go(&["--root", &root, "kill", &engine.id, "SIGNONE"]).fails(1, "SIGNONE");
    assert_eq!(engine.go(&["--root", &root, "kill", &engine.id, "4711"]).code, 1);
    assert_eq!(engine.status(), "running");
    // Its last call of the stop loop, and of a container whose PID namespace is the node's.
    engine.silent(&["--root", &root, "kill", &engine.id, "KILL"]);
    engine.wait_for("stopped");
    let run = engine.go(&["--root", &root, "kill", &engine.id, "KILL"]);
    run.fails(1, "container not running");
}

#[test]
fn all_processes_of_a_node_level_pid_namespace() {
    if !privileged() {
        return;
    }
    let mut engine =
        Engine::new("sleep 1000 & echo $! > /data/new; mv /data/new /data/child; exec sleep 1000");
    let namespaces = engine.bundle.config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    namespaces.retain(|namespace| namespace["type"] != "pid");
    engine.bundle.write();
    let engine = engine.started();
    let root = engine.root();
    engine.wait_for_file("child");
    let child = std::fs::read_to_string(engine.path("child")).expect("a pid");
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    engine.silent(&["--root", &root, "kill", &engine.id, "TERM"]);
    engine.wait_for("stopped");
    assert!(lives(), "TERM was for the init alone");
    engine.silent(&["--root", &root, "kill", "-a", &engine.id, "KILL"]);
    until("the end of the child", || !lives());
}

#[test]
fn resources_from_the_standard_input() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let root = engine.root();
    let pids = std::path::Path::new("/sys/fs/cgroup/pids").exists();
    // As CRI-O sends it: a LinuxResources whose unset parts are empty.
    let resources =
        if pids { json!({"pids": {"limit": 33}, "cpu": {}, "memory": {}}) } else { json!({"cpu": {}}) };
    let update = ["--root", &root, "update", "--resources", "-", &engine.id];
    let run = engine.go_with(&resources.to_string(), &update).ok();
    assert_eq!(run.stdout, "");
    if pids {
        let event = engine.json(&["--root", &root, "events", "--stats", &engine.id]);
        assert_eq!(event["data"]["pids"]["limit"], 33);
    }
}
