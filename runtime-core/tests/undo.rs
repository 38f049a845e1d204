//! A failure at any step of `create` and `run` leaves nothing: each system call of the runtime and of
//! the container's init fails in turn, or is the last of its process, then the host is compared with how it was before.

mod support;

use runtime_core::Status;
use serde_json::{Value, json};
use support::leftovers::{adopt_orphans, descendants, reap};
use support::scene::{self, Scene};
use support::tracer::{self, Fault};
use support::views::{self, eventually, in_views};
use support::worker::{self, Outcome, Worker};

#[test]
fn worker() {
    worker::main();
}

/// Calls of the memory allocator, of the standard library and of the program's end: a failure there
/// is a panic by design, or cannot be.
const SPARED: &[i64] = &[
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
];

/// A fault of one call, in words.
struct Problem(String);

/// What came of one call under a fault.
struct Run {
    trace: tracer::Trace,
    outcome: Outcome,
    problem: Option<Problem>,
}

fn one(scene: &Scene, work: &str, config: &Value, fault: Fault) -> Run {
    let id = scene.id();
    let bundle = scene.bundle(&id, config);
    let mut worker = Worker::start(work, &scene.runtime, &id, &bundle);
    let trace = tracer::trace(&mut worker, fault);
    let outcome = worker.outcome();
    let problem = match &outcome {
        _ if trace.hung.is_some() => Some(format!("it hangs: {:?}", trace.hung)),
        Outcome::Silent => Some(format!("status {:#x}: {}", trace.status, worker.errors())),
        Outcome::Failed(error) if !error.contains(": ") => Some(format!("bare error: {error:?}")),
        Outcome::Failed(_) => left(scene, &outcome),
        Outcome::Done => scene
            .runtime
            .delete_force(&id)
            .err()
            .map(|error| format!("delete: {error}"))
            .or_else(|| left(scene, &outcome)),
    };
    if std::env::var_os("SHOW_FAULTS").is_some() {
        println!("{work} {fault:?} {outcome:?}");
    }
    if problem.is_some() {
        // For the next one.
        scene.runtime.delete_force(&id).ok();
    }
    std::fs::remove_dir_all(&bundle).expect("the bundle is removed");
    let problem = problem.map(|text| Problem(format!("{work} {fault:?}: {text}")));
    Run { trace, outcome, problem }
}

/// What is left once killed processes had the time to end.
fn left(scene: &Scene, outcome: &Outcome) -> Option<String> {
    for _ in 0..200 {
        reap();
        if scene.left().is_empty() {
            return None;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Some(format!("after {outcome:?} left: {:#?}", scene.left()))
}

/// Of so many calls one fails, to be quick while one works on it.
fn stride() -> usize {
    std::env::var("FAULT_STRIDE").map_or(1, |text| text.parse().expect("a number"))
}

/// Fails every call of every process in turn; with FAULT_STRIDE, one in that many.
fn each_call_fails(work: &str, config: impl Fn(&Scene) -> Value) {
    if !tracer::KNOWN {
        return views::skip("the tracer does not know this architecture");
    }
    adopt_orphans();
    let scene = Scene::new();
    let config = config(&scene);
    let Run { trace, outcome, problem } = one(&scene, work, &config, Fault::None);
    assert_eq!(outcome, Outcome::Done, "without a fault");
    assert!(problem.is_none(), "without a fault: {}", problem.map_or_else(String::new, |Problem(text)| text));
    let roles = trace.calls.iter().map(|call| call.role).max().expect("calls");
    let stride = stride();
    let mut problems = Vec::new();
    let mut fired = 0;
    for role in 0..=roles {
        let calls = trace.of(role);
        let places = calls.iter().enumerate().filter(|(_, number)| !SPARED.contains(number));
        for (at, number) in places.step_by(stride) {
            let Run { trace, problem, .. } = one(&scene, work, &config, Fault::Error { role, at });
            fired += usize::from(trace.fired);
            problems.extend(problem.map(|Problem(text)| format!("call {number}: {text}")));
        }
    }
    println!("{work}: {} calls, {fired} faults", trace.calls.len());
    assert!(fired > 300 / stride, "too few faults for a container: {fired}");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    scene.assert_clean("all faults");
}

/// Ends stage 0 and the init in turn before each of their calls.
fn each_process_ends(work: &str, config: impl Fn(&Scene) -> Value) {
    if !tracer::KNOWN {
        return views::skip("the tracer does not know this architecture");
    }
    adopt_orphans();
    let scene = Scene::new();
    let config = config(&scene);
    let Run { trace, outcome, .. } = one(&scene, work, &config, Fault::None);
    assert_eq!(outcome, Outcome::Done, "without a fault");
    let makes_init =
        [libc::SYS_clone3, libc::SYS_clone].iter().any(|number| trace.of(STAGE).contains(number));
    assert!(makes_init, "the first process makes the second: {:?}", trace.of(STAGE));
    let mut problems = Vec::new();
    let mut failed = 0;
    for role in [STAGE, INIT] {
        for at in (0..trace.of(role).len()).step_by(stride()) {
            let Run { outcome, problem, .. } = one(&scene, work, &config, Fault::End { role, at });
            failed += usize::from(outcome != Outcome::Done);
            problems.extend(problem.map(|Problem(text)| text));
        }
    }
    println!("{work}: {failed} failed");
    assert!(failed > 50 / stride(), "too few of them end a launch: {failed}");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    scene.assert_clean("all ends");
}

/// The roles of a launch's processes.
const STAGE: usize = 1;
const INIT: usize = 2;

in_views!(each_process_of_create_ends: hybrid, v2);
fn each_process_of_create_ends() {
    each_process_ends("create", plain);
}

in_views!(each_process_with_a_user_namespace_ends: v2);
fn each_process_with_a_user_namespace_ends() {
    each_process_ends("create", mapped);
}

fn plain(scene: &Scene) -> Value {
    scene.config(&["sleep", "60"])
}

in_views!(each_call_of_create_fails: hybrid, v2);
fn each_call_of_create_fails() {
    each_call_fails("create", plain);
}

in_views!(each_call_of_run_fails: v2);
fn each_call_of_run_fails() {
    each_call_fails("run", plain);
}

in_views!(each_call_with_a_user_namespace_fails: v2);
fn each_call_with_a_user_namespace_fails() {
    each_call_fails("create", mapped);
}

fn mapped(scene: &Scene) -> Value {
    let mut config = plain(scene);
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
    config["linux"]["uidMappings"] = maps.clone();
    config["linux"]["gidMappings"] = maps;
    config
}

in_views!(each_call_of_exec_fails: hybrid, v2);
/// A failed exec leaves the container as it was, and nothing else in it.
fn each_call_of_exec_fails() {
    if !tracer::KNOWN {
        return views::skip("the tracer does not know this architecture");
    }
    adopt_orphans();
    let scene = Scene::new();
    let container = scene.started(&["sleep", "600"]);
    let bundle = scene.path().join(format!("bundle-{}", container.id()));
    let exec = |fault| {
        let mut worker = Worker::start("exec", &scene.runtime, container.id().as_str(), &bundle);
        let trace = tracer::trace(&mut worker, fault);
        (trace, worker.outcome(), worker.errors())
    };
    let (trace, outcome, _) = exec(Fault::None);
    assert_eq!(outcome, Outcome::Done, "without a fault");
    let mut problems = Vec::new();
    let roles = trace.calls.iter().map(|call| call.role).max().expect("calls");
    for role in 0..=roles {
        let calls = trace.of(role);
        let places =
            calls.iter().enumerate().filter(|(_, number)| !SPARED.contains(number)).step_by(stride());
        let errors = places.map(|(at, number)| (at, *number, Fault::Error { role, at }));
        // Each process but the caller may also be killed.
        let ends = calls.iter().enumerate().filter(|_| role > 0).step_by(stride());
        let ends = ends.map(|(at, number)| (at, *number, Fault::End { role, at }));
        for (at, number, fault) in errors.chain(ends) {
            let (trace, outcome, errors) = exec(fault);
            let alone = eventually(|| {
                reap();
                container.processes().is_ok_and(|pids| pids.len() == 1) && descendants().len() == 1
            });
            let told = match &outcome {
                Outcome::Failed(error) => error.contains(": "),
                Outcome::Done => true,
                Outcome::Silent => false,
            };
            if !alone || !told || trace.hung.is_some() {
                let processes = descendants();
                problems.push(format!(
                    "{fault:?}, call {number} of {role} at {at}: {outcome:?} {:?} {errors} {processes:?}",
                    trace.hung
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert_eq!(container.status().expect("a status"), Status::Running);
    scene::end(container);
    scene.assert_clean("all faults");
}
