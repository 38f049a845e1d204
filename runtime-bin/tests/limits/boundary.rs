//! Cgroup namespaces as boundaries: the mount option nsdelegate of cgroup2, which systemd sets
//! (cgroup-v2.rst, "Delegation containment").

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::scene::{ASLEEP, Group, controllers, limited};
use crate::support::{Bundle, Run, Running as _, runtime_path, until};

/// What the error of a refused move says besides the errno.
const HINT: &str = "hint: cgroup2 is mounted with nsdelegate";

/// Whether the test can run: the option is one of the whole machine, so the test does not set it.
fn boundaries() -> bool {
    if !controllers(&["memory", "pids"]) {
        return false;
    }
    let mounts = fs::read_to_string("/proc/mounts").expect("the mounts");
    let found = mounts.lines().any(|line| {
        let words: Vec<_> = line.split(' ').collect();
        words[1] == "/sys/fs/cgroup" && words[3].split(',').any(|option| option == "nsdelegate")
    });
    let required = std::env::var_os("REQUIRE_CONTROLLERS").is_some_and(|value| value == "1");
    assert!(found || !required, "REQUIRE_CONTROLLERS=1, but cgroup2 is mounted without nsdelegate");
    if !found {
        eprintln!("skipped: cgroup2 is mounted without nsdelegate");
    }
    found
}

/// A command of the runtime in another cgroup namespace, with the mounts of this one.
fn inside(enter: &[&str], bundle: &Bundle, words: &[&str]) -> Run {
    Command::new(enter[0])
        .args(&enter[1..])
        .arg(runtime_path())
        .arg("--root")
        .arg(bundle.state())
        .current_dir(bundle.path())
        .go(words)
}

/// A new namespace has its root at the caller's own cgroup, and the container would be beside that.
#[test]
fn no_container_is_made_on_the_other_side() {
    if !boundaries() {
        return;
    }
    let bundle = limited(ASLEEP, &json!({}));
    let id = format!("boundary-{}", std::process::id());
    let run = inside(&["unshare", "--cgroup"], &bundle, &["run", "-d", &id]);
    let path = format!("/sys/fs/cgroup/{id}");
    assert_eq!(run.code, 1, "{run:?}");
    for part in [&format!("put a process into cgroup \\\"{path}\\\""), "no such file or directory", HINT] {
        assert!(run.stderr.contains(part), "{part:?} is not in {run:?}");
    }
    assert!(!Path::new(&path).exists() && !bundle.state().join(&id).exists());
}

/// From a namespace that the container is not in: no process comes in, everything else works.
#[test]
fn a_container_on_the_other_side_takes_no_process() {
    if !boundaries() {
        return;
    }
    let bundle = limited(ASLEEP, &json!({"pids": {"limit": 20}}));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    let go = |words: &[&str]| inside(&["unshare", "--cgroup"], &bundle, words);
    let run = go(&["exec", &container.id, "true"]).fails(255, HINT);
    assert!(run.stderr.contains("put a process into cgroup"), "{run:?}");
    group.has("pids.current", "1");
    go(&["update", "--pids-limit", "9", &container.id]).ok();
    group.has("pids.max", "9");
    go(&["pause", &container.id]).ok();
    group.has("cgroup.freeze", "1");
    go(&["resume", &container.id]).ok();
    go(&["events", "--stats", &container.id]).ok();
    go(&["delete", "--force", &container.id]).ok();
    assert!(!group.exists());
}

/// From the container's own namespace its cgroup is the root, whose limits are the host's.
#[test]
fn the_limits_of_a_namespaces_root_are_not_its_own() {
    if !boundaries() {
        return;
    }
    let limits = json!({"memory": {"limit": 67108864}, "pids": {"limit": 20}});
    let bundle = limited(ASLEEP, &limits).with(|config| {
        config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "cgroup"}));
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if mount["destination"] == "/sys/fs/cgroup" {
                mount["options"].as_array_mut().expect("options").retain(|option| option != "ro");
            }
        }
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        let mut seen = Vec::new();
        namespaces.retain(|one| {
            let new = !seen.contains(one);
            seen.push(one.clone());
            new
        });
    });
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    let pid = container.state()["pid"].to_string();
    let run = inside(
        &["nsenter", "--cgroup", "--target", &pid],
        &bundle,
        &["update", "--pids-limit", "30", &container.id],
    );
    run.fails(1, "hint: with the mount option nsdelegate of cgroup2, the limits of the root");
    group.has("pids.max", "20");
    // Nor does the container's own root get past it, though the mount is writable.
    let lift = "echo max > /sys/fs/cgroup/memory.max";
    let run = container.go_with(&["exec"], &["sh", "-c", lift]);
    assert!(run.code != 0 && run.stderr.contains("not permitted"), "{run:?}");
    group.has("memory.max", "67108864");
    // Cgroups below are the container's own.
    let make = "cd /sys/fs/cgroup && mkdir job && echo $$ > job/cgroup.procs && cat /proc/self/cgroup";
    let run = container.go_with(&["exec"], &["sh", "-c", make]).ok();
    assert!(run.stdout.ends_with("0::/job\n"), "{run:?}");
}

/// A cgroup for a nested runtime, with the controllers of the root.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids").expect("controllers");
        let path = PathBuf::from(format!("/sys/fs/cgroup/nested-{}", std::process::id()));
        fs::create_dir(&path).expect("a cgroup");
        Self(path)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for path in [self.0.join("runtime"), self.0.clone()] {
            until("an empty cgroup", || fs::remove_dir(&path).is_ok() || !path.exists());
        }
    }
}

/// A whole life inside of a namespace, as in a container that runs containers.
#[test]
fn a_runtime_inside_sees_only_its_own_tree() {
    if !boundaries() {
        return;
    }
    let tree = Tree::new();
    let limits = json!({"memory": {"limit": 67108864}, "pids": {"limit": 20}});
    let bundle = limited(ASLEEP, &limits).with(|config| config["linux"]["cgroupsPath"] = json!("/inner"));
    // Its own processes move out of the root, so that it can have controllers enabled.
    let begin = format!(
        "echo $$ > {}/cgroup.procs && exec unshare --cgroup --mount sh -ec \"$0\" \"$@\"",
        tree.0.display()
    );
    let script = r#"
        umount -R /sys/fs/cgroup
        mount -t cgroup2 none /sys/fs/cgroup
        mkdir /sys/fs/cgroup/runtime
        echo $$ > /sys/fs/cgroup/runtime/cgroup.procs
        id=$1; shift
        "$@" run -d "$id"
        cat /sys/fs/cgroup/inner/memory.max /sys/fs/cgroup/inner/pids.max
        "$@" update --pids-limit 30 "$id"
        cat /sys/fs/cgroup/inner/pids.max
        "$@" exec "$id" cat /proc/1/cgroup
        "$@" delete --force "$id"
        test ! -e /sys/fs/cgroup/inner
    "#;
    let run = Command::new("sh")
        .args(["-c", &begin, script, "sh", "inner"])
        .arg(runtime_path())
        .arg("--root")
        .arg(bundle.state())
        .current_dir(bundle.path())
        .go::<&str>(&[])
        .ok();
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[..3], ["67108864", "20", "30"], "{run:?}");
    assert!(lines[3].ends_with("/"), "the container is in its own namespace, or in {}", lines[3]);
}
