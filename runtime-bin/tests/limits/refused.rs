//! What the kernel refuses: an error that names the field, and nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::json;

use crate::scene::{ASLEEP, Group, controllers, limited};

#[test]
fn a_refused_value_names_its_field() {
    if !controllers(&["cpuset", "cpu", "memory"]) {
        return;
    }
    for (resources, text) in [
        (json!({"cpu": {"cpus": "4000"}}), "linux.resources.cpu.cpus"),
        (json!({"cpu": {"quota": 1}}), "linux.resources.cpu.quota"),
        // The kernel refuses the second of the two, whichever that is.
        (json!({"cpu": {"quota": 10000, "burst": 20000}}), "linux.resources.cpu."),
        (json!({"memory": {"limit": 67108864, "swap": 33554432}}), "linux.resources.memory.swap"),
        (json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}), "linux.resources.hugepageLimits[0]"),
        (json!({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}), "hugepageLimits[0].pageSize"),
        (json!({"rdma": {"nosuchdevice": {"hcaHandles": 3}}}), "linux.resources.rdma"),
        (json!({"rdma": {"../x": {"hcaHandles": 3}}}), "linux.resources.rdma"),
        (json!({"unified": {"cgroup.procs": "1"}}), "linux.resources.unified"),
        (json!({"unified": {"memory.max/../pids.max": "1"}}), "linux.resources.unified"),
        (json!({"unified": {"memory.nosuch": "1"}}), "memory.nosuch"),
        (json!({"unified": {"../memory.max": "1"}}), "linux.resources.unified"),
        (json!({"unified": {"pids.max": "many"}}), "pids.max"),
    ] {
        let bundle = limited(ASLEEP, &resources);
        let container = bundle.container();
        container.go(&["create"]).fails(1, text);
        assert!(!Path::new("/sys/fs/cgroup").join(&container.id).exists(), "left by {resources}");
    }
}

#[test]
fn a_failing_update_changes_nothing() {
    if !controllers(&["cpuset", "cpu", "memory", "pids"]) {
        return;
    }
    let before = json!({
        "memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 20},
        "cpu": {"shares": 2048, "quota": 20000, "period": 50000},
    });
    let bundle = limited(ASLEEP, &before);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    let request = json!({
        "pids": {"limit": 7}, "memory": {"limit": 50331648, "swap": 50331648},
        "cpu": {"cpus": "4000", "quota": 10000, "shares": 300},
    });
    fs::write(bundle.path().join("request"), request.to_string()).expect("a file");
    container.go(&["update", "--resources=request"]).fails(1, "linux.resources.cpu.cpus");
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "0"),
        ("pids.max", "20"),
        ("cpu.weight", "174"),
        ("cpu.max", "20000 50000"),
    ] {
        group.has(file, value);
    }
}

/// A cgroup of the host with a process in it.
struct Crowded {
    directory: PathBuf,
    process: Child,
}

impl Crowded {
    fn new() -> Self {
        let directory = PathBuf::from(format!("/sys/fs/cgroup/crowded-{}", std::process::id()));
        fs::create_dir(&directory).expect("a cgroup");
        let process = Command::new("sleep").arg("10000").spawn().expect("sleep");
        fs::write(directory.join("cgroup.procs"), process.id().to_string()).expect("it moves");
        Self { directory, process }
    }
}

impl Drop for Crowded {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).map(drop).expect("killed");
        fs::remove_dir(&self.directory).expect("an empty cgroup");
    }
}

/// The controllers of processes alone, such as pids, can be enabled beside processes; but then nobody can
/// enter the cgroups below (cgroup-v2.rst, "Threads").
#[test]
fn no_container_below_processes() {
    if !controllers(&["memory", "pids"]) {
        return;
    }
    for resources in [json!({"memory": {"limit": 67108864}}), json!({"pids": {"limit": 20}})] {
        let crowded = Crowded::new();
        let path = format!("/{}/below", crowded.directory.file_name().expect("a name").display());
        let bundle = limited(ASLEEP, &resources).with(|config| {
            config["linux"]["cgroupsPath"] = json!(path);
        });
        let container = bundle.container();
        let run = container.go(&["create"]);
        assert!(run.code == 1 && run.stderr.contains("hint: "), "{resources}: {run:?}");
        assert!(!crowded.directory.join("below").exists(), "left by {resources}");
    }
}
