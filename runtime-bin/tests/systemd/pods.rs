//! What a kubelet does on a node with systemd: a pod is resized in place, and a container runs out of memory.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::finish;
use crate::{Scope, is_unified, systemctl, systemd, until};

const MIB: u64 = 1 << 20;

/// A container with a limit of memory, without swap, under the driver.
fn limited(name: &str, args: &[&str], limit: u64) -> Scope {
    Scope::new("runtime-pods.slice", name).with(|config| {
        config["process"]["args"] = json!(args);
        config["linux"]["resources"] = json!({"memory": {"limit": limit, "swap": limit}});
    })
}

/// The scope's limit of memory, or how often the kernel has killed for lack of it.
fn memory(scope: &Scope, v1: &str, v2: &str) -> String {
    scope.file(if is_unified() { v2 } else { v1 })
}

fn limit(scope: &Scope) -> String {
    memory(scope, "memory.limit_in_bytes", "memory.max")
}

fn kills(scope: &Scope) -> u64 {
    let text = memory(scope, "memory.oom_control", "memory.events");
    let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    line.expect("a count").parse().expect("a number")
}

/// Takes this much memory in a new process of the container; its exit code.
#[track_caller]
fn take(scope: &Scope, mebibytes: u64) -> i32 {
    let block = format!("bs={mebibytes}M");
    let dd = ["dd", "if=/dev/zero", "of=/dev/null", "count=1", &block];
    scope.go(&[&["exec", &scope.name], &dd[..]].concat()).code
}

/// The status of a process that SIGKILL ended.
const KILLED: i32 = 137;

fn pid(scope: &Scope) -> Value {
    let state: Value = serde_json::from_str(&scope.go(&["state", &scope.name]).ok().stdout).expect("JSON");
    state["pid"].clone()
}

/// Larger, and smaller: the kernel and systemd have each size, also after systemd was reloaded, the
/// processes feel it, and the container runs on.
#[test]
fn resize_in_place() {
    if !systemd() {
        return;
    }
    let scope = limited("resize", &["sleep", "1000"], 48 * MIB);
    scope.go(&["run", "-d", &scope.name]).ok();
    let before = pid(&scope);
    assert_eq!(take(&scope, 64), KILLED, "before any resize");
    for (size, shares, quota, fits) in [(128, 512, 50_000, true), (40, 2, -1, false)] {
        let bytes = size * MIB;
        let resources = json!({
            "memory": {"limit": bytes, "swap": bytes},
            "cpu": {"shares": shares, "quota": quota, "period": 100_000, "cpus": "", "mems": ""},
            "unified": {}, "hugepageLimits": [],
        });
        let file = scope.bundle.path().join("resources.json");
        fs::write(&file, resources.to_string()).expect("a file");
        let file = file.to_str().expect("UTF-8");
        scope.go(&["update", "--resources", file, &scope.name]).ok();
        for when in ["at first", "after a reload"] {
            if when == "after a reload" {
                systemctl(&["daemon-reload"]);
            }
            assert_eq!(limit(&scope), bytes.to_string(), "{size} MiB {when}");
            if is_unified() {
                scope.shows(&[("MemoryMax", &bytes.to_string()), ("MemorySwapMax", "0")]);
                let most = if quota > 0 { quota.to_string() } else { "max".to_owned() };
                assert_eq!(scope.file("cpu.max"), format!("{most} 100000"), "{size} MiB {when}");
            } else {
                scope.shows(&[("MemoryLimit", &bytes.to_string())]);
                assert_eq!(scope.file("cpu.cfs_quota_us"), quota.to_string(), "{size} MiB {when}");
                assert_eq!(scope.file("cpu.shares"), shares.to_string(), "{size} MiB {when}");
            }
        }
        assert_eq!(take(&scope, 64), if fits { 0 } else { KILLED }, "64 MiB where {size} are allowed");
    }
    assert_eq!((pid(&scope), scope.status()), (before, "running".to_owned()));
}

/// `events` of a container, with its output in a file.
fn follow(scope: &Scope) -> (Child, std::path::PathBuf) {
    let path = scope.bundle.path().join("events");
    let file = File::create(&path).expect("a file");
    let mut command = scope.bundle.runtime();
    command.args(["--systemd-cgroup", "events", "--interval", "1h", &scope.name]);
    let child = command.stdin(Stdio::null()).stdout(file).spawn().expect("events");
    (child, path)
}

/// Lack of memory in a process of the container is an event, and neither ends the container nor its scope.
#[test]
fn a_process_without_memory() {
    if !systemd() {
        return;
    }
    let scope = limited("process-oom", &["sleep", "1000"], 48 * MIB);
    scope.go(&["run", "-d", &scope.name]).ok();
    let before = pid(&scope);
    let (mut follower, path) = follow(&scope);
    let told = || fs::read_to_string(&path).expect("events").contains("\"type\":\"oom\"");
    // It may not be listening yet.
    until("an event", || {
        assert_eq!(take(&scope, 64), KILLED);
        told()
    });
    assert!(kills(&scope) > 0);
    assert_eq!((pid(&scope), scope.status()), (before, "running".to_owned()));
    scope.shows(&[("ActiveState", "active")]);
    assert_eq!(take(&scope, 1), 0);
    scope.go(&["kill", &scope.name, "KILL"]).ok();
    assert_eq!(finish(&mut follower), 0);
}

/// The container's own process is killed for lack of memory: `run` ends as that process did, which an engine
/// reports as 137, and nothing is left. Control: the same program with enough memory.
#[test]
fn a_container_without_memory() {
    if !systemd() {
        return;
    }
    let dd = ["dd", "if=/dev/zero", "of=/dev/null", "count=1", "bs=64M"];
    for (limit, code) in [(128 * MIB, 0), (48 * MIB, KILLED)] {
        let scope = limited("oom", &dd, limit);
        assert_eq!(scope.go(&["run", &scope.name]).code, code, "{limit}");
        scope.left_nothing();
    }
    let scope = limited("oom-detached", &dd, 48 * MIB);
    scope.go(&["create", &scope.name]).ok();
    scope.go(&["start", &scope.name]).ok();
    until("it is stopped", || scope.status() == "stopped");
    scope.go(&["delete", &scope.name]).ok();
    scope.left_nothing();
}
