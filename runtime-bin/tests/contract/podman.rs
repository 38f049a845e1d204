//! Podman beside conmon: `libpod/oci_conmon_common.go`. `XDG_RUNTIME_DIR` and `PATH` are all its environment.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::engine::Engine;
use crate::support::{Run, Running as _, privileged, until};

fn command(engine: &Engine) -> Command {
    let mut command = engine.command();
    command.env("XDG_RUNTIME_DIR", engine.bundle.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[track_caller]
fn go(engine: &Engine, words: &[&str]) -> Run {
    command(engine).arg("--root").arg(engine.root()).go(words)
}

#[test]
fn state_with_hardly_an_environment() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let root = engine.root();
    let mut command = engine.command();
    let run =
        command.env("XDG_RUNTIME_DIR", engine.bundle.path()).go(&["--root", &root, "state", &engine.id]);
    let state: serde_json::Value = serde_json::from_str(&run.ok().stdout).expect("JSON");
    for field in ["ociVersion", "id", "pid", "status", "bundle"] {
        assert!(!state[field].is_null(), "{field} in {state}");
    }
}

#[test]
fn kill_by_number() {
    if !privileged() {
        return;
    }
    let script = "trap 'touch /data/usr1' USR1; touch /data/ready; while :; do sleep 0.01; done";
    let engine = Engine::new(script).started();
    engine.wait_for_file("ready");
    go(&engine, &["kill", &engine.id, "10"]).ok();
    engine.wait_for_file("usr1");
    assert_eq!(engine.status(), "running");
    go(&engine, &["kill", "--all", &engine.id, "9"]).ok();
    engine.wait_for("stopped");
    let run = go(&engine, &["kill", &engine.id, "9"]);
    assert_eq!(run.code, 1, "{run:?}");
    go(&engine, &["delete", "--force", &engine.id]).ok();
    go(&engine, &["delete", "--force", &engine.id]).ok();
}

#[test]
fn update_from_a_file() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let file = engine.path("resources");
    fs::write(&file, json!({"pids": {}, "cpu": {}}).to_string()).expect("a file");
    go(&engine, &["update", &format!("--resources={file}"), &engine.id]).ok();
    assert_eq!(engine.status(), "running");
    fs::write(&file, json!({"memory": {"limit": "much"}}).to_string()).expect("a file");
    let run = go(&engine, &["update", &format!("--resources={file}"), &engine.id]);
    assert_eq!(run.code, 1, "{run:?}");
}

#[test]
fn pause_and_resume() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("while :; do echo -n x >> /data/count; usleep 1000; done").started();
    let size = || fs::metadata(engine.path("count")).map_or(0, |file| file.len());
    until("progress", || size() > 0);
    go(&engine, &["pause", &engine.id]).ok();
    assert_eq!(engine.status(), "paused");
    let before = size();
    // Other work of the runtime in between: time enough for a process that is not frozen.
    for _ in 0..5 {
        go(&engine, &["state", &engine.id]).ok();
    }
    assert_eq!(size(), before);
    go(&engine, &["resume", &engine.id]).ok();
    until("progress", || size() > before);
}

/// Podman asks so before its first checkpoint.
#[test]
fn checkpoint_is_offered() {
    let engine = Engine::new("");
    let help = command(&engine).go(&["checkpoint", "--help"]).ok();
    for flag in ["--image-path", "--work-path", "--leave-running", "--tcp-established", "--file-locks"] {
        assert!(help.stdout.contains(flag), "{flag} is not in {help:?}");
    }
    for flag in ["--pre-dump", "--parent-path"] {
        assert!(help.stdout.contains(flag), "{flag} is not in {help:?}");
    }
}

#[test]
fn start_passes_the_error_on() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let run = go(&engine, &["start", &engine.id]);
    run.fails(1, "cannot start an already running container");
}
