//! cgroups-rs on cgroup v1, beside this library and the kernel's files.
//!
//!     cargo test --manifest-path benches/cgroups-rs/Cargo.toml
//!
//! Each operation has a recorded outcome, which the table of ARCHITECTURE.md shows. `UPDATE_DOCS=1` writes
//! that table. A new version of the crate that does better fails here, and can be taken up.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cgroups_rs::fs::hierarchies;
use cgroups_rs::{CgroupPid, FreezerState, FsManager, Manager};
use oci_spec::runtime::LinuxResources;
use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Resources, Version};
use serde_json::json;

const ROOT: &str = "/sys/fs/cgroup";
const BEGIN: &str = "<!-- cgroups-rs: begin, made by benches/cgroups-rs -->\n";
const END: &str = "<!-- cgroups-rs: end -->\n";

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The kernel's file, or the number, is what ours is.
    Same,
    /// It is not: nothing was written, or something else.
    Differs,
    /// An error where ours succeeds.
    Fails,
}

impl Outcome {
    fn text(self) -> &'static str {
        match self {
            Outcome::Same => "same",
            Outcome::Differs => "differs",
            Outcome::Fails => "fails",
        }
    }
}

use Outcome::{Differs, Fails, Same};

/// A field, what it is set to before and then, the file, the outcome, and what is to say about it.
struct Field {
    name: &'static str,
    before: &'static str,
    resources: &'static str,
    controller: &'static str,
    file: &'static str,
    outcome: Outcome,
    why: &'static str,
}

macro_rules! field {
    ($name:literal, $before:literal => $resources:literal, $controller:literal $file:literal, $outcome:ident $why:literal) => {
        Field {
            name: $name,
            before: $before,
            resources: $resources,
            controller: $controller,
            file: $file,
            outcome: $outcome,
            why: $why,
        }
    };
}

const FIELDS: &[Field] = &[
    field!("memory.limit", "{}" => r#"{"memory": {"limit": 67108864}}"#, "memory" "memory.limit_in_bytes", Same ""),
    field!("memory.reservation", "{}" => r#"{"memory": {"reservation": 33554432}}"#, "memory" "memory.soft_limit_in_bytes", Same ""),
    field!("memory.swap", "{}" => r#"{"memory": {"limit": 67108864, "swap": 100663296}}"#, "memory" "memory.memsw.limit_in_bytes", Same ""),
    field!("memory: both raised", r#"{"memory": {"limit": 33554432, "swap": 33554432}}"# => r#"{"memory": {"limit": 134217728, "swap": 134217728}}"#, "memory" "memory.limit_in_bytes", Same ""),
    field!("memory: both lowered", r#"{"memory": {"limit": 134217728, "swap": 268435456}}"# => r#"{"memory": {"limit": 33554432, "swap": 33554432}}"#, "memory" "memory.limit_in_bytes", Same ""),
    field!("memory: limit lowered, swap between the old and the new", r#"{"memory": {"limit": 134217728, "swap": 268435456}}"# => r#"{"memory": {"limit": 33554432, "swap": 201326592}}"#, "memory" "memory.memsw.limit_in_bytes", Same ""),
    field!("memory: limit taken away", r#"{"memory": {"limit": 67108864, "swap": 67108864}}"# => r#"{"memory": {"limit": -1}}"#, "memory" "memory.limit_in_bytes", Same ""),
    field!("memory.swappiness", "{}" => r#"{"memory": {"swappiness": 30}}"#, "memory" "memory.swappiness", Same ""),
    field!("memory.swappiness as Docker leaves it out", "{}" => r#"{"memory": {"swappiness": 18446744073709551615}}"#, "memory" "memory.swappiness", Fails "-1 is an error"),
    field!("memory.disableOOMKiller", "{}" => r#"{"memory": {"limit": 67108864, "disableOOMKiller": true}}"#, "memory" "memory.oom_control", Same ""),
    field!("memory.reservation as Docker leaves it out", r#"{"memory": {"reservation": 33554432}}"# => r#"{"memory": {"reservation": 0}}"#, "memory" "memory.soft_limit_in_bytes", Differs "0 is written, and means no protection at all"),
    field!("cpu.shares", "{}" => r#"{"cpu": {"shares": 2048}}"#, "cpu" "cpu.shares", Same ""),
    field!("cpu.quota", "{}" => r#"{"cpu": {"quota": 20000}}"#, "cpu" "cpu.cfs_quota_us", Same ""),
    field!("cpu.period", "{}" => r#"{"cpu": {"quota": 20000, "period": 50000}}"#, "cpu" "cpu.cfs_period_us", Same ""),
    field!("cpu.quota and cpu.period as Docker leaves them out", "{}" => r#"{"cpu": {"quota": 0, "period": 0}}"#, "cpu" "cpu.cfs_quota_us", Fails "0 is written"),
    field!("cpu: period raised before the quota fits", r#"{"cpu": {"quota": 1000, "period": 1000}}"# => r#"{"cpu": {"quota": 900000, "period": 1000000}}"#, "cpu" "cpu.cfs_quota_us", Same ""),
    field!("cpu.burst", "{}" => r#"{"cpu": {"quota": 20000, "burst": 10000}}"#, "cpu" "cpu.cfs_burst_us", Differs "left out in silence"),
    field!("cpu.idle", "{}" => r#"{"cpu": {"idle": 1}}"#, "cpu" "cpu.idle", Differs "left out in silence"),
    field!("cpu.cpus", "{}" => r#"{"cpu": {"cpus": "0"}}"#, "cpuset" "cpuset.cpus", Same ""),
    field!("cpu.mems", "{}" => r#"{"cpu": {"mems": "0"}}"#, "cpuset" "cpuset.mems", Same ""),
    field!("pids.limit", "{}" => r#"{"pids": {"limit": 17}}"#, "pids" "pids.max", Same ""),
    field!("pids.limit -1", r#"{"pids": {"limit": 17}}"# => r#"{"pids": {"limit": -1}}"#, "pids" "pids.max", Same ""),
    field!("pids.limit 0 (specification 1.3)", "{}" => r#"{"pids": {"limit": 0}}"#, "pids" "pids.max", Differs "0 is no limit"),
    field!("blockIO.weight", "{}" => r#"{"blockIO": {"weight": 321}}"#, "blkio" "blkio.bfq.weight", Fails "writes CFQ's file alone, which ended with Linux 5.0"),
    field!("blockIO.throttleReadBpsDevice", "{}" => r#"{"blockIO": {"throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": 1048576}]}}"#, "blkio" "blkio.throttle.read_bps_device", Same ""),
    field!("blockIO.throttleWriteIOPSDevice", "{}" => r#"{"blockIO": {"throttleWriteIOPSDevice": [{"major": MAJOR, "minor": MINOR, "rate": 77}]}}"#, "blkio" "blkio.throttle.write_iops_device", Same ""),
];

/// A path that no other test has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("compare-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The number of a disk.
fn with_device(text: &str) -> Option<LinuxResources> {
    let disk = std::fs::read_dir("/sys/block").ok()?.filter_map(Result::ok).find(|entry| {
        entry.file_name().to_str().is_some_and(|name| !name.starts_with("loop") && !name.starts_with("ram"))
    });
    let number = disk.and_then(|disk| std::fs::read_to_string(disk.path().join("dev")).ok());
    let number = number.unwrap_or_else(|| "8:0".to_owned());
    let (major, minor) = number.trim().split_once(':')?;
    serde_json::from_str(&text.replace("MAJOR", major).replace("MINOR", minor)).ok()
}

/// Two cgroups, one for each library, that end with the value.
struct Two {
    hierarchies: Hierarchies,
    path: String,
    ours: Cgroup,
    path_of_theirs: String,
    theirs: FsManager,
    upper: Cgroup,
}

impl Two {
    fn new() -> Self {
        let hierarchies = Hierarchies::detect().expect("the machine has cgroups");
        let make = |path: &str| {
            let plan = CgroupPlan::compile(hierarchies.view(), Some(path), "x", &Resources::default());
            Cgroup::create(&hierarchies, &plan.expect("a plan")).expect("a cgroup")
        };
        let (path, path_of_theirs) = (format!("/{}", unique()), unique());
        let ours = make(&path);
        // Theirs is made by ours, so that new cpusets are filled.
        let upper = make(&format!("/{path_of_theirs}"));
        let theirs = FsManager::new(&path_of_theirs).expect("their manager");
        Self { hierarchies, path, ours, path_of_theirs, theirs, upper }
    }

    fn apply_ours(&self, resources: &LinuxResources) {
        let resources = Resources::try_from(resources).expect("right values");
        let plan = CgroupPlan::update(self.hierarchies.view(), self.ours.location(), &resources);
        self.ours.apply(&plan.expect("a plan")).expect("our limits apply");
    }

    fn read(&self, path: &str, controller: &str, file: &str) -> String {
        let path = format!("{ROOT}/{controller}/{}/{file}", path.trim_start_matches('/'));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn compare(&mut self, field: &Field) -> Outcome {
        let (before, after) = (with_device(field.before), with_device(field.resources));
        let (before, after) = (before.expect("JSON"), after.expect("JSON"));
        self.apply_ours(&before);
        self.theirs.set(&before).expect("their limits before");
        self.apply_ours(&after);
        if let Err(error) = self.theirs.set(&after) {
            println!("{}: {error}", field.name);
            return Fails;
        }
        let ours = self.read(&self.path, field.controller, field.file);
        let theirs = self.read(&self.path_of_theirs, field.controller, field.file);
        if ours != theirs {
            println!("{}: {} {ours:?}, theirs {theirs:?}", field.name, field.file);
        }
        if ours == theirs { Same } else { Differs }
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        for cgroup in [&self.ours, &self.upper] {
            let ended = cgroup.thaw().and_then(|()| cgroup.kill_all()).and_then(|()| cgroup.remove());
            if let Err(error) = ended {
                eprintln!("a cgroup stays: {error}");
            }
        }
    }
}

/// Whether the comparison can run: root, and v1 controllers.
fn can_run() -> bool {
    // SAFETY: takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    let v1 = Path::new(ROOT).join("memory/cgroup.procs").exists();
    if !root || !v1 {
        println!("skipped: needs root and v1 controllers");
    }
    root && v1
}

/// A process, ended with the value.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().expect("a pid")
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).map(drop).unwrap_or_else(|error| eprintln!("{error}"));
    }
}

/// The other operations: name, outcome, what was seen, and the test.
const OPERATIONS: &[(&str, Outcome, &str, &str)] = &[
    (
        "add_proc (all v1 hierarchies)",
        Differs,
        "the cgroup2 hierarchy of a hybrid machine is left out",
        "processes_are_added",
    ),
    ("pids", Same, "of one level: processes in sub-cgroups are not seen", "processes_are_added"),
    (
        "freeze, thaw",
        Differs,
        "freeze does not wait until the processes stand still",
        "a_freeze_is_not_waited_for",
    ),
    ("statistics: memory", Same, "", "statistics_agree"),
    ("statistics: pids", Same, "", "statistics_agree"),
    ("statistics: cpu, in all", Same, "", "statistics_agree"),
    ("statistics: cpu, of each CPU", Differs, "the list is empty", "statistics_agree"),
    (
        "statistics: what a broken file says",
        Differs,
        "0 instead of an error: a cgroup that has gone uses nothing",
        "statistics_of_nothing_are_zero",
    ),
    (
        "destroy",
        Differs,
        "live processes go to the root cgroup, without limits, and it is Ok",
        "destroy_lets_processes_go",
    ),
    ("kill", Fails, "there is none on v1", "kill_is_for_v2"),
    ("a path with ..", Differs, "leads out of the cgroup: paths are joined", "a_path_leads_out"),
    ("hybrid machines", Differs, "count as v1", "a_hybrid_machine_counts_as_v1"),
];

#[test]
fn every_field() {
    if !can_run() {
        return;
    }
    let mut wrong = Vec::new();
    for field in FIELDS {
        let seen = Two::new().compare(field);
        if seen != field.outcome {
            wrong.push(format!("{}: {seen:?}, recorded {:?}", field.name, field.outcome));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn processes_are_added() {
    if !can_run() {
        return;
    }
    let mut two = Two::new();
    let (one, other) = (Sleeper::new(), Sleeper::new());
    two.ours.attach(one.pid()).expect("ours");
    two.theirs.add_proc(CgroupPid::from(other.pid() as u64)).expect("theirs");
    let places = |pid: i32, path: &str| {
        let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
        table.lines().filter(|line| line.ends_with(path)).count()
    };
    let all = two.hierarchies.view().hierarchies.len();
    assert_eq!(places(one.pid(), &two.path), all);
    let v2 = two.hierarchies.view().unified().is_some();
    assert!(places(other.pid(), &two.path_of_theirs) < all || !v2);
    let theirs: Vec<u64> = two.theirs.pids().expect("pids").iter().map(|pid| pid.pid).collect();
    assert_eq!(theirs, [other.pid() as u64]);
    assert_eq!(two.ours.processes(true).expect("pids"), [one.pid()]);
}

#[test]
fn a_freeze_is_not_waited_for() {
    if !can_run() {
        return;
    }
    let two = Two::new();
    // Their call is one write; whether all stand still is nobody's question. Ours says so, or fails.
    two.theirs.freeze(FreezerState::Frozen).expect("theirs");
    assert_eq!(two.read(&two.path_of_theirs, "freezer", "freezer.self_freezing").trim(), "1");
    two.theirs.freeze(FreezerState::Thawed).expect("theirs");
    two.ours.freeze(Duration::from_secs(10)).expect("ours");
    assert!(two.ours.is_frozen().expect("ours"));
    assert!(two.theirs.freeze(FreezerState::Freezing).is_err());
}

#[test]
fn statistics_agree() {
    if !can_run() {
        return;
    }
    let mut two = Two::new();
    let busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
    let busy = Sleeper(busy);
    two.theirs.add_proc(CgroupPid::from(busy.pid() as u64)).expect("theirs");
    two.theirs
        .set(
            &serde_json::from_value(json!({"memory": {"limit": 67108864}, "pids": {"limit": 9}}))
                .expect("JSON"),
        )
        .expect("theirs");
    let begin = Instant::now();
    while two.upper.statistics().expect("ours").cpu.usage.total == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not run");
    }
    two.upper.freeze(Duration::from_secs(10)).expect("it stands still");
    let (ours, theirs) = (two.upper.statistics().expect("ours"), two.theirs.stats());
    let memory = theirs.memory.memory.expect("memory");
    assert_eq!(memory.limit as u64, ours.memory.usage.limit);
    assert_eq!((memory.usage, memory.max_usage), (ours.memory.usage.usage, ours.memory.usage.max));
    let acct = theirs.cpu.cpu_acct.expect("cpuacct");
    assert_eq!(acct.total_usage, ours.cpu.usage.total);
    assert!(acct.usage_percpu.is_empty() && !ours.cpu.usage.percpu.is_empty());
    assert_eq!(theirs.pids.current, ours.pids.current);
    assert_eq!(theirs.pids.limit as u64, ours.pids.limit);
}

#[test]
fn statistics_of_nothing_are_zero() {
    if !can_run() {
        return;
    }
    let two = Two::new();
    two.upper.remove().expect("it has gone");
    let theirs = two.theirs.stats();
    assert_eq!(theirs.memory.memory.map(|memory| memory.usage), Some(0));
    assert!(Cgroup::open(&two.upper.location()).expect("ours").is_none(), "ours says that it has gone");
}

#[test]
fn destroy_lets_processes_go() {
    if !can_run() {
        return;
    }
    let mut two = Two::new();
    let sleeper = Sleeper::new();
    two.theirs.add_proc(CgroupPid::from(sleeper.pid() as u64)).expect("theirs");
    two.theirs.destroy().expect("it is Ok");
    let table = std::fs::read_to_string(format!("/proc/{}/cgroup", sleeper.pid())).expect("it lives");
    assert!(table.lines().any(|line| line.contains(":pids:") && line.ends_with(":/")), "{table}");
    // Ours refuses, and the limits stay.
    let other = Sleeper::new();
    two.ours.attach(other.pid()).expect("ours");
    assert!(two.ours.remove().is_err());
}

#[test]
fn kill_is_for_v2() {
    if !can_run() {
        return;
    }
    let two = Two::new();
    let theirs = cgroups_rs::fs::Cgroup::load(hierarchies::auto(), &two.path_of_theirs);
    assert!(theirs.kill().is_err());
    let mut sleeper = Sleeper::new();
    two.ours.attach(sleeper.pid()).expect("ours");
    two.ours.kill_all().expect("ours");
    assert!(!sleeper.0.wait().expect("it ends").success());
}

#[test]
fn a_path_leads_out() {
    if !can_run() {
        return;
    }
    let two = Two::new();
    // From the hierarchy of the controller into another one's.
    let out = format!("../pids/{}", two.path_of_theirs);
    let theirs = cgroups_rs::fs::Cgroup::load(hierarchies::auto(), &out);
    let pids: &cgroups_rs::fs::pid::PidController = theirs.controller_of().expect("pids");
    pids.set_pid_max(cgroups_rs::fs::MaxValue::Value(5)).expect("it is written");
    assert_eq!(two.read(&two.path_of_theirs, "pids", "pids.max").trim(), "5");
    let plan = CgroupPlan::compile(
        two.hierarchies.view(),
        Some(&format!("/{out}")),
        "x",
        &Resources::default(),
    );
    let places = plan.expect("a plan").location.places;
    assert!(places.iter().all(|place| place.path == format!("pids/{}", two.path_of_theirs)), "{places:?}");
}

#[test]
fn a_hybrid_machine_counts_as_v1() {
    if !can_run() {
        return;
    }
    let ours = Hierarchies::detect().expect("the machine has cgroups");
    let v2 = ours.view().hierarchies.iter().any(|hierarchy| hierarchy.version == Version::V2);
    assert!(!hierarchies::auto().v2());
    println!("this machine has {}cgroup2", if v2 { "" } else { "no " });
}

fn table() -> String {
    let mut text = "| operation of cgroups-rs 0.5.1 on v1 | beside ours | seen | test in benches/cgroups-rs |\n|---|---|---|---|\n".to_owned();
    for Field { name, file, outcome, why, .. } in FIELDS {
        let why = if why.is_empty() { format!("`{file}`") } else { format!("`{file}`: {why}") };
        writeln!(text, "| set: {name} | {} | {why} | `every_field` |", outcome.text())
            .expect("a string grows");
    }
    for (name, outcome, seen, test) in OPERATIONS {
        writeln!(text, "| {name} | {} | {seen} | `{test}` |", outcome.text()).expect("a string grows");
    }
    text
}

#[test]
fn the_table_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
    let page = std::fs::read_to_string(path).expect("ARCHITECTURE.md");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (found, after) = rest.split_once(END).expect("the end of the table");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", table())).expect("it is written");
        return;
    }
    assert_eq!(found, table(), "UPDATE_DOCS=1 writes it anew");
}

#[test]
fn every_named_test_exists() {
    let source = include_str!("compare.rs");
    for (_, _, _, test) in OPERATIONS {
        assert!(source.contains(&format!("fn {test}()")), "{test}");
    }
}
