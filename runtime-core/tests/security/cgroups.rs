//! The cgroups of the host cannot be joined or changed from inside (CVE-2023-25809), and no name leads to them.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Scratch, config, process, set_mode, shell, with_capabilities, with_mount};

/// A place where cgroup2 alone is mounted, for the calling thread.
fn unified() -> Option<Scratch> {
    if !nix::unistd::geteuid().is_root() {
        crate::support::skip("needs root");
        return None;
    }
    crate::apart::own_mounts();
    let line = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup";
    assert!(Command::new("sh").args(["-c", line]).status().unwrap().success());
    Scratch::new()
}

fn with_cgroups(asked: Value) -> Value {
    let mount =
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]});
    with_mount(asked, mount)
}

/// Without a cgroup namespace the container sees the tree of the host. Root of its user namespace is the owner of all that is
/// there, and moves a process into another cgroup: refused, whatever the options say. Control: the same container without a
/// user namespace, whose configuration gives it the host's tree, does it.
#[test]
fn the_cgroups_of_the_host_are_not_joined() {
    let Some(scratch) = unified() else { return };
    set_mode(scratch.path(), 0o755);
    std::fs::create_dir_all(scratch.root().join("sys/fs/cgroup")).unwrap();
    let line = "echo 0 2> /dev/null > /sys/fs/cgroup/cgroup.procs && echo joined > /out/joined; \
                mkdir /sys/fs/cgroup/$NAME 2> /dev/null && rmdir /sys/fs/cgroup/$NAME && echo made > /out/made; true";
    let mut asked = with_capabilities(with_cgroups(shell(line)), &["CAP_DAC_OVERRIDE"]);
    asked["process"]["env"] = json!(["PATH=/bin", format!("NAME=security-{}", std::process::id())]);
    assert!(scratch.run(&asked).unwrap().success());
    assert_eq!((scratch.output("joined").as_str(), scratch.output("made").as_str()), ("joined\n", "made\n"));
    scratch.clear();
    asked["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        asked["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    }
    assert!(scratch.run(&asked).unwrap().success());
    assert_eq!((scratch.output("joined").as_str(), scratch.output("made").as_str()), ("", ""));
}

/// The cgroup of a process to add, and the leaf of an annotation, are below the container's. Control: one that is there is taken.
#[test]
fn names_of_sub_cgroups_stay_below_the_container() {
    let Some(scratch) = unified() else { return };
    let running = scratch.sleeping(config());
    let exec = |path: &str| {
        running.exec_with(&process(&["/bin/true"]), |options| options.cgroups([path.to_owned()]))
    };
    assert!(exec("/").unwrap().success());
    for path in ["..", "../..", "/../x", "a/../..", "a\0b", "missing"] {
        assert!(exec(path).is_err(), "{path:?}");
    }
    for annotation in ["org.runtime.delegate-cgroup", "run.oci.delegate-cgroup"] {
        for (name, fits) in [("leaf", true), ("..", false), ("../leaf", false), ("a/../../leaf", false)] {
            let mut asked = config();
            asked["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
            asked["annotations"] = json!({annotation: name});
            let result = scratch.create(&asked);
            assert_eq!(result.is_ok(), fits, "{annotation} {name}: {:?}", result.err());
        }
    }
}
