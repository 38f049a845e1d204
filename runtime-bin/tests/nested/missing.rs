//! A kernel that lacks a call: it is named in one line, from each command, unless there is another way.

use nix::errno::Errno;

use crate::denied::{bundle, turn};
use crate::filter::{Denial, denied};
use crate::support::{Run, privileged};

/// Calls of the kernels up to 5.15 without a substitute.
const NEEDED: &[&str] = &[
    "execveat",
    "fsconfig",
    "fsmount",
    "fsopen",
    "memfd_create",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat2",
    "pidfd_open",
    "pidfd_send_signal",
    "statx",
];

/// Calls of those kernels that have one.
const REPLACED: &[&str] = &["clone3", "close_range", "faccessat2", "pidfd_getfd"];

fn without(call: &&'static str) -> Denial<'static> {
    Denial::of(std::slice::from_ref(Box::leak(Box::new(*call))), Errno::ENOSYS)
}

/// What is wrong with the answer of a command to a kernel without the call.
fn fault(run: &Run, call: &str) -> Option<String> {
    let line = format!(": {call} is missing");
    let named = run.stderr.contains("needs Linux 5.15, this is ") && run.stderr.contains(&line);
    let lines = run.stderr.trim_end().lines().count();
    let fails = run.code != 0 || run.stderr.contains("not implemented");
    (fails && !(named && lines == 1 && !run.stderr.contains("not implemented")))
        .then(|| format!("{} lines, exit {}: {}", lines, run.code, run.stderr))
}

/// The commands, each on a container that is as it needs it.
fn each_command(call: &&'static str) -> Vec<String> {
    let idle = bundle("").with(|config| config["process"]["args"] = serde_json::json!(["sleep", "1000"]));
    let id = idle.container().id.clone();
    let denial = without(call);
    let mut problems = Vec::new();
    let mut check = |words: &[&str], usual: i32| {
        let run = denied(&idle, denial, words);
        println!("{call} {words:?}: {} {}", run.code, run.stderr.trim_end());
        // Some commands have nothing to do here, and say so.
        let is_usual = run.code == usual && usual != 0 && !run.stderr.contains("not implemented");
        if let Some(fault) = fault(&run, call).filter(|_| !is_usual) {
            problems.push(format!("{call} {words:?}: {fault}"));
        }
        run.code == 0
    };
    for words in [&["create", &id][..], &["run", "--detach", &id]] {
        if check(words, 0) {
            idle.go(&["delete", "--force", &id]).ok();
        }
    }
    idle.go(&["create", &id]).ok();
    if !check(&["start", &id], 0) {
        idle.go(&["delete", "--force", &id]);
        idle.go(&["run", "--detach", &id]).ok();
    }
    for words in [
        &["exec", &id, "true"][..],
        &["state", &id],
        &["list"],
        &["ps", &id],
        &["pause", &id],
        &["resume", &id],
        &["events", "--stats", &id],
        &["kill", &id, "CONT"],
    ] {
        check(words, 0);
    }
    // The controller may be missing in this view.
    let update = ["update", "--pids-limit=100", &id];
    let usual = idle.go(&update).code;
    check(&update, usual);
    check(&["checkpoint", "--image-path=image", &id], 1);
    check(&["restore", "--image-path=image", "other"], 1);
    idle.go(&["resume", &id]);
    check(&["delete", "--force", &id], 0);
    idle.go(&["delete", "--force", &id]);
    problems
}

#[test]
fn a_call_without_a_substitute_is_named_in_one_line() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let problems: Vec<String> = NEEDED.iter().flat_map(each_command).collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn what_has_a_substitute_is_not_needed() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle("true");
    let id = bundle.container().id.clone();
    for call in REPLACED {
        let run = denied(&bundle, without(call), &["run", &id]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{call}");
    }
}

/// Linux 5.9 and 5.10 have close_range(2) without CLOSE_RANGE_CLOEXEC (4).
#[test]
fn close_range_may_lack_its_flag() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle("ls /proc/self/fd").with(|config| {
        config["hooks"] = serde_json::json!({"poststart": [{"path": "/bin/true"}]});
    });
    let id = bundle.container().id.clone();
    let calls = ["close_range=4"];
    let run = denied(&bundle, Denial::of(&calls, Errno::EINVAL), &["run", &id]);
    // The last one is that of ls(1).
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (0, "0\n1\n2\n3\n", ""));
}
