//! Each call that the runtime makes and an outer filter may not know, denied.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use serde_json::json;

use crate::filter::{Denial, LEAKED, denied};
use crate::support::{Bundle, Run, privileged, until};
use crate::traces::{PROBE, Traces, adopt_orphans, properties};

/// Calls newer than Linux 4.0, and those that the usual profiles deny.
const CALLS: &[&str] = &[
    "bpf",
    "clone3",
    "close_range",
    "execveat",
    "faccessat2",
    "fsconfig",
    "fsmount",
    "fsopen",
    "ioprio_set",
    "keyctl",
    "memfd_create",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat2",
    "personality",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pivot_root",
    "sched_setattr",
    "seccomp",
    "sethostname",
    "setns",
    "set_mempolicy",
    "statx",
    "umount2",
    "unshare",
];

const ERRNOS: &[Errno] = &[Errno::EPERM, Errno::ENOSYS];

/// Processes are counted, so one test at a time.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) const NOTHING: Denial<'static> =
    Denial { calls: &[], errno: Errno::EPERM, no_new_privileges: false, before: &[] };

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    adopt_orphans();
    turn
}

pub(crate) fn bundle(script: &str) -> Bundle {
    Bundle::new(&["sh", "-c", script]).with(|config| {
        config["process"]["noNewPrivileges"] = json!(true);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}],
        });
    })
}

/// What is wrong with an error's text.
fn misses(run: &Run, denial: Denial<'_>) -> Option<String> {
    let hint = run.stderr.split_once("hint:").map(|(_, hint)| hint).unwrap_or_default();
    let named = denial.calls.iter().any(|call| hint.contains(call));
    (!named || !hint.contains("seccomp"))
        .then(|| format!("an error without the call or the hint: {:?}", run.stderr))
}

/// Each call with each errno. `one` returns what is wrong.
fn each(name: &str, mut one: impl FnMut(Denial<'_>) -> Option<String>) {
    let mut problems = Vec::new();
    for call in CALLS {
        for errno in ERRNOS {
            let denial = Denial::of(std::slice::from_ref(call), *errno);
            problems.extend(one(denial).map(|problem| format!("{call} {errno:?}: {problem}")));
        }
    }
    assert!(problems.is_empty(), "{name}: {} problems:\n{}", problems.len(), problems.join("\n"));
}

/// The lines that only one of two has.
pub(crate) fn difference(one: &[String], other: &[String]) -> Option<String> {
    let beyond = |one: &[String], other: &[String], sign: &str| {
        let lines = one.iter().filter(|line| !other.contains(line)).map(|line| format!("{sign}{line}"));
        lines.collect::<Vec<_>>()
    };
    let lines = [beyond(one, other, "-"), beyond(other, one, "+")].concat();
    (one != other).then(|| lines.join("\n"))
}

/// Success with the usual properties, or an error that names the call.
fn judge(run: &Run, denial: Denial<'_>, usual: &[String]) -> Option<String> {
    println!("{:?} {:?}: {} {}", denial.calls, denial.errno, run.code, run.stderr.trim());
    match run.code {
        0 => difference(usual, &properties(&run.stdout))
            .or_else(|| (!run.stderr.is_empty()).then(|| run.stderr.clone())),
        _ => misses(run, denial),
    }
}

fn usual(text: &str) -> Vec<String> {
    let usual = properties(text);
    assert!(usual.len() > 40, "{usual:#?}");
    let has = |line: &str| usual.iter().any(|usual| usual.as_str() == line);
    assert!(has("NoNewPrivs:\t1") && has("Seccomp:\t2") && has("own mnt") && has("own pid"), "{usual:#?}");
    assert!(has("/proc/keys character special file 1:3"), "{usual:#?}");
    assert!(!usual.iter().any(|line| line.starts_with(&format!("fd {LEAKED}"))), "{usual:#?}");
    usual
}

#[test]
fn run_works_or_says_what_is_denied() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle(PROBE);
    let id = bundle.container().id.clone();
    let before = Traces::before(&bundle, &id);
    let usual = usual(&denied(&bundle, NOTHING, &["run", &id]).ok().stdout);
    before.are_back(&bundle, &id, "no denial");
    each("run", |denial| {
        let run = denied(&bundle, denial, &["run", &id]);
        let problem = judge(&run, denial, &usual);
        before.are_back(&bundle, &id, denial.calls[0]);
        problem
    });
}

/// The kernel's own EPERM is likelier there, and the filter's to be told from it.
#[test]
fn run_in_a_user_namespace_works_or_says_what_is_denied() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle(PROBE).with(|config| {
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    });
    let id = bundle.container().id.clone();
    let before = Traces::before(&bundle, &id);
    let inside = |denial: Denial<'_>| {
        denied(&bundle, Denial { before: &["unshare", "-Ur", "-m"], ..denial }, &["run", &id])
    };
    let usual = usual(&inside(NOTHING).ok().stdout);
    before.are_back(&bundle, &id, "no denial");
    each("run", |denial| {
        let problem = judge(&inside(denial), denial, &usual);
        before.are_back(&bundle, &id, denial.calls[0]);
        problem
    });
}

#[test]
fn create_and_start_work_or_say_what_is_denied() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle(&format!("{{ {PROBE} }} >/tmp/probe.new; mv /tmp/probe.new /tmp/probe"));
    let id = bundle.container().id.clone();
    let before = Traces::before(&bundle, &id);
    let probe = bundle.path().join("rootfs/tmp/probe");
    // Each of the three under the filter; what is left then is deleted without.
    let all = |denial: Denial<'_>| {
        for words in [&["create", &id][..], &["start", &id]] {
            let run = denied(&bundle, denial, words);
            if run.code != 0 {
                return run;
            }
        }
        until("stopped", || bundle.go(&["state", &id]).ok().stdout.contains("\"stopped\""));
        let run = denied(&bundle, denial, &["delete", &id]);
        Run { stdout: std::fs::read_to_string(&probe).expect("the properties"), ..run }
    };
    let usual = usual(&all(NOTHING).ok().stdout);
    before.are_back(&bundle, &id, "no denial");
    each("create, start, delete", |denial| {
        std::fs::remove_file(&probe).ok();
        let run = all(denial);
        let problem = judge(&run, denial, &usual);
        bundle.go(&["delete", "--force", &id]).ok();
        before.are_back(&bundle, &id, denial.calls[0]);
        problem
    });
}

#[test]
fn exec_works_or_says_what_is_denied() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    // A shell would become it a little later, with another name among the traces.
    let bundle = bundle("").with(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    let container = bundle.container();
    let id = container.id.clone();
    bundle.go(&["run", "--detach", &id]).ok();
    let before = Traces::before(&bundle, &id);
    let exec = |denial: Denial<'_>| denied(&bundle, denial, &["exec", &id, "sh", "-c", PROBE]);
    let usual = usual(&exec(NOTHING).ok().stdout);
    each("exec", |denial| {
        let problem = judge(&exec(denial), denial, &usual);
        before.are_back(&bundle, &id, denial.calls[0]);
        problem
    });
    assert_eq!(container.status(), "running");
}

#[test]
fn delete_works_or_says_what_is_denied() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle("sleep 1000");
    let id = bundle.container().id.clone();
    let before = Traces::before(&bundle, &id);
    each("delete", |denial| {
        bundle.go(&["run", "--detach", &id]).ok();
        let run = denied(&bundle, denial, &["delete", "--force", &id]);
        let problem = judge(&run, denial, &[]);
        // What could not be deleted is whole, and known.
        if run.code != 0 {
            bundle.go(&["state", &id]).ok();
            bundle.go(&["delete", "--force", &id]).ok();
        }
        before.are_back(&bundle, &id, denial.calls[0]);
        problem
    });
}

/// Who is asked what a filter denies must not be killed for the question.
#[test]
fn a_filter_that_kills_ends_no_more_than_who_makes_the_call() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle("true");
    let id = bundle.container().id.clone();
    let before = Traces::before(&bundle, &id);
    let denial = |calls| Denial::of(calls, Errno::EPERM);
    // Calls that are tried alone, before and behind the one that is told.
    let run =
        denied(&bundle, denial(&["openat2", "!personality", "!keyctl", "!set_mempolicy"]), &["run", &id]);
    run.fails(1, "a seccomp filter around the runtime denies openat2:");
    // One that the container's init makes.
    let run = denied(&bundle, denial(&["!pivot_root", "!personality"]), &["run", &id]);
    run.fails(1, "a seccomp filter around the runtime kills the callers of personality, pivot_root:");
    before.are_back(&bundle, &id, "calls that kill");
}
