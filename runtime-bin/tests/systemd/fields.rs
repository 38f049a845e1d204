//! Every field of `linux.resources` under the driver: as a property, where systemd has one, and in the
//! kernel's files, also after systemd was reloaded. CGROUPS.md names these tests.

use serde_json::{Value, json};

use crate::{Scope, is_unified, systemctl, systemd};

/// Names and values. Of a file one of several names (`a|b`), and after `~` a text that is in it.
type Held = [(&'static str, &'static str)];

/// What a group of fields becomes.
struct Case<'a> {
    resources: Value,
    properties: &'a Held,
    files: &'a Held,
}

/// Runs a container with the resources, and reads properties and files back.
#[track_caller]
fn check(name: &str, case: &Case<'_>) {
    let scope = with(name, &case.resources);
    let run = scope.go(&["run", "-d", &scope.name]);
    // The warning that runc has for such limits, too.
    let is_known = |line: &str| line.contains("Kernel memory settings are ignored");
    assert!(run.code == 0 && run.stderr.lines().all(is_known), "{run:?}");
    for when in WHEN {
        after(when);
        scope.shows(case.properties);
        case.files.iter().for_each(|(file, value)| holds(&scope, file, value, when));
    }
    scope.go(&["delete", "--force", &scope.name]).ok();
    scope.left_nothing();
}

const WHEN: [&str; 2] = ["at first", "after a reload"];

fn after(when: &str) {
    if when == WHEN[1] {
        systemctl(&["daemon-reload"]);
    }
}

fn with(name: &str, resources: &Value) -> Scope {
    Scope::new("", name).with(|config| config["linux"]["resources"] = resources.clone())
}

#[track_caller]
fn holds(scope: &Scope, files: &str, value: &str, when: &str) {
    let read = |file: &str| std::fs::read_to_string(format!("{}/{file}", scope.directory(file))).ok();
    let text = files.split('|').find_map(read).unwrap_or_else(|| panic!("there is no {files}"));
    match value.strip_prefix('~') {
        Some(part) => assert!(text.contains(part), "{files} {when}: {part:?} is not in {text:?}"),
        None => assert_eq!(text.trim(), value, "{files} {when}"),
    }
}

/// Resources that this kernel cannot give: the error names the file, and nothing is left.
#[track_caller]
fn is_refused(name: &str, resources: &Value, text: &str) {
    let scope = with(name, resources);
    scope.go(&["run", "-d", &scope.name]).fails(1, text);
    scope.left_nothing();
}

#[test]
fn memory() {
    if !systemd() {
        return;
    }
    let resources = json!({"memory": {
        "limit": 67108864, "reservation": 33554432, "swap": 100663296, "swappiness": 30,
        "disableOOMKiller": true, "kernel": 50331648, "kernelTCP": 50331648, "checkBeforeUpdate": true,
    }});
    let v2 = Case {
        resources: resources.clone(),
        properties: &[("MemoryMax", "67108864"), ("MemorySwapMax", "33554432"), ("MemoryLow", "33554432")],
        files: &[
            ("memory.max", "67108864"),
            ("memory.swap.max", "33554432"),
            ("memory.low", "33554432"),
            ("memory.oom.group", "0"),
        ],
    };
    let v1 = Case {
        resources,
        properties: &[("MemoryLimit", "67108864")],
        files: &[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "100663296"),
            ("memory.soft_limit_in_bytes", "33554432"),
            ("memory.swappiness", "30"),
            ("memory.oom_control", "~oom_kill_disable 1"),
            ("memory.kmem.tcp.limit_in_bytes", "9223372036854771712"),
        ],
    };
    check("memory", if is_unified() { &v2 } else { &v1 });
}

#[test]
fn memory_check_before_update() {
    if !systemd() {
        return;
    }
    let scope = with("guard", &json!({"memory": {"limit": 67108864}}));
    scope.go(&["run", "-d", &scope.name]).ok();
    let request = json!({"memory": {"limit": 8192, "checkBeforeUpdate": true}});
    let path = scope.bundle.path().join("request");
    std::fs::write(&path, request.to_string()).expect("written");
    let path = path.to_str().expect("a path");
    scope.go(&["update", "--resources", path, &scope.name]).fails(1, "memory");
    let (property, file) = match is_unified() {
        true => ("MemoryMax", "memory.max"),
        false => ("MemoryLimit", "memory.limit_in_bytes"),
    };
    scope.shows(&[(property, "67108864")]);
    assert_eq!(scope.file(file), "67108864");
}

#[test]
fn cpu() {
    if !systemd() {
        return;
    }
    let resources = json!({"cpu": {"shares": 512, "quota": 25501, "period": 50000, "burst": 1000}});
    let v2 = Case {
        resources: resources.clone(),
        properties: &[("CPUWeight", "59"), ("CPUQuotaPerSecUSec", "520ms"), ("CPUQuotaPeriodUSec", "50ms")],
        files: &[("cpu.weight", "59"), ("cpu.max", "26000 50000"), ("cpu.max.burst", "1000")],
    };
    let v1 = Case {
        resources,
        properties: &[("CPUShares", "512"), ("CPUQuotaPerSecUSec", "520ms"), ("CPUQuotaPeriodUSec", "50ms")],
        files: &[
            ("cpu.shares", "512"),
            ("cpu.cfs_quota_us", "26000"),
            ("cpu.cfs_period_us", "50000"),
            ("cpu.cfs_burst_us", "1000"),
        ],
    };
    check("cpu", if is_unified() { &v2 } else { &v1 });
}

#[test]
fn cpu_idle() {
    if !systemd() {
        return;
    }
    let resources = json!({"cpu": {"idle": 1, "shares": 512}});
    let properties: &Held =
        if is_unified() { &[("CPUWeight", "idle")] } else { &[("CPUWeight", "[not set]")] };
    check("idle", &Case { resources, properties, files: &[("cpu.idle", "1")] });
}

#[test]
fn cpu_realtime() {
    if !systemd() {
        return;
    }
    let resources = json!({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 1000000}});
    // With v1 the kernel has no such file, or systemd's slices have no time of which a scope could get some.
    let text = if is_unified() { "cannot set realtime limit" } else { "linux.resources.cpu.realtime" };
    is_refused("realtime", &resources, text);
}

#[test]
fn cpuset() {
    if !systemd() {
        return;
    }
    let case = Case {
        resources: json!({"cpu": {"cpus": "0", "mems": "0"}}),
        properties: &[("AllowedCPUs", "0"), ("AllowedMemoryNodes", "0")],
        files: &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
    };
    check("cpuset", &case);
}

#[test]
fn pids() {
    if !systemd() {
        return;
    }
    let resources = json!({"pids": {"limit": 17}});
    check("pids", &Case { resources, properties: &[("TasksMax", "17")], files: &[("pids.max", "17")] });
}

/// A disk's number.
fn disk() -> (u32, u32) {
    let is_disk = |name: &str| !name.starts_with("loop") && !name.starts_with("ram");
    let text = std::fs::read_dir("/sys/block")
        .expect("sysfs")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(is_disk))
        .find_map(|entry| std::fs::read_to_string(entry.path().join("dev")).ok())
        .expect("a disk");
    let (major, minor) = text.trim().split_once(':').expect("a number");
    (major.parse().expect("major"), minor.parse().expect("minor"))
}

/// Whether a container's cgroup can have one of the files: the kernel has them by its I/O scheduler.
fn has_file(files: &[&str]) -> bool {
    let scope = with("probe", &json!({}));
    scope.go(&["run", "-d", &scope.name]).ok();
    files.iter().any(|file| std::fs::exists(format!("{}/{file}", scope.directory(file))).expect("a cgroup"))
}

#[test]
fn block_io_weight() {
    if !systemd() {
        return;
    }
    let (v2, v1) = (["io.bfq.weight", "io.weight"], ["blkio.bfq.weight", "blkio.weight"]);
    // With v1 systemd squeezes what is above 100 into the range of BFQ when it is reloaded.
    let weight = if is_unified() { 321 } else { 77 };
    let resources = json!({"blockIO": {"weight": weight}});
    if !has_file(if is_unified() { &v2 } else { &v1 }) {
        is_refused("weight", &resources, "linux.resources.blockIO.weight");
        return;
    }
    let v2 = Case {
        resources: resources.clone(),
        properties: &[("IOWeight", "3142")],
        files: &[("io.bfq.weight|io.weight", "~default 3")],
    };
    let v1 = Case {
        resources,
        properties: &[("BlockIOWeight", "77")],
        files: &[("blkio.bfq.weight|blkio.weight", "77")],
    };
    check("weight", if is_unified() { &v2 } else { &v1 });
}

#[test]
fn block_io_weight_device() {
    if !systemd() {
        return;
    }
    let (major, minor) = disk();
    let resources = json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 321}]}});
    let scope = with("device", &resources);
    let run = scope.go(&["run", "-d", &scope.name]);
    if run.code != 0 {
        // The kernel has no file, or its scheduler no weights of a device.
        run.fails(1, "linux.resources.blockIO.weightDevice[0].weight");
        scope.left_nothing();
        return;
    }
    let (files, value) = match is_unified() {
        true => ("io.bfq.weight|io.weight", format!("~{major}:{minor} 3")),
        false => ("blkio.bfq.weight_device|blkio.weight_device", format!("~{major}:{minor} 321")),
    };
    holds(&scope, files, &value, "at first");
}

#[test]
fn block_io_leaf_weight() {
    if !systemd() {
        return;
    }
    let resources = json!({"blockIO": {"leafWeight": 321}});
    if is_unified() {
        check("leaf", &Case { resources, properties: &[("IOWeight", "[not set]")], files: &[] });
    } else {
        is_refused("leaf", &resources, "blkio.leaf_weight");
    }
}

#[test]
fn block_io_throttle() {
    if !systemd() {
        return;
    }
    let (major, minor) = disk();
    let rate = |rate: u32| json!([{"major": major, "minor": minor, "rate": rate}]);
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1048576), "throttleWriteBpsDevice": rate(2097152),
        "throttleReadIOPSDevice": rate(77), "throttleWriteIOPSDevice": rate(88),
    }});
    let scope = with("throttle", &resources);
    scope.go(&["run", "-d", &scope.name]).ok();
    for when in WHEN {
        after(when);
        if is_unified() {
            let value = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=77 wiops=88");
            holds(&scope, "io.max", &value, when);
        } else {
            for (file, rate) in
                [("read_bps", "1048576"), ("write_bps", "2097152"), ("read_iops", "77"), ("write_iops", "88")]
            {
                let value = format!("{major}:{minor} {rate}");
                holds(&scope, &format!("blkio.throttle.{file}_device"), &value, when);
            }
        }
    }
}

#[test]
fn huge_pages() {
    if !systemd() {
        return;
    }
    let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]});
    let files: &Held = match is_unified() {
        true => &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
        false => &[("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304")],
    };
    check("huge", &Case { resources, properties: &[], files });
}

#[test]
fn network() {
    if !systemd() {
        return;
    }
    let resources = json!({"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 5}]}});
    let files: &Held = match is_unified() {
        true => &[],
        false => &[("net_cls.classid", "1048577"), ("net_prio.ifpriomap", "~lo 5")],
    };
    check("network", &Case { resources, properties: &[], files });
}

#[test]
fn rdma() {
    if !systemd() {
        return;
    }
    is_refused("rdma", &json!({"rdma": {"nosuchdevice": {"hcaHandles": 3}}}), "rdma");
}

#[test]
fn unified() {
    if !systemd() {
        return;
    }
    let resources =
        json!({"unified": {"cgroup.max.depth": "3", "memory.high": "94371840", "memory.oom.group": "1"}});
    if !is_unified() {
        is_refused("unified", &resources, "linux.resources.unified");
        return;
    }
    let case = Case {
        resources,
        properties: &[("MemoryHigh", "94371840")],
        files: &[("cgroup.max.depth", "3"), ("memory.high", "94371840"), ("memory.oom.group", "1")],
    };
    check("unified", &case);
}
