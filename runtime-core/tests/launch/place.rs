//! Callers in unusual places: PID 1, one that has unshared its PID namespace, a thread that ends.

use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use runtime_core::{Exit, Runtime, Signal, Status};

use super::engine;
use super::support::scene::{self, Scene, end, exit};
use super::views::in_views;

/// Runs an engine for a bundle of a container that sleeps.
fn with_bundle(work: &str, launcher: &[&str]) {
    let scene = Scene::new();
    let id = scene.id();
    let bundle = scene.bundle(&id, &scene.config(&["sleep", "600"]));
    std::fs::rename(bundle, scene.path().join("bundle")).expect("renamed");
    engine::run(&mut engine::command(work, &scene, launcher));
    scene.assert_clean(work);
}

in_views!(the_first_process_of_a_pid_namespace: hybrid, v2);
fn the_first_process_of_a_pid_namespace() {
    with_bundle("first", &["unshare", "--fork", "--pid", "--mount-proc"]);
}

pub(crate) fn first_engine(path: &Path, runtime: &Runtime) {
    assert_eq!(std::process::id(), 1);
    for _ in 0..10 {
        let container = runtime
            .create(scene::plan(runtime, "first", &path.join("bundle")).expect("a plan"))
            .expect("created");
        container.start().expect("started");
        let process = scene::exec(&container, &["sh", "-c", "exit 6"]).expect("executed");
        assert_eq!(exit(&process), Exit::Code(6));
        end(container);
    }
}

in_views!(a_caller_that_has_unshared_its_pid_namespace: hybrid, v2);
fn a_caller_that_has_unshared_its_pid_namespace() {
    with_bundle("unshared", &[]);
}

/// The first process that it makes would be the namespace's init: the container's cannot be beside that.
pub(crate) fn unshared_engine(path: &Path, runtime: &Runtime) {
    unshare(CloneFlags::CLONE_NEWPID).expect("unshared");
    for _ in 0..3 {
        let plan = scene::plan(runtime, "unshared", &path.join("bundle")).expect("a plan");
        let error = runtime.create(plan).expect_err("no place for the init").to_string();
        assert!(error.contains("hint: ") && error.contains("PID namespace"), "{error}");
    }
}

in_views!(the_thread_that_creates_ends: hybrid, v2);
fn the_thread_that_creates_ends() {
    let scene = Scene::new();
    let container = std::thread::scope(|scope| {
        scope
            .spawn(|| scene.create(&scene.id(), &scene.config(&["sleep", "600"])).expect("created"))
            .join()
            .expect("no panic")
    });
    assert_eq!(container.status().expect("a status"), Status::Created);
    std::thread::scope(|scope| {
        scope.spawn(|| container.start().expect("started"));
    });
    let process = std::thread::scope(|scope| {
        scope
            .spawn(|| scene::exec(&container, &["sleep", "600"]).expect("executed"))
            .join()
            .expect("no panic")
    });
    assert_eq!(container.status().expect("a status"), Status::Running);
    assert_eq!(process.try_wait().expect("waited"), None);
    process.signal(Signal::KILL).expect("killed");
    assert_eq!(exit(&process), Exit::Signal(Signal::KILL));
    assert_eq!(container.status().expect("a status"), Status::Running);
    end(container);
    scene.assert_clean("threads that have ended");
}
