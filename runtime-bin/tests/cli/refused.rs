//! Programs that are found and that execve(2) refuses all the same: the process ends with its own words, and the
//! command that let it run has done its part. Engines rely on that: a container whose `start` failed they could
//! neither restart nor remove.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Bundle, Container, finish, privileged};

/// A program's content, and what the kernel says of it.
fn programs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let mut foreign = fs::read("/bin/busybox").expect("busybox-static is needed");
    // e_machine: one that no machine of ours is.
    foreign[18..20].copy_from_slice(&[0xff, 0x7f]);
    vec![
        ("without-interpreter-line", b"echo x\n".to_vec(), "exec format error"),
        ("of-another-machine", foreign, "exec format error"),
        ("interpreter-missing", b"#!/nowhere\n".to_vec(), "no such file or directory"),
        ("line-ends-of-another-system", b"#!/bin/sh\r\necho x\r\n".to_vec(), "no such file or directory"),
        ("interpreter-is-a-directory", b"#!/bin\n".to_vec(), "permission denied"),
    ]
}

fn put(bundle: &Bundle, name: &str, content: &[u8]) -> String {
    let file = bundle.path().join("rootfs").join(name);
    fs::write(&file, content).expect("a program");
    fs::set_permissions(file, Permissions::from_mode(0o755)).expect("a mode");
    format!("/{name}")
}

/// The exit code of a command, and what it and the container have written when `container` has stopped.
fn words(bundle: &Bundle, words: &[&str], stopped: Option<&Container<'_>>) -> (i32, String) {
    let output = tempfile::NamedTempFile::new().expect("a file");
    let stream = || Stdio::from(OpenOptions::new().append(true).open(output.path()).expect("the file"));
    let mut command = bundle.runtime();
    command.args(words).stdin(Stdio::null()).stdout(stream()).stderr(stream());
    let code = finish(&mut command.spawn().expect("the runtime"));
    if let Some(container) = stopped {
        container.wait_for("stopped");
    }
    (code, fs::read_to_string(output.path()).expect("the words"))
}

#[test]
fn each_command_leaves_it_to_the_process() {
    if !privileged() {
        return;
    }
    let sleeping = Bundle::new(&["sleep", "1000"]);
    let other = sleeping.container();
    other.go(&["run", "-d"]).ok();
    let mut bundle = Bundle::new(&[]);
    for (name, content, reason) in programs() {
        let path = put(&bundle, name, &content);
        let line = format!("exec {path}: {reason}\n");
        bundle.config["process"]["args"] = json!([path]);
        bundle.write();

        let container = bundle.container();
        assert_eq!(words(&bundle, &["run", &container.id], None), (255, line.clone()), "run {name}");
        container.go(&["state"]).fails(1, "does not exist");

        let run = words(&bundle, &["run", "-d", &container.id], Some(&container));
        assert_eq!(run, (0, line.clone()), "run -d {name}");
        container.go(&["delete"]).ok();

        let output = tempfile::NamedTempFile::new().expect("a file");
        let stream = || Stdio::from(output.reopen().expect("a descriptor"));
        let mut create = bundle.runtime();
        create.args(["create", &container.id]).stdin(Stdio::null()).stdout(stream()).stderr(stream());
        assert_eq!(finish(&mut create.spawn().expect("the runtime")), 0, "create {name}");
        container.go(&["start"]).ok();
        container.wait_for("stopped");
        assert_eq!(fs::read_to_string(output.path()).expect("the words"), line, "start {name}");
        container.go(&["delete"]).ok();

        let path = put(&sleeping, name, &content);
        assert_eq!(words(&sleeping, &["exec", &other.id, &path], None), (255, line.clone()), "exec {name}");
        let (code, _) = words(&sleeping, &["exec", "-d", &other.id, &path], None);
        assert_eq!(code, 0, "exec -d {name}");
    }
}

#[test]
fn what_is_wrong_may_be_no_matter_of_the_file() {
    if !privileged() {
        return;
    }
    // All of it has more than a quarter of the stack's limit (execve(2)).
    let long = "x".repeat(100_000);
    let long = Bundle::new(&[&["/bin/true"][..], &[long.as_str(); 100]].concat());
    let run = words(&long, &["run", &long.container().id], None);
    assert_eq!(run, (255, "exec /bin/true: argument list too long\n".to_owned()));

    let bundle = Bundle::new(&["/busy"]);
    put(&bundle, "busy", &fs::read("/bin/busybox").expect("busybox"));
    let writer: File =
        OpenOptions::new().write(true).open(bundle.path().join("rootfs/busy")).expect("the file");
    let run = words(&bundle, &["run", &bundle.container().id], None);
    assert_eq!(run, (255, "exec /busy: text file busy\n".to_owned()));
    drop(writer);
}

fn denied(config: &mut Value, calls: &[&str]) {
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": calls, "action": "SCMP_ACT_ERRNO"}],
    });
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
}

/// A filter that denies all that a process could say and end with.
#[test]
fn a_process_that_may_not_exit_ends_all_the_same() {
    if !privileged() {
        return;
    }
    // exit(2) is as good as exit_group(2), and then nothing is left but a trap.
    let trapped = 128 + if cfg!(target_arch = "x86_64") { libc::SIGILL } else { libc::SIGTRAP };
    for (calls, code) in [
        (&["write", "exit_group"][..], 255),
        (&["write", "exit", "exit_group"], trapped),
        (&["write", "sendmsg", "exit", "exit_group"], trapped),
    ] {
        let bundle = Bundle::new(&["/bad"]).with(|config| denied(config, calls));
        put(&bundle, "bad", b"echo x\n");
        let container = bundle.container();
        assert_eq!(words(&bundle, &["run", &container.id], None), (code, String::new()), "{calls:?}");
        container.go(&["create"]).ok();
        container.go(&["start"]).ok();
        container.wait_for("stopped");
        container.go(&["delete"]).ok();
    }
}

/// runtime.md, "Lifecycle", step 7: an error of `start`, after which the container can be deleted or made again.
#[test]
fn a_start_container_hook_that_fails_is_an_error_of_start() {
    if !privileged() {
        return;
    }
    let hook = |args: Value| json!({"startContainer": [{"path": "/bin/busybox", "args": args}]});
    for (hooks, calls) in [
        (hook(json!(["false"])), &[][..]),
        (json!({"startContainer": [{"path": "/missing"}]}), &[]),
        (hook(json!(["false"])), &["exit", "exit_group"]),
    ] {
        let bundle = Bundle::new(&["true"]).with(|config| {
            config["hooks"] = hooks;
            if !calls.is_empty() {
                denied(config, calls);
            }
        });
        let container = bundle.container();
        for _ in 0..3 {
            container.go(&["create"]).ok();
            container.go(&["start"]).fails(1, "startContainer hook #0");
            assert_eq!(container.status(), "stopped");
            container.go(&["delete"]).ok();
        }
        container.go(&["run"]).fails(1, "startContainer hook #0");
        container.go(&["state"]).fails(1, "does not exist");
    }
}
