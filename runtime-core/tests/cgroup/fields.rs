//! Every field of `linux.resources`, set and read back from the kernel: on v1, on v2, and by a user who
//! was given a subtree on each. The tables of CGROUPS.md are made from this list (`table.rs`).

use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies};
use serde_json::{Value, json};

use crate::view::{Scratch, compile, unique};
use crate::views;

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// Files, and what they hold.
type Held = &'static [(&'static str, &'static str)];

/// What a version of cgroups makes of a field.
#[derive(Clone, Copy)]
pub(crate) enum Cell {
    /// Controller, and files with what they hold then; a text after `~` must be in the file.
    Files(&'static str, Held),
    /// Not written to a file: what happens instead, and the test of that (module, file, function).
    Other(&'static str, &'static Test),
}

/// A test that is not one of this module.
pub(crate) struct Test {
    /// Its name as the test runner shows it.
    pub(crate) name: &'static str,
    /// Its source.
    pub(crate) source: &'static str,
}

/// A field and its tests.
pub(crate) struct Field {
    /// Path below `linux.resources`.
    pub(crate) field: &'static str,
    /// The module of its tests.
    pub(crate) module: &'static str,
    /// On v1.
    pub(crate) v1: Cell,
    /// On v2.
    pub(crate) v2: Cell,
}

/// Unit tests of the writes.
macro_rules! unit {
    ($name:literal) => {
        &Test {
            name: concat!("cgroup::limits::tests::", $name),
            source: include_str!("../../src/cgroup/limits/tests.rs"),
        }
    };
}

/// One module with the tests of each field, and the list of all.
macro_rules! fields {
    ($($module:ident: $field:literal, $resources:tt, v1 $v1:expr, v2 $v2:expr;)+) => {
        pub(crate) const FIELDS: &[Field] = &[
            $(Field { field: $field, module: stringify!($module), v1: $v1, v2: $v2 }),+
        ];
        $(
            mod $module {
                use super::*;

                fn resources() -> Value {
                    json!($resources)
                }
                fn on_v1() { check(&resources(), $v1) }
                fn on_v2() { check(&resources(), $v2) }
                fn by_a_user_on_v1() { check_as_user(&resources(), $v1) }
                fn by_a_user_on_v2() { check_as_user(&resources(), $v2) }

                #[test]
                fn v1() { views::run("v1", concat!(module_path!(), "::v1"), on_v1) }
                #[test]
                fn v2() { views::run("v2", concat!(module_path!(), "::v2"), on_v2) }
                #[test]
                fn rootless_v1() { views::run("v1", concat!(module_path!(), "::rootless_v1"), by_a_user_on_v1) }
                #[test]
                fn rootless_v2() { views::run("v2", concat!(module_path!(), "::rootless_v2"), by_a_user_on_v2) }
            }
        )+
    };
}

use Cell::{Files, Other};

const IGNORED_ON_V2: Cell = Other("ignored, as by runc", unit!("memory"));
const REALTIME: Cell = Other("refused", unit!("cpu"));
const NETWORK: Cell = Other("ignored, as by runc", unit!("rdma_and_network"));
const LEAF: Cell = Other("ignored, as by runc", unit!("block_io"));

fields! {
    memory_limit: "memory.limit", {"memory": {"limit": 67108864}},
        v1 Files("memory", &[("memory.limit_in_bytes", "67108864")]),
        v2 Files("memory", &[("memory.max", "67108864")]);
    memory_reservation: "memory.reservation", {"memory": {"reservation": 33554432}},
        v1 Files("memory", &[("memory.soft_limit_in_bytes", "33554432")]),
        v2 Files("memory", &[("memory.low", "33554432")]);
    memory_swap: "memory.swap", {"memory": {"limit": 67108864, "swap": 100663296}},
        v1 Files("memory", &[("memory.memsw.limit_in_bytes", "100663296")]),
        v2 Files("memory", &[("memory.swap.max", "33554432"), ("memory.max", "67108864")]);
    memory_swappiness: "memory.swappiness", {"memory": {"swappiness": 30}},
        v1 Files("memory", &[("memory.swappiness", "30")]),
        v2 IGNORED_ON_V2;
    memory_disable_oom_killer: "memory.disableOOMKiller",
        {"memory": {"limit": 67108864, "disableOOMKiller": true}},
        v1 Files("memory", &[("memory.oom_control", "~oom_kill_disable 1")]),
        v2 IGNORED_ON_V2;
    memory_kernel: "memory.kernel, memory.kernelTCP", {"memory": {"kernel": 67108864, "kernelTCP": 67108864}},
        v1 Other("ignored, as by runc", unit!("memory")),
        v2 IGNORED_ON_V2;
    memory_check_before_update: "memory.checkBeforeUpdate",
        {"memory": {"limit": 67108864, "checkBeforeUpdate": true}},
        v1 Files("memory", &[("memory.limit_in_bytes", "67108864")]),
        v2 Files("memory", &[("memory.max", "67108864")]);
    cpu_shares: "cpu.shares", {"cpu": {"shares": 2048}},
        v1 Files("cpu", &[("cpu.shares", "2048")]),
        v2 Files("cpu", &[("cpu.weight", "174")]);
    cpu_quota: "cpu.quota", {"cpu": {"quota": 20000}},
        v1 Files("cpu", &[("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "100000")]),
        v2 Files("cpu", &[("cpu.max", "20000 100000")]);
    cpu_period: "cpu.period", {"cpu": {"quota": 20000, "period": 50000}},
        v1 Files("cpu", &[("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "50000")]),
        v2 Files("cpu", &[("cpu.max", "20000 50000")]);
    cpu_burst: "cpu.burst", {"cpu": {"quota": 20000, "burst": 10000}},
        v1 Files("cpu", &[("cpu.cfs_burst_us", "10000")]),
        v2 Files("cpu", &[("cpu.max.burst", "10000")]);
    cpu_idle: "cpu.idle", {"cpu": {"idle": 1}},
        v1 Files("cpu", &[("cpu.idle", "1")]),
        v2 Files("cpu", &[("cpu.idle", "1")]);
    cpu_realtime: "cpu.realtimeRuntime, cpu.realtimePeriod",
        {"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 1000000}},
        v1 Other("written; no test machine has CONFIG_RT_GROUP_SCHED", unit!("cpu")),
        v2 REALTIME;
    cpu_cpus: "cpu.cpus", {"cpu": {"cpus": "0"}},
        v1 Files("cpuset", &[("cpuset.cpus", "0")]),
        v2 Files("cpuset", &[("cpuset.cpus", "0")]);
    cpu_mems: "cpu.mems", {"cpu": {"mems": "0"}},
        v1 Files("cpuset", &[("cpuset.mems", "0")]),
        v2 Files("cpuset", &[("cpuset.mems", "0")]);
    pids_limit: "pids.limit", {"pids": {"limit": 17}},
        v1 Files("pids", &[("pids.max", "17")]),
        v2 Files("pids", &[("pids.max", "17")]);
    block_io_weight: "blockIO.weight", {"blockIO": {"weight": 321}},
        v1 Files("blkio", &[("blkio.bfq.weight|blkio.weight", "321")]),
        v2 Files("io", &[("io.bfq.weight|io.weight", "~default 3")]);
    block_io_leaf_weight: "blockIO.leafWeight", {"blockIO": {"leafWeight": 321}},
        v1 Other("written; the kernel has no leaf weights since Linux 5.0", unit!("block_io")),
        v2 LEAF;
    block_io_weight_device: "blockIO.weightDevice",
        {"blockIO": {"weightDevice": [{"major": "MAJOR", "minor": "MINOR", "weight": 321}]}},
        v1 Files("blkio", &[("blkio.bfq.weight_device|blkio.weight_device", "~DEVICE 321")]),
        v2 Files("io", &[("io.bfq.weight|io.weight", "~DEVICE 3")]);
    block_io_read_bps: "blockIO.throttleReadBpsDevice",
        {"blockIO": {"throttleReadBpsDevice": [{"major": "MAJOR", "minor": "MINOR", "rate": 1048576}]}},
        v1 Files("blkio", &[("blkio.throttle.read_bps_device", "~DEVICE 1048576")]),
        v2 Files("io", &[("io.max", "~rbps=1048576")]);
    block_io_write_bps: "blockIO.throttleWriteBpsDevice",
        {"blockIO": {"throttleWriteBpsDevice": [{"major": "MAJOR", "minor": "MINOR", "rate": 1048576}]}},
        v1 Files("blkio", &[("blkio.throttle.write_bps_device", "~DEVICE 1048576")]),
        v2 Files("io", &[("io.max", "~wbps=1048576")]);
    block_io_read_iops: "blockIO.throttleReadIOPSDevice",
        {"blockIO": {"throttleReadIOPSDevice": [{"major": "MAJOR", "minor": "MINOR", "rate": 77}]}},
        v1 Files("blkio", &[("blkio.throttle.read_iops_device", "~DEVICE 77")]),
        v2 Files("io", &[("io.max", "~riops=77")]);
    block_io_write_iops: "blockIO.throttleWriteIOPSDevice",
        {"blockIO": {"throttleWriteIOPSDevice": [{"major": "MAJOR", "minor": "MINOR", "rate": 77}]}},
        v1 Files("blkio", &[("blkio.throttle.write_iops_device", "~DEVICE 77")]),
        v2 Files("io", &[("io.max", "~wiops=77")]);
    hugepage_limits: "hugepageLimits", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]},
        v1 Files("hugetlb", &[("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304")]),
        v2 Files("hugetlb", &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")]);
    network_class_id: "network.classID", {"network": {"classID": 1048577}},
        v1 Files("net_cls", &[("net_cls.classid", "1048577")]),
        v2 NETWORK;
    network_priorities: "network.priorities", {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
        v1 Files("net_prio", &[("net_prio.ifpriomap", "~lo 5")]),
        v2 NETWORK;
    rdma: "rdma", {"rdma": {"nosuchdevice": {"hcaHandles": 3}}},
        v1 Other("written; no test machine has an RDMA device", unit!("rdma_and_network")),
        v2 Other("written; no test machine has an RDMA device", unit!("rdma_and_network"));
    unified: "unified", {"unified": {"cgroup.max.depth": "3"}},
        v1 Other("refused", unit!("unified_entries")),
        v2 Files("cgroup", &[("cgroup.max.depth", "3")]);
}

/// The number of a disk.
fn device() -> Option<(i64, i64)> {
    let disk = |name: &str| !name.starts_with("loop") && !name.starts_with("ram");
    let text = std::fs::read_dir("/sys/block")
        .expect("sysfs is mounted")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(disk))
        .find_map(|entry| std::fs::read_to_string(entry.path().join("dev")).ok())?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Puts the disk's number in the place of the words; `None` without a disk.
fn with_device(resources: &Value) -> Option<Value> {
    let text = resources.to_string();
    if !text.contains("MAJOR") {
        return Some(resources.clone());
    }
    let (major, minor) = device()?;
    let text = text.replace("\"MAJOR\"", &major.to_string()).replace("\"MINOR\"", &minor.to_string());
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// What a field needs here, or why it cannot be tested.
fn prepare(resources: &Value, cell: Cell) -> Option<(Value, &'static str, Held)> {
    let Files(controller, files) = cell else {
        println!("no file of this version: see CGROUPS.md");
        return None;
    };
    let view = Hierarchies::detect().expect("the machine has cgroups");
    let has = controller == "cgroup" || view.view().version_of(controller).is_some();
    match with_device(resources) {
        Some(resources) if has => Some((resources, controller, files)),
        found => {
            let what = if found.is_some() { format!("{controller} controller") } else { "disk".to_owned() };
            println!("skipped: this view has no {what}");
            None
        }
    }
}

/// Sets a field as root and reads it back.
fn check(resources: &Value, cell: Cell) {
    let Some((resources, controller, files)) = prepare(resources, cell) else { return };
    let scratch = Scratch::at(&unique());
    match scratch.apply(&resources) {
        Ok(()) => read_back(&scratch.directory(controller), files),
        Err(error) => may_lack(&error, &scratch.directory(controller), files),
    }
}

/// Compares what the files hold.
fn read_back(directory: &str, files: &[(&str, &str)]) {
    let device = device().map_or_else(String::new, |(major, minor)| format!("{major}:{minor}"));
    for (names, wanted) in files {
        let text =
            names.split('|').find_map(|name| std::fs::read_to_string(format!("{directory}/{name}")).ok());
        let text = text.unwrap_or_else(|| panic!("{directory}/{names} cannot be read"));
        match wanted.strip_prefix('~') {
            Some(part) => {
                let part = part.replace("DEVICE", &device);
                assert!(text.contains(&part), "{names}: {part:?} is not in {text:?}");
            }
            None => assert_eq!(text.trim(), *wanted, "{names}"),
        }
    }
}

/// An error is right only if the kernel has no such file, or no policy for it.
fn may_lack(error: &runtime_core::Error, directory: &str, files: &[(&str, &str)]) {
    let present =
        |names: &str| names.split('|').any(|name| std::path::Path::new(directory).join(name).exists());
    let no_policy = error.errno() == Some(libc::EOPNOTSUPP);
    assert!(no_policy || files.iter().any(|(names, _)| !present(names)), "{error}");
    println!("skipped: this kernel cannot: {error}");
}

/// The same by a user to whom a cgroup was given, as systemd gives user@.service: the controllers are
/// enabled down to it, and it owns what is in it.
fn check_as_user(resources: &Value, cell: Cell) {
    let Some((resources, controller, files)) = prepare(resources, cell) else { return };
    let upper = Scratch::at(&unique());
    let inner = format!("{}/user", upper.path);
    let plan = compile(&upper.hierarchies, &inner, &resources);
    let warm = Cgroup::create(&upper.hierarchies, &plan).expect("the controllers are enabled");
    if let Err(error) = warm.apply(&plan) {
        may_lack(&error, &format!("{}/user", upper.directory(controller)), files);
        return;
    }
    warm.remove().expect("it is removed");
    let plain = compile(&upper.hierarchies, &inner, &json!({}));
    let given = Cgroup::create(&upper.hierarchies, &plain).expect("the user's cgroup");
    give(&given);
    let path = format!("{inner}/containers/one");
    let made = std::thread::spawn(move || {
        become_nobody();
        make(&path, &resources)
    });
    let cgroup = made.join().expect("the user's part");
    let directory = format!("{}/user/containers/one", upper.directory(controller));
    read_back(&directory, files);
    assert_eq!(
        std::fs::metadata(&directory)
            .map(|data| std::os::unix::fs::MetadataExt::uid(&data))
            .expect("it is there"),
        NOBODY
    );
    cgroup.remove().expect("it is removed");
}

/// Gives the cgroup away: v2 by the kernel's list, v1 the directories.
fn give(cgroup: &Cgroup) {
    cgroup.delegate(NOBODY, Some(NOBODY)).expect("the cgroup is given away");
    for place in cgroup.location().places {
        std::os::unix::fs::chown(place.absolute(), Some(NOBODY), Some(NOBODY)).expect("chown");
    }
}

/// This thread only, which ends with its part of the test.
fn become_nobody() {
    // SAFETY: takes integers; the raw calls change the calling thread alone.
    let results = unsafe {
        [
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()),
            libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY),
            libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY),
        ]
    };
    assert_eq!(results, [0; 3]);
}

fn make(path: &str, resources: &Value) -> Cgroup {
    let hierarchies = Hierarchies::detect().expect("the machine has cgroups");
    let resources = crate::view::parse(resources);
    let plan = CgroupPlan::compile(hierarchies.view(), Some(path), "test", &resources).expect("a plan");
    let cgroup = Cgroup::create(&hierarchies, &plan).expect("the user makes a cgroup");
    cgroup.apply(&plan).expect("the limits apply");
    cgroup
}
