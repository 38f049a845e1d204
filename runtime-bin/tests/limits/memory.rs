//! Memory: who takes too much is killed, and the engine is told.

use std::fs::{self, File};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::scene::{ASLEEP, Group, controllers, limited};
use crate::support::{Bundle, finish, until};

/// Takes memory without end: it looks for the end of a line that has none.
const HOG: &[&str] = &["tail", "/dev/zero"];

const LIMIT: u64 = 32 << 20;

#[test]
fn a_hog_is_killed_and_the_engine_is_told() {
    if !controllers(&["memory"]) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({"memory": {"limit": LIMIT, "swap": LIMIT}}));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    let output = bundle.path().join("events");
    let mut events = bundle
        .runtime()
        .args(["events", "--interval", "50ms", &container.id])
        .stdin(Stdio::null())
        .stdout(File::create(&output).expect("a file"))
        .spawn()
        .expect("events");
    let told = || fs::read_to_string(&output).expect("the output");
    until("statistics", || told().contains("\"type\":\"stats\""));
    assert!(!told().contains("\"type\":\"oom\""), "{}", told());

    assert_eq!(container.go_with(&["exec"], HOG).code, 137, "the kernel kills it");
    assert_eq!(group.counter("memory.events", "oom_kill"), 1);
    until("an event", || told().contains("\"type\":\"oom\""));
    assert!(group.read("memory.peak").parse::<u64>().expect("bytes") <= LIMIT);
    assert_eq!(container.status(), "running", "the others live");

    container.go(&["delete", "--force"]).ok();
    assert_eq!(finish(&mut events), 0, "{}", told());
    assert_eq!(told().matches("\"type\":\"oom\"").count(), 1, "one for each kill: {}", told());
}

#[test]
fn a_hog_that_is_the_init_ends_as_killed() {
    if !controllers(&["memory"]) {
        return;
    }
    let bundle = limited(HOG, &json!({"memory": {"limit": LIMIT, "swap": LIMIT}}));
    assert_eq!(bundle.container().go(&["run"]).code, 137);
}

#[test]
fn a_killed_group_leaves_nobody() {
    if !controllers(&["memory"]) {
        return;
    }
    let bundle = limited(
        &["sh", "-c", "tail /dev/zero; sleep 10000"],
        &json!({"memory": {"limit": LIMIT, "swap": LIMIT}, "unified": {"memory.oom.group": "1"}}),
    );
    let container = bundle.container();
    container.go(&["create"]).ok();
    let group = Group::of(&container);
    group.has("memory.oom.group", "1");
    container.go(&["start"]).ok();
    container.wait_for("stopped");
    until("the end of all", || group.read("cgroup.procs").is_empty());
    assert_eq!(group.counter("memory.events", "oom_group_kill"), 1);
}

#[test]
fn a_limit_below_what_is_used_is_refused_if_asked() {
    if !controllers(&["memory"]) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({"memory": {"limit": 2 * LIMIT, "swap": 2 * LIMIT}}));
    let request = json!({"memory": {"limit": 8 << 20, "swap": 8 << 20, "checkBeforeUpdate": true}});
    refused_below_use(&bundle, &["--resources=small"], &request);
}

/// `checkBeforeUpdate` of the configuration counts for each update that does not say otherwise.
#[test]
fn a_limit_below_what_is_used_is_refused_if_the_configuration_asks() {
    if !controllers(&["memory"]) {
        return;
    }
    let limits = json!({"memory": {"limit": 2 * LIMIT, "swap": 2 * LIMIT, "checkBeforeUpdate": true}});
    let bundle = limited(ASLEEP, &limits);
    refused_below_use(&bundle, &["--memory=8m", "--memory-swap=8m"], &json!({}));
}

fn refused_below_use(bundle: &Bundle, update: &[&str], request: &Value) {
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    // Memory of a tmpfs is the container's, and without swap it cannot go anywhere.
    container.go_with(&["exec"], &["dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=24"]);
    let used: u64 = group.read("memory.current").parse().expect("bytes");
    assert!(used >= 24 << 20, "{used}");
    fs::write(bundle.path().join("small"), request.to_string()).expect("a file");
    container.go(&[&["update"], update].concat()).fails(1, "linux.resources.memory");
    group.has("memory.max", &(2 * LIMIT).to_string());
    assert_eq!(container.status(), "running");
    assert_eq!(group.counter("memory.events", "oom_kill"), 0);
}
