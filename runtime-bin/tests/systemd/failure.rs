//! What is left when something fails: nothing.

use std::process::Command;

use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::support::until;
use crate::{Scope, is_known, is_unified, systemctl, systemd};

/// The sockets of systemd and of the bus.
const SOCKETS: [&str; 2] = ["/run/systemd/private", "/run/dbus/system_bus_socket"];

/// Puts a file in the place of a socket, in the mount namespace of this test.
fn hide(path: &str) {
    mount(Some("/dev/null"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("a bind mount");
}

#[test]
fn a_program_that_is_missing_leaves_no_unit() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "missing").with(|config| config["process"]["args"] = json!(["/nothing"]));
    scope.go(&["run", "-d", &scope.name]).fails(1, "no such file or directory");
    scope.left_nothing();
}

#[test]
fn a_limit_that_the_kernel_refuses_leaves_no_unit() {
    if !systemd() {
        return;
    }
    // There is no such CPU.
    let resources = json!({"cpu": {"cpus": "4000"}});
    let scope = Scope::new("", "limit").with(|config| config["linux"]["resources"] = resources);
    scope.go(&["run", "-d", &scope.name]).fails(1, "cpuset.cpus");
    scope.left_nothing();
}

#[test]
fn a_property_that_systemd_refuses_leaves_no_unit() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "property")
        .with(|config| config["annotations"] = json!({"org.systemd.property.NoSuchThing": "5"}));
    scope.go(&["run", "-d", &scope.name]).fails(1, "Cannot set property NoSuchThing");
    scope.left_nothing();
}

#[test]
fn a_unit_of_somebody_else_is_left_alone() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "taken");
    let unit = scope.unit();
    let mut other = Command::new("systemd-run")
        .args(["--scope", "--unit", &unit, "sleep", "1000"])
        .spawn()
        .expect("systemd-run");
    until("the other unit is there", || is_known(&unit));
    scope.go(&["run", "-d", &scope.name]).fails(1, "container's cgroup is not empty: 1 process(es) found");
    scope.shows(&[("ActiveState", "active")]);
    systemctl(&["stop", &unit]);
    other.wait().expect("its end");
}

#[test]
fn a_frozen_cgroup_in_the_place_of_the_unit_is_refused() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "frozen");
    let directory = format!("/sys/fs/cgroup/system.slice/{}", scope.unit());
    std::fs::create_dir(&directory).expect("a cgroup");
    let state = format!("{directory}/cgroup.freeze");
    std::fs::write(&state, "1").expect("frozen");
    scope.go(&["run", "-d", &scope.name]).fails(1, "container's cgroup unexpectedly frozen");
    scope.left_nothing();
    assert_eq!(std::fs::read_to_string(&state).expect("it is there").trim(), "1");
    std::fs::remove_dir(&directory).expect("it is empty");
}

#[test]
fn a_killed_create_is_cleaned_up_by_force() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "crash");
    scope.go(&["run", "-d", &scope.name]).ok();
    // What is there when the runtime dies while systemd makes the unit.
    let path = scope.bundle.state().join(&scope.name).join("state.json");
    let text = std::fs::read(&path).expect("the state");
    let mut state: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    state["init"] = json!(null);
    // With v1 it was written before there was more than the unit.
    if is_unified() {
        state["cgroup"] = json!(null);
    }
    std::fs::write(&path, state.to_string()).expect("written");
    scope.go(&["delete", "--force", &scope.name]).ok();
    scope.left_nothing();
}

#[test]
fn a_failed_unit_is_forgotten() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "oom").with(|config| {
        config["linux"]["resources"] = json!({"memory": {"limit": 20971520, "swap": 20971520}});
        if is_unified() {
            config["linux"]["resources"]["unified"] = json!({"memory.oom.group": "1"});
        }
        let eater = "x=a; while true; do x=$x$x; done";
        config["process"]["args"] = json!(["sh", "-c", eater]);
    });
    scope.go(&["run", "-d", &scope.name]).ok();
    until("stopped", || scope.status() == "stopped");
    scope.go(&["delete", &scope.name]).ok();
    scope.left_nothing();
}

#[test]
fn each_socket_is_enough_and_none_is_a_clear_error() {
    if !systemd() {
        return;
    }
    let scope = Scope::new("", "sockets");
    hide(SOCKETS[0]);
    scope.go(&["run", "-d", &scope.name]).ok();
    scope.shows(&[("ActiveState", "active")]);
    scope.go(&["update", "--pids-limit", "20", &scope.name]).ok();
    scope.go(&["delete", "--force", &scope.name]).ok();
    scope.left_nothing();

    hide(SOCKETS[1]);
    let run = scope.go(&["run", "-d", &scope.name]);
    assert_eq!(run.code, 1);
    for text in
        ["connect to systemd: /run/systemd/private: ", "/run/dbus/system_bus_socket: connection refused"]
    {
        assert!(run.stderr.contains(text), "{run:?}");
    }
    assert!(!scope.bundle.state().join(&scope.name).exists());
}
