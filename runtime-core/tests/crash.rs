//! kill -9 of the runtime before each of its system calls, in each verb: the list goes on working, other
//! containers are not disturbed, and a forced deletion removes everything.

mod support;

use runtime_core::{ErrorKind, Signal, Status};
use serde_json::{Value, json};
use support::leftovers::{adopt_orphans, reap, while_reaping};
use support::scene::{self, Scene};
use support::tracer::{self, Fault};
use support::views::{self, in_views};
use support::worker::{self, Outcome, Worker};

#[test]
fn worker() {
    worker::main();
}

/// Kills the runtime in `work`, which `prepare` makes ready, before each of its calls.
fn each_call_is_the_last(
    work: &str,
    config: impl Fn(&Scene) -> Value,
    prepare: impl Fn(&Scene, &str, &Value),
) {
    each_call_is_the_last_then(work, config, prepare, |_, _, _| ());
}

/// The same; `check` looks at what is left before it is deleted.
fn each_call_is_the_last_then(
    work: &str,
    config: impl Fn(&Scene) -> Value,
    prepare: impl Fn(&Scene, &str, &Value),
    check: impl Fn(&Scene, &str, &str),
) {
    if !tracer::KNOWN {
        return views::skip("the tracer does not know this architecture");
    }
    adopt_orphans();
    let scene = Scene::new();
    let config = config(&scene);
    let bystander = scene.started(&["sleep", "600"]);
    let mut at = 0;
    loop {
        let id = scene.id();
        let bundle = scene.bundle(&id, &config);
        prepare(&scene, &id, &config);
        let mut worker = Worker::start(work, &scene.runtime, &id, &bundle);
        let trace = tracer::trace(&mut worker, Fault::Kill { at });
        assert_eq!(trace.hung, None, "{work} hangs");
        let outcome = worker.outcome();
        let place = format!("{work}, killed before call {at}: {:?}", trace.calls.last());
        assert_eq!(trace.fired, outcome == Outcome::Silent, "{place}: {outcome:?}");

        let listed = scene.runtime.list().unwrap_or_else(|error| panic!("{place}: list: {error}"));
        let others = listed.iter().filter(|listed| listed.id == *bystander.id());
        let statuses: Vec<_> = others.map(|listed| listed.state.as_ref().map(|state| state.status)).collect();
        assert!(matches!(statuses.as_slice(), [Ok(Status::Running)]), "{place}: {statuses:?}");
        check(&scene, &id, &place);
        // A thread that reaps would take the hooks from the deletion: only where it is needed.
        let delete = || scene.runtime.delete_force(&id);
        let deleted = if work == "exec" { while_reaping(delete) } else { delete() };
        match deleted {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{place}: delete: {error}"),
            _ => {}
        }
        assert_only(&scene, bystander.id().as_str(), &id, &place);
        std::fs::remove_dir_all(&bundle).expect("the bundle is removed");
        if !trace.fired {
            break;
        }
        at += 1;
    }
    println!("{work}: killed at {at} places");
    assert!(at > 20, "{work} makes more calls than {at}");
    assert_eq!(bystander.status().unwrap(), Status::Running);
    scene::exit(&scene::exec(&bystander, &["true"]).expect("an exec in the other container"));
    scene::end(bystander);
    scene.assert_clean(work);
}

/// Fails if something of `id` is left.
fn assert_only(scene: &Scene, bystander: &str, id: &str, place: &str) {
    let mut left = Vec::new();
    for _ in 0..500 {
        reap();
        left = scene.left();
        // The other container: one process, its cgroups, its state.
        left.retain(|trace| !trace.ends_with(bystander) && !trace.contains("(sleep) "));
        if left.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{place}: left of {id}: {left:#?}");
}

/// The program has another name than that of the other container, to be told apart.
fn plain(scene: &Scene) -> Value {
    scene.config(&["busybox", "sleep", "600"])
}

fn with_hooks(scene: &Scene) -> Value {
    let mut config = plain(scene);
    let hook = json!([{"path": "/bin/true"}]);
    config["hooks"] = json!({"createRuntime": hook.clone(), "poststart": hook.clone(), "poststop": hook});
    config
}

fn nothing(_: &Scene, _: &str, _: &Value) {}

fn created(scene: &Scene, id: &str, config: &Value) {
    scene.create(id, config).expect("created");
}

fn running(scene: &Scene, id: &str, config: &Value) {
    scene.create(id, config).expect("created").start().expect("started");
}

fn stopped(scene: &Scene, id: &str, config: &Value) {
    let mut container = scene.create(id, config).expect("created");
    let init = container.take_init().expect("the init");
    container.start().expect("started");
    container.kill(Signal::KILL).expect("killed");
    scene::exit(&init);
}

in_views!(create: hybrid, v2);
fn create() {
    each_call_is_the_last("create", plain, nothing);
}

in_views!(run_with_hooks: v2);
fn run_with_hooks() {
    each_call_is_the_last("run", with_hooks, nothing);
}

in_views!(start: hybrid, v2);
fn start() {
    each_call_is_the_last("start", with_hooks, created);
}

in_views!(exec: hybrid, v2);
fn exec() {
    each_call_is_the_last("exec", plain, running);
}

in_views!(delete: hybrid, v2);
fn delete() {
    each_call_is_the_last("delete", with_hooks, stopped);
}

in_views!(forced_delete: hybrid, v2);
fn forced_delete() {
    each_call_is_the_last("force", with_hooks, running);
}

in_views!(update: v2);
fn update() {
    each_call_is_the_last("update", plain, running);
}

in_views!(pause: v1, v2);
fn pause() {
    each_call_is_the_last("pause", plain, running);
}

in_views!(resume: v1);
fn resume() {
    each_call_is_the_last("resume", plain, |scene, id, config| {
        running(scene, id, config);
        scene.runtime.container(id).expect("the container").pause().expect("paused");
    });
}

// A signal to all processes stops them for a moment: the next look at the container lets them go on.
in_views!(signal: v1, v2);
fn signal() {
    each_call_is_the_last_then("signal", plain, running, |scene, id, place| {
        let container = scene.runtime.container(id).expect("the container");
        // The first look may have thawed it, the second one sees what that has done.
        for _ in 0..2 {
            assert_eq!(container.status().expect("a status"), Status::Running, "{place}");
        }
        container.pause().unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(container.status().expect("a status"), Status::Paused, "{place}");
        container.resume().unwrap_or_else(|error| panic!("{place}: {error}"));
    });
}
