//! Units, slices and cgroups: where a container is, and that commands find it there.

use serde_json::json;

use crate::support::until;
use crate::{Scope, cgroups_of, is_known, systemctl, systemd};

#[test]
fn a_container_lives_in_its_scope() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("runtime-deep-er.slice", "life");
    scope.go(&["create", &scope.name]).ok();
    let path = format!("/runtime.slice/runtime-deep.slice/runtime-deep-er.slice/{}", scope.unit());
    scope.shows(&[("ActiveState", "active"), ("ControlGroup", &path)]);
    let init = scope.file("cgroup.procs");
    assert_eq!(init.lines().count(), 1, "{init}");
    scope.go(&["start", &scope.name]).ok();
    // Of v1 all hierarchies, also those that systemd does not manage.
    let places = scope.shell("cat /proc/1/cgroup /proc/self/cgroup");
    assert!(places.lines().all(|line| line.ends_with(&path)), "{places}");
    scope.go(&["pause", &scope.name]).ok();
    assert_eq!(scope.status(), "paused");
    scope.go(&["resume", &scope.name]).ok();
    assert_eq!(scope.status(), "running");
    assert!(scope.go(&["ps", &scope.name]).ok().stdout.contains("sleep"));
    let stats = scope.go(&["events", "--stats", &scope.name]).ok().stdout;
    assert!(stats.contains("\"pids\":{\"current\":1"), "{stats}");
    scope.go(&["kill", &scope.name, "KILL"]).ok();
    until("stopped", || scope.status() == "stopped");
    scope.go(&["delete", &scope.name]).ok();
    scope.left_nothing();
}

#[test]
fn without_a_path_the_id_is_the_name() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "default").with(|config| config["linux"]["cgroupsPath"] = json!(null));
    scope.go(&["run", "-d", &scope.name]).ok();
    scope.shows(&[("Slice", "system.slice"), ("ActiveState", "active")]);
}

#[test]
fn a_slice_may_be_the_unit() {
    if !systemd() {
        return;
    }
    let slice = format!("runtime-unit{}.slice", std::process::id());
    let scope = Scope::new("", "slice")
        .with(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice::{slice}")));
    scope.go(&["run", "-d", &scope.name]).ok();
    let group = systemctl(&["show", "--value", "-p", "ControlGroup", &slice]);
    assert_eq!(group.trim(), format!("/runtime.slice/{slice}"));
    assert!(scope.shell("cat /proc/1/cgroup").lines().all(|line| line.ends_with(&slice)));
    scope.go(&["delete", "--force", &scope.name]).ok();
    until("the slice is forgotten", || !is_known(&slice));
    assert_eq!(cgroups_of(&slice), "");
}

#[test]
fn a_slice_that_was_stopped_leaves_nothing() {
    if !systemd() {
        return;
    }
    let slice = format!("runtime-stop{}.slice", std::process::id());
    let scope = Scope::new(&slice, "stop");
    scope.go(&["run", "-d", &scope.name]).ok();
    scope.go(&["kill", &scope.name, "KILL"]).ok();
    until("stopped", || scope.status() == "stopped");
    systemctl(&["stop", &slice]);
    scope.go(&["delete", &scope.name]).ok();
    scope.left_nothing();
    // Also where systemd does not know that it was.
    assert_eq!(cgroups_of(&slice), "");
}

#[test]
fn paths_of_another_form_are_refused() {
    if !systemd() {
        return;
    }
    for (path, text) in [
        ("/a/b", "expected cgroupsPath to be of format"),
        ("../x.slice:a:b", "invalid slice name: ../x.slice"),
        ("a/b.slice:a:b", "invalid slice name: a/b.slice"),
        (":a:../b", "must not contain a slash"),
    ] {
        let scope = Scope::new("", "hostile").with(|config| config["linux"]["cgroupsPath"] = json!(path));
        let run = scope.go(&["run", "-d", &scope.name]);
        assert_eq!(run.code, 1, "{path}");
        assert!(run.stderr.contains(text), "{path}: {run:?}");
        scope.left_nothing();
    }
}
