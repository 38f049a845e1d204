//! A container that runs out of memory is the container's affair.
//!
//! The kernel ends all processes that share the victim's memory, and it looks for the largest one: a child of a large
//! program that shares its memory in a container's cgroup is the first choice. Each test is a large program, and is killed
//! where that happens.

use std::path::{Path, PathBuf};

use runtime_core::plan::ExecOptions;
use runtime_core::spec::ValidProcess;
use runtime_core::{Container, Process, Result};
use serde_json::json;

use super::support::scene::{Scene, exit};
use super::views::{eventually, in_views};

/// What the caller holds, in bytes.
const HEAP: usize = 512 << 20;
/// What an exec may take, in bytes: from nothing to nearly enough.
const ROOM: &[u64] = &[0, 32 << 10, 64 << 10, 96 << 10, 128 << 10, 192 << 10, 256 << 10, 512 << 10];
/// Processes for each of these.
const EXECS: usize = 8;
/// Processes beside one that wants all memory.
const HUNGRY_EXECS: usize = 200;

/// Memory that has been touched.
fn heap() -> Vec<u8> {
    std::hint::black_box(vec![1; HEAP])
}

/// The files of the memory controller in one view.
struct Memory {
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy)]
enum Version {
    V1,
    V2,
}

impl Memory {
    /// Those of the cgroup at `path`; `None`, with the reason told, where this view has no memory controller.
    fn of(path: &str) -> Option<Self> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let v2 = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
        let found = match (v1.join("memory.limit_in_bytes").exists(), controllers.contains("memory")) {
            (true, _) => Some((v1, Version::V1)),
            (false, true) => Some((v2, Version::V2)),
            (false, false) => None,
        };
        if found.is_none() {
            println!("skipped: this view has no memory controller");
        }
        found.map(|(root, version)| Self { directory: root.join(path.trim_start_matches('/')), version })
    }

    fn name<'a>(&self, v1: &'a str, v2: &'a str) -> &'a str {
        match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
        }
    }

    fn read(&self, file: &str) -> String {
        let path = self.directory.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    fn used(&self) -> u64 {
        self.read(self.name("memory.usage_in_bytes", "memory.current")).trim().parse().expect("a number")
    }

    /// Leaves so many bytes beside what is used. The kernel may refuse to go so low, and then has not.
    fn leave(&self, room: u64) {
        let file = self.directory.join(self.name("memory.limit_in_bytes", "memory.max"));
        std::fs::write(file, (self.used() + room).to_string()).ok();
    }

    /// How often the kernel has killed here.
    fn kills(&self) -> u64 {
        let text = self.read(self.name("memory.oom_control", "memory.events"));
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.expect("oom_kill").trim().parse().expect("a number")
    }
}

/// Containers that become short of memory, one for each room, by a limit of the cgroup `limited` (a path below that above
/// the container's): the kernel may end any of their processes, and nothing else.
fn short_containers(limited: &str, cgroups: &[&str], prepare: impl Fn(&Memory)) {
    let scene = Scene::new();
    let (mut executed, mut failed, mut kills) = (0, 0, 0);
    let heap = heap();
    for room in ROOM {
        let id = scene.id();
        let mut config = scene.config(&["sleep", "600"]);
        config["linux"]["cgroupsPath"] = json!(format!("/{id}/container"));
        let Some(own) = Memory::of(&format!("{id}/container")) else { return };
        let mut container = scene.create(&id, &config).expect("created");
        let init = container.take_init().expect("the init");
        container.start().expect("started");
        let Some(memory) = Memory::of(&format!("{id}{limited}")) else { return };
        std::fs::create_dir_all(&memory.directory).expect("a cgroup below");
        prepare(&memory);
        memory.leave(*room);
        for _ in 0..EXECS {
            match exec_in(&container, cgroups) {
                Ok(process) => {
                    executed += 1;
                    exit(&process);
                }
                Err(_) => failed += 1,
            }
        }
        // On v1 each cgroup counts its own processes alone.
        kills += memory.kills() + own.kills();
        container.delete_force().expect("deleted");
        exit(&init);
        remove(&id);
    }
    println!("{executed} executed, {failed} failed, {kills} kills");
    assert!(kills > 0, "no container was short of memory");
    scene.assert_clean("containers that are short of memory");
    drop(heap);
}

fn exec_in(container: &Container, cgroups: &[&str]) -> Result<Process> {
    let process = json!({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"]});
    let process = ValidProcess::parse(process.to_string().as_bytes())?;
    let options = ExecOptions::new();
    container.exec(&process, &options.cgroups(cgroups.iter().map(|path| (*path).to_owned())))
}

in_views!(a_container_that_has_no_memory_at_all: v1, v2);
fn a_container_that_has_no_memory_at_all() {
    if Memory::of("/").is_none() {
        return;
    }
    let scene = Scene::new();
    let heap = heap();
    let mut config = scene.config(&["true"]);
    config["linux"]["resources"]["memory"] = json!({"limit": 4096});
    for _ in 0..6 {
        scene.create(&scene.id(), &config).expect_err("a page is not enough for an init");
        scene.run(&scene.id(), &config).expect_err("a page is not enough for an init");
    }
    scene.assert_clean("containers without memory");
    drop(heap);
}

// On v2 the kernel charges 64 pages at once for each processor, so a few pages of room are not short of anything there:
// `a_container_that_has_no_memory_at_all` and `an_exec_beside_a_process_that_wants_all_memory` are for both.
in_views!(an_exec_into_a_container_that_is_short_of_memory: v1);
fn an_exec_into_a_container_that_is_short_of_memory() {
    short_containers("/container", &[], |_| ());
}

in_views!(the_limit_is_that_of_the_cgroup_above: v1);
fn the_limit_is_that_of_the_cgroup_above() {
    short_containers("", &[], |_| ());
}

in_views!(the_limit_is_that_of_a_cgroup_below: v1);
fn the_limit_is_that_of_a_cgroup_below() {
    short_containers("/container/below", &["memory:below"], |_| ());
}

in_views!(all_processes_of_the_cgroup_are_killed_together: v2);
fn all_processes_of_the_cgroup_are_killed_together() {
    short_containers("/container", &[], |memory| {
        std::fs::write(memory.directory.join("memory.oom.group"), "1").expect("memory.oom.group");
    });
}

in_views!(an_exec_beside_a_process_that_wants_all_memory: v1, v2);
/// The container is out of memory all the time, so also while a process is made in it.
fn an_exec_beside_a_process_that_wants_all_memory() {
    let scene = Scene::new();
    let id = scene.id();
    let Some(memory) = Memory::of(&id) else { return };
    let heap = heap();
    // tail(1) keeps all that it reads. The shell is smaller, so it is never the victim.
    let hungry = "while true; do busybox tail -c 100000000 /dev/zero 2>/dev/null; done";
    let mut config = scene.config(&["sh", "-c", hungry]);
    config["linux"]["resources"]["memory"] = json!({"limit": 32 << 20});
    let (mut executed, mut failed) = (0, 0);
    let mut container = scene.create(&id, &config).expect("created");
    let init = container.take_init().expect("the init");
    container.start().expect("started");
    assert!(eventually(|| memory.kills() > 0), "the container was never short of memory");
    for _ in 0..HUNGRY_EXECS {
        match exec_in(&container, &[]) {
            Ok(process) => {
                executed += 1;
                exit(&process);
            }
            Err(_) => failed += 1,
        }
    }
    println!("{executed} executed, {failed} failed, {} kills", memory.kills());
    container.delete_force().expect("deleted");
    exit(&init);
    scene.assert_clean("a container without memory");
    drop(heap);
}

/// The cgroup above a container is its engine's, and stays.
fn remove(name: &str) {
    let hierarchies = Path::new("/sys/fs/cgroup").read_dir().expect("the hierarchies").flatten();
    let directories = hierarchies.map(|entry| entry.path().join(name));
    let above = Path::new("/sys/fs/cgroup").join(name);
    for directory in directories.chain([above]).filter(|directory| directory.is_dir()) {
        std::fs::remove_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    }
}
