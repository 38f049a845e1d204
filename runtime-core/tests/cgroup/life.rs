//! From creation to removal.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, mkdirat};
use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Location, Version};
use runtime_core::{ErrorKind, Signal};
use serde_json::json;

use crate::view::{Scratch, compile, eventually, in_views, unique};

const LIMIT: Duration = Duration::from_secs(10);

/// Clock ticks that the process has used.
fn cpu_time(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let (_, rest) = text.rsplit_once(')').expect("a stat line");
    rest.split(' ').skip(12).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

in_views!(a_frozen_process_stands_still: hybrid, v1, v2);
fn a_frozen_process_stands_still() {
    let mut scratch = Scratch::at(&unique());
    let pid = scratch.spawn("while :; do :; done");
    assert!(eventually(|| cpu_time(pid) > 0));
    assert!(!scratch.cgroup.is_frozen().unwrap());

    scratch.cgroup.freeze(LIMIT).unwrap();
    assert!(scratch.cgroup.is_frozen().unwrap());
    assert!(scratch.cgroup.location().is_frozen().unwrap());
    let before = cpu_time(pid);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(cpu_time(pid), before, "it ran while frozen");

    scratch.cgroup.thaw().unwrap();
    assert!(!scratch.cgroup.is_frozen().unwrap());
    assert!(eventually(|| cpu_time(pid) > before));

    // Killing does not need a thaw before.
    scratch.cgroup.freeze(LIMIT).unwrap();
    scratch.cgroup.kill_all().unwrap();
    scratch.reap();
}

in_views!(a_freeze_through_v1_is_seen_and_killed: hybrid);
fn a_freeze_through_v1_is_seen_and_killed() {
    let mut scratch = Scratch::at(&unique());
    scratch.spawn("while :; do :; done");
    std::fs::write(format!("{}/freezer.state", scratch.directory("freezer")), "FROZEN").unwrap();
    assert!(scratch.cgroup.is_frozen().unwrap());
    scratch.cgroup.kill_all().unwrap();
    scratch.reap();
}

/// Not a test by itself: what [`fork_bombs_end`] starts.
#[test]
fn bomb() {
    if std::env::var_os("CGROUP_TEST_BOMB").is_none() {
        return;
    }
    std::io::stdin().read_exact(&mut [0]).unwrap();
    loop {
        // SAFETY: both sides only fork and sleep from here on, which is async-signal-safe.
        unsafe {
            libc::fork();
            libc::usleep(100);
        }
    }
}

in_views!(fork_bombs_end: hybrid, v1);
fn fork_bombs_end() {
    const PIDS: usize = 100;
    let scratch = Scratch::new(&json!({"pids": {"limit": PIDS}}));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::bomb", "--nocapture"])
        .env("CGROUP_TEST_BOMB", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    scratch.cgroup.attach(child.id().try_into().unwrap()).unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"x").unwrap();
    let full = eventually(|| scratch.cgroup.processes(true).unwrap().len() > PIDS / 2);
    let begin = Instant::now();
    scratch.cgroup.kill_all().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    scratch.cgroup.wait_empty(LIMIT).unwrap();
    println!("the bomb ended in {:?}", begin.elapsed());
    assert!(full, "the bomb never went off");
    scratch.cgroup.remove().unwrap();
    assert_eq!(scratch.left(), [""; 0]);
}

in_views!(signals_reach_sub_cgroups: hybrid, v1, v2);
fn signals_reach_sub_cgroups() {
    let mut scratch = Scratch::at(&unique());
    let upper = scratch.spawn("exec sleep 60");
    let lower = scratch.spawn("exec sleep 60");
    for place in scratch.cgroup.location().places {
        // A new cpuset of v1 has no processors yet.
        if place.version == Version::V1 && place.controllers.iter().any(|name| name == "cpuset") {
            continue;
        }
        std::fs::create_dir(format!("{}/inner", place.absolute())).unwrap();
        std::fs::write(format!("{}/inner/cgroup.procs", place.absolute()), lower.to_string()).unwrap();
    }
    assert!(scratch.cgroup.processes(false).unwrap().contains(&upper));
    assert!(!scratch.cgroup.processes(false).unwrap().contains(&lower));
    assert!(scratch.cgroup.processes(true).unwrap().contains(&lower));
    assert_eq!(scratch.cgroup.signal_all(Signal::TERM).unwrap(), 2);
    scratch.reap();
    assert!(matches!(scratch.cgroup.signal_all(Signal::USR1), Ok(0)), "nobody is left");
    scratch.cgroup.remove().unwrap();
    assert_eq!(scratch.left(), [""; 0]);
    scratch.cgroup.remove().expect("what has gone is fine");
}

/// A name as only a container chooses it: no UTF-8, and long, so that the path is soon above a page.
const NAME: [u8; 200] = [0xff; 200];
/// As many levels as no recursion, no descriptor for each and no path leads through.
const LEVELS: usize = 300;

/// Makes sub-cgroups in one another; returns the innermost.
fn nest(directory: &str) -> OwnedFd {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut inner = nix::fcntl::open(directory, flags, Mode::empty()).unwrap();
    for _ in 0..LEVELS {
        mkdirat(&inner, &NAME[..], Mode::S_IRWXU).unwrap();
        inner = nix::fcntl::openat(&inner, &NAME[..], flags, Mode::empty()).unwrap();
    }
    inner
}

fn write_below(directory: &OwnedFd, file: &str, text: &str) {
    let file =
        nix::fcntl::openat(directory, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    nix::unistd::write(&file, text.as_bytes()).unwrap();
}

in_views!(names_are_bytes_and_depth_has_no_limit: hybrid, v1, v2);
fn names_are_bytes_and_depth_has_no_limit() {
    let mut scratch = Scratch::at(&unique());
    let pid = scratch.spawn("exec sleep 60");
    for place in scratch.cgroup.location().places {
        let inner = nest(&place.absolute());
        // A new cpuset of v1 has no processors yet.
        if place.version == Version::V2 || place.controllers.iter().all(|name| name != "cpuset") {
            write_below(&inner, "cgroup.procs", &pid.to_string());
        }
    }
    // The kernel shows the beginning of such a path, or nothing.
    let table = std::fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    assert!(table.split(|byte| *byte == b'\n').all(|line| line.len() < LEVELS * NAME.len()));
    // A few more than the cgroup and the test itself have open.
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    assert_eq!(scratch.cgroup.processes(true).unwrap(), [pid]);

    let beside = scratch.cgroup.of_process(pid).unwrap();
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let id = i32::try_from(other.id()).unwrap();
    beside.attach(id).unwrap();
    assert_eq!(beside.processes(false).unwrap().len(), 2);
    assert_eq!(scratch.cgroup.signal_all(Signal::CONT).unwrap(), 2);
    scratch.cgroup.freeze(LIMIT).unwrap();
    scratch.cgroup.thaw().unwrap();
    scratch.cgroup.kill_all().unwrap();
    other.wait().unwrap();
    scratch.reap();
    scratch.cgroup.wait_empty(LIMIT).unwrap();
    scratch.cgroup.remove().unwrap();
    assert_eq!(scratch.left(), [""; 0]);
}

in_views!(exec_goes_where_init_is_whatever_the_name: hybrid, v1, v2);
fn exec_goes_where_init_is_whatever_the_name() {
    let mut scratch = Scratch::at(&unique());
    let pid = scratch.spawn("exec sleep 60");
    let places = scratch.cgroup.location().places;
    let can_hold = |place: &&runtime_core::cgroup::Place| {
        place.version == Version::V2 || place.controllers.iter().all(|name| name != "cpuset")
    };
    for place in places.iter().filter(can_hold) {
        let inner = Path::new(&place.absolute()).join(OsStr::from_bytes(b"\xff\xfe/b"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    let beside = scratch.cgroup.of_process(pid).unwrap();
    assert_eq!(beside.processes(false).unwrap(), [pid]);
    assert_eq!(scratch.cgroup.processes(false).unwrap(), [0; 0]);
}

in_views!(a_frozen_sub_cgroup_is_killed: hybrid, v1, v2);
/// A process in it ends only when it is thawed, and the container has frozen it by itself.
fn a_frozen_sub_cgroup_is_killed() {
    let mut scratch = Scratch::at(&unique());
    let pid = scratch.spawn("exec sleep 60");
    for place in scratch.cgroup.location().places {
        let state = match place.version {
            Version::V2 => ("cgroup.freeze", "1"),
            Version::V1 if place.controllers.iter().any(|name| name == "freezer") => {
                ("freezer.state", "FROZEN")
            }
            Version::V1 => continue,
        };
        let inner = format!("{}/a/b", place.absolute());
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(format!("{inner}/cgroup.procs"), pid.to_string()).unwrap();
        std::fs::write(format!("{inner}/{}", state.0), state.1).unwrap();
    }
    scratch.cgroup.kill_all().unwrap();
    scratch.reap();
    scratch.cgroup.remove().unwrap();
    assert_eq!(scratch.left(), [""; 0]);
}

in_views!(a_sub_cgroup_with_the_name_of_a_file: hybrid, v1, v2);
/// What looks like a control file by its name is a cgroup of the container's.
fn a_sub_cgroup_with_the_name_of_a_file() {
    let scratch = Scratch::at(&unique());
    let before = scratch.cgroup.statistics().unwrap().hugetlb.len();
    for place in scratch.cgroup.location().places {
        for name in ["hugetlb.9GB.current", "hugetlb.9GB.usage_in_bytes", "hugetlb.9GB.limit_in_bytes"] {
            std::fs::create_dir(format!("{}/{name}", place.absolute())).unwrap();
        }
    }
    assert_eq!(scratch.cgroup.statistics().unwrap().hugetlb.len(), before);
}

in_views!(a_used_cgroup_is_refused: hybrid, v1, v2);
fn a_used_cgroup_is_refused() {
    let mut scratch = Scratch::at(&unique());
    let plan = compile(&scratch.hierarchies, &scratch.path, &json!({}));
    drop(Cgroup::create(&scratch.hierarchies, &plan).expect("an empty one is taken"));
    scratch.cgroup.freeze(LIMIT).unwrap();
    let error = Cgroup::create(&scratch.hierarchies, &plan).unwrap_err().to_string();
    assert!(error.contains("container's cgroup unexpectedly frozen"), "{error}");
    scratch.cgroup.thaw().unwrap();
    scratch.spawn("exec sleep 60");
    let error = Cgroup::create(&scratch.hierarchies, &plan).unwrap_err().to_string();
    assert!(error.contains("container's cgroup is not empty: 1 process(es) found"), "{error}");
    assert!(!scratch.left().is_empty(), "the refused creation removed what it had not made");
}

in_views!(undo_takes_only_what_was_made: hybrid, v1, v2);
fn undo_takes_only_what_was_made() {
    let upper = Scratch::at(&unique());
    let path = format!("{}/a/b/c", upper.path);
    let plan = compile(&upper.hierarchies, &path, &json!({}));
    Cgroup::create(&upper.hierarchies, &plan).unwrap().undo();
    for place in upper.cgroup.location().places {
        assert!(Path::new(&place.absolute()).exists());
        assert!(!Path::new(&place.absolute()).join("a").exists());
    }
    // Somebody else has moved in: their part stays.
    let made = Cgroup::create(&upper.hierarchies, &plan).unwrap();
    let neighbour = format!("{}/a/other", upper.cgroup.location().places[0].absolute());
    std::fs::create_dir(&neighbour).unwrap();
    made.undo();
    assert!(Path::new(&neighbour).exists());
    assert!(!Path::new(&neighbour).with_file_name("b").exists());
    std::fs::remove_dir(&neighbour).unwrap();
}

in_views!(the_state_file_is_enough: hybrid, v1, v2);
fn the_state_file_is_enough() {
    let mut scratch = Scratch::at(&unique());
    scratch.spawn("exec sleep 60");
    let text = serde_json::to_string(&scratch.cgroup.location()).unwrap();
    let location: Location = serde_json::from_str(&text).unwrap();
    let opened = Cgroup::open(&location).unwrap();
    assert_eq!(opened.processes(true).unwrap(), scratch.cgroup.processes(true).unwrap());
    opened.kill_all().unwrap();
    scratch.reap();
    opened.remove().unwrap();
    assert_eq!(scratch.left(), [""; 0]);
    assert!(Cgroup::open(&location).unwrap().is_none());
}

/// clone3(2) with CLONE_INTO_CGROUP; the child sleeps.
fn clone_into(cgroup: &Cgroup) -> Result<i32, nix::errno::Errno> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let target = cgroup.clone_target().expect("a cgroup2 directory");
    let mut args = [0u64; 11];
    args[0] = CLONE_INTO_CGROUP;
    args[4] = libc::SIGCHLD as u64;
    args[10] = target.as_raw_fd() as u64;
    // SAFETY: the arguments are valid and outlive the call; the child only sleeps and exits.
    unsafe {
        let pid = libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args));
        if pid == 0 {
            libc::sleep(60);
            libc::_exit(0);
        }
        nix::errno::Errno::result(pid).map(|pid| pid as i32)
    }
}

fn reap(pid: i32) {
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
}

in_views!(born_inside: hybrid, v2);
fn born_inside() {
    let scratch = Scratch::at(&unique());
    let pid = clone_into(&scratch.cgroup).unwrap();
    if scratch.cgroup.needs_join() {
        scratch.cgroup.join(pid).unwrap();
    }
    let seen = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for place in scratch.cgroup.location().places {
        let name = if place.controllers.is_empty() { "" } else { place.controllers[0].as_str() };
        let name = if place.version == Version::V2 { "" } else { name };
        let holds =
            |line: &str| line.split(':').nth(1).is_some_and(|list| list.split(',').any(|one| one == name));
        let line = seen.lines().find(|line| holds(line)).unwrap();
        assert!(line.ends_with(&scratch.path), "{line}");
    }
    scratch.cgroup.kill_all().unwrap();
    reap(pid);
}

in_views!(exec_goes_where_init_is: v2);
fn exec_goes_where_init_is() {
    let mut scratch = Scratch::at(&unique());
    if !scratch.has("hugetlb") && !scratch.has("memory") {
        println!("skipped: no domain controller");
        return;
    }
    let controller = if scratch.has("memory") { "memory" } else { "hugetlb" };
    let init = scratch.spawn("exec sleep 60");
    let directory = scratch.directory("cgroup");
    // As a container does that manages cgroups itself.
    std::fs::write(Path::new(&directory).with_file_name("cgroup.subtree_control"), format!("+{controller}"))
        .unwrap();
    std::fs::create_dir(format!("{directory}/init.scope")).unwrap();
    std::fs::write(format!("{directory}/init.scope/cgroup.procs"), init.to_string()).unwrap();
    std::fs::write(format!("{directory}/cgroup.subtree_control"), format!("+{controller}")).unwrap();

    assert_eq!(clone_into(&scratch.cgroup), Err(nix::errno::Errno::EBUSY));
    let beside = scratch.cgroup.of_process(init).unwrap();
    let pid = clone_into(&beside).unwrap();
    let cgroup = |pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroup(pid).trim().ends_with("/init.scope"), "{}", cgroup(pid));

    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let id = i32::try_from(other.id()).unwrap();
    assert_eq!(scratch.cgroup.attach(id).unwrap_err().errno(), Some(libc::EBUSY));
    scratch.cgroup.attach_beside(id, init).unwrap();
    assert!(cgroup(id).trim().ends_with("/init.scope"));
    scratch.cgroup.kill_all().unwrap();
    other.wait().unwrap();
    reap(pid);
    scratch.reap();
}

in_views!(sub_cgroups_by_path: hybrid, v1, v2);
fn sub_cgroups_by_path() {
    let mut scratch = Scratch::at(&unique());
    let pid = scratch.spawn("exec sleep 60");
    for place in scratch.cgroup.location().places {
        std::fs::create_dir(format!("{}/inner", place.absolute())).unwrap();
    }
    for bad in ["../x", "/..", "inner/../..", "none", "nosuch:inner"] {
        assert!(scratch.cgroup.sub(&[bad]).is_err(), "{bad}");
    }
    let inner = scratch.cgroup.sub(&["/inner"]).unwrap();
    assert!(inner.location().places.iter().all(|place| place.path.ends_with("/inner")));
    if scratch.is_v1("pids") {
        let mixed = scratch.cgroup.sub(&["pids:inner"]).unwrap();
        mixed.attach(pid).unwrap();
        let seen = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert_eq!(seen.lines().filter(|line| line.ends_with("/inner")).count(), 1, "{seen}");
        let found = scratch.cgroup.of_process(pid).unwrap();
        assert_eq!(found.location(), mixed.location());
    } else if scratch.cgroup.directory().is_some() {
        inner.attach(pid).unwrap();
        assert_eq!(scratch.cgroup.of_process(pid).unwrap().location().places, inner.location().places);
    }
}

in_views!(without_permission: hybrid, v1, v2);
fn without_permission() {
    // SAFETY: takes integers. The raw call changes this thread only, which ends with the test.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
    assert_eq!(result, 0);
    let hierarchies = Hierarchies::detect().unwrap();
    let plan = |path: Option<&str>, resources: serde_json::Value| {
        let resources = crate::view::parse(&resources);
        CgroupPlan::compile(hierarchies.view(), path, "rt-test-nobody", &resources).unwrap()
    };
    let none = Cgroup::create(&hierarchies, &plan(None, json!({}))).unwrap();
    assert!(none.is_none() && !none.needs_join() && none.clone_target().is_none());
    none.apply(&plan(None, json!({}))).unwrap();
    none.attach(1).unwrap();
    none.kill_all().unwrap();
    none.thaw().unwrap();
    none.remove().unwrap();
    assert_eq!(none.processes(true).unwrap(), [0; 0]);
    assert!(none.freeze(LIMIT).is_err());

    let error = Cgroup::create(&hierarchies, &plan(Some("/rt-test-nobody"), json!({}))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cgroup);
    let text = error.to_string();
    assert!(text.starts_with("mkdir ") && text.contains("permission denied"), "{text}");
    let limits = if hierarchies.view().version_of("pids").is_some() {
        json!({"pids": {"limit": 5}})
    } else {
        json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})
    };
    let text = Cgroup::create(&hierarchies, &plan(None, limits)).unwrap_err().to_string();
    assert!(text.contains("rootless needs no limits + no cgrouppath"), "{text}");
}

in_views!(usage_is_counted: hybrid, v1, v2);
fn usage_is_counted() {
    let mut scratch = Scratch::at(&unique());
    scratch.spawn("while :; do :; done");
    let mut last = scratch.cgroup.statistics().unwrap();
    assert!(eventually(|| {
        last = scratch.cgroup.statistics().unwrap();
        last.cpu.usage.total > 0
    }));
    assert_eq!(last.pids.current, 1);
    if scratch.has("memory") {
        assert!(last.memory.usage.limit > 0 && last.memory.raw.len() > 10, "{last:?}");
        assert_eq!(scratch.cgroup.oom_kills().unwrap(), Some(0));
    }
    if scratch.has("cpuacct") {
        assert!(!last.cpu.usage.percpu.is_empty() && !last.cpuset.cpus.is_empty(), "{last:?}");
    }
    if scratch.has("hugetlb") && Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        assert!(last.hugetlb.contains_key("2MB") || !scratch.is_v1("hugetlb"), "{last:?}");
    }
    println!("{}", serde_json::to_string(&last).unwrap());
}

in_views!(a_delegated_cgroup_has_a_new_owner: hybrid, v2);
fn a_delegated_cgroup_has_a_new_owner() {
    use std::os::unix::fs::MetadataExt;
    let scratch = Scratch::at(&unique());
    scratch.cgroup.delegate(65534, None).unwrap();
    let directory = scratch.directory("cgroup");
    let owner = |file: &str| {
        let data = std::fs::metadata(format!("{directory}/{file}")).unwrap();
        (data.uid(), data.gid())
    };
    assert_eq!(
        (owner(""), owner("cgroup.procs"), owner("cgroup.subtree_control")),
        ((65534, 0), (65534, 0), (65534, 0))
    );
    assert_eq!(owner("cgroup.freeze"), (0, 0));
}

in_views!(another_file_system_is_not_opened: hybrid, v1, v2);
fn another_file_system_is_not_opened() {
    let scratch = Scratch::at(&unique());
    let mut location = scratch.cgroup.location();
    location.places[0].mount = "/proc".to_owned();
    location.places[0].path = "self".to_owned();
    assert!(Cgroup::open(&location).unwrap_err().to_string().contains("not a cgroup file system"));
}

in_views!(what_the_container_made_goes_too: hybrid, v1, v2);
fn what_the_container_made_goes_too() {
    let scratch = Scratch::at(&unique());
    for place in scratch.cgroup.location().places {
        for name in ["a/b/c", "a/d", "e"] {
            std::fs::create_dir_all(format!("{}/{name}", place.absolute())).unwrap();
        }
    }
    scratch.cgroup.remove().unwrap();
    assert_eq!(scratch.left(), [""; 0]);
}

in_views!(an_empty_cgroup_is_removed_at_once: hybrid, v1, v2);
fn an_empty_cgroup_is_removed_at_once() {
    let scratch = Scratch::at(&unique());
    assert!(scratch.cgroup.remove_if_empty());
    assert_eq!(scratch.left(), [""; 0]);
    assert!(scratch.cgroup.remove_if_empty(), "it is gone, which is as good");
}

in_views!(a_busy_cgroup_is_not_removed: hybrid, v1, v2);
fn a_busy_cgroup_is_not_removed() {
    let mut scratch = Scratch::at(&unique());
    scratch.spawn("exec sleep 60");
    assert!(!scratch.cgroup.remove_if_empty());
    let begin = Instant::now();
    assert_eq!(scratch.cgroup.remove().unwrap_err().errno(), Some(libc::EBUSY));
    assert!(begin.elapsed() < LIMIT, "it took {:?}", begin.elapsed());
    assert_eq!(scratch.cgroup.processes(true).unwrap().len(), 1, "the process is still there");
}
