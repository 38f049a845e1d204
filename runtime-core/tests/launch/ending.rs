//! Processes that are made while their container ends.

use runtime_core::Signal;
use std::time::Duration;

use super::runs;
use super::support::leftovers::descendants;
use super::support::scene::{self, Scene, exit};
use super::views::{eventually, in_views};

in_views!(an_exec_that_races_with_the_end: hybrid, v2);
fn an_exec_that_races_with_the_end() {
    let scene = Scene::new();
    let mut executed = 0;
    for round in 0..runs() {
        let mut container = scene.started(&["sleep", "600"]);
        let init = container.take_init().expect("the init");
        let other = scene.runtime.container(container.id().as_str()).expect("the container");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // At each moment of an exec, which takes a few milliseconds.
                std::thread::sleep(Duration::from_micros(u64::from(round * 137 % 6000)));
                other.kill(Signal::KILL).expect("killed");
            });
            while let Ok(process) = scene::exec(&container, &["true"]) {
                executed += 1;
                exit(&process);
            }
        });
        exit(&init);
        drop(init);
        container.delete_force().unwrap_or_else(|error| panic!("round {round}: {error}"));
        let alone = || descendants().is_empty();
        assert!(eventually(alone), "round {round}: nobody knows {:?}", descendants());
    }
    println!("{executed} executed in {} containers", runs());
    scene.assert_clean("races");
}
