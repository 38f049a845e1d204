//! update: limits of a running container, read back from the kernel inside and outside.

use std::fs::{self, File};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Bundle, Container, privileged};

/// Resources that every test begins with.
fn resources() -> Value {
    json!({
        "memory": {"limit": 33554432, "reservation": 25165824},
        "cpu": {"shares": 100, "quota": 500000, "period": 1000000},
        "pids": {"limit": 20},
    })
}

fn sleeper() -> Bundle {
    Bundle::new(&["sleep", "1000"]).with(|config| {
        // What a limit did not say, the kernel shall not have either.
        config["linux"]["resources"] = resources();
        config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "cgroup"}));
    })
}

/// Whether this test can set limits: they are files of v1 controllers.
fn limits() -> bool {
    if !privileged() {
        return false;
    }
    let found = fs::exists("/sys/fs/cgroup/memory").unwrap_or(false);
    if !found {
        eprintln!("skipped: needs the v1 memory controller");
    }
    found
}

/// The file of the container's cgroup, seen from the host.
fn path(container: &Container<'_>, file: &str) -> String {
    let controller = file.split('.').next().expect("a controller");
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("cgroup");
    let own = table.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        fields.next()?.split(',').any(|held| held == controller).then(|| fields.next())?
    });
    format!("/sys/fs/cgroup/{controller}{}/{file}", own.expect("the controller"))
}

/// Asserts a limit, inside and outside.
#[track_caller]
fn has(container: &Container<'_>, file: &str, value: &str) {
    let outside = fs::read_to_string(path(container, file)).expect("a limit");
    assert_eq!(outside.trim(), value, "{file} outside");
    let controller = file.split('.').next().expect("a controller");
    let inside = container.go_with(&["exec"], &["cat", &format!("/sys/fs/cgroup/{controller}/{file}")]);
    assert_eq!(inside.ok().stdout.trim(), value, "{file} inside");
}

/// Runs `update --resources - ID` with this text.
#[track_caller]
fn update_from_stdin(bundle: &Bundle, container: &Container<'_>, text: &str) {
    fs::write(bundle.path().join("stdin"), text).expect("a file");
    let output = bundle
        .runtime()
        .args(["update", "--resources", "-", &container.id])
        .stdin(Stdio::from(File::open(bundle.path().join("stdin")).expect("a file")))
        .output()
        .expect("update");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// Runs `update --resources=FILE ID`.
fn update_from_file(bundle: &Bundle, container: &Container<'_>, resources: &Value) -> crate::support::Run {
    fs::write(bundle.path().join("resources.json"), resources.to_string()).expect("a file");
    container.go(&["update", "--resources=resources.json"])
}

/// Options of `update`, and the files of the cgroup with what they must hold then.
type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

#[test]
fn each_option() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let table: &[Row<'_>] = &[
        (&["--memory", "64m"], &[("memory.limit_in_bytes", "67108864")]),
        (&["--memory", "52428800"], &[("memory.limit_in_bytes", "52428800")]),
        (&["--memory-reservation", "32M"], &[("memory.soft_limit_in_bytes", "33554432")]),
        (&["--memory-swap", "96m"], &[("memory.memsw.limit_in_bytes", "100663296")]),
        (&["--pids-limit", "10"], &[("pids.max", "10")]),
        (&["--pids-limit", "-1"], &[("pids.max", "max")]),
        (&["--pids-limit", "50"], &[("pids.max", "50")]),
        (&["--cpu-period", "900000"], &[("cpu.cfs_period_us", "900000"), ("cpu.cfs_quota_us", "500000")]),
        (&["--cpu-quota", "600000"], &[("cpu.cfs_period_us", "900000"), ("cpu.cfs_quota_us", "600000")]),
        (&["--cpu-burst", "300000"], &[("cpu.cfs_burst_us", "300000")]),
        (&["--cpu-burst", "0"], &[("cpu.cfs_burst_us", "0")]),
        (&["--cpu-quota", "-1"], &[("cpu.cfs_quota_us", "-1")]),
        (&["--cpu-share", "200"], &[("cpu.shares", "200")]),
        (&["--cpu-idle", "1"], &[("cpu.idle", "1")]),
        (&["--cpu-period", "50000"], &[("cpu.idle", "1"), ("cpu.cfs_period_us", "50000")]),
        (&["--cpu-idle", "0"], &[("cpu.idle", "0"), ("cpu.shares", "200")]),
        (&["--cpuset-cpus", "0"], &[("cpuset.cpus", "0")]),
        (&["--cpuset-mems", "0"], &[("cpuset.mems", "0")]),
        (
            &["--cpu-quota", "30000", "--cpu-period=100000", "--memory=40m", "--memory-swap=80m"],
            &[
                ("cpu.cfs_quota_us", "30000"),
                ("cpu.cfs_period_us", "100000"),
                ("memory.limit_in_bytes", "41943040"),
                ("memory.memsw.limit_in_bytes", "83886080"),
            ],
        ),
        (&[], &[("memory.limit_in_bytes", "41943040"), ("pids.max", "50"), ("cpu.shares", "200")]),
    ];
    for (options, files) in table {
        container.go(&[&["update"], *options].concat()).ok();
        for (file, value) in *files {
            has(&container, file, value);
        }
    }
}

#[test]
fn names_of_fields_may_be_in_another_case() {
    if !limits() {
        return;
    }
    let bundle = sleeper().with(|config| {
        let resources = config["linux"]["resources"].as_object_mut().expect("resources");
        resources.remove("pids");
        resources.insert("Pids".to_owned(), json!({"Limit": 30}));
        resources.insert("CPU".to_owned(), json!({"Cpus": "0", "Shares": 300}));
    });
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    has(&container, "pids.max", "30");
    has(&container, "cpuset.cpus", "0");
    has(&container, "cpu.shares", "100");
    update_from_stdin(&bundle, &container, r#"{"PIDs": {"limit": 31}, "cpu": {"SHARES": 200}}"#);
    has(&container, "pids.max", "31");
    has(&container, "cpu.shares", "200");
}

#[test]
fn a_weight_beside_idle_is_ignored_with_a_warning() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let update = container.go(&["update", "--cpu-share", "200", "--cpu-idle", "1"]);
    assert_eq!(update.code, 0, "{update:?}");
    assert!(update.stderr.contains("unable to apply both a CPU weight and cpu.idle"), "{update:?}");
    has(&container, "cpu.idle", "1");
    has(&container, "cpu.shares", "3");
}

#[test]
fn no_processes_are_one() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go(&["update", "--pids-limit", "0"]).ok();
    let limit = fs::read_to_string(path(&container, "pids.max")).expect("a limit");
    assert_eq!(limit.trim(), "1");
    let run = container.go_with(&["exec"], &["true"]);
    assert_eq!(run.code, 255, "no room for another process: {run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("the pids limit of a cgroup"), "{run:?}");
    assert!(!run.stderr.contains("memory"), "{run:?}");
}

/// In the specifications before 1.3, 0 processes are none that are asked for: an update keeps the limit.
#[test]
fn no_processes_are_no_limit_in_older_configurations() {
    if !limits() {
        return;
    }
    let bundle = sleeper().with(|config| config["ociVersion"] = json!("1.0.2-dev"));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go(&["update", "--pids-limit", "0", "--cpu-share", "300"]).ok();
    has(&container, "pids.max", "20");
    has(&container, "cpu.shares", "300");
    update_from_file(&bundle, &container, &json!({"pids": {"limit": 0}})).ok();
    has(&container, "pids.max", "20");
    container.go(&["update", "--pids-limit", "-1"]).ok();
    has(&container, "pids.max", "max");
}

#[test]
fn block_io() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let weight = ["blkio.bfq.weight", "blkio.weight"];
    let weight = weight.into_iter().find(|file| fs::exists(path(&container, file)).unwrap_or(false));
    match weight {
        Some(file) => {
            container.go(&["update", "--blkio-weight", "300"]).ok();
            assert!(fs::read_to_string(path(&container, file)).expect("weight").contains("300"));
        }
        None => eprintln!("no weights: the kernel has no BFQ"),
    }
    let Some(device) = disk() else {
        eprintln!("no throttling: the machine has no disk");
        return;
    };
    let numbers: Vec<i64> = device.split(':').map(|number| number.parse().expect("a number")).collect();
    let rate = |rate: u64| json!([{"major": numbers[0], "minor": numbers[1], "rate": rate}]);
    let request =
        json!({"blockIO": {"throttleReadBpsDevice": rate(1 << 20), "throttleWriteIOPSDevice": rate(99)}});
    update_from_file(&bundle, &container, &request).ok();
    has(&container, "blkio.throttle.read_bps_device", &format!("{device} 1048576"));
    has(&container, "blkio.throttle.write_iops_device", &format!("{device} 99"));
    update_from_file(&bundle, &container, &json!({"blockIO": {"throttleReadBpsDevice": rate(0)}})).ok();
    has(&container, "blkio.throttle.read_bps_device", "");
    has(&container, "blkio.throttle.write_iops_device", &format!("{device} 99"));
}

/// The device number of a disk.
fn disk() -> Option<String> {
    let disks = fs::read_dir("/sys/block").ok()?.filter_map(Result::ok);
    let disk = disks.map(|entry| entry.path()).find(|path| path.join("device").exists())?;
    Some(fs::read_to_string(disk.join("dev")).ok()?.trim().to_owned())
}

#[test]
fn a_file_and_the_standard_input() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["create"]).ok();
    update_from_stdin(&bundle, &container, r#"{"memory": {"limit": 67108864}, "pids": {"limit": 11}}"#);
    has(&container, "memory.limit_in_bytes", "67108864");
    has(&container, "pids.max", "11");
    // Docker's zeroes, and pids without a limit, are no limits.
    let zeroes = json!({
        "memory": {"limit": 0, "reservation": 0, "kernel": 0}, "blockIO": {"weight": 0}, "pids": {},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
    });
    update_from_file(&bundle, &container, &zeroes).ok();
    has(&container, "memory.limit_in_bytes", "67108864");
    has(&container, "memory.soft_limit_in_bytes", "25165824");
    has(&container, "pids.max", "11");
    has(&container, "cpu.shares", "100");
    has(&container, "cpu.cfs_quota_us", "500000");
    // With a file, other options do not count.
    fs::write(bundle.path().join("pids.json"), r#"{"pids": {"limit": 12}}"#).expect("a file");
    container.go(&["update", "-r", "pids.json", "--pids-limit", "99"]).ok();
    has(&container, "pids.max", "12");
    update_from_file(&bundle, &container, &resources()).ok();
    has(&container, "memory.limit_in_bytes", "33554432");
    has(&container, "pids.max", "20");
    assert_eq!(container.status(), "created");
}

#[test]
fn later_updates_build_on_earlier_ones() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go(&["update", "--memory", "30m"]).ok();
    container.go(&["update", "--memory-swap", "50m"]).ok();
    has(&container, "memory.limit_in_bytes", "31457280");
    has(&container, "memory.memsw.limit_in_bytes", "52428800");
    // Above the present limit of both, so the order of the writes matters.
    container.go(&["update", "--memory", "60m", "--memory-swap", "80m"]).ok();
    has(&container, "memory.limit_in_bytes", "62914560");
    has(&container, "memory.memsw.limit_in_bytes", "83886080");
    container.go(&["update", "--memory", "20m", "--memory-swap", "30m"]).ok();
    has(&container, "memory.memsw.limit_in_bytes", "31457280");
    // No limit on memory is none on both.
    container.go(&["update", "--memory", "-1"]).ok();
    let unlimited = fs::read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes").expect("the root's");
    has(&container, "memory.limit_in_bytes", unlimited.trim());
    has(&container, "memory.memsw.limit_in_bytes", unlimited.trim());
    let stored = fs::read(bundle.state().join(&container.id).join("resources.json")).expect("stored");
    let stored: Value = serde_json::from_slice(&stored).expect("JSON");
    assert_eq!(stored["memory"], json!({"limit": -1, "reservation": 25165824}));
    assert_eq!(stored["cpu"], resources()["cpu"]);
    container.go(&["delete", "--force"]).ok();
    assert!(!bundle.state().join(&container.id).exists(), "the stored resources go with the container");
}

#[test]
fn a_failing_update_changes_nothing() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go(&["update", "--memory-swap", "64m"]).ok();
    let request = json!({
        "pids": {"limit": 7}, "memory": {"limit": 50331648, "reservation": 1048576, "swap": 50331648},
        "cpu": {"cpus": "4000", "quota": 100000, "shares": 300},
    });
    update_from_file(&bundle, &container, &request).fails(1, "(linux.resources.cpu.cpus)");
    // Refused by the kernel, and refused before anything is written.
    container.go(&["update", "--pids-limit=7", "--cpu-period=5"]).fails(1, "(linux.resources.cpu.period)");
    container
        .go(&["update", "--pids-limit=7", "--blkio-weight=5"])
        .fails(1, "linux.resources.blockIO.weight");
    container.go(&["update", "--pids-limit=7", "--cpu-share=1"]).fails(1, "linux.resources.cpu.shares");
    container.go(&["update", "--pids-limit=7", "--memory=x"]).fails(1, "invalid value for memory");
    container
        .go(&["update", "--pids-limit=7", "--l3-cache-schema=x"])
        .fails(1, "l3 cache schema is not enabled");
    container.go(&["update", "--pids-limit=7", "--mem-bw-schema=x"]).fails(1, "schema is not enabled");
    container.go(&["update", "-r", "nosuch"]).fails(1, "no such file or directory");
    update_from_file(&bundle, &container, &json!({"memory": {"limit": "x"}})).fails(1, "memory.limit");
    for (file, value) in [
        ("pids.max", "20"),
        ("memory.limit_in_bytes", "33554432"),
        ("memory.memsw.limit_in_bytes", "67108864"),
        ("memory.soft_limit_in_bytes", "25165824"),
        ("cpu.cfs_quota_us", "500000"),
        ("cpu.cfs_period_us", "1000000"),
        ("cpu.shares", "100"),
    ] {
        has(&container, file, value);
    }
    let stored = fs::read(bundle.state().join(&container.id).join("resources.json")).expect("stored");
    let stored: Value = serde_json::from_slice(&stored).expect("JSON");
    assert_eq!(stored["pids"], json!({"limit": 20}));
    assert_eq!(stored["memory"], json!({"limit": 33554432, "reservation": 25165824, "swap": 67108864}));
}

#[test]
fn a_paused_container_stays_paused() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go(&["pause"]).ok();
    container.go(&["update", "--pids-limit", "30"]).ok();
    assert_eq!(container.status(), "paused");
    container.go(&["resume"]).ok();
    has(&container, "pids.max", "30");
}

#[test]
fn only_what_lives_is_updated() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    bundle.go(&["update", "--pids-limit=5", "nosuch"]).fails(1, "does not exist");
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    container.go(&["update", "--pids-limit", "5"]).fails(1, "container not running");
}

#[test]
fn kernel_memory_is_ignored_aloud() {
    if !limits() {
        return;
    }
    let bundle = sleeper();
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let run = container.go(&["update", "--kernel-memory", "50m"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("Kernel memory settings are ignored"), "{run:?}");
}

/// Works in every view: v1 has a controller for devices, v2 a program.
#[test]
fn devices_are_replaced_only_if_given() {
    if !privileged() {
        return;
    }
    let kmsg = |allow: bool| {
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": allow, "type": "c", "major": 1, "minor": 11, "access": "rw"},
        ])
    };
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
        config["linux"]["devices"] = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]);
    });
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let open =
        || container.go_with(&["exec"], &["sh", "-c", "true > /dev/kmsg && true > /dev/null"]).code == 0;
    assert!(!open(), "denied at first");
    update_from_file(&bundle, &container, &json!({"devices": kmsg(true)})).ok();
    assert!(open(), "allowed");
    update_from_file(&bundle, &container, &json!({"cpu": {}})).ok();
    assert!(open(), "still allowed");
    update_from_file(&bundle, &container, &json!({"devices": [{"allow": false, "access": "rwm"}]})).ok();
    assert!(!open(), "denied again");
    update_from_file(&bundle, &container, &json!({"devices": [{"allow": true, "type": "c", "access": "x"}]}))
        .fails(1, "linux.resources.devices[0].access");
    assert!(!open(), "an error changes nothing");
}
