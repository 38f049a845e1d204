//! Limits: as properties, in the kernel, after an update, and after systemd has been reloaded.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::{Scope, is_unified, systemctl, systemd, unified};

#[test]
fn all_of_them_are_properties_and_control_files() {
    if !unified() {
        return;
    }
    let scope = Scope::new("runtime-test.slice", "limits").with(|config| {
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopSec": "5",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.Description": "'of a test'",
        });
        config["linux"]["resources"] = json!({
            "memory": {"limit": 104857600, "swap": 157286400, "reservation": 52428800},
            "cpu": {"shares": 512, "quota": 25501, "period": 50000, "burst": 1000, "cpus": "0", "mems": "0"},
            "pids": {"limit": 77},
            "blockIO": {"weight": 200},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}],
            "unified": {"memory.high": "94371840", "memory.oom.group": "1", "cgroup.max.depth": "5"},
        });
    });
    scope.go(&["run", "-d", &scope.name]).ok();
    scope.shows(&[
        ("Description", "of a test"),
        ("Slice", "runtime-test.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("MemoryAccounting", "yes"),
        ("CPUAccounting", "yes"),
        ("IOAccounting", "yes"),
        ("TasksAccounting", "yes"),
        ("TimeoutStopUSec", "5s"),
        ("CollectMode", "inactive-or-failed"),
        ("MemoryMax", "104857600"),
        ("MemorySwapMax", "52428800"),
        ("MemoryLow", "52428800"),
        ("MemoryHigh", "94371840"),
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "520ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
        ("AllowedCPUs", "0"),
        ("AllowedMemoryNodes", "0"),
        ("TasksMax", "77"),
    ]);
    let files = [
        ("memory.max", "104857600"),
        ("memory.swap.max", "52428800"),
        ("memory.low", "52428800"),
        ("memory.high", "94371840"),
        ("memory.oom.group", "1"),
        ("cpu.weight", "59"),
        ("cpu.max", "26000 50000"),
        ("cpu.max.burst", "1000"),
        ("cpuset.cpus", "0"),
        ("pids.max", "77"),
        ("hugetlb.2MB.max", "2097152"),
        ("cgroup.max.depth", "5"),
    ];
    let as_asked = |when: &str| {
        for (file, value) in files {
            assert_eq!(scope.file(file), value, "{file} {when}");
        }
    };
    as_asked("at first");
    systemctl(&["daemon-reload"]);
    as_asked("after a reload");

    let options = ["--memory", "200M", "--memory-swap", "300M", "--pids-limit", "33", "--cpu-quota", "10000"];
    let more = ["--cpu-period", "100000", &scope.name];
    scope.go(&[&["update"], &options[..], &more[..]].concat()).ok();
    scope.shows(&[
        ("MemoryMax", "209715200"),
        ("MemorySwapMax", "104857600"),
        ("TasksMax", "33"),
        ("CPUQuotaPerSecUSec", "100ms"),
        ("CPUQuotaPeriodUSec", "100ms"),
        ("CPUWeight", "59"),
    ]);
    assert_eq!(scope.file("cpu.max"), "10000 100000");
    systemctl(&["daemon-reload"]);
    for (file, value) in [("memory.max", "209715200"), ("pids.max", "33"), ("cpu.max", "10000 100000")] {
        assert_eq!(scope.file(file), value, "{file} after the update and a reload");
    }
}

#[test]
fn an_update_that_fails_leaves_the_old_properties() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "refused")
        .with(|config| config["linux"]["resources"] = json!({"pids": {"limit": 50}}));
    scope.go(&["run", "-d", &scope.name]).ok();
    // There is no such CPU, which only the kernel says.
    scope.go(&["update", "--pids-limit", "20", "--cpuset-cpus", "4000", &scope.name]).fails(1, "cpuset.cpus");
    scope.shows(&[("TasksMax", "50")]);
    assert_eq!(scope.file("pids.max"), "50");
}

#[test]
fn an_update_is_known_to_systemd_and_the_kernel() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "update").with(|config| {
        config["linux"]["resources"] = json!({
            "memory": {"limit": 104857600, "swap": 157286400},
            "cpu": {"shares": 512, "quota": 20000},
        });
    });
    scope.go(&["run", "-d", &scope.name]).ok();
    let options = ["--memory", "200M", "--memory-swap", "300M", "--pids-limit", "33", "--cpu-quota", "10500"];
    let more = ["--cpu-period", "100000", "--cpu-share", "1024", "--cpuset-cpus", "0", &scope.name];
    scope.go(&[&["update"], &options[..], &more[..]].concat()).ok();
    let (memory, shares, files): (_, _, &[(&str, &str)]) = match is_unified() {
        true => (
            "MemoryMax",
            ("CPUWeight", "100"),
            &[("memory.max", "209715200"), ("memory.swap.max", "104857600"), ("cpu.max", "11000 100000")],
        ),
        false => (
            "MemoryLimit",
            ("CPUShares", "1024"),
            &[
                ("memory.limit_in_bytes", "209715200"),
                ("memory.memsw.limit_in_bytes", "314572800"),
                ("cpu.cfs_quota_us", "11000"),
                ("cpu.cfs_period_us", "100000"),
                ("cpu.shares", "1024"),
            ],
        ),
    };
    scope.shows(&[
        (memory, "209715200"),
        shares,
        ("TasksMax", "33"),
        ("CPUQuotaPerSecUSec", "110ms"),
        ("CPUQuotaPeriodUSec", "100ms"),
        ("AllowedCPUs", "0"),
    ]);
    let as_updated = |when: &str| {
        for (file, value) in files.iter().chain(&[("pids.max", "33"), ("cpuset.cpus", "0")]) {
            assert_eq!(scope.file(file), *value, "{file} {when}");
        }
    };
    as_updated("at once");
    systemctl(&["daemon-reload"]);
    as_updated("after a reload");
}

#[test]
fn idle_is_the_weight_zero() {
    if !unified() {
        return;
    }
    let scope = Scope::new("", "idle")
        .with(|config| config["linux"]["resources"] = json!({"cpu": {"idle": 1, "shares": 512}}));
    scope.go(&["run", "-d", &scope.name]).ok();
    assert_eq!(scope.file("cpu.idle"), "1");
    systemctl(&["daemon-reload"]);
    assert_eq!(scope.file("cpu.idle"), "1");
}

/// Names the devices that can be opened.
const OPEN: &str =
    "for name in allowed denied null; do (: <>/dev/$name) 2>/dev/null && echo $name; done; true";

/// Gives a container the kernel's log as `allowed` and /dev/port as `denied`, with the capabilities that
/// opening them takes.
fn has_devices(config: &mut Value) {
    let device = |path: &str, minor: u32| json!({"type": "c", "path": path, "major": 1, "minor": minor, "fileMode": 438, "uid": 0, "gid": 0});
    config["linux"]["devices"] = json!([device("/dev/allowed", 11), device("/dev/denied", 4)]);
    for set in ["bounding", "effective", "permitted"] {
        let list = config["process"]["capabilities"][set].as_array_mut().expect("capabilities");
        list.extend([json!("CAP_SYSLOG"), json!("CAP_SYS_RAWIO")]);
    }
}

#[test]
fn devices_survive_whatever_systemd_does() {
    if !systemd() {
        return;
    }
    let rules = |minor: u32| {
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": minor, "access": "rw"},
        ])
    };
    let scope = Scope::new("", "devices").with(|config| {
        has_devices(config);
        config["linux"]["resources"]["devices"] = rules(11);
    });
    scope.go(&["run", "-d", &scope.name]).ok();
    assert_eq!(scope.shell(OPEN), "allowed\nnull\n");
    let unit = scope.unit();
    for words in [&["daemon-reload"][..], &["set-property", "--runtime", &unit, "TasksMax=99"]] {
        systemctl(words);
        assert_eq!(scope.shell(OPEN), "allowed\nnull\n", "after {words:?}");
    }
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    write!(file, "{}", json!({"devices": [{"allow": false, "access": "rwm"}]})).expect("written");
    let path = file.path().to_str().expect("a path");
    scope.go(&["update", "--resources", path, &scope.name]).ok();
    for when in ["at once", "after a reload"] {
        assert_eq!(scope.shell(OPEN), "null\n", "{when}");
        systemctl(&["daemon-reload"]);
    }
}

#[test]
fn an_update_of_another_limit_denies_no_device() {
    if !systemd() {
        return;
    }
    let update = |scope: &Scope| {
        for count in 30..50 {
            scope.go(&["update", "--pids-limit", &count.to_string(), &scope.name]).ok();
        }
    };
    let scope = Scope::new("", "opens").with(|config| {
        let script = "while true; do (: <>/dev/null) 2>&- || echo denied >>/dev/shm/denied; done";
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}]);
    });
    scope.go(&["run", "-d", &scope.name]).ok();
    update(&scope);
    assert_eq!(scope.status(), "running");
    assert_eq!(scope.shell("cat /dev/shm/denied 2>/dev/shm/none; true"), "");

    // systemd has no words for a list of what is denied.
    let scope = Scope::new("", "denies").with(|config| {
        has_devices(config);
        config["linux"]["resources"]["devices"] = json!([
            {"allow": true, "access": "rwm"},
            {"allow": false, "type": "c", "major": 1, "minor": 4, "access": "rw"},
        ]);
    });
    scope.go(&["run", "-d", &scope.name]).ok();
    assert_eq!(scope.shell(OPEN), "allowed\nnull\n");
    scope.go(&["pause", &scope.name]).ok();
    update(&scope);
    assert_eq!(scope.status(), "paused");
    scope.go(&["resume", &scope.name]).ok();
    assert_eq!(scope.shell(OPEN), "allowed\nnull\n");
}

#[test]
fn a_scope_has_every_controller_of_the_machine() {
    if !unified() {
        return;
    }
    let scope = Scope::new("runtime-test.slice", "controllers");
    scope.go(&["run", "-d", &scope.name]).ok();
    let all = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("cgroup v2");
    assert_eq!(scope.file("cgroup.controllers"), all.trim());
    // systemd knows nothing of huge pages, and leaves them on.
    systemctl(&["daemon-reload"]);
    assert_eq!(scope.file("cgroup.controllers"), all.trim());
    let stats = scope.go(&["events", "--stats", &scope.name]).ok().stdout;
    assert!(stats.contains("\"hugetlb\":{\""), "{stats}");
}

#[test]
fn a_weight_ends_idleness_and_is_ignored_beside_it() {
    if !unified() {
        return;
    }
    let scope = Scope::new("", "idle");
    scope.go(&["run", "-d", &scope.name]).ok();
    let file = scope.bundle.path().join("limits.json");
    let unified = |text: &str| {
        std::fs::write(&file, format!("{{\"unified\": {text}}}")).expect("a file");
        scope.go(&["update", "-r", "limits.json", &scope.name])
    };
    let both = scope.go(&["update", "--cpu-share", "200", "--cpu-idle", "1", &scope.name]);
    assert!(both.code == 0 && both.stderr.contains("unable to apply both"), "{both:?}");
    assert_eq!(scope.file("cpu.idle"), "1");
    scope.go(&["update", "--cpu-share", "200", &scope.name]).ok();
    assert_eq!(scope.file("cpu.idle"), "0");
    let both = unified(r#"{"cpu.idle": "1", "cpu.weight": "8"}"#);
    assert!(both.code == 0 && both.stderr.contains("unable to apply both"), "{both:?}");
    assert_eq!(scope.file("cpu.idle"), "1");
    unified(r#"{"cpu.weight": "8"}"#).ok();
    assert_eq!((scope.file("cpu.idle").as_str(), scope.file("cpu.weight").as_str()), ("0", "8"));
}
