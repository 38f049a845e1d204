//! Every field of `linux.resources` that cgroup v2 knows, read back from the kernel.

use std::fs;

use serde_json::{Value, json};

use crate::io::disk_of;
use crate::scene::{ASLEEP, Group, controllers, limited};
use crate::support::until;

const ALL: &[&str] = &["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];

/// Fields as config.json has them, and the files with what they hold then. DISK is the disk's number.
fn table(disk: [u64; 2]) -> Vec<(Value, Vec<(&'static str, &'static str)>)> {
    let rate = |rate: u64| json!([{"major": disk[0], "minor": disk[1], "rate": rate}]);
    vec![
        (
            json!({"memory": {"limit": 67108864, "swap": 100663296, "reservation": 33554432}}),
            vec![("memory.max", "67108864"), ("memory.swap.max", "33554432"), ("memory.low", "33554432")],
        ),
        (
            json!({"memory": {"limit": 67108864, "swap": 67108864}}),
            vec![("memory.max", "67108864"), ("memory.swap.max", "0")],
        ),
        (
            json!({"memory": {"limit": -1, "swap": -1, "reservation": -1}}),
            vec![("memory.max", "max"), ("memory.swap.max", "max"), ("memory.low", "max")],
        ),
        (
            json!({"cpu": {"shares": 2048, "quota": 30000, "period": 100_000, "burst": 10000}}),
            vec![("cpu.weight", "174"), ("cpu.max", "30000 100000"), ("cpu.max.burst", "10000")],
        ),
        (json!({"cpu": {"shares": 2}}), vec![("cpu.weight", "1")]),
        (json!({"cpu": {"shares": 1024}}), vec![("cpu.weight", "100")]),
        (json!({"cpu": {"shares": 262_144}}), vec![("cpu.weight", "10000")]),
        (json!({"cpu": {"quota": -1, "period": 50000}}), vec![("cpu.max", "max 50000")]),
        (json!({"cpu": {"quota": 7000}}), vec![("cpu.max", "7000 100000")]),
        (json!({"cpu": {"idle": 1, "shares": 512}}), vec![("cpu.idle", "1")]),
        (
            json!({"cpu": {"cpus": "0-1", "mems": "0"}}),
            vec![("cpuset.cpus", "0-1"), ("cpuset.mems", "0"), ("cpuset.cpus.effective", "0-1")],
        ),
        (json!({"pids": {"limit": 40}}), vec![("pids.max", "40")]),
        (json!({"pids": {"limit": -1}}), vec![("pids.max", "max")]),
        (json!({"blockIO": {"weight": 10}}), vec![("io.weight", "default 1")]),
        (json!({"blockIO": {"weight": 1000}}), vec![("io.weight", "default 10000")]),
        (
            json!({"blockIO": {
                "throttleReadBpsDevice": rate(1 << 20), "throttleWriteBpsDevice": rate(2 << 20),
                "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200),
            }}),
            vec![("io.max", "DISK rbps=1048576 wbps=2097152 riops=100 wiops=200")],
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}),
            vec![("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
        ),
        (
            json!({"unified": {
                "memory.high": "50331648", "memory.min": "1048576", "memory.oom.group": "1",
                "cpu.weight": "33", "pids.max": "17", "cgroup.max.depth": "3", "cgroup.max.descendants": "9",
            }}),
            vec![
                ("memory.high", "50331648"),
                ("memory.min", "1048576"),
                ("memory.oom.group", "1"),
                ("cpu.weight", "33"),
                ("pids.max", "17"),
                ("cgroup.max.depth", "3"),
                ("cgroup.max.descendants", "9"),
            ],
        ),
        // The specific file wins over the general field.
        (json!({"pids": {"limit": 40}, "unified": {"pids.max": "50"}}), vec![("pids.max", "50")]),
    ]
}

#[test]
fn each_field_at_creation() {
    if !controllers(ALL) {
        return;
    }
    let disk = disk_of(&std::env::temp_dir());
    for (resources, files) in table(disk) {
        let bundle = limited(&["true"], &resources);
        let container = bundle.container();
        container.go(&["create"]).ok();
        let group = Group::of(&container);
        for (file, value) in files {
            let value = value.replace("DISK", &format!("{}:{}", disk[0], disk[1]));
            assert_eq!(group.read(file), value, "{file} of {resources}");
        }
    }
}

#[test]
fn each_field_by_update() {
    if !controllers(ALL) {
        return;
    }
    let disk = disk_of(&std::env::temp_dir());
    let bundle = limited(ASLEEP, &json!({}));
    for (resources, files) in table(disk) {
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        fs::write(bundle.path().join("request"), resources.to_string()).expect("a file");
        // It may warn, such as of a weight beside cpu.idle.
        let run = container.go(&["update", "--resources=request"]);
        assert_eq!(run.code, 0, "{run:?}");
        let group = Group::of(&container);
        for (file, value) in files {
            let value = value.replace("DISK", &format!("{}:{}", disk[0], disk[1]));
            assert_eq!(group.read(file), value, "{file} of {resources}");
        }
    }
}

/// Options of `update`, and the files with what they hold then.
type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

#[test]
fn each_option_of_update() {
    if !controllers(ALL) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({"memory": {"limit": 33554432}, "pids": {"limit": 20}}));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    let table: &[Row<'_>] = &[
        (&["--memory", "64m"], &[("memory.max", "67108864")]),
        (&["--memory-reservation", "32M"], &[("memory.low", "33554432")]),
        (&["--memory-swap", "96m"], &[("memory.max", "67108864"), ("memory.swap.max", "33554432")]),
        (&["--pids-limit", "10"], &[("pids.max", "10")]),
        (&["--pids-limit", "-1"], &[("pids.max", "max")]),
        (&["--cpu-period", "900000", "--cpu-quota", "500000"], &[("cpu.max", "500000 900000")]),
        (&["--cpu-quota", "600000"], &[("cpu.max", "600000 900000")]),
        (&["--cpu-burst", "300000"], &[("cpu.max.burst", "300000")]),
        (&["--cpu-burst", "0"], &[("cpu.max.burst", "0")]),
        (&["--cpu-quota", "-1"], &[("cpu.max", "max 900000")]),
        (&["--cpu-share", "2048"], &[("cpu.weight", "174")]),
        (&["--cpu-idle", "1"], &[("cpu.idle", "1")]),
        (&["--cpu-idle", "0"], &[("cpu.idle", "0"), ("cpu.weight", "174")]),
        (&["--cpuset-cpus", "0"], &[("cpuset.cpus", "0")]),
        (&["--cpuset-mems", "0"], &[("cpuset.mems", "0")]),
        (&["--blkio-weight", "1000"], &[("io.weight", "default 10000")]),
        (&[], &[("memory.max", "67108864"), ("pids.max", "max"), ("cpuset.cpus", "0")]),
    ];
    for (options, files) in table {
        container.go(&[&["update"], *options].concat()).ok();
        for (file, value) in *files {
            assert_eq!(group.read(file), *value, "{file} after {options:?}");
        }
    }
}

#[test]
fn statistics_know_the_limits() {
    if !controllers(ALL) {
        return;
    }
    let resources = json!({
        "memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 40},
        "cpu": {"quota": 20000, "period": 100_000}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
    });
    let bundle = limited(ASLEEP, &resources);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let mut line = String::new();
    // A period is counted when its time is over and a process has run in it.
    until("a period is counted", || {
        container.go_with(&["exec"], &["true"]).ok();
        line = container.go(&["events", "--stats"]).ok().stdout;
        let statistics: Value = serde_json::from_str(&line).expect("JSON");
        statistics["data"]["cpu"]["throttling"]["periods"].as_u64().is_some_and(|count| count > 0)
    });
    let data = &serde_json::from_str::<Value>(&line).expect("JSON")["data"];
    assert_eq!(data["memory"]["usage"]["limit"], 67108864, "{line}");
    assert!(data["memory"]["usage"]["usage"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
    assert_eq!(data["pids"], json!({"current": 1, "limit": 40}), "{line}");
    assert!(data["cpu"]["usage"]["total"].as_u64().is_some_and(|time| time > 0), "{line}");
    assert!(data["hugetlb"]["2MB"].is_object(), "{line}");
    assert_eq!(data["memory"]["swap"]["limit"], 67108864, "memory and swap together: {line}");
    for name in ["/cpu/usage/kernel", "/cpu/usage/user", "/memory/raw/anon", "/memory/usage/max"] {
        assert!(data.pointer(name).is_some_and(Value::is_u64), "{name} in {line}");
    }
    for name in ["cpu", "memory", "blkio"] {
        assert!(data[name]["psi"].is_object(), "{name} in {line}");
    }
}
