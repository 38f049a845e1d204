//! No process of a launch is dumpable for longer than it has to be (CVE-2016-9962): whoever may look into one that joins a
//! container finds what it still holds of the host.
//!
//! What the kernel makes of a change of user depends on the sysctl fs.suid_dumpable, which is the whole machine's: so the
//! calls are looked at, not what follows from them.

use serde_json::{Value, json};

use super::own::with_user_namespace;
use super::support::scene::Scene;
use super::support::tracer::{self, Call, Fault, Trace, trace};
use super::support::worker::{Outcome, Worker};
use super::views::{in_views, skip};

const SET_DUMPABLE: u64 = libc::PR_SET_DUMPABLE as u64;

/// What a process may do while it is dumpable for its id maps.
const MAPPED: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_clone,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sched_yield,
    libc::SYS_close,
];

/// What it may do between a change of user and the call that takes back what the kernel makes of that.
const CHANGED: &[i64] = &[libc::SYS_setresuid, libc::SYS_getresgid, libc::SYS_getresuid];

/// What the calls of a launch show.
#[derive(Debug, Default)]
struct Found {
    /// So many programs were executed, and were not dumpable from their first calls on.
    begun: usize,
    /// So often a user was changed.
    users: usize,
    /// So often a process became dumpable, for its id maps.
    windows: usize,
    wrong: Vec<String>,
}

impl Found {
    fn of(trace: &Trace) -> Self {
        let mut found = Self::default();
        for role in 1..=trace.calls.iter().map(|call| call.role).max().unwrap_or(0) {
            let calls = trace.calls.iter().filter(|call| call.role == role);
            // The calls after that are the container's own.
            found.walk(role, calls.take_while(|call| call.number != libc::SYS_execve));
        }
        found
    }

    /// The calls of one process.
    fn walk<'a>(&mut self, role: usize, calls: impl Iterator<Item = &'a Call>) {
        // Why it is dumpable now, and the calls that are allowed meanwhile.
        let mut open: Option<(&str, &[i64])> = None;
        for call in calls {
            let sets = call.number == libc::SYS_prctl && call.arguments[0] == SET_DUMPABLE;
            if !sets && let Some((why, _)) = open.take_if(|(_, allowed)| !allowed.contains(&call.number)) {
                self.wrong.push(format!("process {role} is dumpable in call {}: {why}", call.number));
            }
            match (sets, call.arguments[1], call.number) {
                (true, 0, _) => {
                    self.begun += usize::from(matches!(open, Some((BEGUN, _))));
                    open = None;
                }
                (true, ..) => {
                    self.windows += 1;
                    open = Some(("asked for", MAPPED));
                }
                (_, _, libc::SYS_execveat) => open = Some((BEGUN, &[libc::SYS_close_range])),
                (_, _, libc::SYS_setresuid) => {
                    self.users += 1;
                    open = Some(("the user has changed", CHANGED));
                }
                _ => {}
            }
        }
    }
}

const BEGUN: &str = "its program has begun";

fn traced(scene: &Scene, work: &str, config: &Value) -> Found {
    let id = scene.id();
    let bundle = scene.bundle(&id, config);
    let running = (work == "exec").then(|| {
        let container = scene.create(&id, config).expect("created");
        container.start().expect("started");
        container
    });
    let mut worker = Worker::start(work, &scene.runtime, &id, &bundle);
    let trace = trace(&mut worker, Fault::None);
    assert!(trace.hung.is_none(), "{:?}", trace.hung);
    assert_eq!(worker.outcome(), Outcome::Done, "{}", worker.errors());
    drop(running);
    scene.runtime.delete_force(&id).expect("deleted");
    let found = Found::of(&trace);
    assert!(found.wrong.is_empty(), "{work}: {found:#?}");
    found
}

in_views!(the_calls_of_a_launch: hybrid, v2);
/// Control: programs begin, users are changed, and a process is dumpable while its id maps are written.
fn the_calls_of_a_launch() {
    if !tracer::KNOWN {
        return skip("the tracer does not know this architecture");
    }
    let scene = Scene::new();
    let mut config = scene.config(&["sleep", "600"]);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    for work in ["create", "exec"] {
        let found = traced(&scene, work, &config);
        assert_eq!((found.begun, found.users, found.windows), (1, 1, 0), "{work}: {found:#?}");
    }
    // With a network that is joined the init makes the user namespace itself.
    let mut config = with_user_namespace(config);
    config["linux"]["namespaces"][1] = json!({"type": "network", "path": "/proc/self/ns/net"});
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.retain(|mount| mount["type"] != "sysfs" && mount["type"] != "cgroup");
    let found = traced(&scene, "create", &config);
    assert_eq!((found.begun, found.users, found.windows), (1, 2, 1), "{found:#?}");
    scene.assert_clean("traced launches");
}
