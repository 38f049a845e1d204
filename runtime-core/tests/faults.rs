//! A launch where the machine is short of something: descriptors, file sizes, room and rights for the state, processes, cgroups,
//! parts of procfs, an answer of its file system; and where signals interrupt it all the time. The error is clear, nothing is left,
//! a forced deletion ends what was there, and the container beside goes on.

mod support;

use std::path::Path;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use runtime_core::{Container, Deadline, ErrorKind, Status};
use serde_json::{Value, json};
use support::leftovers::{adopt_orphans, reap, while_reaping};
use support::scene::{self, Scene};
use support::views::{self, eventually, in_views};
use support::worker::{self, Outcome, Worker};

#[test]
fn worker() {
    worker::main();
}

/// A scene with a container that runs beside.
struct Beside {
    scene: Scene,
    container: Container,
}

impl Beside {
    fn new() -> Self {
        adopt_orphans();
        let scene = Scene::new();
        let container = scene.started(&["sleep", "600"]);
        Self { scene, container }
    }

    fn config(&self) -> Value {
        self.scene.config(&["busybox", "sleep", "600"])
    }

    /// What is left but the container beside.
    fn left(&self) -> Vec<String> {
        let mut left = self.scene.left();
        left.retain(|trace| !trace.ends_with(self.container.id().as_str()) && !trace.contains("(sleep) "));
        left
    }

    /// `work` in trouble on a new container; its outcome, after which a forced deletion leaves nothing.
    fn work(&self, work: &str, trouble: &str, prepare: impl Fn(&str, &Value)) -> Outcome {
        let (id, config) = (self.scene.id(), self.config());
        let bundle = self.scene.bundle(&id, &config);
        prepare(&id, &config);
        let mut worker = Worker::start_in(work, &self.scene.runtime, &id, &bundle, Some(trouble));
        let outcome = worker.finish();
        let place = format!("{work} with {trouble}: {outcome:?} {}", worker.errors());
        match &outcome {
            Outcome::Failed(error) => assert!(error.contains(": "), "{place}"),
            Outcome::Done => {}
            Outcome::Silent => panic!("{place}"),
        }
        if work == "create" && outcome != Outcome::Done {
            self.nothing(&place);
        }
        self.delete(&id, &place);
        outcome
    }

    /// Fails if something is left, once killed processes had the time to end.
    fn nothing(&self, place: &str) {
        let clean = eventually(|| {
            reap();
            self.left().is_empty()
        });
        assert!(clean, "{place} left {:#?}", self.left());
    }

    fn delete(&self, id: &str, place: &str) {
        match while_reaping(|| self.scene.runtime.delete_force(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{place}: delete: {error}"),
            _ => self.nothing(place),
        }
    }

    /// The container beside has noticed nothing.
    fn end(self) {
        assert_eq!(self.container.status().expect("a status"), Status::Running);
        scene::exit(&scene::exec(&self.container, &["true"]).expect("an exec in the other container"));
        scene::end(self.container);
        self.scene.assert_clean("the last container");
    }
}

fn nothing(_: &str, _: &Value) {}

in_views!(few_descriptors: hybrid, v2);
fn few_descriptors() {
    let beside = Beside::new();
    let running = |id: &str, config: &Value| {
        beside.scene.create(id, config).expect("created").start().expect("started");
    };
    let mut failed = 0;
    for limit in (3..70).step_by(2) {
        let outcome = beside.work("create", &format!("nofile:{limit}"), nothing);
        failed += usize::from(outcome != Outcome::Done);
        if limit % 3 == 0 {
            beside.work("exec", &format!("nofile:{limit}"), running);
        }
    }
    assert!(failed > 3, "too few descriptors are enough");
    assert_eq!(beside.work("create", "nofile:1000", nothing), Outcome::Done);
    beside.end();
}

in_views!(small_files: v2);
fn small_files() {
    let beside = Beside::new();
    let mut failed = 0;
    for limit in [0, 1, 2, 7, 64, 511, 512, 1023, 1024, 2048, 4095, 4096, 16 << 10, 128 << 10] {
        let outcome = beside.work("create", &format!("fsize:{limit}"), nothing);
        failed += usize::from(outcome != Outcome::Done);
    }
    assert!(failed > 3, "no file is too large");
    assert_eq!(beside.work("create", "fsize:100000000", nothing), Outcome::Done);
    beside.end();
}

in_views!(signals_that_interrupt: hybrid, v2);
fn signals_that_interrupt() {
    let beside = Beside::new();
    let created = |id: &str, config: &Value| drop(beside.scene.create(id, config).expect("created"));
    let running = |id: &str, config: &Value| {
        beside.scene.create(id, config).expect("created").start().expect("started");
    };
    for microseconds in [100, 300, 1000, 3000] {
        let trouble = format!("timer:{microseconds}");
        for work in ["create", "run"] {
            assert_eq!(beside.work(work, &trouble, nothing), Outcome::Done, "{work} with {trouble}");
        }
        assert_eq!(beside.work("start", &trouble, created), Outcome::Done, "start with {trouble}");
        for work in ["exec", "pause", "update", "signal", "force"] {
            assert_eq!(beside.work(work, &trouble, running), Outcome::Done, "{work} with {trouble}");
        }
    }
    beside.end();
}

const NONE: Option<&str> = None;

fn tmpfs(place: &Path, options: &str) {
    mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("a tmpfs");
}

/// A runtime whose state is in a file system with these options; `call` has its scene.
fn with_state(options: &str) -> Scene {
    adopt_orphans();
    let scene = Scene::new();
    let state = scene.path().join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    tmpfs(&state, &format!("mode=700,{options}"));
    scene
}

in_views!(a_full_file_system_for_the_state: v2);
fn a_full_file_system_for_the_state() {
    let mut failed = 0;
    let sizes = (1..8).map(|pages| format!("size={}", pages * 4096));
    for options in sizes.chain((1..10).map(|inodes| format!("nr_inodes={inodes}"))) {
        let scene = with_state(&options);
        let id = scene.id();
        match scene.create(&id, &scene.config(&["sleep", "60"])) {
            Ok(container) => scene::end(container),
            Err(error) => {
                failed += 1;
                assert_eq!(error.errno(), Some(libc::ENOSPC), "{options}: {error}");
            }
        }
        assert!(
            scene.runtime.delete_force(&id).is_err_and(|error| error.kind() == ErrorKind::NotFound),
            "{options}"
        );
        let state = scene.path().join("state");
        let names: Vec<_> =
            state.read_dir().expect("the state").flatten().map(|entry| entry.file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().contains(&id)), "{options}: {names:?}");
        umount2(&state, MntFlags::MNT_DETACH).expect("unmounted");
        scene.assert_clean(&options);
    }
    assert!(failed > 2, "nothing is too small");
}

in_views!(a_state_that_cannot_be_written: v2);
fn a_state_that_cannot_be_written() {
    let scene = with_state("size=1m");
    let container = scene.started(&["sleep", "600"]);
    let state = scene.path().join("state");
    let remount = |flags| mount(NONE, &state, NONE, MsFlags::MS_REMOUNT | flags, NONE).expect("remounted");
    remount(MsFlags::MS_RDONLY);
    let error = scene.create(&scene.id(), &scene.config(&["true"])).expect_err("read-only");
    assert_eq!(error.errno(), Some(libc::EROFS), "{error}");
    assert!(error.to_string().contains("state"), "{error}");
    assert_eq!(container.status().expect("a status"), Status::Running);
    assert_eq!(scene.runtime.list().expect("a list").len(), 1);
    // What needs no state goes on; what does says so.
    scene::exit(&scene::exec(&container, &["true"]).expect("an exec"));
    let error = container.pause().and_then(|()| scene.runtime.delete_force(container.id().as_str()));
    assert!(error.as_ref().is_err_and(|error| error.to_string().contains(": ")), "{error:?}");
    remount(MsFlags::empty());
    scene.runtime.delete_force(container.id().as_str()).expect("deleted");
    drop(container);
    umount2(&state, MntFlags::MNT_DETACH).expect("unmounted");
    scene.assert_clean("a state that could not be written");
}

in_views!(parts_of_procfs_that_are_missing: hybrid, v2);
/// A procfs of the caller without some of its files, as in some sandboxes: an error or a container, and nothing left.
fn parts_of_procfs_that_are_missing() {
    let beside = Beside::new();
    let empty = beside.scene.path().join("empty");
    std::fs::write(&empty, "").expect("a file");
    let parts = [
        "self/mountinfo",
        "self/cgroup",
        "filesystems",
        "sys/kernel/cap_last_cap",
        "self/status",
        "self/stat",
        "cpuinfo",
    ];
    for part in parts {
        let place = Path::new("/proc").join(part);
        let id = beside.scene.id();
        mount(Some(&empty), &place, NONE, MsFlags::MS_BIND, NONE).expect("a bind");
        let result = beside.scene.create(&id, &beside.config());
        umount2(&place, MntFlags::MNT_DETACH).expect("unmounted");
        match result {
            Ok(container) => scene::end(container),
            Err(error) => assert!(error.to_string().contains(": "), "{part}: {error}"),
        }
        beside.nothing(part);
    }
    beside.end();
}

in_views!(no_cgroups: v2);
fn no_cgroups() {
    adopt_orphans();
    let scene = Scene::new();
    umount2("/sys/fs/cgroup", MntFlags::MNT_DETACH).expect("unmounted");
    let error = scene.create(&scene.id(), &scene.config(&["true"])).expect_err("no cgroups");
    assert!(error.to_string().contains("cgroup"), "{error}");
    let clean = eventually(|| scene.left().iter().all(|trace| trace.starts_with("gone: mount")));
    assert!(clean, "left {:#?}", scene.left());
}

/// The cgroup at `path` of the view, made with a value in one of its files; removed when it is dropped.
struct Above(std::path::PathBuf);

impl Above {
    fn new(name: &str) -> Self {
        let path = Path::new("/sys/fs/cgroup").join(name);
        std::fs::create_dir(&path).expect("a cgroup");
        Self(path)
    }

    fn write(&self, file: &str, value: &str) -> bool {
        std::fs::write(self.0.join(file), value).is_ok()
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        eventually(|| std::fs::remove_dir(&self.0).is_ok());
    }
}

in_views!(a_frozen_cgroup_above: v2);
/// A new process would wait until somebody thaws the cgroup: the caller's deadline ends that.
fn a_frozen_cgroup_above() {
    let beside = Beside::new();
    let id = beside.scene.id();
    let above = Above::new(&format!("above-{id}"));
    assert!(above.write("cgroup.freeze", "1"));
    let mut config = beside.config();
    config["linux"]["cgroupsPath"] = json!(format!("/above-{id}/{id}"));
    let result = Deadline::after(Duration::from_millis(300)).run(|| beside.scene.create(&id, &config));
    match result {
        Err(error) => assert!(error.to_string().contains(": "), "{error}"),
        Ok(_) => panic!("a process of a frozen cgroup has run"),
    }
    beside.delete(&id, "a frozen cgroup");
    above.write("cgroup.freeze", "0");
    drop(above);
    beside.end();
}

in_views!(no_room_for_processes: v2);
fn no_room_for_processes() {
    let beside = Beside::new();
    let id = beside.scene.id();
    let above = Above::new(&format!("above-{id}"));
    std::fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+pids").ok();
    if !above.write("pids.max", "0") {
        println!("skipped: this view has no controller of processes");
        drop(above);
        return beside.end();
    }
    let mut config = beside.config();
    config["linux"]["cgroupsPath"] = json!(format!("/above-{id}/{id}"));
    let error = beside.scene.create(&id, &config).expect_err("there is no room");
    assert_eq!(error.errno(), Some(libc::EAGAIN), "{error}");
    beside.delete(&id, "no room for processes");
    drop(above);
    beside.end();
}

in_views!(a_root_that_never_answers: v2);
/// A FUSE file system whose server sleeps: whoever opens it waits until it is killed.
fn a_root_that_never_answers() {
    use std::os::fd::AsRawFd as _;
    let beside = Beside::new();
    let root = beside.scene.path().join("hung");
    std::fs::create_dir(&root).expect("a directory");
    let Ok(server) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
        println!("skipped: /dev/fuse cannot be opened");
        return beside.end();
    };
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    if mount(Some("hung"), &root, Some("fuse"), MsFlags::empty(), Some(options.as_str())).is_err() {
        println!("skipped: no FUSE");
        return beside.end();
    }
    let (id, mut config) = (beside.scene.id(), beside.config());
    config["root"]["path"] = json!(root);
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            let result = Deadline::after(Duration::from_secs(1)).run(|| beside.scene.create(&id, &config));
            done.send(()).expect("the test waits");
            result.map(drop)
        });
        // Without an end the server goes away, so that the test fails and does not hang.
        let in_time = ended.recv_timeout(Duration::from_secs(60)).is_ok();
        umount2(&root, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH).expect("unmounted");
        let server = std::mem::ManuallyDrop::new(server);
        if !in_time {
            drop(std::mem::ManuallyDrop::into_inner(server));
        }
        let error = call.join().expect("no panic").expect_err("nobody answers");
        assert!(in_time, "the call waits for the file system: {error}");
        assert!(error.to_string().contains(": "), "{error}");
    });
    beside.delete(&id, "a root that never answers");
    beside.end();
}
