//! Threads on one container, two runtimes in one process, and events in an event loop.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime_core::events::{Event, Polled};
use runtime_core::{ErrorKind, Exit, Runtime, Signal, Status};
use serde_json::json;

use super::support::scene::{self, Scene, exit};
use super::views::in_views;
use super::waits::zombies;

/// Calls of each thread.
const ROUNDS: usize = 12;

in_views!(threads_on_one_container: hybrid, v2);
fn threads_on_one_container() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    // Another runtime of this program knows the container too.
    let other = Runtime::builder().state_root(scene.path().join("state")).build().expect("a runtime");
    let same = other.container(container.id().as_str()).expect("found");
    // A pause of another thread refuses an exec, and one that comes later meets a container that is not paused.
    let allowed = |result: runtime_core::Result<()>| match result {
        Err(error) if error.kind() == ErrorKind::WrongState => {}
        other => other.expect("it works"),
    };
    std::thread::scope(|scope| {
        for container in [&container, &same, &container, &same] {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    match scene::exec(container, &["sh", "-c", "exit 4"]) {
                        Ok(process) => assert_eq!(exit(&process), Exit::Code(4)),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WrongState, "{error}"),
                    }
                }
            });
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let status = container.state().expect("a state").status;
                    assert!([Status::Running, Status::Paused].contains(&status), "{status}");
                    container.statistics().expect("statistics");
                    container.kill(Signal::NONE).expect("a signal");
                }
            });
        }
        for container in [&container, &same] {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    allowed(container.pause());
                    allowed(container.resume());
                }
                // No thread may be left waiting in a frozen container.
                allowed(container.resume());
            });
        }
        for container in [&container, &same] {
            scope.spawn(move || assert_eq!(container.wait().expect("waited"), Exit::Signal(Signal::KILL)));
        }
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(2));
            // Both names of the container, one winner: the other finds it gone.
            allowed(container.kill(Signal::KILL));
        });
    });
    same.delete_force().expect("deleted");
    assert_eq!(container.wait().expect("kept"), Exit::Signal(Signal::KILL));
    assert_eq!(container.state().expect_err("it is gone").kind(), ErrorKind::NotFound);
    container.delete_force().expect("what is gone is deleted");
    assert_eq!(zombies(), [0; 0]);
    scene.assert_clean("threads");
}

in_views!(events_in_an_event_loop: hybrid, v1);
fn events_in_an_event_loop() {
    let scene = Scene::new();
    // The second line is killed for lack of memory, and the init goes on.
    let line = "sleep 0.5; busybox tail /dev/zero; sleep 0.5";
    let mut config = scene.config(&["sh", "-c", line]);
    config["linux"]["resources"]["memory"] = json!({"limit": 16 << 20});
    let container = scene.create(&scene.id(), &config).expect("created");
    container.start().expect("started");
    let mut events = container.events(Duration::from_millis(100)).expect("events");
    let (mut statistics, mut kills, mut wakes) = (0, 0, 0);
    let begin = Instant::now();
    'run: loop {
        loop {
            match events.try_next().expect("events") {
                Polled::Event(Event::Stats { .. }) => statistics += 1,
                Polled::Event(Event::Oom { .. }) => kills += 1,
                Polled::Ended => break 'run,
                _ => break,
            }
        }
        let mut polled = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut polled, PollTimeout::from(10_000_u16)), Ok(1), "nothing woke the loop");
        wakes += 1;
    }
    assert!(statistics >= 5 && kills >= 1, "{statistics} statistics, {kills} kills");
    // The loop sleeps: each wake has a reason, on v1 also the looks after an announcement.
    let most = 2 * begin.elapsed().as_millis() / 100 + 250;
    assert!(wakes < most, "{wakes} wakes in {:?}", begin.elapsed());
    assert_eq!(events.try_next().expect("asked"), Polled::Ended);
    container.wait().expect("waited");
    container.delete().expect("deleted");
    scene.assert_clean("events");
}
