//! `mounts add` and `mounts remove` on a running container, and what a container may not gain by them.

use std::fs;
use std::os::unix::fs::symlink;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use crate::support::{Bundle, Container, Run, Running as _, privileged};

fn mounts(bundle: &Bundle, container: &Container<'_>, verb: &str, list: &Value) -> Run {
    let file = bundle.path().join("mounts.json");
    fs::write(&file, list.to_string()).expect("the list");
    bundle.runtime().args(["mounts", verb, &container.id]).go(&[file])
}

fn sh(container: &Container<'_>, script: &str) -> Run {
    container.go_with(&["exec"], &["sh", "-c", script])
}

#[test]
fn added_and_removed() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let source = bundle.path().join("source");
    fs::create_dir(&source).expect("a directory");
    fs::write(source.join("file"), "of the host").expect("a file");
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let list = json!([
        {"destination": "/new/dir", "type": "bind", "source": source, "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/one", "source": source.join("file"), "options": ["bind"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "noexec"]},
    ]);
    mounts(&bundle, &container, "add", &list).ok();
    let run = sh(
        &container,
        "cat /new/dir/file /one; touch /scratch/x && echo written; grep -c scratch /proc/mounts",
    );
    assert_eq!(run.ok().stdout, "of the hostof the hostwritten\n1\n");
    sh(&container, "touch /new/dir/x").fails(1, "Read-only");
    let table = sh(&container, "cat /proc/self/mountinfo").ok().stdout;
    let line = table.lines().find(|line| line.contains("/new/dir")).expect("the mount");
    assert!(line.contains(" ro,nosuid") && !line.contains("shared:") && !line.contains("master:"), "{line}");

    mounts(&bundle, &container, "remove", &list).ok();
    let table = sh(&container, "cat /proc/self/mountinfo").ok().stdout;
    assert!(!["/new/dir", "/one", "/scratch"].iter().any(|path| table.contains(path)), "{table}");
    mounts(&bundle, &container, "remove", &list).fails(1, "was not added to the container");
    let host = fs::read_to_string("/proc/self/mountinfo").expect("the table");
    assert!(!host.contains("/new/dir"), "{host}");
}

#[test]
fn a_container_cannot_lead_them_astray() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let decoy = bundle.path().join("decoy");
    fs::create_dir(&decoy).expect("a directory");
    let rootfs = bundle.path().join("rootfs");
    // Of the host's view these lead out; inside they lead to what the container has.
    symlink(&decoy, rootfs.join("out")).expect("a link");
    symlink("/", rootfs.join("whole")).expect("a link");
    symlink("/proc/self", rootfs.join("proc-link")).expect("a link");
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let source = bundle.path();
    let one =
        |destination: &str| json!([{"destination": destination, "source": source, "options": ["bind"]}]);
    mounts(&bundle, &container, "add", &one("/out/sub")).fails(1, "/out/sub");
    mounts(&bundle, &container, "add", &one("/whole")).fails(1, "invalid argument");
    mounts(&bundle, &container, "add", &one("/proc-link/attr")).fails(1, "/proc-link/attr");
    mounts(&bundle, &container, "add", &one("/proc/sys")).fails(1, "inside /proc");
    assert_eq!(fs::read_dir(&decoy).expect("the decoy").count(), 0);

    // A mask is not what was added, also where a link leads to it.
    mounts(&bundle, &container, "remove", &one("/proc/keys")).fails(1, "mounts[0]");
    sh(&container, "mkdir -p /a").ok();
    mounts(&bundle, &container, "add", &one("/a")).ok();
    sh(&container, "mkdir /b && ln -s /proc/acpi /b/c").ok();
    let file = bundle.state().join(&container.id).join("state.json");
    let record = fs::read_to_string(&file).expect("the state");
    assert!(record.contains("\"/a\""), "{record}");
    // As if the container had exchanged the directory: the number of the mount does not agree.
    fs::write(&file, record.replace("\"/a\"", "\"/b/c\"")).expect("the state");
    mounts(&bundle, &container, "remove", &one("/b/c")).fails(1, "/b/c");
}

#[test]
fn what_cannot_be_added() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    let one = |more: Value| {
        let mut mount = json!({"destination": "/a", "source": "/tmp", "options": ["bind"]});
        mount.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!([mount])
    };
    mounts(&bundle, &container, "add", &one(json!({}))).fails(1, "does not exist");
    container.go(&["run", "--detach"]).ok();
    for (more, text) in [
        (json!({"source": "relative"}), "absolute path"),
        (json!({"source": "/nonexistent"}), "no such file or directory"),
        (json!({"options": ["bind", "rshared"]}), "share"),
        (json!({"type": "proc", "options": []}), "only bind mounts and tmpfs"),
        (json!({"destination": "/"}), "root of the container"),
        (json!({"destination": "/etc/passwd"}), "not a directory"),
        (json!({"source": "/etc/passwd", "destination": "/tmp"}), "not a directory"),
    ] {
        mounts(&bundle, &container, "add", &one(more)).fails(1, text);
    }
    mounts(&bundle, &container, "add", &json!({})).fails(1, "mounts");
    mounts(&bundle, &container, "change", &one(json!({}))).fails(1, "add or remove");
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    mounts(&bundle, &container, "add", &one(json!({}))).fails(1, "stopped container");
}

/// What the host has forbidden on a mount, a container with all capabilities in a user namespace cannot
/// take back, nor look below what is mounted further down.
#[test]
fn the_hosts_attributes_are_locked_in_a_user_namespace() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        for map in ["uidMappings", "gidMappings"] {
            config["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        }
        config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
    });
    let source = bundle.path().join("source");
    fs::create_dir_all(source.join("sub")).expect("a directory");
    fs::write(source.join("sub/secret"), "").expect("a file");
    let none = None::<&str>;
    mount(Some(&source), &source, none, MsFlags::MS_BIND, none).expect("a bind mount");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    mount(Some("tmpfs"), &source.join("sub"), Some("tmpfs"), MsFlags::empty(), none).expect("a tmpfs");
    mount(none, &source, none, flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT, none).expect("a remount");
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let list = json!([
        {"destination": "/added", "source": source, "options": ["rbind"]},
        {"destination": "/named", "source": source, "options": ["rbind", "noexec"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]},
    ]);
    mounts(&bundle, &container, "add", &list).ok();
    for place in ["/added", "/named"] {
        for option in ["rw", "ro,suid,nodev", "ro,dev,nosuid"] {
            sh(&container, &format!("mount -o remount,bind,{option} {place}")).fails(1, "ermi");
        }
        sh(&container, &format!("umount {place}/sub")).fails(1, "nvalid");
        sh(&container, &format!("test -e {place}/sub/secret || touch {place}/x")).fails(1, "Read-only");
    }
    let table = sh(&container, "cat /proc/self/mountinfo").ok().stdout;
    let line = table.lines().find(|line| line.contains(" /named ")).expect("the mount");
    assert!(line.contains(" ro,nosuid,nodev,noexec") && !line.contains("master:"), "{line}");
    mounts(&bundle, &container, "remove", &list).ok();
    for place in [source.join("sub"), source] {
        umount2(&place, MntFlags::MNT_DETACH).expect("unmounted");
    }
}
