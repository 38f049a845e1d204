//! Runs the statements' checks against one runtime.

use crate::case::Case;
use crate::fairness::{is_choice, numbers, since};
use crate::statements::{Proof, Statement, all};
use crate::verdict::{Record, Stop, Verdict};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The test process, compiled by build.rs.
const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));

/// What to judge, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The runtime binary.
    pub runtime: PathBuf,
    /// Judge only statements whose id or section contains one of these; empty: all.
    pub filter: Vec<String>,
    /// The limit of one call of the runtime; a call that takes longer is killed and has failed.
    pub timeout: Duration,
    /// Use a user namespace and skip what needs root.
    pub rootless: bool,
    /// Let systemd make the cgroups (`--systemd-cgroup`).
    pub systemd: bool,
    /// How many checks run at a time.
    pub jobs: usize,
    /// Judge by the newest specification, whatever version the runtime says that it implements.
    pub newest: bool,
}

impl Options {
    /// The usual options for a runtime: every statement, ten seconds, two at a time.
    #[must_use]
    pub fn new(runtime: impl Into<PathBuf>) -> Self {
        Options {
            runtime: runtime.into(),
            filter: Vec::new(),
            timeout: Duration::from_secs(10),
            rootless: !nix::unistd::geteuid().is_root(),
            systemd: false,
            jobs: 2,
            newest: false,
        }
    }

    fn wants(&self, statement: &Statement) -> bool {
        let hit = |text: &String| statement.id.contains(text) || statement.section.contains(text);
        self.filter.is_empty() || self.filter.iter().any(hit)
    }
}

/// Judges every testable statement that the filter lets through, in the tables' order;
/// `each` hears every record as soon as it is there.
///
/// The calling process becomes the reaper of the containers' processes (PR_SET_CHILD_SUBREAPER).
///
/// # Errors
/// Only what prevents a run at all: no scratch directory, no way to become the reaper.
pub fn run(options: &Options, each: impl Fn(&Record) + Sync) -> io::Result<Vec<Record>> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let directory =
        tempfile::Builder::new().prefix("conformance-").tempdir_in(std::env::temp_dir().canonicalize()?)?;
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
    let probe = directory.path().join("probe");
    fs::write(&probe, PROBE)?;
    fs::set_permissions(&probe, PermissionsExt::from_mode(0o755))?;
    // The checks work in another directory.
    let mut options = options.clone();
    if options.runtime.components().count() > 1 {
        options.runtime = options.runtime.canonicalize()?;
    }
    let options = &options;
    let version = if options.newest { None } else { implemented(&options.runtime) };
    let private = Private::new(directory.path());
    let chosen: Vec<&Statement> = all().filter(|statement| options.wants(statement)).collect();
    let next = AtomicUsize::new(0);
    let records = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                if let Err(error) = private.enter() {
                    eprintln!("# the suite's mount namespace: {error}");
                }
                while let Some(statement) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(record) = judge(statement, &probe, options, version.as_deref()) else {
                        continue;
                    };
                    let mut records = records.lock().unwrap_or_else(|error| error.into_inner());
                    each(&record);
                    records.push(record);
                }
            });
        }
    });
    let mut records = records.into_inner().unwrap_or_else(|error| error.into_inner());
    let place = |id: &str| chosen.iter().position(|statement| statement.id == id);
    records.sort_by_key(|record: &Record| place(record.id));
    Ok(records)
}

/// The mount namespace of the checks: what a check or a runtime mounts ends with the suite, and all
/// mounts are shared, as on most hosts, in peer groups of the suite's own. The usual devices are nodes of
/// the suite's own there: some runtimes bind them into a container and change their owner.
struct Private(Option<std::fs::File>);

/// Names and numbers of the devices that every container has.
const DEVICES: &[(&str, (u64, u64))] = &[
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

/// A node with these numbers, for everybody.
fn own_device(directory: &Path, name: &str, (major, minor): (u64, u64)) -> io::Result<PathBuf> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let node = directory.join(name);
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&node, SFlag::S_IFCHR, mode, makedev(major, minor))?;
    fs::set_permissions(&node, PermissionsExt::from_mode(0o666))?;
    Ok(node)
}

impl Private {
    /// Makes it, in a thread that ends then; without root there is none, and the checks do with the
    /// caller's.
    fn new(directory: &Path) -> Self {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        if !nix::unistd::geteuid().is_root() {
            return Private(None);
        }
        const NONE: Option<&str> = None;
        let make = || -> io::Result<std::fs::File> {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
            for (name, number) in DEVICES {
                let node = own_device(directory, name, *number)?;
                mount(Some(&node), &Path::new("/dev").join(name), NONE, MsFlags::MS_BIND, NONE)?;
            }
            mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE)?;
            std::fs::File::open("/proc/thread-self/ns/mnt")
        };
        let made = std::thread::scope(|scope| scope.spawn(make).join());
        match made {
            Ok(Ok(file)) => Private(Some(file)),
            Ok(Err(error)) => {
                eprintln!("# no mount namespace of the suite's own: {error}");
                Private(None)
            }
            Err(_) => Private(None),
        }
    }

    /// Moves the calling thread into it.
    fn enter(&self) -> io::Result<()> {
        use nix::sched::{CloneFlags, setns, unshare};
        let Some(file) = &self.0 else { return Ok(()) };
        // A thread that shares its working directory with others may not change its mount namespace.
        unshare(CloneFlags::CLONE_FS)?;
        Ok(setns(file, CloneFlags::CLONE_NEWNS)?)
    }
}

/// The version of the specification that a runtime says that it implements: in the features
/// document, or in the line `spec:` of --version. `None` if it says nothing.
fn implemented(runtime: &Path) -> Option<String> {
    let ask = |word: &str| {
        let output =
            std::process::Command::new(runtime).arg(word).stdin(std::process::Stdio::null()).output();
        output.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let features = ask("features").and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let listed = features.and_then(|page| page["ociVersionMax"].as_str().map(str::to_owned));
    let printed =
        || ask("--version")?.lines().find_map(|line| Some(line.strip_prefix("spec:")?.trim().to_owned()));
    listed.or_else(printed).filter(|version| !numbers(version).is_empty())
}

/// Why a runtime of that version cannot be judged by a statement.
fn too_old(statement: &Statement, version: Option<&str>) -> Option<String> {
    let (version, since) = (version?, since(statement.id));
    let old = numbers(version) < numbers(since);
    old.then(|| format!("the runtime says that it implements {version}; this is of version {since}"))
}

/// Judges one statement; `None` for one that has no check.
fn judge(statement: &Statement, probe: &Path, options: &Options, version: Option<&str>) -> Option<Record> {
    let Proof::Check(check) = statement.proof else { return None };
    let begin = Instant::now();
    let outcome = match too_old(statement, version) {
        Some(reason) => Err(Stop::Skip(reason)),
        None => {
            Case::new(options, probe, statement.id).map_err(Stop::from).and_then(|mut case| check(&mut case))
        }
    };
    let verdict = match outcome {
        Ok(evidence) => Verdict::Pass(evidence),
        Err(Stop::Skip(reason)) => Verdict::Skip(reason),
        Err(Stop::Refused { seen, .. }) if is_choice(statement.id) => {
            Verdict::Skip(format!("refused, which a runtime may: {}", crate::verdict::short(&seen)))
        }
        Err(Stop::Fail { expected, seen } | Stop::Refused { expected, seen }) => {
            Verdict::Fail { expected, seen: crate::verdict::short(&seen) }
        }
    };
    Some(Record {
        id: statement.id,
        section: statement.section,
        level: statement.level.name(),
        binding: statement.level.is_binding(),
        statement: statement.text,
        verdict,
        milliseconds: begin.elapsed().as_millis(),
    })
}

/// A small container: root in namespaces of its own, except network, cgroup, time and user.
pub(crate) fn default_config(rootless: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/probe"],
            "env": ["PATH=/"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            }
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}
            ]
        }
    });
    if rootless {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        if let Some(list) = config["linux"]["namespaces"].as_array_mut() {
            list.push(json!({"type": "user"}));
        }
        config["linux"]["uidMappings"] = map(uid);
        config["linux"]["gidMappings"] = map(gid);
    }
    config
}

/// Whether the calling thread is in a mount namespace that is not the process's.
pub(crate) fn is_private() -> io::Result<bool> {
    Ok(fs::read_link("/proc/thread-self/ns/mnt")? != fs::read_link("/proc/self/ns/mnt")?)
}
