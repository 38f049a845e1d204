//! Processes: a fork bomb stops at its limit, and goes away with the container.

use serde_json::json;

use crate::scene::{ASLEEP, Group, controllers, limited};
use crate::support::until;

const LIMIT: u64 = 40;

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    if !controllers(&["pids"]) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({"pids": {"limit": LIMIT}}));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    group.has("pids.max", &LIMIT.to_string());
    container.go(&["update", "--pids-limit", &LIMIT.to_string()]).ok();
    // Each process of it tries to make two.
    let bomb = "bomb() { bomb | bomb & }; while :; do bomb; sleep 10000 & done";
    let run = container.go_with(&["exec", "-d"], &["sh", "-c", bomb]);
    assert_eq!(run.code, 0, "{run:?}");
    until("a refused fork", || {
        let count: u64 = group.read("pids.current").parse().expect("a count");
        assert!(count <= LIMIT, "{count} processes");
        group.counter("pids.events", "max") > 0
    });
    container.go(&["delete", "--force"]).ok();
    assert!(!group.exists(), "the cgroup is gone, so all of them are");
}

#[test]
fn the_shell_of_a_full_container_says_so() {
    if !controllers(&["pids"]) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({"pids": {"limit": LIMIT}}));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    let run = container.go_with(&["exec"], &["sh", "-c", "while :; do sleep 10000 & done"]);
    assert!(run.code != 0 && run.stderr.contains("fork"), "{run:?}");
    // Its children stay; the shell itself is gone.
    group.has("pids.current", &(LIMIT - 1).to_string());
    container.go(&["update", "--pids-limit", "1"]).ok();
    let refused = container.go_with(&["exec"], &["true"]);
    assert_eq!(refused.code, 255, "no room for another process: {refused:?}");
    assert!(refused.stderr.contains("the pids limit of a cgroup"), "{refused:?}");
}
