//! A frozen container holds nothing of its engine: no lock of another container, no pipe.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime_core::cgroup::Resources;
use runtime_core::plan::ExecOptions;
use runtime_core::spec::ValidProcess;
use runtime_core::{Container, Deadline, ErrorKind, Exit, Process, Result, Runtime};
use serde_json::json;

use super::engine::{self, await_told, tell};
use super::support::leftovers::{adopt_orphans, while_reaping};
use super::support::scene::{Scene, end, exit};
use super::views::{eventually, in_views};

/// Processes that are made while their container is frozen.
const EXECS: usize = 8;
/// Rounds of what goes on beside them.
const ROUNDS: usize = 30;
/// How long an end of file may take that comes at once, in milliseconds.
const SOON: u16 = 10_000;

/// How long a call in a frozen cgroup may take, and what its undo may take beyond that.
const LIMIT: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(8);

fn process() -> ValidProcess {
    let process = json!({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"]}).to_string();
    ValidProcess::parse(process.as_bytes()).expect("a process")
}

fn exec(container: &Container) -> Result<Process> {
    let options = ExecOptions::new();
    container.exec(&process(), &options.ignore_paused(true))
}

/// All that takes the lock of a container.
fn use_lock(container: &Container) {
    // Nothing changes: this view may have no controller.
    container.update(&Resources::default()).expect("updated");
    container.pause().expect("paused");
    container.resume().expect("resumed");
}

/// Waits until an exec has put so many processes beside the init.
fn await_processes(container: &Container, count: usize) {
    let there = || container.processes().is_ok_and(|pids| pids.len() > count);
    assert!(eventually(there), "{count} processes in the frozen container");
}

in_views!(the_lock_of_another_container: hybrid, v1, v2);
fn the_lock_of_another_container() {
    let scene = Scene::new();
    let (frozen, other) = (scene.started(&["sleep", "600"]), scene.started(&["sleep", "600"]));
    frozen.pause().expect("paused");
    std::thread::scope(|scope| {
        // The locks are taken and let go while processes are made.
        let user = scope.spawn(|| (0..ROUNDS).for_each(|_| use_lock(&other)));
        let makers: Vec<_> = (0..EXECS)
            .map(|number| {
                let frozen = &frozen;
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(20 * number as u64));
                    exec(frozen)
                })
            })
            .collect();
        let used = user.join();
        use_lock(&other);
        frozen.resume().expect("resumed");
        for maker in makers {
            let process = maker.join().expect("no panic").expect("an exec that waited");
            assert_eq!(exit(&process), Exit::Code(0));
        }
        used.expect("the other container is free");
    });
    end(frozen);
    end(other);
    scene.assert_clean("a frozen container");
}

in_views!(a_container_that_is_paused_after_the_plan: hybrid, v2);
fn a_container_that_is_paused_after_the_plan() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    for _ in 0..5 {
        let plan = container.plan_exec(&process(), &ExecOptions::new()).expect("planned");
        container.pause().expect("paused");
        let error = Deadline::after(LIMIT).run(|| plan.start()).expect_err("it is paused");
        container.resume().expect("resumed");
        assert_eq!(error.kind(), ErrorKind::WrongState, "{error}");
    }
    end(container);
    scene.assert_clean("a plan before a pause");
}

in_views!(a_deadline_in_a_frozen_cgroup: hybrid, v2);
/// The init is frozen at its first instruction, with all that stage 0 had: neither is waited for. The freezer of v1 holds a
/// killed process back, which no call can change.
fn a_deadline_in_a_frozen_cgroup() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    container.pause().expect("paused");
    let begin = Instant::now();
    let error = Deadline::after(LIMIT).run(|| exec(&container)).expect_err("nothing runs there");
    let took = begin.elapsed();
    container.resume().expect("resumed");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(took < LIMIT + SLACK, "it took {took:?}");
    end(container);
    scene.assert_clean("a deadline");
}

in_views!(a_pipe_of_the_caller: hybrid, v1, v2);
fn a_pipe_of_the_caller() {
    let scene = Scene::new();
    let frozen = scene.started(&["sleep", "600"]);
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    frozen.pause().expect("paused");
    let ended = std::thread::scope(|scope| {
        let maker = scope.spawn(|| exec(&frozen));
        await_processes(&frozen, 1);
        drop(writer);
        let ended = is_at_end(&reader);
        frozen.resume().expect("resumed");
        assert_eq!(exit(&maker.join().expect("no panic").expect("executed")), Exit::Code(0));
        ended
    });
    assert!(ended, "a process of the frozen container holds the pipe");
    end(frozen);
    scene.assert_clean("a frozen container");
}

fn is_at_end(reader: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], PollTimeout::from(SOON)).expect("poll") > 0
}

in_views!(threads_that_pause_and_resume_and_exec: hybrid, v1, v2);
fn threads_that_pause_and_resume_and_exec() {
    let scene = Scene::new();
    let (frozen, other) = (scene.started(&["sleep", "600"]), scene.started(&["sleep", "600"]));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                frozen.pause().expect("paused");
                std::thread::sleep(Duration::from_millis(5));
                frozen.resume().expect("resumed");
            }
        });
        scope.spawn(|| (0..ROUNDS).for_each(|_| use_lock(&other)));
        for container in [&frozen, &other] {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    assert_eq!(exit(&exec(container).expect("executed")), Exit::Code(0));
                }
            });
        }
    });
    end(frozen);
    end(other);
    scene.assert_clean("all threads");
}

in_views!(an_engine_that_is_killed: hybrid, v1, v2);
/// The engine makes processes in a frozen container, uses another one, and is killed: both can be removed.
fn an_engine_that_is_killed() {
    adopt_orphans();
    let scene = Scene::new();
    for round in 0..5u64 {
        let [frozen, other] = ["frozen", "other"].map(|name| {
            let id = scene.id();
            let container = scene.create(&id, &scene.config(&["sleep", "600"])).expect("created");
            container.start().expect("started");
            std::fs::write(scene.path().join(name), id).expect("written");
            container
        });
        frozen.pause().expect("paused");
        std::fs::remove_file(scene.path().join("at-work")).ok();
        let engine = engine::command("frozen", &scene, &[]).spawn().expect("an engine");
        await_told(scene.path(), "work");
        await_processes(&frozen, 1);
        std::thread::sleep(Duration::from_millis(20 * round));
        engine::kill(engine);
        for container in [other, frozen] {
            let id = container.id().as_str().to_owned();
            drop(container);
            while_reaping(|| scene.runtime.delete_force(&id))
                .unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    }
    while_reaping(|| scene.assert_clean("killed engines"));
}

/// Makes processes in the frozen container while it uses the other one.
pub(crate) fn engine(path: &Path, runtime: &Runtime) {
    let [frozen, other] = ["frozen", "other"].map(|name| {
        let id = std::fs::read_to_string(path.join(name)).expect("an id");
        runtime.container(&id).expect("a container")
    });
    std::thread::scope(|scope| {
        for _ in 0..EXECS {
            // It is killed before one of them comes to an end.
            scope.spawn(|| exec(&frozen).map(drop));
        }
        tell(path, "work");
        loop {
            use_lock(&other);
        }
    });
}
