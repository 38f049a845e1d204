//! Deadlines and cancellation: a call ends in time, and leaves nothing.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use runtime_core::{Canceller, Deadline, ErrorKind, Status};
use serde_json::{Value, json};

use super::support::scene::{self, Scene, end, exit};
use super::views::in_views;
use super::waits::zombies;

const SHORT: Duration = Duration::from_millis(300);
/// What a call may take beyond its deadline: it kills, waits and removes.
const SLACK: Duration = Duration::from_secs(5);

fn with_hook(scene: &Scene, kind: &str) -> Value {
    let mut config = scene.config(&["sleep", "600"]);
    // No timeout: without a deadline it would be waited for as long as it takes.
    config["hooks"] = json!({kind: [{"path": "/bin/sleep", "args": ["sleep", "100"]}]});
    config
}

/// Calls with the deadline; it must fail in time, with this kind.
fn late<T>(kind: ErrorKind, deadline: &Deadline, call: impl FnOnce() -> runtime_core::Result<T>) {
    let begin = Instant::now();
    let error = deadline.run(call).err().expect("it ends with an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(begin.elapsed() < SHORT + SLACK, "it took {:?}", begin.elapsed());
}

in_views!(a_hook_without_a_timeout: hybrid, v2);
fn a_hook_without_a_timeout() {
    let scene = Scene::new();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let config = with_hook(&scene, kind);
        late(ErrorKind::Timeout, &Deadline::after(SHORT), || scene.create(&scene.id(), &config));
        assert_eq!(zombies(), [0; 0], "{kind}");
        scene.assert_clean(kind);
    }
    for kind in ["startContainer", "poststart"] {
        let container = scene.create(&scene.id(), &with_hook(&scene, kind)).expect("created");
        late(ErrorKind::Timeout, &Deadline::after(SHORT), || container.start());
        assert_eq!(container.status().expect("asked"), Status::Stopped, "{kind}");
        container.delete().expect("deleted");
        assert_eq!(zombies(), [0; 0], "{kind}");
        scene.assert_clean(kind);
    }
}

in_views!(a_call_that_is_cancelled: hybrid, v2);
fn a_call_that_is_cancelled() {
    let scene = Scene::new();
    let config = with_hook(&scene, "createContainer");
    for _ in 0..5 {
        let canceller = Canceller::new();
        let deadline = Deadline::none().cancelled_by(&canceller);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(SHORT);
                canceller.cancel();
            });
            late(ErrorKind::Cancelled, &deadline, || scene.create(&scene.id(), &config));
        });
        assert_eq!(zombies(), [0; 0]);
    }
    // At any moment of a launch; what is not cancelled is there.
    let container = scene.started(&["sleep", "600"]);
    for round in 0..40u32 {
        let canceller = Canceller::new();
        let deadline = Deadline::none().cancelled_by(&canceller);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(100) * round);
                canceller.cancel();
            });
            match deadline.run(|| scene.create(&scene.id(), &scene.config(&["sleep", "600"]))) {
                Ok(created) => created.delete_force().expect("deleted"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
            }
            match deadline.run(|| scene::exec(&container, &["true"])) {
                Ok(process) => drop(exit(&process)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
            }
        });
        assert_eq!(zombies(), [0; 0], "round {round}");
    }
    end(container);
    scene.assert_clean("cancelled calls");
}

in_views!(a_wait_for_an_end: hybrid);
fn a_wait_for_an_end() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let process = scene::exec(&container, &["sleep", "600"]).expect("executed");
    let deadline = || Deadline::after(SHORT);
    late(ErrorKind::Timeout, &deadline(), || container.wait());
    late(ErrorKind::Timeout, &deadline(), || process.wait());
    late(ErrorKind::Timeout, &deadline(), || process.wait_timeout(Duration::from_secs(60)));
    let canceller = Canceller::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            canceller.cancel();
        });
        late(ErrorKind::Cancelled, &Deadline::none().cancelled_by(&canceller), || container.wait());
    });
    // A limit of its own that comes first is no error.
    let limit = Duration::from_millis(10);
    let waited = Deadline::after(Duration::from_secs(60)).run(|| process.wait_timeout(limit));
    assert_eq!(waited.expect("asked"), None);
    end(container);
    scene.assert_clean("waits");
}

in_views!(a_lock_that_another_call_holds: hybrid);
fn a_lock_that_another_call_holds() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let directory = scene.path().join("state").join(container.id().as_str());
    let lock = Flock::lock(File::open(&directory).expect("opened"), FlockArg::LockExclusive).expect("locked");
    late(ErrorKind::Timeout, &Deadline::after(SHORT), || container.pause());
    drop(lock);
    container.pause().expect("paused");
    container.resume().expect("resumed");
    end(container);
    scene.assert_clean("a lock");
}
