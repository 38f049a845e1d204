//! Mounts and the root.

use serde_json::{Value, json};

use super::{default, has, in_order, lines, lines_on, options, valid, with_mount, with_namespaces};
use crate::host::Host;
use crate::plan::LaunchPlan;
use crate::spec::{ValidSpec, known_mount_options};

#[test]
fn every_mount_option_compiles() {
    for option in known_mount_options() {
        let (kind, options) = match option {
            "tmpcopyup" => ("tmpfs", json!([option])),
            "remount" => ("tmpfs", json!([option, "ro"])),
            "idmap" | "ridmap" | "src-nofollow" => ("none", json!(["bind", option])),
            _ => ("none", json!(["rbind", option])),
        };
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
        let mut mount = json!({"destination": "/d", "type": kind, "source": "/s", "options": options});
        if option.ends_with("idmap") {
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
        }
        let lines = lines(&with_mount(mount));
        let attached = has(&lines, "child: mount on \"/d\"");
        assert!(attached || option == "remount", "{option}: {lines:?}");
    }
}

#[test]
fn bind_mounts() {
    let bind = |options: Value| {
        lines(&with_mount(json!({"destination": "/d", "type": "bind", "source": "s", "options": options})))
    };
    let lines = bind(json!(["rbind", "ro", "nosuid", "rprivate", "rnoexec"]));
    in_order(
        &lines,
        &[
            "child: bind recursively \"/bundle/s\" on \"/d\" (mounts[7])",
            "child: change attributes (ro,nosuid,not nodev,not noexec,not nosymfollow) on \"/d\"",
            "child: change recursive attributes (noexec) on \"/d\"",
            "child: set recursive propagation to private on \"/d\"",
            "child: mount on \"/d\"",
        ],
    );
    let lines = bind(json!(["bind"]));
    assert!(has(&lines, "child: bind \"/bundle/s\" on \"/d\""));
    assert!(!has(&lines, "child: change attributes"));
    let lines = bind(json!(["rbind", "noatime"]));
    assert!(has(&lines, "child: change attributes (noatime,"));
    let lines = bind(json!(["bind", "src-nofollow"]));
    assert!(has(&lines, "child: bind \"/bundle/s\" on \"/d\" (not following links)"));
}

#[test]
fn a_bind_on_proc_is_verified() {
    let mut spec = default();
    spec["mounts"][0] =
        json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: bind recursively \"/proc\"",
            "child: verify that the source is a procfs",
            "child: mount on \"/proc\"",
        ],
    );
}

#[test]
fn a_tmpfs_has_the_mode_of_its_place_and_is_read_only_at_last() {
    let tmpfs = |options: Value| {
        lines(&with_mount(
            json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": options}),
        ))
    };
    let all = tmpfs(json!(["ro", "nosuid", "tmpcopyup"]));
    in_order(
        &all,
        &[
            "child: copy the mode of \"/t\"",
            "child: mount \"tmpfs\" on \"/t\" (nosuid)",
            "child: copy up the content of \"/t\"",
            "child: mount on \"/t\"",
            "child: remount \"/t\" (ro)",
            "child: pivot_root",
        ],
    );
    let said = tmpfs(json!(["tmpcopyup", "mode=700", "gid=5"]));
    assert!(has(&said, "child: copy up the content of \"/t\", without its owner and mode"), "{said:#?}");
    assert!(!has(&tmpfs(json!(["mode=1777"])), "child: copy the mode of \"/t\""));
}

/// The option for labels of SELinux, which crun's annotation chooses.
#[test]
fn the_label_of_mounts_has_a_kind() {
    let tmpfs = json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]});
    let mut spec = with_mount(tmpfs);
    spec["linux"]["mountLabel"] = json!("u:r:t:s0");
    let host = Host::for_tests().with_security_modules(false, true);
    for (kind, option) in [(None, "context"), (Some("rootcontext"), "rootcontext")] {
        if let Some(kind) = kind {
            spec["annotations"] = json!({"run.oci.mount_context_type": kind});
        }
        let mounted = format!("child: mount \"tmpfs\" on \"/t\" (mode=755,{option}=u:r:t:s0)");
        assert!(has(&lines_on(&spec, &host), &mounted), "{:#?}", lines_on(&spec, &host));
    }
    spec["annotations"] = json!({"run.oci.mount_context_type": "sideways"});
    let error = ValidSpec::parse(&serde_json::to_vec(&spec).unwrap()).unwrap_err().to_string();
    assert!(error.contains("annotations.run.oci.mount_context_type: \"sideways\" is not one of"), "{error}");
}

/// A mqueue has the superblock of its IPC namespace, which takes no other label as an option.
#[test]
fn the_root_of_a_mqueue_is_labelled() {
    let mut spec = default();
    spec["linux"]["mountLabel"] = json!("u:r:t:s0");
    let label = "child: label the root on \"/dev/mqueue\" with \"u:r:t:s0\" (mounts[4])";
    let place = "child: mount on \"/dev/mqueue\"";
    in_order(&lines_on(&spec, &Host::for_tests().with_security_modules(false, true)), &[label, place]);
    assert!(!lines(&spec).iter().any(|line| line.contains("u:r:t:s0")), "{:#?}", lines(&spec));
}

#[test]
fn a_disk_that_is_mounted_read_only_is_not_written() {
    let disk = json!({"destination": "/d", "type": "ext4", "source": "/dev/sdx", "options": ["ro", "sync"]});
    assert!(has(&lines(&with_mount(disk)), "child: mount \"ext4\" of \"/dev/sdx\" on \"/d\" (ro,sync,ro)"));
}

#[test]
fn shared_propagation_of_the_root() {
    let mut spec = default();
    spec["linux"]["rootfsPropagation"] = json!("rshared");
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: set propagation of \"/\" to rshared",
            "child: pivot_root",
            "child: set propagation of the root to rshared",
        ],
    );
    spec["linux"]["rootfsPropagation"] = json!("private");
    let plan = LaunchPlan::create(&valid(&spec), &Host::for_tests(), &options().no_pivot(true));
    assert!(plan.unwrap_err().to_string().contains("not safe without pivot_root"));
}

#[test]
fn no_mount_namespace_is_a_chroot() {
    let mut spec = with_namespaces(json!([{"type": "pid"}]));
    spec["mounts"] = json!([]);
    spec["root"]["readonly"] = json!(false);
    spec["hostname"] = json!("");
    spec["linux"]["maskedPaths"] = json!([]);
    spec["linux"]["readonlyPaths"] = json!([]);
    let lines = lines(&spec);
    in_order(&lines, &["child: open \"/bundle/rootfs\"", "child: chroot into"]);
    assert!(!has(&lines, "child: make character device"));
}

#[test]
fn mounts_are_in_the_order_of_the_configuration() {
    let mut spec = default();
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/sys/fs/bpf", "type": "bpf", "source": "bpf"}));
    mounts.push(json!({"destination": "/etc/hosts", "type": "bind", "source": "/h", "options": ["bind"]}));
    let lines = lines(&spec);
    in_order(
        &lines,
        &[
            "child: mount \"mqueue\"",
            "child: make character device \"/dev/null\"",
            "child: receive 2 of the network namespace",
            "child: mount \"sysfs\" on \"/sys\"",
            "child: mount \"cgroup2\"",
            "child: mount \"bpf\" on \"/sys/fs/bpf\"",
            "child: bind \"/h\" on \"/etc/hosts\"",
            "child: mask \"/sys/firmware\"",
        ],
    );
}
