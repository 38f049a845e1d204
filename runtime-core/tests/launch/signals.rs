//! Signals to all processes of a container, and to nobody else.

use super::support::scene::{self, LIMIT, Scene, end, exit};
use super::support::tracer::{self, Fault, trace_watched};
use super::support::worker::{Outcome, Worker};
use super::views::{in_views, skip};
use runtime_core::Signal;

in_views!(what_leaves_the_cgroup_is_not_signalled: v2);
/// The runtime lists the processes and then opens them by their numbers. A number that is no process of the container any more
/// when it has been opened may be anybody's: it gets no signal. Control: without that it does.
fn what_leaves_the_cgroup_is_not_signalled() {
    if !tracer::KNOWN {
        return skip("the tracer does not know this architecture");
    }
    let scene = Scene::new();
    for leaves in [true, false] {
        let container = scene.started(&["sleep", "600"]);
        let process = scene::exec(&container, &["sleep", "600"]).expect("executed");
        let bundle = container.state().expect("a state").bundle;
        let mut worker = Worker::start("terminate", &scene.runtime, container.id().as_str(), bundle.as_ref());
        let number = u64::try_from(process.pid()).expect("a pid");
        let mut opened = false;
        let trace = trace_watched(&mut worker, Fault::None, &mut |call| {
            if call.number == libc::SYS_pidfd_open && call.arguments[0] == number && !opened {
                opened = true;
                if leaves {
                    std::fs::write("/sys/fs/cgroup/cgroup.procs", number.to_string()).expect("it leaves");
                }
            }
        });
        assert!(trace.hung.is_none() && opened, "{trace:?}");
        assert_eq!(worker.outcome(), Outcome::Done, "{}", worker.errors());
        match leaves {
            true => {
                let ended = process.wait_timeout(std::time::Duration::from_millis(200)).expect("a wait");
                assert!(ended.is_none(), "it was signalled: {ended:?}");
                process.signal(Signal::KILL).expect("killed");
                exit(&process);
            }
            false => assert!(process.wait_timeout(LIMIT).expect("a wait").is_some(), "it was not signalled"),
        }
        end(container);
    }
    scene.assert_clean("signals");
}
