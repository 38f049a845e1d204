//! From created to deleted, and what each state refuses.

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime_core::plan::{CreateOptions, ExecOptions, ExecveFailure};
use runtime_core::spec::ValidProcess;
use runtime_core::{Bundle, Error, ErrorKind, Exit, Signal, Status};
use support::leftovers::descendants;
use support::scene::{self, LIMIT, Scene, end, exit};
use support::views::{self, eventually, in_views};
use support::worker::{self, Outcome, Worker};

#[test]
fn worker() {
    worker::main();
}

in_views!(through_all_states: hybrid, v2);
fn through_all_states() {
    let scene = Scene::new();
    let mut container = scene.create(&scene.id(), &scene.config(&["sleep", "600"])).unwrap();
    let init = container.take_init().unwrap();
    let status = |wanted| assert_eq!(container.status().unwrap(), wanted);
    status(Status::Created);
    assert_eq!(container.state().unwrap().pid, init.pid());
    assert_eq!(container.state().unwrap().oci_version, "1.3.0");
    assert_eq!(container.resume().unwrap_err().kind(), ErrorKind::WrongState);
    container.pause().unwrap();
    status(Status::Paused);
    let paused = container.start().unwrap_err();
    assert_eq!(paused.kind(), ErrorKind::WrongState, "{paused}");
    status(Status::Paused);
    container.resume().unwrap();
    status(Status::Created);

    container.start().unwrap();
    status(Status::Running);
    let twice = container.start().unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::WrongState, "{twice}");
    container.pause().unwrap();
    status(Status::Paused);
    assert_eq!(scene::exec(&container, &["true"]).unwrap_err().kind(), ErrorKind::WrongState);
    let again = scene.runtime.container(container.id().as_str()).unwrap();
    assert_eq!(again.delete().unwrap_err().kind(), ErrorKind::WrongState, "deleted while paused");
    container.resume().unwrap();
    status(Status::Running);
    let again = scene.runtime.container(container.id().as_str()).unwrap();
    assert_eq!(again.delete().unwrap_err().kind(), ErrorKind::WrongState, "deleted while running");

    container.kill(Signal::KILL).unwrap();
    assert_eq!(exit(&init), Exit::Signal(Signal::KILL));
    status(Status::Stopped);
    assert_eq!(container.state().unwrap().pid, 0);
    for refused in [
        container.start().unwrap_err(),
        container.pause().unwrap_err(),
        container.kill(Signal::TERM).unwrap_err(),
        scene::exec(&container, &["true"]).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::WrongState, "{refused}");
    }
    let id = container.id().to_string();
    container.delete().unwrap();
    assert_eq!(scene.runtime.container(&id).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(scene.runtime.delete_force(&id).unwrap_err().kind(), ErrorKind::NotFound);
    scene.assert_clean("a whole life");
}

in_views!(a_container_that_never_started_is_deleted: hybrid, v2);
fn a_container_that_never_started_is_deleted() {
    let scene = Scene::new();
    let mut container = scene.create(&scene.id(), &scene.config(&["true"])).unwrap();
    let init = container.take_init().unwrap();
    container.delete().unwrap();
    assert_eq!(exit(&init), Exit::Signal(Signal::KILL));
    scene.assert_clean("the deletion of a created container");
}

in_views!(a_frozen_container_is_deleted_by_force: hybrid, v2);
fn a_frozen_container_is_deleted_by_force() {
    let scene = Scene::new();
    let mut container = scene.started(&["sh", "-c", "sleep 600 & sleep 600"]);
    let init = container.take_init().unwrap();
    container.pause().unwrap();
    container.delete_force().unwrap();
    exit(&init);
    scene.assert_clean("the forced deletion of a frozen container");
}

in_views!(true_runs_a_thousand_times: hybrid, v2);
fn true_runs_a_thousand_times() {
    let count: u32 = std::env::var("RUNS").map_or(1000, |text| text.parse().expect("a number"));
    let scene = Scene::new();
    let config = scene.config(&["true"]);
    let begin = Instant::now();
    for at in 0..count {
        let (container, init) =
            scene.run(&scene.id(), &config).unwrap_or_else(|error| panic!("run {at}: {error}"));
        let ended = init.wait_timeout(LIMIT).unwrap().unwrap_or_else(|| panic!("run {at} hangs"));
        assert_eq!(ended, Exit::Code(0), "run {at}");
        container.delete().unwrap_or_else(|error| panic!("run {at}: {error}"));
    }
    println!("{count} runs of `true` in {:?}", begin.elapsed());
    assert_eq!(descendants(), [""; 0], "unreaped processes");
    scene.assert_clean("all runs");
}

in_views!(exits_of_run_and_exec: hybrid, v2);
fn exits_of_run_and_exec() {
    let scene = Scene::new();
    let cases: [(&str, Exit); 4] = [
        ("exit 0", Exit::Code(0)),
        ("exit 42", Exit::Code(42)),
        ("kill -TERM $$", Exit::Signal(Signal::TERM)),
        ("kill -KILL $$", Exit::Signal(Signal::KILL)),
    ];
    let container = scene.started(&["sleep", "600"]);
    for (script, wanted) in cases {
        let process = scene::exec(&container, &["sh", "-c", script]).unwrap();
        assert_eq!(exit(&process), wanted, "exec of {script}");
    }
    let missing = scene::exec(&container, &["/bin/missing"]).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ProgramNotFound, "{missing}");
    let missing = scene::exec(&container, &["missing"]).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ProgramNotFound, "{missing}");
    let directory = scene::exec(&container, &["/bin"]).unwrap_err();
    assert_eq!(directory.kind(), ErrorKind::ProgramNotExecutable, "{directory}");
    end(container);

    let (container, init) = scene.run(&scene.id(), &scene.config(&["sh", "-c", "exit 42"])).unwrap();
    assert_eq!(exit(&init), Exit::Code(42));
    container.delete().unwrap();
    let error = scene.run(&scene.id(), &scene.config(&["missing"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotFound, "{error}");
    scene.assert_clean("all programs");
}

in_views!(a_refused_program_is_what_the_caller_wants: hybrid, v2);
/// A file that execve(2) refuses is an error of the call, or the end of the process.
fn a_refused_program_is_what_the_caller_wants() {
    let scene = Scene::new();
    let program = scene.path().join("rootfs/bad");
    std::fs::write(&program, "echo x\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = |error: Error| assert_eq!(error.kind(), ErrorKind::ProgramNotExecutable, "{error}");
    let config = scene.config(&["/bad"]);
    refused(scene.run(&scene.id(), &config).map(drop).unwrap_err());
    let mut container = scene.create(&scene.id(), &config).unwrap();
    let init = container.take_init().unwrap();
    refused(container.start().unwrap_err());
    assert_eq!(container.status().unwrap(), Status::Stopped, "when the error is told");
    exit(&init);
    container.delete().unwrap();
    let container = scene.started(&["sleep", "600"]);
    refused(scene::exec(&container, &["/bad"]).unwrap_err());

    let process = ValidProcess::parse(br#"{"args": ["/bad"], "cwd": "/"}"#).unwrap();
    let options = ExecOptions::new().on_execve_failure(ExecveFailure::Exit);
    assert_eq!(exit(&container.exec(&process, &options).unwrap()), Exit::Code(255));
    end(container);
    let id = scene.id();
    let bundle = scene.bundle(&id, &config);
    let options = CreateOptions::new().on_execve_failure(ExecveFailure::Exit);
    let plan = scene.runtime.plan(&id, Bundle::open(bundle).unwrap(), options).unwrap();
    let (container, init) = scene.runtime.run(plan).unwrap();
    assert_eq!(exit(&init), Exit::Code(255));
    container.delete().unwrap();
    scene.assert_clean("refused programs");
}

in_views!(a_refused_program_behind_a_listener: hybrid, v2);
/// The init waits for `start` behind its filter and tells of the refusal if the filter lets it.
fn a_refused_program_behind_a_listener() {
    let scene = Scene::new();
    let program = scene.path().join("rootfs/bad");
    std::fs::write(&program, "echo x\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = scene.path().join("agent");
    let agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut config = scene.config(&["/bad"]);
    let rule = serde_json::json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    config["linux"]["seccomp"] =
        serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": socket});
    let mut container = scene.create(&scene.id(), &config).unwrap();
    drop(agent.accept().expect("the listener comes with create"));
    let init = container.take_init().unwrap();
    let error = container.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramNotExecutable, "{error}");
    assert_eq!(container.status().unwrap(), Status::Stopped);
    exit(&init);
    container.delete().unwrap();
    scene.assert_clean("a refused program behind a listener");
}

in_views!(concurrent_execs: hybrid, v2);
fn concurrent_execs() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    std::thread::scope(|scope| {
        for number in 0..10 {
            let container = &container;
            scope.spawn(move || {
                for _ in 0..5 {
                    let script = format!("exit {number}");
                    let process = scene::exec(container, &["sh", "-c", &script]).unwrap();
                    assert_eq!(exit(&process), Exit::Code(number));
                }
            });
        }
    });
    end(container);
    assert_eq!(descendants(), [""; 0], "unreaped processes");
    scene.assert_clean("ten threads of execs");
}

in_views!(the_end_of_a_container_ends_its_execs: hybrid, v2);
fn the_end_of_a_container_ends_its_execs() {
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let process = scene::exec(&container, &["sleep", "600"]).unwrap();
    assert_eq!(process.try_wait().unwrap(), None);
    container.kill(Signal::KILL).unwrap();
    assert_eq!(exit(&process), Exit::Signal(Signal::KILL));
    exit(container.init().unwrap());
    container.delete().unwrap();
    scene.assert_clean("the end of both");
}

in_views!(one_of_two_creators_wins: hybrid, v2);
fn one_of_two_creators_wins() {
    let scene = Scene::new();
    let config = scene.config(&["sleep", "600"]);
    for _ in 0..10 {
        let id = scene.id();
        let bundles = ["a", "b"].map(|name| {
            // Two bundles, one id.
            let bundle = scene.path().join(format!("{name}-{id}"));
            std::fs::rename(scene.bundle(&id, &config), &bundle).unwrap();
            bundle
        });
        let mut workers =
            bundles.each_ref().map(|bundle| Worker::start("create", &scene.runtime, &id, bundle));
        workers.iter_mut().for_each(Worker::go);
        let mut outcomes = Vec::new();
        for worker in &mut workers {
            worker.process.wait().unwrap();
            outcomes.push(worker.outcome());
        }
        let winners = outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count();
        let loser = format!("container with given ID already exists: {id}");
        let losers = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Failed(error) if error.starts_with(&loser)));
        assert_eq!((winners, losers.count()), (1, 1), "{outcomes:?}");
        let container = scene.runtime.container(&id).unwrap();
        assert_eq!(container.status().unwrap(), Status::Created);
        container.delete_force().unwrap();
    }
    scene.assert_clean("the races");
}

in_views!(the_list_of_all: v2);
fn the_list_of_all() {
    let scene = Scene::new();
    let containers = [(); 3].map(|()| scene.started(&["sleep", "600"]));
    let stray = scene.path().join("state").join("broken");
    std::fs::create_dir(&stray).unwrap();
    std::fs::write(stray.join("state.json"), "{").unwrap();
    let listed = scene.runtime.list().unwrap();
    assert_eq!(listed.len(), 4);
    for (at, entry) in listed.iter().enumerate() {
        match &entry.state {
            Ok(state) => assert_eq!(state.status, Status::Running),
            Err(error) => assert!(at == 0 && error.to_string().contains("broken/state.json"), "{error}"),
        }
    }
    scene.runtime.delete_force("broken").unwrap();
    containers.into_iter().for_each(end);
    scene.assert_clean("the list");
}

in_views!(the_list_beside_creations_and_deletions: v2);
/// What another call is making or removing is no broken container.
fn the_list_beside_creations_and_deletions() {
    let scene = Scene::new();
    let config = scene.config(&["true"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lists = scope.spawn(|| {
            let mut broken = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let listed = scene.runtime.list().unwrap();
                broken.extend(listed.into_iter().filter_map(|listed| listed.state.err()));
            }
            broken
        });
        for _ in 0..40 {
            let mut container = scene.create(&scene.id(), &config).unwrap();
            let init = container.take_init().unwrap();
            container.delete().unwrap();
            exit(&init);
        }
        done.store(true, Ordering::Relaxed);
        let broken = lists.join().unwrap();
        assert!(broken.is_empty(), "{}: {}", broken.len(), broken[0]);
    });
    scene.assert_clean("the list");
}

in_views!(what_a_killed_creation_left: v2);
fn what_a_killed_creation_left() {
    let scene = Scene::new();
    // Killed before it had written a state.
    let stray = scene.path().join("state").join("stray");
    let mut container = scene.create(&scene.id(), &scene.config(&["true"])).unwrap();
    std::fs::create_dir(&stray).unwrap();
    let listed = scene.runtime.list().unwrap();
    let errors: Vec<_> = listed.iter().filter_map(|listed| listed.state.as_ref().err()).collect();
    assert_eq!((listed.len(), errors.len()), (2, 1));
    assert!(errors[0].to_string().contains("a forced deletion removes"), "{}", errors[0]);
    let error = scene.runtime.container("stray").unwrap().delete().unwrap_err();
    assert!(error.to_string().contains("a forced deletion removes"), "{error}");
    scene.runtime.delete_force("stray").unwrap();

    // Killed before it had made the init.
    let init = container.take_init().unwrap();
    container.kill(Signal::KILL).unwrap();
    exit(&init);
    let path = scene.path().join("state").join(container.id().as_str()).join("state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    state["init"] = serde_json::Value::Null;
    std::fs::write(&path, state.to_string()).unwrap();
    assert_eq!(container.status().unwrap(), Status::Stopped);
    let error = container.start().unwrap_err();
    assert!(error.to_string().contains("cannot start a container that has stopped"), "{error}");
    container.delete().unwrap();
    scene.assert_clean("two killed creations");
}

in_views!(a_container_that_has_gone_does_not_exist: v2);
fn a_container_that_has_gone_does_not_exist() {
    let scene = Scene::new();
    let container = scene.create(&scene.id(), &scene.config(&["true"])).unwrap();
    let other = scene.runtime.container(container.id().as_str()).unwrap();
    container.delete().unwrap();
    for gone in [
        other.state().map(drop),
        other.status().map(drop),
        other.start(),
        other.kill(Signal::TERM),
        other.pause(),
        other.processes().map(drop),
        other.statistics().map(drop),
    ] {
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(other.delete().unwrap_err().kind(), ErrorKind::NotFound);
}

in_views!(processes_of_a_container_without_a_pid_namespace_end: hybrid, v2);
fn processes_of_a_container_without_a_pid_namespace_end() {
    let scene = Scene::new();
    let mut config = scene.config(&["sh", "-c", "sleep 601 & sleep 602 & wait"]);
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
    support::leftovers::adopt_orphans();
    let (container, init) = scene.run(&scene.id(), &config).unwrap();
    assert!(eventually(|| container.processes().unwrap().len() == 3), "{:?}", container.processes());
    container.kill(Signal::KILL).unwrap();
    assert_eq!(exit(&init), Exit::Signal(Signal::KILL));
    support::leftovers::while_reaping(|| {
        assert!(eventually(|| container.processes().unwrap().is_empty()), "{:?}", container.processes());
        std::thread::sleep(Duration::from_millis(20));
    });
    container.delete().unwrap();
    scene.assert_clean("a container in the pid namespace of the host");
}

in_views!(any_number_of_descriptors_is_open: v2);
/// The caller's descriptors have the numbers that the launch wants to give, whatever they are.
fn any_number_of_descriptors_is_open() {
    let scene = Scene::new();
    let mut held = Vec::new();
    for count in 0..64 {
        let (container, init) = scene
            .run(&scene.id(), &scene.config(&["true"]))
            .unwrap_or_else(|error| panic!("with {count} descriptors: {error}"));
        assert_eq!(exit(&init), Exit::Code(0), "with {count} descriptors");
        container.delete().unwrap();
        held.push(std::fs::File::open("/dev/null").unwrap());
    }
    scene.assert_clean("all numbers");
}
