//! Waiting: a status is kept, whoever reaps; nothing stays of what nobody waits for.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime_core::{Container, ErrorKind, Exit, ExitSource, Runtime, Signal, Status, Stdio};
use serde_json::json;

use super::engine;
use super::reaper::keeps_status;
use super::support::scene::{self, Scene, end, exit};
use super::views::{eventually, in_views};

/// The zombies among the children of this process.
pub(crate) fn zombies() -> Vec<i32> {
    let tasks = Path::new("/proc/self/task").read_dir().expect("the threads").flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children = children.flat_map(|list| {
        list.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect::<Vec<i32>>()
    });
    let is_zombie = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    children.filter(is_zombie).collect()
}

in_views!(a_status_is_kept: hybrid, v2);
fn a_status_is_kept() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let process = scene::exec(&container, &["sh", "-c", "sleep 0.2; exit 6"]).expect("executed");
    assert_eq!(process.try_wait().expect("asked"), None);
    assert_eq!(process.wait_timeout(Duration::from_millis(1)).expect("asked"), None);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(process.wait().expect("waited"), Exit::Code(6)));
        }
    });
    assert_eq!(process.wait_timeout(Duration::MAX).expect("waited"), Some(Exit::Code(6)));
    assert_eq!(process.try_wait().expect("asked"), Some(Exit::Code(6)));

    // Two handles of the init; the one that comes second has the status too.
    let again = scene.runtime.container(container.id().as_str()).expect("found");
    let other = again.init_process().expect("asked").expect("it lives");
    assert!(poll(&mut [PollFd::new(other.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0));
    container.kill(Signal::TERM).expect("killed");
    container.kill(Signal::KILL).expect("killed");
    assert_eq!(container.wait().expect("waited"), Exit::Signal(Signal::KILL));
    assert_eq!(other.wait().expect("waited"), Exit::Signal(Signal::KILL));
    assert_eq!(again.wait().expect("waited"), Exit::Signal(Signal::KILL));
    container.delete().expect("deleted");
    assert_eq!(other.wait_timeout(Duration::MAX).expect("waited"), Some(Exit::Signal(Signal::KILL)));
    scene.assert_clean("statuses");
}

in_views!(a_deletion_reaps: hybrid, v1, v2);
fn a_deletion_reaps() {
    let scene = Scene::new();
    // Nobody waits for this one, as in the README before its last line.
    let mut container = scene.started(&["sleep", "600"]);
    let init = container.take_init().expect("an init");
    container.delete_force().expect("deleted");
    assert_eq!(zombies(), [0; 0]);
    assert_eq!(init.try_wait().expect("asked"), Some(Exit::Signal(Signal::KILL)));

    // One that was never started, and whose handle is gone.
    let container = scene.create(&scene.id(), &scene.config(&["true"])).expect("created");
    drop(container);
    for listed in scene.runtime.list().expect("listed") {
        scene.runtime.delete_force(listed.id.as_str()).expect("deleted");
    }
    assert_eq!(zombies(), [0; 0]);
    scene.assert_clean("deletions");
}

in_views!(a_dropped_process_blocks_nothing: hybrid, v1, v2);
fn a_dropped_process_blocks_nothing() {
    let scene = Scene::new();
    for force in [true, false] {
        let mut container = scene.started(&["sh", "-c", "while ! test -e /tmp/end; do sleep 0.05; done"]);
        for line in ["exit 3", "sleep 600", "sleep 600"] {
            drop(scene::exec(&container, &["sh", "-c", line]).expect("executed"));
        }
        drop(container.take_init());
        let begin = Instant::now();
        if force {
            container.delete_force().expect("deleted");
        } else {
            // The end of the init kills the others, and they have to be reaped before it is over.
            assert_eq!(
                exit(&scene::exec(&container, &["touch", "/tmp/end"]).expect("executed")),
                Exit::Code(0)
            );
            assert_eq!(container.wait().expect("waited"), Exit::Code(0));
            assert_eq!(container.status().expect("asked"), Status::Stopped);
            container.delete().expect("deleted");
        }
        assert!(begin.elapsed() < Duration::from_secs(3), "it took {:?}", begin.elapsed());
        assert_eq!(zombies(), [0; 0]);
    }

    // Who does not wait but ask sees the end too, and can delete.
    let container = scene.started(&["sleep", "0.3"]);
    drop(scene::exec(&container, &["sleep", "600"]).expect("executed"));
    assert!(eventually(|| container.status().expect("asked") == Status::Stopped));
    container.delete().expect("deleted");
    assert_eq!(zombies(), [0; 0]);
    scene.assert_clean("drops");
}

in_views!(dropped_processes_are_reaped_by_the_next: hybrid);
fn dropped_processes_are_reaped_by_the_next() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    for _ in 0..10 {
        drop(scene::exec(&container, &["true"]).expect("executed"));
    }
    std::thread::sleep(Duration::from_millis(100));
    exit(&scene::exec(&container, &["true"]).expect("executed"));
    assert_eq!(zombies(), [0; 0]);
    end(container);
    scene.assert_clean("drops");
}

in_views!(kill_on_drop: hybrid, v2);
fn kill_on_drop() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let lives = |pid: i32| Path::new(&format!("/proc/{pid}")).exists();
    let process = scene::exec(&container, &["sleep", "600"]).expect("executed");
    let pid = process.pid();
    drop(process);
    assert!(lives(pid), "killed although nobody asked for it");
    let mut process = scene::exec(&container, &["sleep", "600"]).expect("executed");
    process.kill_on_drop(true);
    let pid = process.pid();
    drop(process);
    assert!(!lives(pid), "not killed, or not reaped");
    container.delete_force().expect("deleted");

    // The end that the drop has seen is known to the container's handle.
    let (container, mut init) = scene.run(&scene.id(), &scene.config(&["sleep", "600"])).expect("run");
    init.kill_on_drop(true);
    drop(init);
    assert_eq!(container.wait().expect("waited"), Exit::Signal(Signal::KILL));
    container.delete().expect("deleted");
    scene.assert_clean("drops");
}

/// The engine: it starts a container and leaves it behind.
pub(crate) fn leaving_engine(path: &Path, runtime: &Runtime) {
    let id = std::fs::read_to_string(path.join("id")).expect("an id");
    let plan = scene::plan(runtime, &id, &path.join(format!("bundle-{id}"))).expect("a plan");
    let plan = plan.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let container = runtime.create(plan).expect("created");
    container.start().expect("started");
}

/// The engine: it starts a container, and waits for it as its parent.
pub(crate) fn keeping_engine(path: &Path, runtime: &Runtime) {
    leaving_engine(path, runtime);
    let id = std::fs::read_to_string(path.join("id")).expect("an id");
    engine::tell(path, "started");
    assert_eq!(runtime.container(&id).expect("found").wait().expect("waited"), Exit::Code(8));
}

/// A container that an engine has left behind.
fn left_behind(scene: &Scene, line: &str) -> Container {
    let config = scene.config(&["sh", "-c", line]);
    let id = scene.id();
    scene.bundle(&id, &config);
    std::fs::write(scene.path().join("id"), &id).expect("written");
    engine::run(&mut engine::command("leaving", scene, &[]));
    scene.runtime.container(&id).expect("found")
}

in_views!(a_container_is_waited_for_after_a_restart: hybrid, v2);
fn a_container_is_waited_for_after_a_restart() {
    let scene = Scene::new();
    // The next parent of the container's init is this process, and it reaps.
    nix::sys::prctl::set_child_subreaper(true).expect("PR_SET_CHILD_SUBREAPER");
    let container = left_behind(&scene, "while ! test -e /tmp/end; do sleep 0.05; done; exit 9");
    assert_eq!(container.wait_timeout(Duration::from_millis(20)).expect("asked"), None);
    let init = container.init_process().expect("asked").expect("it lives");
    assert_eq!(init.pid(), container.state().expect("a state").pid);
    exit(&scene::exec(&container, &["touch", "/tmp/end"]).expect("executed"));
    let mut polled = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    assert!(init.as_raw_fd() >= 0 && poll(&mut polled, PollTimeout::from(10_000_u16)) == Ok(1));
    assert_eq!(init.try_wait().expect("asked"), Some(Exit::Code(9)));
    assert_eq!(container.wait().expect("waited"), Exit::Code(9));
    container.delete().expect("deleted");

    // The parent is another process, which reaps it; the kernel keeps the status for the pidfd.
    let id = scene.id();
    let config = scene.config(&["sh", "-c", "while ! test -e /tmp/end; do sleep 0.05; done; exit 8"]);
    scene.bundle(&id, &config);
    std::fs::write(scene.path().join("id"), &id).expect("written");
    let mut parent = engine::command("keeping", &scene, &[]).spawn().expect("an engine");
    engine::await_told(scene.path(), "started");
    let container = scene.runtime.container(&id).expect("found");
    assert_eq!(container.try_wait().expect("asked"), None);
    exit(&scene::exec(&container, &["touch", "/tmp/end"]).expect("executed"));
    let expected = if keeps_status() { Exit::Code(8) } else { Exit::Unknown };
    assert_eq!(container.wait().expect("waited"), expected);
    assert_eq!(container.wait().expect("again"), expected);
    assert!(parent.wait().expect("reaped").success(), "the parent has another status");
    container.delete().expect("deleted");

    // It was over before anybody asked.
    let container = left_behind(&scene, "true");
    assert!(eventually(|| container.status().expect("asked") == Status::Stopped));
    container.wait().expect("waited");
    container.delete().expect("deleted");
    scene.assert_clean("restarts");
}

in_views!(a_reaper_tells_what_it_took: hybrid, v2);
fn a_reaper_tells_what_it_took() {
    const ROUNDS: usize = 20;
    let scene = Scene::new();
    forget_statuses();
    let exits = ExitSource::new();
    let told = Runtime::builder().state_root(scene.path().join("state")).exit_source(exits.clone());
    let told = told.build().expect("a runtime");
    let config = scene.config(&["sh", "-c", "exit 7"]);
    let mut failing = config.clone();
    failing["hooks"] = json!({"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]});
    let mut hooked = config.clone();
    hooked["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]});
    let report = |pid, status| exits.report(pid, Exit::from_wait_status(status));
    super::reaper::beside_a_reaper_that(report, || {
        let run = |config: &serde_json::Value| {
            let id = scene.id();
            told.run(scene::plan(&told, &id, &scene.bundle(&id, config)).expect("a plan"))
        };
        for _ in 0..ROUNDS {
            let (container, init) = run(&config).expect("run");
            assert_eq!(exit(&init), Exit::Code(7));
            assert_eq!(init.wait().expect("again"), Exit::Code(7));
            container.delete().expect("deleted");

            let (container, init) = run(&hooked).expect("run");
            assert_eq!(exit(&init), Exit::Code(7));
            container.delete().expect("deleted");
            let error = run(&failing).expect_err("a hook refuses");
            assert_eq!(error.kind(), ErrorKind::Hook, "{error}");
            assert!(error.to_string().contains("exit status 3"), "{error}");

            let (container, init) = run(&scene.config(&["sleep", "600"])).expect("run");
            let process = scene::exec(&container, &["sh", "-c", "exit 9"]).expect("executed");
            assert_eq!(exit(&process), Exit::Code(9));
            container.delete_force().expect("deleted");
            assert_eq!(exit(&init), Exit::Signal(Signal::KILL));
        }
        // Without the reports nobody knows; a wait ends all the same.
        let (container, init) = scene.run(&scene.id(), &config).expect("run");
        let status = exit(&init);
        assert!([Exit::Unknown, Exit::Code(7)].contains(&status), "{status:?}");
        container.delete().expect("deleted");
    });
    scene.assert_clean("a reaper");
}

/// Makes this kernel as one before Linux 6.15: PIDFD_GET_INFO is ENOTTY.
fn forget_statuses() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOTTY,
         "args": [{"index": 1, "value": 0xc040_ff0b_u32, "op": "SCMP_CMP_EQ"}]}]});
    let profile =
        runtime_core::spec::parse_profile(profile.to_string().as_bytes(), "profile").expect("a profile");
    let filter = runtime_core::seccomp::Filter::from_profile(&profile).expect("a filter");
    filter.install().expect("installed");
}
