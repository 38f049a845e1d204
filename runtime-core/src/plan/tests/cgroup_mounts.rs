//! What a mount of cgroups becomes.

use serde_json::{Value, json};

use super::{default, has, in_order, lines_on, options, valid, waits_match};
use crate::cgroup::{Location, Mode, Place, Version};
use crate::host::Host;
use crate::plan::{CreateOptions, LaunchPlan};

fn v1_options() -> CreateOptions {
    let place = |controllers: &[&str], directory: &str| Place {
        version: Version::V1,
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        mount: format!("/sys/fs/cgroup/{directory}"),
        path: "c1".to_owned(),
    };
    let mut options = options();
    options.cgroup = Some(Location {
        mode: Mode::Legacy,
        places: vec![
            place(&["cpu", "cpuacct"], "cpu,cpuacct"),
            place(&["memory"], "memory"),
            place(&["name=systemd"], "systemd"),
        ],
    });
    options
}

fn v1_lines(spec: &Value, host: &Host) -> Vec<String> {
    let plan = LaunchPlan::create(&valid(spec), host, &v1_options()).unwrap();
    waits_match(&plan);
    plan.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn cgroups_v1_in_a_cgroup_namespace() {
    let host = Host::for_tests().with_cgroup_mode(Mode::Legacy);
    let lines = v1_lines(&default(), &host);
    in_order(
        &lines,
        &[
            "first: write the limits of the cgroup",
            "stage: make a network namespace",
            "child: join the cgroups",
            "child: make the namespaces cgroup",
            "child: mount \"tmpfs\" on \"/sys/fs/cgroup\" (nosuid,nodev,noexec,mode=755)",
            "child: mount \"cgroup\" on \"/sys/fs/cgroup/cpu,cpuacct\" (ro,nosuid,nodev,noexec,cpu,cpuacct)",
            "child: link \"/sys/fs/cgroup/cpu\" to \"cpu,cpuacct\"",
            "child: link \"/sys/fs/cgroup/cpuacct\" to \"cpu,cpuacct\"",
            "child: mount \"cgroup\" on \"/sys/fs/cgroup/memory\" (ro,nosuid,nodev,noexec,memory)",
            "child: mount \"cgroup\" on \"/sys/fs/cgroup/systemd\" (ro,nosuid,nodev,noexec,none,name=systemd)",
            "child: remount \"/sys/fs/cgroup\" (ro)",
        ],
    );
}

#[test]
fn cgroups_v1_without_a_cgroup_namespace() {
    let mut spec = default();
    spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "cgroup");
    let host = Host::for_tests().with_cgroup_mode(Mode::Legacy);
    let lines = v1_lines(&spec, &host);
    assert!(has(&lines, "child: bind recursively \"/sys/fs/cgroup/memory/c1\" on \"/sys/fs/cgroup/memory\""));
    assert!(!has(&lines, "child: wait for the cgroups"));
}

#[test]
fn without_rights_the_cgroups_of_the_host_are_read_only() {
    let mut spec = default();
    spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "uts"}]);
    spec["mounts"][6]["options"] = json!(["nosuid"]);
    let lines = lines_on(&spec, &Host::for_tests().with_user(0, 0, true));
    in_order(
        &lines,
        &[
            "child: bind recursively \"/sys/fs/cgroup\" on \"/sys/fs/cgroup\"",
            "child: change recursive attributes (ro,nosuid) on \"/sys/fs/cgroup\"",
        ],
    );
}

/// Control: with the rights to mount them they have the attributes of the configuration.
#[test]
fn without_rights_the_hierarchies_of_the_host_are_read_only() {
    let mut spec = default();
    spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "uts"}]);
    spec["mounts"][6]["options"] = json!(["nosuid"]);
    let host = |rootless| Host::for_tests().with_cgroup_mode(Mode::Legacy).with_user(0, 0, rootless);
    let changed = |attributes: &str| {
        format!("child: change attributes ({attributes}nosuid,nodev,noexec) on \"/sys/fs/cgroup/memory\"")
    };
    let lines = v1_lines(&spec, &host(true));
    assert!(has(&lines, &changed("ro,")), "{}", lines.join("\n"));
    let lines = v1_lines(&spec, &host(false));
    assert!(has(&lines, &changed("")), "{}", lines.join("\n"));
}
