//! New and joined namespaces.

use caps::Capability;
use serde_json::json;

use super::{has, in_order, lines, lines_on, plan_on, with_namespaces, with_user_namespace};
use crate::error::ErrorKind;
use crate::host::{Host, OwnCapabilities};
use runtime_init::ops::{Op, ProcessOp, SetGroups};

#[test]
fn a_new_user_namespace_gets_its_trees_from_stage_0() {
    let mut spec = with_user_namespace();
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/d", "type": "bind", "source": "/s", "options": ["rbind", "idmap"]}));
    spec["process"]["oomScoreAdj"] = json!(-500);
    let lines = lines(&spec);
    assert!(lines[0].contains("user") && lines[0].contains("network"));
    in_order(
        &lines,
        &[
            "map: uid 0=100000+65536 gid 0=100000+65536",
            "parent: write the limits",
            "parent: set oom_score_adj to \"-500\"",
            "parent: set RLIMIT_NOFILE",
            "parent: let go on from the runtime, created",
            "stage: clone3 of the container's init",
            "stage: wait until the init asks",
            "stage: bind recursively \"/bundle/rootfs\" as the init sees it",
            "stage: hand over the mount",
            "stage: bind recursively \"/s\" as the init sees it",
            "stage: open the user namespace of the init",
            "stage: give the tree an id map",
            "child: become root of the user namespace",
            "child: open the root file system",
        ],
    );
    assert!(!has(&lines, "child: set RLIMIT") && !has(&lines, "child: make character device"));
    assert!(has(&lines, "child: bind device \"/dev/null\""));
}

/// After `unshare -Ur` without `-m` the mounts belong to the user namespace outside: only the child, which
/// gets a copy of its own, can clone them.
#[test]
fn the_mounts_of_others_are_cloned_by_the_child() {
    let mut spec = with_user_namespace();
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind"]}));
    let host = || Host::for_tests().with_user(0, 0, true);
    let lines = lines_on(&spec, &host().with_own_mounts(false));
    assert!(!has(&lines, "stage: bind recursively"), "{}", lines.join("\n"));
    assert!(has(&lines, "child: bind recursively \"/srv\" on \"/data\""), "{}", lines.join("\n"));
    let lines = lines_on(&spec, &host());
    assert!(
        lines.iter().filter(|line| line.starts_with("stage: bind recursively")).count() == 2,
        "{}",
        lines.join("\n")
    );
}

/// Root of an unprivileged container may not enter the mount namespace of the one that it makes.
#[test]
fn root_without_the_capabilities_leaves_the_mounts_to_the_child() {
    let spec = with_user_namespace();
    let sends = |permitted: u64| {
        let own = OwnCapabilities { permitted, bounding: permitted, inheritable: 0 };
        let lines = lines_on(&spec, &Host::for_tests().with_capabilities(own));
        lines.iter().any(|line| line.starts_with("stage: ") && line.contains("rootfs"))
    };
    let all = (1 << 41) - 1;
    assert!(sends(all));
    for missing in [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_CHROOT] {
        assert!(!sends(all & !missing.bitmask()), "{missing}");
    }
}

/// Who made a joined user namespace may have denied setgroups(2) in it; only a caller without privileges
/// keeps its groups there.
#[test]
fn groups_in_a_joined_user_namespace() {
    let spec = with_namespaces(json!([
        {"type": "mount"},
        {"type": "uts"},
        {"type": "user", "path": "/proc/1/ns/user"},
    ]));
    let set_groups = |host: Host| {
        let plan = plan_on(&spec, &host).unwrap();
        plan.child.ops().iter().find_map(|op| match op {
            Op::Process(ProcessOp::SetUser { set_groups, .. }) => Some(*set_groups),
            _ => None,
        })
    };
    assert_eq!(set_groups(Host::for_tests()), Some(SetGroups::Always));
    for user in [(1000, false), (0, true)] {
        let host = Host::for_tests().with_user(user.0, user.0, user.1);
        assert_eq!(set_groups(host), Some(SetGroups::IfAllowed));
    }
}

#[test]
fn users_have_to_be_mapped() {
    let mut spec = with_user_namespace();
    spec["process"]["user"] = json!({"uid": 70000, "gid": 0});
    let error = plan_on(&spec, &Host::for_tests()).unwrap_err();
    assert_eq!(error.to_string(), "config.json: process.user.uid: 70000 is not mapped in the user namespace");
    spec["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [70000]});
    let error = plan_on(&spec, &Host::for_tests()).unwrap_err();
    assert_eq!(error.to_string(), "process.user.additionalGids: 70000 is not mapped in the user namespace");
    spec["linux"]["uidMappings"] = json!([{"containerID": 1, "hostID": 1, "size": 100000}]);
    let error = plan_on(&spec, &Host::for_tests()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn joined_namespaces() {
    let spec = with_namespaces(json!([
        {"type": "mount"},
        {"type": "pid", "path": "/proc/1/ns/pid"},
        {"type": "network", "path": "/run/netns/x"},
    ]));
    let mut spec = spec;
    spec["hostname"] = json!("");
    let all = lines(&spec);
    in_order(
        &all,
        &[
            "clone: mount",
            "open: pid namespace \"/proc/1/ns/pid\"",
            "open: network namespace \"/run/netns/x\"",
            "child: open procfs",
            "child: join the namespace pid (linux.namespaces[1].path)",
            "child: join the namespace network",
            "child: set propagation",
            "child: receive",
            "child: mount \"proc\" on \"/proc\"",
            "child: verify that the source is a procfs",
            "child: pivot_root",
            "child: set capabilities",
            "child: close other descriptors",
            "child: fork into the pid namespace",
            "child: make a session",
            "child: wait for the runtime, created",
        ],
    );
    assert!(!has(&all, "child: bring the loopback"));
}

/// Hooks before `start` are told of a pid, which must not be that of a process that ends with the fork; and a procfs with
/// options is made by the init.
#[test]
fn a_joined_pid_namespace_is_entered_early_where_it_must() {
    let joining = || {
        let mut spec = with_namespaces(json!([{"type": "mount"}, {"type": "pid", "path": "/proc/1/ns/pid"}]));
        spec["hostname"] = json!("");
        spec
    };
    let mut hooked = joining();
    hooked["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
    let mut with_options = joining();
    with_options["mounts"][0]["options"] = json!(["hidepid=2"]);
    for spec in [hooked, with_options] {
        let order = ["child: fork into the pid namespace", "child: make a session", "child: set propagation"];
        in_order(&lines(&spec), &order);
    }
}

#[test]
fn a_new_user_namespace_is_made_after_joins() {
    let mut spec = with_user_namespace();
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces[1]["path"] = json!("/run/netns/x");
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: set RLIMIT_NOFILE",
            "child: join the namespace network",
            "child: make the namespaces user",
            "child: wait for the id maps",
            "child: become root",
            "child: make the namespaces mount, ipc, uts, pid",
            "child: make the namespaces cgroup",
            "child: fork into the pid namespace",
            "child: make a session",
        ],
    );
    assert_eq!(lines[0], "clone: ");
}
