//! Containers that go on, in a scope that is made for them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::fake::Fake;
use crate::streams::Streams;
use crate::support::{Running as _, read_until, until};
use crate::{Scope, is_known, systemd};

/// Counts the lines that it reads.
const COUNTING: &str = "n=0; while read line; do n=$((n+1)); echo $n $line; done";

/// The field of CRIU's options with a root of cgroups.
const CG_ROOT: u64 = 25;

/// Whether this machine's CRIU knows its kernel.
fn criu() -> bool {
    if !systemd() {
        return false;
    }
    let check = Command::new("criu").arg("check").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let works = check.is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: criu is not installed or does not know this kernel");
    }
    works
}

/// A container that has counted one line, and then was checkpointed.
fn dumped(name: &str, streams: &mut Streams) -> Scope {
    let scope = Scope::new("", name).with(|config| {
        config["process"]["args"] = json!(["sh", "-c", COUNTING]);
        config["linux"]["resources"] = json!({"pids": {"limit": 50}});
    });
    let mut run = scope.bundle.runtime();
    assert_eq!(streams.run(run.args(["--systemd-cgroup", "run", "--detach", &scope.name])), 0);
    writeln!(streams.stdin, "one").expect("written");
    read_until(&mut streams.stdout, "1 one");
    let dump = scope.go(&["checkpoint", "--work-path", "work", &scope.name]);
    let log = std::fs::read_to_string(scope.bundle.path().join("work/dump.log")).unwrap_or_default();
    assert_eq!(dump.code, 0, "{dump:?}\n{}", end(&log));
    until("the unit is forgotten", || !is_known(&scope.unit()));
    scope
}

/// The last lines of a log.
fn end(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A container with an image for the program that stands for CRIU: what that starts is in its own cgroup.
fn imagined(name: &str) -> Scope {
    let scope = Scope::new("", name).with(|config| {
        config["linux"]["resources"] = json!({"pids": {"limit": 50}, "cpu": {"cpus": "0"}});
    });
    let image = scope.bundle.path().join("checkpoint");
    std::fs::create_dir(&image).expect("a directory");
    let names = json!(["/dev/null", "/dev/null", "/dev/null"]).to_string();
    std::fs::write(image.join("descriptors.json"), names).expect("descriptors");
    scope
}

#[test]
fn a_scope_is_made_around_criu() {
    if !systemd() {
        return;
    }
    let (fake, scope) = (Fake::new(), imagined("around"));
    let words = ["--systemd-cgroup", "restore", "--detach", "--pid-file", "pid"];
    fake.found_by(&mut scope.bundle.runtime()).args(words).go(&[&scope.name]).ok();
    let path = format!("/system.slice/{}", scope.unit());
    let told = fake.fields("RESTORE");
    assert!(told.iter().any(|(number, text)| *number == CG_ROOT && text.ends_with(&path)), "{told:?}");
    scope.shows(&[("ActiveState", "active"), ("ControlGroup", &path), ("TasksMax", "50")]);
    assert_eq!((scope.file("pids.max"), scope.file("cpuset.cpus")), ("50".to_owned(), "0".to_owned()));
    let pid = std::fs::read_to_string(scope.bundle.path().join("pid")).expect("the pid file");
    until("CRIU ends", || scope.file("cgroup.procs") == pid);
    let places = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    assert!(places.lines().all(|line| line.ends_with(&path)), "{places}");
    scope.go(&["update", "--pids-limit", "40", &scope.name]).ok();
    scope.shows(&[("TasksMax", "40")]);
    scope.go(&["delete", "--force", &scope.name]).ok();
    scope.left_nothing();
}

#[test]
fn criu_that_fails_leaves_no_unit() {
    if !systemd() {
        return;
    }
    let (fake, scope) = (Fake::new(), imagined("fails"));
    let words = ["--systemd-cgroup", "restore", "--detach"];
    let restore = fake.fails(&mut scope.bundle.runtime(), "RESTORE").args(words).go(&[&scope.name]);
    restore.fails(1, "the reason");
    scope.left_nothing();
}

#[test]
fn a_restored_container_lives_in_its_scope() {
    if !criu() {
        return;
    }
    let mut streams = Streams::new();
    let scope = dumped("restore", &mut streams);
    let mut restore = scope.bundle.runtime();
    restore.args(["--systemd-cgroup", "restore", "--detach", "--work-path", "work", &scope.name]);
    let code = streams.run(&mut restore);
    let log = std::fs::read_to_string(scope.bundle.path().join("work/restore.log")).unwrap_or_default();
    assert_eq!(code, 0, "{}", end(&log));
    writeln!(streams.stdin, "again").expect("written");
    read_until(&mut streams.stdout, "2 again");
    assert_eq!(scope.status(), "running");
    let path = format!("/system.slice/{}", scope.unit());
    scope.shows(&[("ActiveState", "active"), ("ControlGroup", &path), ("TasksMax", "50")]);
    assert_eq!(scope.file("pids.max"), "50");
    // CRIU has gone, and its place is the container's.
    until("CRIU ends", || scope.file("cgroup.procs").lines().count() == 1);
    let places = scope.shell("cat /proc/1/cgroup /proc/self/cgroup");
    assert!(places.lines().all(|line| line.ends_with(&path)), "{places}");
    scope.go(&["update", "--pids-limit", "40", &scope.name]).ok();
    scope.shows(&[("TasksMax", "40")]);
    scope.go(&["pause", &scope.name]).ok();
    scope.go(&["resume", &scope.name]).ok();
    scope.go(&["kill", &scope.name, "KILL"]).ok();
    until("stopped", || scope.status() == "stopped");
    scope.go(&["delete", &scope.name]).ok();
    scope.left_nothing();
}

#[test]
fn a_restore_that_fails_leaves_no_unit() {
    if !criu() {
        return;
    }
    let mut streams = Streams::new();
    let scope = dumped("broken", &mut streams);
    let image = scope.bundle.path().join("checkpoint/pstree.img");
    std::fs::write(&image, "no image").expect("written");
    let restore = scope.go(&["restore", "--detach", "--work-path", "work", &scope.name]);
    restore.fails(1, "criu failed");
    scope.left_nothing();
}
