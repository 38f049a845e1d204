//! A caller with a reaper of its own: a thread that waits for every child, as each shim of containerd has.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime_core::{ErrorKind, Exit, Runtime, Signal};
use serde_json::json;

use super::engine;
use super::own::{USER, hand_over, unprivileged, unprivileged_runtime};
use super::support::scene::{self, Scene, end, exit};
use super::views::{in_views, skip};

/// Rounds of each test: the reaper is first in most of them.
const ROUNDS: usize = 25;

/// Calls while another thread reaps every child as soon as it ends.
fn beside_a_reaper<T>(call: impl FnOnce() -> T) -> T {
    beside_a_reaper_that(|_, _| {}, call)
}

/// The same, with a reaper that reports each pid and its status.
pub(crate) fn beside_a_reaper_that<T>(report: impl Fn(i32, i32) + Sync, call: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut status = 0;
                // SAFETY: the call writes one number.
                let reaped = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG) };
                if reaped > 0 {
                    report(reaped, status);
                } else {
                    std::thread::sleep(Duration::from_micros(20));
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether the kernel keeps the status of a process that was reaped (Linux 6.15).
pub(crate) fn keeps_status() -> bool {
    let release = nix::sys::utsname::uname().expect("uname").release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// The end is known, and also how it was where the kernel keeps that.
fn assert_end(end: Exit, expected: Exit) {
    assert!(end == expected || !keeps_status(), "{end:?} is not {expected:?}");
}

in_views!(containers_and_their_processes: hybrid, v1, v2);
fn containers_and_their_processes() {
    let scene = Scene::new();
    beside_a_reaper(|| {
        for _ in 0..ROUNDS {
            let (container, init) =
                scene.run(&scene.id(), &scene.config(&["sh", "-c", "exit 7"])).expect("run");
            assert_end(exit(&init), Exit::Code(7));
            container.delete().expect("deleted");

            let mut container = scene.create(&scene.id(), &scene.config(&["sleep", "600"])).expect("created");
            container.start().expect("started");
            let process = scene::exec(&container, &["sh", "-c", "exit 9"]).expect("executed");
            assert_end(exit(&process), Exit::Code(9));
            scene::exec(&container, &["missing"]).expect_err("there is no such program");
            let init = container.take_init().expect("the init");
            container.kill(Signal::KILL).expect("killed");
            assert_end(exit(&init), Exit::Signal(Signal::KILL));
            container.delete().expect("deleted");
        }
    });
    scene.assert_clean("a reaper");
}

in_views!(a_launch_that_fails: hybrid, v2);
fn a_launch_that_fails() {
    let scene = Scene::new();
    beside_a_reaper(|| {
        for _ in 0..ROUNDS {
            let error = scene.create(&scene.id(), &scene.config(&["missing"])).expect_err("no program");
            assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
        }
    });
    scene.assert_clean("a reaper");
}

in_views!(a_pid_namespace_that_is_joined: hybrid, v2);
fn a_pid_namespace_that_is_joined() {
    let scene = Scene::new();
    beside_a_reaper(|| {
        let first = scene.started(&["sleep", "600"]);
        let mut config = scene.config(&["sh", "-c", "exit 5"]);
        let path = format!("/proc/{}/ns/pid", first.state().expect("a state").pid);
        config["linux"]["namespaces"][0] = json!({"type": "pid", "path": path});
        for _ in 0..ROUNDS {
            let (container, init) = scene.run(&scene.id(), &config).expect("run");
            assert_end(exit(&init), Exit::Code(5));
            container.delete().expect("deleted");
        }
        end(first);
    });
    scene.assert_clean("a reaper");
}

in_views!(hooks: hybrid, v2);
fn hooks() {
    let scene = Scene::new();
    let mut config = scene.config(&["true"]);
    let hook = json!([{"path": "/bin/true"}]);
    config["hooks"] = json!({
        "prestart": hook, "createRuntime": hook, "poststart": hook, "poststop": hook,
        "createContainer": hook.clone(), "startContainer": hook,
    });
    let mut failing = config.clone();
    failing["hooks"]["createRuntime"] =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"]}]);
    beside_a_reaper(|| {
        for _ in 0..ROUNDS {
            let (container, init) = scene.run(&scene.id(), &config).expect("run");
            assert_end(exit(&init), Exit::Code(0));
            container.delete().expect("deleted");
            if keeps_status() {
                let error = scene.create(&scene.id(), &failing).expect_err("a hook refuses");
                assert_eq!(error.kind(), ErrorKind::Hook, "{error}");
                assert!(error.to_string().contains("why"), "{error}");
            }
        }
    });
    scene.assert_clean("a reaper");
}

in_views!(ids_that_newuidmap_maps: hybrid);
fn ids_that_newuidmap_maps() {
    if !Path::new("/usr/bin/newuidmap").exists() {
        return skip("needs newuidmap (package uidmap)");
    }
    let scene = Scene::new();
    // The view is a mount namespace of its own: the machine's files stay.
    cover(&scene, "/etc/subuid", "launchtest:700000:1000\n");
    cover(&scene, "/etc/subgid", "launchtest:700000:1000\n");
    cover_users(&scene);
    let ids = json!([{"containerID": 0, "hostID": USER, "size": 1}, {"containerID": 1, "hostID": 700_000, "size": 999}]);
    hand_over(&scene, &unprivileged(scene.config(&["sh", "-c", "exit 4"]), ids.clone(), ids));
    let setpriv = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"];
    engine::run(engine::command("mapped", &scene, &setpriv).current_dir("/"));
}

fn cover_users(scene: &Scene) {
    for (file, line) in
        [("/etc/passwd", "launchtest:x:4321:4321::/:/bin/sh\n"), ("/etc/group", "launchtest:x:4321:\n")]
    {
        let present = std::fs::read_to_string(file).unwrap_or_default();
        cover(scene, file, &format!("{present}{line}"));
    }
}

fn cover(scene: &Scene, file: &str, text: &str) {
    let own = scene.path().join(file.replace('/', "-"));
    std::fs::write(&own, text).expect("written");
    let flags = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&own), file, None::<&str>, flags, None::<&str>)
        .unwrap_or_else(|errno| panic!("{file}: {errno}"));
}

pub(crate) fn mapped_engine(path: &Path, runtime: &Runtime) {
    let (runtime, bundle) = unprivileged_runtime(path, runtime);
    beside_a_reaper(|| {
        for round in 0..ROUNDS {
            let plan = scene::plan(&runtime, &format!("mapped-{round}"), &bundle).expect("a plan");
            let (container, init) = runtime.run(plan).expect("run");
            assert_end(exit(&init), Exit::Code(4));
            container.delete().expect("deleted");
        }
    });
}
