//! Inside privileged and unprivileged containers.

use serde_json::json;

use crate::denied::turn;
use crate::outer::{Outer, give_user_namespace};
use crate::support::privileged;

const OWN: &[&str] = &["ipc", "mnt", "net", "pid", "uts"];

#[test]
fn of_a_privileged_container() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    for own_namespace in [true, false] {
        let mut outer = Outer::privileged();
        outer.cgroups("rw", own_namespace);
        outer.run("").ran(OWN);
        // As deep again: a container of the container's user.
        outer.with_inner(give_user_namespace).run("").ran(&[OWN, &["user"]].concat());
    }
}

#[test]
fn with_read_only_cgroups() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    for own_namespace in [true, false] {
        let mut outer = Outer::privileged();
        outer.cgroups("ro", own_namespace);
        outer.run("").refused(&[
            "read-only file system",
            "hint: cgroups are read-only",
            "--cgroup-manager disabled",
        ]);
        outer.run("--cgroup-manager disabled").ran(OWN);
        let limited = |config: &mut serde_json::Value| {
            config["linux"]["resources"]["pids"] = json!({"limit": 100});
        };
        outer
            .with_inner(limited)
            .run("--cgroup-manager disabled")
            .refused(&["cannot set pids limit", "hint"]);
    }
}

#[test]
fn of_a_privileged_container_of_a_user() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let mut outer = Outer::of_a_user();
    outer.run("").ran(OWN);
    outer.with_inner(give_user_namespace).run("").ran(&[OWN, &["user"]].concat());
}

/// The kernel refuses a user namespace a new procfs where that outside is masked (mount_too_revealing()).
/// runc 1.5 and crun 1.28 fail, too; a bind of the outer one would show foreign processes.
#[test]
fn of_a_masked_container() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    for outer in [Outer::of_a_user(), Outer::privileged()] {
        let mut outer = outer.masked();
        // Who may unmount the masks may do without them.
        outer.run("").ran(OWN);
        let hints = ["fsmount: operation not permitted", "hint:", "unmask=ALL", "systempaths=unconfined"];
        outer = outer.with_inner(give_user_namespace);
        outer.run("").refused(&[&hints[..], &["mount \"proc\"", "(mounts[0])"]].concat());
    }
}

#[test]
fn of_a_container_with_a_masked_sysfs() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let mut outer = Outer::of_a_user()
        .with(|config| config["linux"]["maskedPaths"] = json!(["/sys/firmware"]))
        .with_inner(give_user_namespace);
    outer.run("").refused(&["mount \"sysfs\"", "fsmount: operation not permitted", "hint:", "unmask=ALL"]);
    // What rootless engines ask for in place of it.
    let mut outer = outer.with_inner(|config| {
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/sys" {
                *mount = json!({"destination": "/sys", "type": "bind", "source": "/sys",
                    "options": ["rbind", "rro", "nosuid", "noexec", "nodev"]});
            }
        }
    });
    outer.run("").ran(&[OWN, &["user"]].concat());
}

/// Without a network namespace sysfs shows that of the outer user namespace.
#[test]
fn with_a_sysfs_of_a_foreign_network() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    let mut outer = Outer::of_a_user().with_inner(give_user_namespace).with_inner(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
    });
    outer.run("").refused(&["mount \"sysfs\"", "operation not permitted", "hint:", "bind /sys"]);
}
