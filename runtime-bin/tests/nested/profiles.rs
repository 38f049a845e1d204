//! Filters like those of engines, and callers without privileges under a filter.

use nix::errno::Errno;

use crate::denied::{NOTHING, bundle, difference, turn};
use crate::filter::{Denial, denied};
use crate::support::privileged;
use crate::traces::{PROBE, Traces, properties};

/// What Docker's profile denies a container with CAP_SYS_ADMIN.
const KEYS: &[&str] = &["add_key", "keyctl", "request_key"];

/// The calls that have a fallback, all at once.
const REPLACED: &[&str] = &["add_key", "clone3", "close_range", "faccessat2", "keyctl", "request_key"];

/// What is newer than an old profile: one error says everything that has to be allowed.
const NEW: &[&str] = &[
    "close_range",
    "clone3",
    "faccessat2",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat2",
    "pidfd_getfd",
    "pidfd_open",
];

#[test]
fn calls_with_a_replacement_are_not_missed() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle(PROBE);
    let id = bundle.container().id.clone();
    let before = Traces::before(&bundle, &id);
    let usual = properties(&denied(&bundle, NOTHING, &["run", &id]).ok().stdout);
    before.are_back(&bundle, &id, "no denial");
    for calls in [KEYS, REPLACED] {
        for errno in [Errno::EPERM, Errno::ENOSYS] {
            let run = denied(&bundle, Denial::of(calls, errno), &["run", &id]).ok();
            assert_eq!(difference(&usual, &properties(&run.stdout)), None);
            before.are_back(&bundle, &id, "run");
        }
    }
}

/// Hooks that run in the container get no descriptor either, and preserved ones stay.
#[test]
fn descriptors_are_closed_without_close_range() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let script = "ls /proc/self/fd >/tmp/program";
    let bundle = bundle(script).with(|config| {
        config["hooks"]["startContainer"] = serde_json::json!([
            {"path": "/bin/sh", "args": ["sh", "-c", "ls /proc/self/fd >/tmp/hook"], "env": ["PATH=/bin"]}
        ]);
    });
    let id = bundle.container().id.clone();
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        denied(&bundle, Denial::of(&["close_range"], errno), &["run", &id]).ok();
        for file in ["program", "hook"] {
            let text = std::fs::read_to_string(bundle.path().join("rootfs/tmp").join(file)).expect("a list");
            // The last is that of the directory.
            assert_eq!(text.split_ascii_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{file}");
        }
    }
}

#[test]
fn one_error_names_all_that_an_old_profile_denies() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle("true");
    let id = bundle.container().id.clone();
    let before = Traces::before(&bundle, &id);
    for errno in [Errno::EPERM, Errno::ENOSYS] {
        let run = denied(&bundle, Denial::of(NEW, errno), &["run", &id]);
        assert_eq!((run.code, run.stderr.lines().count()), (1, 1), "{run:?}");
        assert!(run.stderr.contains("hint: a seccomp filter around the runtime denies"), "{run:?}");
        before.are_back(&bundle, &id, "run");
    }
}

/// The other commands on a running container.
#[test]
fn each_command_works_or_says_what_is_denied() {
    const CALLS: &[&str] = &["openat2", "pidfd_open", "pidfd_send_signal", "statx"];
    const COMMANDS: &[&[&str]] =
        &[&["state"], &["pause"], &["resume"], &["ps"], &["events", "--stats"], &["kill"]];
    if !privileged() {
        return;
    }
    let _turn = turn();
    let bundle = bundle("trap : TERM; while :; do sleep 1000; done");
    let container = bundle.container();
    let id = container.id.as_str();
    bundle.go(&["run", "--detach", id]).ok();
    for call in CALLS {
        for errno in [Errno::EPERM, Errno::ENOSYS] {
            for command in COMMANDS {
                let denial = Denial::of(std::slice::from_ref(call), errno);
                let run = denied(&bundle, denial, &[command, &[id][..]].concat());
                let hint = run.stderr.split_once("hint:").map(|(_, hint)| hint).unwrap_or_default();
                let told = hint.contains("seccomp") && hint.contains(call);
                assert!(
                    run.code == 0 && run.stderr.is_empty() || run.code != 0 && told,
                    "{command:?} {run:?}"
                );
            }
            // `pause` may have succeeded where `resume` is denied.
            if container.status() == "paused" {
                container.go(&["resume"]).ok();
            }
        }
    }
    assert_eq!(container.status(), "running");
}
