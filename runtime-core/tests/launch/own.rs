//! The caller stays itself: dumpable, and in its own namespaces at every moment, each of its threads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sched::{CloneFlags, unshare};
use runtime_core::Runtime;
use serde_json::{Value, json};

use super::engine;
use super::support::scene::{self, Scene, end, exit};
use super::views::in_views;

/// Launches beside a thread that looks.
const LAUNCHES: usize = 30;
/// An interface of the test's network.
const OUTER: &str = "outer";
/// A user that is not root.
pub(crate) const USER: u32 = 4321;

/// With a user namespace of the ids from 100,000 on.
pub(crate) fn with_user_namespace(mut config: Value) -> Value {
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = maps.clone();
    config["linux"]["gidMappings"] = maps;
    config
}

in_views!(a_user_namespace_leaves_the_caller_dumpable: hybrid, v2);
fn a_user_namespace_leaves_the_caller_dumpable() {
    let scene = Scene::new();
    let container =
        scene.create(&scene.id(), &with_user_namespace(scene.config(&["sleep", "600"]))).expect("created");
    assert_dumpable("create");
    container.start().expect("started");
    exit(&scene::exec(&container, &["true"]).expect("executed"));
    assert_dumpable("exec");
    end(container);
    let mut failing = with_user_namespace(scene.config(&["missing"]));
    failing["process"]["user"] = json!({"uid": 5, "gid": 5});
    scene.create(&scene.id(), &failing).expect_err("there is no such program");
    assert_dumpable("a failed create");
    scene.assert_clean("user namespaces");
}

fn assert_dumpable(after: &str) {
    assert_eq!(nix::sys::prctl::get_dumpable(), Ok(true), "after {after}");
}

/// A configuration that an unprivileged user can run, with ids that are mapped by `maps`.
pub(crate) fn unprivileged(mut config: Value, uids: Value, gids: Value) -> Value {
    config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = uids;
    config["linux"]["gidMappings"] = gids;
    config["linux"]["resources"] = json!({});
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    config
}

/// Makes the scene the user's own, and gives the bundle of a container that it may run.
pub(crate) fn hand_over(scene: &Scene, config: &Value) {
    let bundle = scene.bundle("rootless", config);
    std::fs::rename(bundle, scene.path().join("bundle")).expect("renamed");
    let state = scene.path().join("state");
    std::fs::create_dir_all(&state).expect("a state root");
    for path in [scene.path().to_owned(), state] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("chown");
    }
}

/// The runtime of an engine without privilege, and its bundle.
pub(crate) fn unprivileged_runtime(path: &Path, runtime: &Runtime) -> (Runtime, PathBuf) {
    let built = Runtime::builder()
        .state_root(runtime.state_root())
        .cgroup_driver(runtime_core::CgroupDriver::None)
        .build();
    (built.expect("a runtime"), path.join("bundle"))
}

in_views!(a_rootless_caller_can_read_what_is_its_own: hybrid);
fn a_rootless_caller_can_read_what_is_its_own() {
    let scene = Scene::new();
    let only = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
    hand_over(&scene, &unprivileged(scene.config(&["sleep", "600"]), only.clone(), only));
    let setpriv = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"];
    engine::run(engine::command("rootless", &scene, &setpriv).current_dir("/"));
}

pub(crate) fn rootless_engine(path: &Path, runtime: &Runtime) {
    let (runtime, bundle) = unprivileged_runtime(path, runtime);
    let container =
        runtime.create(scene::plan(&runtime, "rootless", &bundle).expect("a plan")).expect("created");
    assert_dumpable("create");
    std::fs::read("/proc/self/environ").expect("its own environment");
    std::fs::read_dir("/proc/self/fd").expect("its own descriptors");
    container.start().expect("started");
    exit(&scene::exec(&container, &["true"]).expect("executed"));
    std::fs::read("/proc/self/environ").expect("its own environment");
    end(container);
    assert_dumpable("delete");
}

/// The namespaces of the threads of this process, and whether their networks are that of the test.
fn places(launcher: i32) -> BTreeSet<String> {
    let task = format!("/proc/self/task/{launcher}");
    let networks =
        ["/proc/thread-self", "/proc/self", task.as_str()].map(|place| network(&format!("{place}/net/dev")));
    let tasks = Path::new("/proc/self/task").read_dir().expect("the threads").flatten();
    let kinds = ["net", "mnt", "user", "pid", "pid_for_children", "uts", "ipc", "cgroup"];
    let links =
        tasks.flat_map(|task| kinds.map(|kind| std::fs::read_link(task.path().join("ns").join(kind))));
    // A thread that has ended meanwhile has none.
    let links = links.flatten().map(|link| link.display().to_string());
    networks.into_iter().flatten().chain(links).collect()
}

/// Whether the network has the interface that only the test's own has.
fn network(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(format!("the network has {OUTER}: {}", text.contains(OUTER)))
}

/// Calls while another thread looks at all threads of the process: none is ever elsewhere.
fn while_watched(what: &str, call: impl FnOnce()) {
    let launcher = nix::unistd::gettid().as_raw();
    let before = places(launcher);
    let done = AtomicBool::new(false);
    let looks = AtomicUsize::new(0);
    let seen = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                seen.extend(places(launcher));
                looks.fetch_add(1, Ordering::Relaxed);
            }
            seen
        });
        let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        done.store(true, Ordering::Relaxed);
        let seen = watch.join().expect("the watch ends");
        called.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seen
    });
    let looks = looks.into_inner();
    println!("{what}: {looks} looks");
    assert!(looks > 10, "{what}: too few looks: {looks}");
    let strange: Vec<_> = seen.difference(&before).collect();
    assert!(strange.is_empty(), "{what}: a thread was elsewhere: {strange:?}");
}

in_views!(no_thread_is_ever_elsewhere: hybrid, v2);
fn no_thread_is_ever_elsewhere() {
    own_network();
    let scene = Scene::new();
    let plain = scene.config(&["sleep", "600"]);
    let launch = |config: &Value| {
        let container = scene.create(&scene.id(), config).expect("created");
        container.start().expect("started");
        exit(&scene::exec(&container, &["true"]).expect("executed"));
        end(container);
    };
    while_watched("plain", || (0..LAUNCHES).for_each(|_| launch(&plain)));
    let mapped = with_user_namespace(plain.clone());
    while_watched("a user namespace", || (0..LAUNCHES).for_each(|_| launch(&mapped)));
    let mut with_trees = mapped.clone();
    let volume = scene.path().join("volume");
    std::fs::create_dir(&volume).expect("a volume");
    let bind = json!({"destination": "/tmp", "type": "none", "source": volume, "options": ["rbind"]});
    with_trees["mounts"].as_array_mut().expect("a list").push(bind);
    while_watched("a tree of the host", || (0..LAUNCHES).for_each(|_| launch(&with_trees)));
    scene.assert_clean("watched containers");
}

in_views!(no_thread_visits_the_network_of_a_device: hybrid, v2);
fn no_thread_visits_the_network_of_a_device() {
    own_network();
    let scene = Scene::new();
    let mut config = scene.config(&["sleep", "600"]);
    config["linux"]["netDevices"] = json!({"given": {"name": "inner"}});
    while_watched("a network device", || {
        for _ in 0..LAUNCHES {
            // The device ends with the network that it is given to.
            ip(&["link", "add", "given", "type", "ifb"]);
            end(scene.create(&scene.id(), &config).expect("created"));
        }
    });
    scene.assert_clean("watched devices");
}

in_views!(no_thread_visits_the_mounts_of_a_container: hybrid, v2);
fn no_thread_visits_the_mounts_of_a_container() {
    own_network();
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let volume = scene.path().join("volume");
    std::fs::create_dir(&volume).expect("a volume");
    let mounts =
        json!([{"destination": "/tmp/added", "type": "none", "source": volume, "options": ["bind"]}]);
    let mounts = mounts.to_string().into_bytes();
    while_watched("mounts that are added", || {
        for _ in 0..LAUNCHES {
            container.add_mounts(&mounts).expect("added");
            container.remove_mounts(&mounts).expect("removed");
        }
    });
    end(container);
    scene.assert_clean("added mounts");
}

/// A network of the test, with an interface that is known again. All threads from now on are in it.
fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network of this test");
    ip(&["link", "add", OUTER, "type", "ifb"]);
}

fn ip(arguments: &[&str]) {
    let status =
        std::process::Command::new("ip").args(arguments).status().expect("ip(8), of the package iproute2");
    assert!(status.success(), "ip {arguments:?}");
}
