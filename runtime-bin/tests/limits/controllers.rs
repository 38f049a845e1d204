//! What a container has that asks for nothing: every controller, for statistics and for limits that come later.

use std::fs;

use serde_json::{Value, json};

use crate::scene::{ASLEEP, Group, controllers};
use crate::support::Bundle;

const ROOT: &str = "/sys/fs/cgroup/cgroup.controllers";

#[test]
fn all_of_the_machine_with_a_path_and_without() {
    if !controllers(&["cpu", "memory", "pids", "hugetlb"]) {
        return;
    }
    let all = fs::read_to_string(ROOT).expect("cgroup v2");
    let placed = format!("/runtime-test-{}/below", std::process::id());
    for path in [json!(null), json!(placed)] {
        let bundle = Bundle::new(ASLEEP).with(|config| config["linux"]["cgroupsPath"] = path.clone());
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        Group::of(&container).has("cgroup.controllers", all.trim());
        let line = container.go(&["events", "--stats"]).ok().stdout;
        let data = &serde_json::from_str::<Value>(&line).expect("JSON")["data"];
        assert_eq!(data["pids"]["current"], 1, "{line}");
        assert!(data["memory"]["usage"]["usage"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
        assert!(data["hugetlb"]["2MB"].is_object(), "{line}");
    }
}
