//! The root file system as the container sees it: devices, masks, propagation, cgroups.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::descriptors::{accept, receive};
use crate::support::apart::{mount_table, still_placed};
use crate::support::{Bundle, privileged, read_until};

/// The output of a shell script in a container with a changed configuration.
#[track_caller]
fn output(script: &str, change: impl FnOnce(&mut Value)) -> String {
    let bundle = Bundle::new(&["sh", "-c", script]).with(change);
    bundle.container().go(&["run"]).ok().stdout
}

#[test]
fn default_devices_and_links() {
    if !privileged() {
        return;
    }
    let script = "cd /dev; stat -c '%n %t:%T %a %u:%g %F' null zero full random urandom tty; \
        for link in fd stdin stdout stderr ptmx; do echo $link $(readlink $link); done; \
        echo x > null; head -c 2 zero | wc -c; ls";
    let kind = "666 0:0 character special file";
    let expected = format!(
        "null 1:3 {kind}\nzero 1:5 {kind}\nfull 1:7 {kind}\nrandom 1:8 {kind}\nurandom 1:9 {kind}\ntty 5:0 {kind}\n\
        fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx\n2\n"
    );
    let output = output(script, |_| {});
    let list = output.strip_prefix(&expected).unwrap_or_else(|| panic!("{output}"));
    let more: Vec<&str> = list
        .lines()
        .filter(|name| !expected.lines().any(|line| line.split(' ').next() == Some(*name)))
        .collect();
    for name in &more {
        assert!(["core", "mqueue", "pts", "shm"].contains(name), "{name} of the host is in /dev: {more:?}");
    }
}

/// `docker run -v /dev/urandom:/dev/random`, also where the device is configured (`--privileged`). What is no
/// /dev/null never takes its place. Control: the default node on the other path.
#[test]
fn a_mount_in_the_place_of_a_device() {
    if !privileged() {
        return;
    }
    let bind =
        |on: &str| json!({"destination": on, "type": "bind", "source": "/dev/zero", "options": ["bind"]});
    let script = "stat -c '%n %t:%T' /dev/random /dev/urandom /dev/own";
    for devices in [json!([]), json!([{"path": "/dev/random", "type": "c", "major": 1, "minor": 8}])] {
        let output = output(script, |config| {
            config["linux"]["devices"] = devices.clone();
            let devices = config["linux"]["devices"].as_array_mut().expect("a list");
            devices.push(json!({"path": "/dev/own", "type": "c", "major": 1, "minor": 7}));
            config["mounts"].as_array_mut().expect("mounts").extend([bind("/dev/random"), bind("/dev/own")]);
        });
        assert_eq!(output, "/dev/random 1:5\n/dev/urandom 1:9\n/dev/own 1:5\n", "{devices}");
    }
    // What is mounted on /dev later covers a mount on a node.
    let output = output(script, |config| {
        config["linux"]["devices"] = json!([{"path": "/dev/own", "type": "c", "major": 1, "minor": 7}]);
        for path in ["/dev/random", "/dev/own"] {
            config["mounts"].as_array_mut().expect("mounts").insert(0, bind(path));
        }
        config["root"]["readonly"] = json!(false);
    });
    assert_eq!(output, "/dev/random 1:8\n/dev/urandom 1:9\n/dev/own 1:7\n");
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["mounts"].as_array_mut().expect("mounts").push(bind("/dev/null"));
    });
    bundle.container().go(&["run"]).fails(1, "verify the type of the file: file exists");
}

#[test]
fn configured_devices() {
    if !privileged() {
        return;
    }
    let script = "stat -c '%n %t:%T %a %u:%g %F' /dev/my/zero /dev/pipe /opt/block";
    let output = output(script, |config| {
        config["linux"]["devices"] = json!([
            {"path": "/dev/my/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 2},
            {"path": "/opt/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600, "uid": 0, "gid": 6}
        ]);
    });
    assert_eq!(
        output,
        "/dev/my/zero 1:5 640 7:8 character special file\n/dev/pipe 0:0 622 1:2 fifo\n\
        /opt/block 7:c8 600 0:6 block special file\n"
    );
}

#[test]
fn devices_in_a_user_namespace() {
    if !privileged() {
        return;
    }
    // Nodes cannot be made there: the host's are bound, and work.
    let script = "stat -c '%n %t:%T' /dev/null /dev/zero /dev/urandom /dev/kmsg; \
        echo x > /dev/null; head -c 2 /dev/zero | wc -c; readlink /dev/stdin";
    let output = output(script, |config| {
        own_user_namespace(config);
        config["linux"]["devices"] = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]);
    });
    let expected = "/dev/null 1:3\n/dev/zero 1:5\n/dev/urandom 1:9\n/dev/kmsg 1:b\n2\n/proc/self/fd/0\n";
    assert_eq!(output, expected);
}

#[test]
fn a_bound_dev_is_left_as_it_is() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["ls", "/dev"]).with(|config| {
        // Masks are made of the container's own /dev/null.
        config["linux"]["maskedPaths"] = json!([]);
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().unwrap_or("").starts_with("/dev"));
        mounts.push(json!({"destination": "/dev", "type": "bind", "source": "device", "options": ["rbind"]}));
    });
    let source = bundle.path().join("device");
    fs::create_dir(&source).expect("a directory");
    fs::write(source.join("marker"), "").expect("a file");
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "marker\n");
    assert_eq!(fs::read_dir(&source).expect("a directory").count(), 1, "nothing was made in it");
}

#[test]
fn masked_and_readonly_paths() {
    if !privileged() {
        return;
    }
    let script = "wc -c < /secret/file; ls -A /secret/directory; cat /locked/file; \
        for path in /locked/file /secret/directory/new /locked/new; do \
        (echo x > $path) 2>/dev/null && echo $path is writable; done; echo end";
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/secret/file", "/secret/directory", "/not/there"]);
        config["linux"]["readonlyPaths"] = json!(["/locked", "/not/there"]);
    });
    let root = bundle.path().join("rootfs");
    for directory in ["secret/directory", "locked"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    for file in ["secret/file", "secret/directory/file", "locked/file"] {
        fs::write(root.join(file), "content\n").expect("a file");
    }
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "0\ncontent\nend\n");
    assert_eq!(fs::read_to_string(root.join("secret/file")).expect("a file"), "content\n");
    assert!(!root.join("not").exists());
}

/// The root as a read-only path, by its name, by a link and by dots: the root itself is read-only with all
/// below it, for the program and for a process that joins it. Nothing of that is silent.
#[test]
fn a_readonly_path_that_is_the_root() {
    if !privileged() {
        return;
    }
    let script = "for path in /new /etc/new /dev/new /dev/shm/new; do \
        (touch $path) 2>/dev/null && echo $path is writable; done; echo x > /dev/null && echo end";
    for (path, no_pivot, user) in [
        ("/", false, false),
        ("/etc/..", false, false),
        ("/all", false, false),
        ("/all/.", true, false),
        ("/relative", false, true),
        ("/", true, true),
    ] {
        let bundle = Bundle::new(&["sh", "-c", &format!("{script}; exec sleep 60")]).with(|config| {
            config["linux"]["readonlyPaths"] = json!([path]);
            config["linux"]["maskedPaths"] = json!([]);
            // Made below the root after its read-only paths are known.
            config["process"]["cwd"] = json!("/made/late");
            if user {
                own_user_namespace(config);
            }
        });
        symlink("/", bundle.path().join("rootfs/all")).expect("a link");
        symlink("home/../..", bundle.path().join("rootfs/relative")).expect("a link");
        let container = bundle.container();
        let how: &[&str] = if no_pivot { &["run", "--detach", "--no-pivot"] } else { &["run", "--detach"] };
        container.go(how).ok();
        let output = container.go_with(&["exec"], &["sh", "-c", script]).ok().stdout;
        assert_eq!(output, "end\n", "{path}, no_pivot {no_pivot}, user {user}");
        container.go_with(&["kill"], &["KILL"]).ok();
        container.wait_for("stopped");
        let written = fs::read_dir(bundle.path().join("rootfs/etc")).expect("a directory").count();
        assert_eq!(written, 1, "{path}");
    }
}

/// The runtime writes below a read-only path before it is one.
#[test]
fn readonly_paths_hold_what_the_runtime_makes() {
    if !privileged() {
        return;
    }
    let script = "pwd; for path in /etc/x /etc/new/x /dev/x; do \
        (touch $path) 2>/dev/null && echo $path is writable; done; tty && echo end";
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        config["linux"]["readonlyPaths"] = json!(["/etc", "/dev"]);
        config["linux"]["maskedPaths"] = json!(["/etc/passwd"]);
        config["process"]["cwd"] = json!("/etc/new");
        config["process"]["terminal"] = json!(true);
    });
    let listener = UnixListener::bind(bundle.path().join("console")).expect("a socket");
    let container = bundle.container();
    container.go(&["run", "--detach", "--console-socket", "console"]).ok();
    let (_, master) = receive(&accept(&listener));
    let text = read_until(&mut fs::File::from(master), "end");
    assert_eq!(text.replace('\r', ""), "/etc/new\n/dev/pts/0\nend\n");
}

/// Nothing can be covered by covering the root: that is an error, not a mask that no program of the container
/// sees. A directory that is mounted once more in the container is not the root.
#[test]
fn a_masked_path_that_is_the_root() {
    if !privileged() {
        return;
    }
    let bundle = |path: &str| {
        let bundle = Bundle::new(&["ls", "-A", "/again"]).with(|config| {
            config["linux"]["maskedPaths"] = json!([path]);
            let again =
                json!({"destination": "/again", "type": "bind", "source": "rootfs", "options": ["bind"]});
            config["mounts"].as_array_mut().expect("mounts").push(again);
        });
        symlink("/", bundle.path().join("rootfs/all")).expect("a link");
        bundle
    };
    for path in ["/", "//.", "/etc/.."] {
        bundle(path).container().go(&["run"]).fails(1, "linux.maskedPaths[0]: is the root of the container");
    }
    bundle("/all").container().go(&["run"]).fails(1, "a link of the root file system leads to its root");
    assert_eq!(bundle("/again").container().go(&["run"]).ok().stdout, "");
    bundle("/proc/self/root").container().go(&["run"]).fails(1, "linux.maskedPaths[0]");
}

/// A user namespace that maps all ids to themselves.
pub(crate) fn own_user_namespace(config: &mut Value) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

#[test]
fn a_readonly_root() {
    if !privileged() {
        return;
    }
    let script = "touch /new 2>/dev/null && echo writable; touch /dev/shm/new && echo shm";
    assert_eq!(output(script, |config| config["root"]["readonly"] = json!(true)), "shm\n");
    let output = output(script, |config| config["root"]["readonly"] = json!(false));
    assert_eq!(output, "writable\nshm\n");
}

#[test]
fn propagation_of_the_root() {
    if !privileged() {
        return;
    }
    let before = mount_table();
    let script = "while read -r a b c d at options rest; do \
        [ $at = / ] && echo \"$rest\"; done < /proc/self/mountinfo | tail -n 1";
    for (value, field) in [
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("rslave", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        let output = output(script, |config| config["linux"]["rootfsPropagation"] = json!(value));
        let (fields, _) = output.split_once("- ").unwrap_or_else(|| panic!("{value}: {output:?}"));
        assert!(fields.starts_with(field), "{value}: {output}");
        assert_eq!(fields.is_empty(), field.is_empty(), "{value}: {output}");
    }
    assert_eq!(mount_table(), still_placed(before), "the caller's mounts are as they were");
    let bundle =
        Bundle::new(&["true"]).with(|config| config["linux"]["rootfsPropagation"] = json!("sideways"));
    bundle.container().go(&["run"]).fails(1, "linux.rootfsPropagation");
}

#[test]
fn no_pivot_hides_the_old_root_too() {
    if !privileged() {
        return;
    }
    let before = mount_table();
    let bundle = Bundle::new(&["sh", "-c", "ls -d /.. /bin/busybox; ls /"]);
    let pivoted = bundle.container().go(&["run"]).ok().stdout;
    let moved = bundle.container().go(&["run", "--no-pivot"]).ok().stdout;
    assert_eq!(pivoted, moved);
    assert!(moved.starts_with("/..\n/bin/busybox\n"), "{moved}");
    assert_eq!(mount_table(), still_placed(before), "the caller's mounts are as they were");
}

#[test]
fn the_cgroup_mount_holds_the_containers_own() {
    if !privileged() {
        return;
    }
    // Version 2 without a namespace shows the whole hierarchy, so the path leads to the cgroup;
    // version 1 has a directory per controller, each with the container's cgroup alone.
    let script = "cd /sys/fs/cgroup; if [ -e cgroup.procs ]; then cd .$(sed -n 's/^0:://p' /proc/self/cgroup); \
        else cd pids; fi && cat cgroup.procs; touch /sys/fs/cgroup/new 2>/dev/null && echo writable";
    for namespace in [true, false] {
        let output = output(&format!("{script}; true"), |config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.retain(|entry| entry["type"] != "cgroup");
            if namespace {
                namespaces.push(json!({"type": "cgroup"}));
            }
        });
        assert_eq!(output.lines().next(), Some("1"), "namespace {namespace}: {output}");
        assert!(output.lines().all(|line| line != "0" && line != "writable"), "{namespace}: {output}");
    }
}

#[test]
fn the_place_of_the_root() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let absolute = bundle.path().join("rootfs");
    let bundle = bundle.with(|config| config["root"]["path"] = json!(absolute));
    bundle.container().go(&["run"]).ok();
    let bundle = bundle.with(|config| config["root"]["path"] = json!("./rootfs/../rootfs"));
    bundle.container().go(&["run"]).ok();
    let bundle = bundle.with(|config| config["root"]["path"] = json!("elsewhere"));
    bundle.container().go(&["run"]).fails(1, "elsewhere");
    let bundle = bundle.with(|config| config["root"] = json!({"readonly": false}));
    bundle.container().go(&["run"]).fails(1, "root.path");
}
