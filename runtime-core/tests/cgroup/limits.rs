//! Each limit is read back from the kernel.

use runtime_core::cgroup::Cgroup;
use serde_json::{Value, json};

use crate::view::{Scratch, compile, in_views, unique};

/// Applies `resources` and compares `(file, text)` if the view has `controller` in v1.
fn check_v1(controller: &str, resources: Value, files: &[(&str, &str)]) {
    let scratch = Scratch::at(&unique());
    if !scratch.is_v1(controller) {
        println!("skipped: no v1 {controller} controller");
        return;
    }
    scratch.apply(&resources).expect("the limits apply");
    for (file, text) in files {
        assert_eq!(scratch.read(controller, file), *text, "{controller} {file}");
    }
}

in_views!(v1_limits: hybrid, v1);
fn v1_limits() {
    let memory =
        json!({"memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432, "swappiness": 30}});
    check_v1(
        "memory",
        memory,
        &[
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "134217728"),
            ("memory.soft_limit_in_bytes", "33554432"),
            ("memory.swappiness", "30"),
        ],
    );
    let cpu = json!({"cpu": {"shares": 512, "quota": 20000, "period": 50000, "burst": 10000}});
    check_v1(
        "cpu",
        cpu,
        &[
            ("cpu.shares", "512"),
            ("cpu.cfs_quota_us", "20000"),
            ("cpu.cfs_period_us", "50000"),
            ("cpu.cfs_burst_us", "10000"),
        ],
    );
    check_v1("cpu", json!({"cpu": {"idle": 1, "shares": 512}}), &[("cpu.idle", "1")]);
    check_v1(
        "cpuset",
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        &[("cpuset.cpus", "0"), ("cpuset.mems", "0")],
    );
    check_v1("pids", json!({"pids": {"limit": 17}}), &[("pids.max", "17")]);
    check_v1("pids", json!({"pids": {"limit": 0}}), &[("pids.max", "1")]);
    check_v1("pids", json!({"pids": {"limit": -1}}), &[("pids.max", "max")]);
}

in_views!(disabled_oom_killer: hybrid, v1);
fn disabled_oom_killer() {
    let scratch = Scratch::new(&json!({"memory": {"limit": 67108864, "disableOOMKiller": true}}));
    assert!(scratch.read("memory", "memory.oom_control").contains("oom_kill_disable 1"));
}

in_views!(throttled_devices: hybrid, v1, v2);
fn throttled_devices() {
    let scratch = Scratch::at(&unique());
    let device = std::fs::read_dir("/sys/block")
        .expect("sysfs is mounted")
        .filter_map(Result::ok)
        .find_map(|entry| std::fs::read_to_string(entry.path().join("dev")).ok());
    let Some((major, minor)) = device.as_deref().and_then(|text| text.trim().split_once(':')) else {
        println!("skipped: no block device");
        return;
    };
    if !scratch.has("blkio") && !scratch.has("io") {
        println!("skipped: no blkio controller");
        return;
    }
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let rate = json!([{"major": number(major), "minor": number(minor), "rate": 1048576}]);
    scratch.apply(&json!({"blockIO": {"throttleReadBpsDevice": rate}})).expect("the limit applies");
    if scratch.is_v1("blkio") {
        assert_eq!(
            scratch.read("blkio", "blkio.throttle.read_bps_device"),
            format!("{major}:{minor} 1048576")
        );
    } else {
        assert!(scratch.read("io", "io.max").contains("rbps=1048576"));
    }
}

in_views!(new_cpusets_can_be_joined: hybrid, v1);
fn new_cpusets_can_be_joined() {
    let path = format!("{}/below", unique());
    let mut scratch = Scratch::at(&path);
    if scratch.is_v1("cpuset") {
        assert!(!scratch.read("cpuset", "cpuset.cpus").is_empty());
        assert!(!scratch.read("cpuset", "cpuset.mems").is_empty());
        scratch.spawn("exec sleep 60");
    }
    scratch.cgroup.kill_all().expect("all are killed");
    scratch.reap();
    scratch.cgroup.remove().expect("the cgroup is removed");
    remove_parent(&scratch);
}

/// `remove` leaves what is above the container's own directory.
fn remove_parent(scratch: &Scratch) {
    for place in scratch.cgroup.location().places {
        let path = place.absolute();
        let (parent, _) = path.rsplit_once('/').expect("the path has a parent");
        std::fs::remove_dir(parent).expect("the parent is there, and empty");
    }
}

in_views!(memory_and_swap_change_in_any_order: hybrid, v1);
fn memory_and_swap_change_in_any_order() {
    let scratch = Scratch::at(&unique());
    if !scratch.is_v1("memory") {
        println!("skipped: no v1 memory controller");
        return;
    }
    let mib = |count: i64| if count < 0 { -1 } else { count << 20 };
    for (limit, swap) in [(64, 64), (128, 256), (32, 32), (512, 512), (-1, -1), (16, 32), (-1, 0)] {
        let resources = json!({"memory": {"limit": mib(limit), "swap": mib(swap)}});
        scratch.apply(&resources).unwrap_or_else(|error| panic!("{limit} {swap}: {error}"));
        if limit > 0 {
            assert_eq!(scratch.read("memory", "memory.limit_in_bytes"), mib(limit).to_string());
            assert_eq!(scratch.read("memory", "memory.memsw.limit_in_bytes"), mib(swap).to_string());
        }
    }
}

in_views!(quota_and_period_change_in_any_order: hybrid, v1, v2);
fn quota_and_period_change_in_any_order() {
    let scratch = Scratch::at(&unique());
    if !scratch.has("cpu") {
        println!("skipped: no cpu controller");
        return;
    }
    for (quota, period, burst) in
        [(50000, 100_000, 50000), (10000, 10000, 0), (1000, 1000, 1000), (900_000, 1_000_000, 900_000)]
    {
        let resources = json!({"cpu": {"quota": quota, "period": period, "burst": burst}});
        scratch.apply(&resources).unwrap_or_else(|error| panic!("{quota} {period} {burst}: {error}"));
        if scratch.is_v1("cpu") {
            assert_eq!(scratch.read("cpu", "cpu.cfs_quota_us"), quota.to_string());
            assert_eq!(scratch.read("cpu", "cpu.cfs_burst_us"), burst.to_string());
        } else {
            assert_eq!(scratch.read("cpu", "cpu.max"), format!("{quota} {period}"));
        }
    }
}

in_views!(huge_pages: hybrid, v2);
fn huge_pages() {
    let scratch = Scratch::at(&unique());
    if !scratch.has("hugetlb") || !std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists()
    {
        println!("skipped: no hugetlb controller");
        return;
    }
    scratch
        .apply(&json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}))
        .expect("the limit applies");
    let suffix = if scratch.is_v1("hugetlb") { "limit_in_bytes" } else { "max" };
    assert_eq!(scratch.read("hugetlb", &format!("hugetlb.2MB.{suffix}")), "4194304");
    assert_eq!(scratch.read("hugetlb", &format!("hugetlb.2MB.rsvd.{suffix}")), "4194304");
    let error = scratch
        .apply(&json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}))
        .expect_err("no such size");
    assert!(error.to_string().contains("(linux.resources.hugepageLimits[0].limit)"), "{error}");
}

in_views!(v2_controllers: v2);
fn v2_controllers() {
    let scratch = Scratch::new(&json!({"unified": {"cgroup.max.depth": "3"}}));
    assert_eq!(scratch.read("cgroup", "cgroup.max.depth"), "3");
    for (controller, resources, file, text) in [
        ("memory", json!({"memory": {"limit": 67108864, "swap": 67108864}}), "memory.max", "67108864"),
        ("cpu", json!({"cpu": {"shares": 1024, "quota": 20000, "period": 50000}}), "cpu.max", "20000 50000"),
        ("pids", json!({"pids": {"limit": 17}}), "pids.max", "17"),
        ("cpuset", json!({"cpu": {"cpus": "0"}}), "cpuset.cpus", "0"),
    ] {
        if scratch.has(controller) {
            scratch.apply(&resources).expect("the limits apply");
            assert_eq!(scratch.read(controller, file), text);
        } else {
            println!("skipped: no v2 {controller} controller");
        }
    }
}

in_views!(a_refused_value_names_its_origin: hybrid, v1);
fn a_refused_value_names_its_origin() {
    let scratch = Scratch::at(&unique());
    let error =
        scratch.apply(&json!({"cpu": {"cpus": "4000"}})).expect_err("there is no such CPU").to_string();
    assert!(error.contains("cpuset.cpus") && error.ends_with("(linux.resources.cpu.cpus)"), "{error}");
    let error = scratch.apply(&json!({"cpu": {"quota": 1}})).expect_err("the least is 1 ms").to_string();
    assert!(error.contains("invalid argument (linux.resources.cpu.quota)"), "{error}");
}

/// A v2 controller of this machine with a limit for it: one of domains, which the kernel enables for no
/// cgroup that has processes.
fn some_v2_limit(scratch: &Scratch) -> Option<(&'static str, Value)> {
    [
        ("memory", json!({"memory": {"limit": 67108864}})),
        ("hugetlb", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})),
    ]
    .into_iter()
    .find(|(controller, _)| scratch.has(controller) && !scratch.is_v1(controller))
}

in_views!(controllers_are_enabled_on_every_level: hybrid, v2);
fn controllers_are_enabled_on_every_level() {
    let upper = Scratch::at(&unique());
    let Some((controller, limit)) = some_v2_limit(&upper) else {
        println!("skipped: no v2 controller");
        return;
    };
    let path = format!("{}/a/b", upper.path);
    let plan = compile(&upper.hierarchies, &path, &limit);
    let cgroup = Cgroup::create(&upper.hierarchies, &plan).expect("the cgroup is made");
    cgroup.apply(&plan).expect("the limit applies");
    assert!(upper.read("cgroup", "cgroup.subtree_control").contains(controller));
    assert!(upper.read("cgroup", "a/cgroup.subtree_control").contains(controller));
    assert_eq!(upper.read("cgroup", "a/b/cgroup.subtree_control"), "", "the leaf holds processes");
    cgroup.remove().expect("it is removed");

    // A limit that comes later enables what it needs, too.
    let plain = compile(&upper.hierarchies, &format!("{}/c/d", upper.path), &json!({}));
    let cgroup = Cgroup::create(&upper.hierarchies, &plain).expect("the cgroup is made");
    cgroup
        .apply(&compile(&upper.hierarchies, &format!("{}/c/d", upper.path), &limit))
        .expect("the limit applies");
    assert!(upper.read("cgroup", "c/cgroup.subtree_control").contains(controller));
}

in_views!(a_parent_with_processes_is_explained: hybrid, v2);
fn a_parent_with_processes_is_explained() {
    let mut upper = Scratch::at(&unique());
    let Some((_, limit)) = some_v2_limit(&upper) else {
        println!("skipped: no v2 controller");
        return;
    };
    upper.spawn("exec sleep 60");
    let plan = compile(&upper.hierarchies, &format!("{}/below", upper.path), &limit);
    let error = Cgroup::create(&upper.hierarchies, &plan).expect_err("the parent has processes").to_string();
    assert!(
        error.contains("cgroup.subtree_control") && error.contains("hint: processes are in this cgroup"),
        "{error}"
    );
    let below = format!("{}/below", upper.directory("cgroup"));
    assert!(!std::path::Path::new(&below).exists(), "a failed creation leaves nothing");
}
