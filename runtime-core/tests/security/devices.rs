//! What the runtime makes in /dev of an image (the 2025 audit, CVE-2026-41579, CVE-2025-24965).

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::json;

use crate::support::{Scratch, config, process, set_mode, shell, with_mount, without_dev};

/// Every node that the runtime makes is a link to a file of the host: no content, mode or owner
/// changes, and nothing is made in that place. Control: without links, all of them are made.
#[test]
fn nodes_that_are_links_to_the_host_change_nothing() {
    let Some(scratch) = Scratch::new() else { return };
    let names = [
        "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx",
        "console",
    ];
    let decoy = scratch.decoy();
    let place = scratch.path().join("place");
    fs::create_dir(&place).unwrap();
    for name in names {
        let new = place.join(name);
        for target in [decoy.0.clone(), "../../../decoy".into(), new] {
            let link = scratch.root().join("dev").join(name);
            symlink(&target, &link).unwrap();
            // A refusal is as good as a container without the node.
            if let Ok(exit) = scratch.run(&without_dev(config())) {
                assert!(exit.success());
            }
            decoy.check();
            assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "{name} -> {target:?}");
            for entry in fs::read_dir(scratch.root().join("dev")).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }
    assert!(scratch.run(&without_dev(config())).unwrap().success());
    assert!(scratch.root().join("dev/zero").symlink_metadata().unwrap().file_type().is_char_device());
    assert!(scratch.root().join("dev/fd").is_symlink());
}

/// A node of the configuration too. Control: runc 1.1 makes it where the link leads, inside.
#[test]
fn configured_devices_do_not_follow_links() {
    let Some(scratch) = Scratch::new() else { return };
    let decoy = scratch.decoy();
    for (place, target) in [("opt", scratch.path().to_path_buf()), ("opt", "/".into())] {
        let link = scratch.root().join(place);
        symlink(&target, &link).unwrap();
        let mut asked = config();
        asked["linux"]["devices"] = json!([
            {"path": "/opt/decoy", "type": "c", "major": 1, "minor": 5, "fileMode": 438, "uid": 7, "gid": 7},
        ]);
        assert!(scratch.run(&asked).is_err(), "{target:?}");
        decoy.check();
        fs::remove_file(link).unwrap();
    }
    let mut asked = shell("stat -c %t,%T /opt/decoy > /out/node");
    asked["linux"]["devices"] = json!([{"path": "/opt/decoy", "type": "c", "major": 1, "minor": 5}]);
    assert!(scratch.run(&asked).unwrap().success());
    assert_eq!(scratch.output("node"), "1,5\n");
}

/// /dev of the image is a link to a volume, that is, to a directory of the host: no node and no link
/// is made there. Control: runc 1.1 makes them there.
#[test]
fn a_dev_that_leads_into_a_volume_gets_nothing() {
    let Some(scratch) = Scratch::new() else { return };
    let volume = scratch.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::create_dir(scratch.root().join("data")).unwrap();
    fs::remove_dir(scratch.root().join("dev")).unwrap();
    for target in ["/data", "data", "../../../../data"] {
        let link = scratch.root().join("dev");
        symlink(target, &link).unwrap();
        let bind = json!({"destination": "/data", "type": "bind", "source": volume, "options": ["rbind"]});
        let asked = with_mount(without_dev(config()), bind);
        assert!(scratch.run(&asked).is_err(), "{target}");
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 0, "{target}");
        if let Some(output) = scratch.run_by_runc(&asked) {
            let made = fs::read_dir(&volume).unwrap().count();
            assert!(made > 0, "the control: {}", String::from_utf8_lossy(&output.stderr));
            for entry in fs::read_dir(&volume).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        fs::remove_file(link).unwrap();
    }
}

/// The runtime writes no file of its own into the root. Control: the program's own file is seen.
#[test]
fn nothing_else_is_left_in_the_root() {
    let Some(scratch) = Scratch::new() else { return };
    let list = || {
        let output =
            Command::new("find").arg(scratch.root()).args(["-printf", "%P %y %m %U %l\n"]).output().unwrap();
        let mut lines: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = list();
    let running = scratch.sleeping(config());
    assert!(running.exec(&process(&["/bin/true"])).unwrap().success());
    drop(running);
    assert_eq!(list(), before);
    assert!(scratch.run_shell("touch /out/file").unwrap().success());
    assert_eq!(list().len(), before.len() + 1);
}

/// A node or a link of the image that is another one than the container is to have: refused, not used in its place.
/// Control: equal ones are used.
#[test]
fn a_node_that_is_another_one_is_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let dev = scratch.root().join("dev");
    let everybody = Mode::from_bits_truncate(0o666);
    let node = |name: &str, kind, major, minor| {
        mknod(&dev.join(name), kind, everybody, makedev(major, minor)).unwrap();
    };
    type Make<'a> = (&'a str, Box<dyn Fn() + 'a>, bool);
    let cases: Vec<Make> = vec![
        ("another device", Box::new(|| node("null", SFlag::S_IFCHR, 1, 5)), false),
        ("another driver", Box::new(|| node("tty", SFlag::S_IFCHR, 4, 0)), false),
        ("a block device", Box::new(|| node("zero", SFlag::S_IFBLK, 1, 5)), false),
        ("a fifo", Box::new(|| node("full", SFlag::S_IFIFO, 0, 0)), false),
        ("a file", Box::new(|| fs::write(dev.join("random"), "4").unwrap()), false),
        ("a directory", Box::new(|| fs::create_dir(dev.join("urandom")).unwrap()), false),
        ("another ptmx", Box::new(|| symlink("/tmp/ptmx", dev.join("ptmx")).unwrap()), false),
        ("a ptmx that is no link", Box::new(|| fs::write(dev.join("ptmx"), "").unwrap()), false),
        ("an equal node", Box::new(|| node("null", SFlag::S_IFCHR, 1, 3)), true),
        ("an equal link", Box::new(|| symlink("pts/ptmx", dev.join("ptmx")).unwrap()), true),
    ];
    for (name, make, is_equal) in cases {
        fs::remove_dir_all(&dev).unwrap();
        fs::create_dir(&dev).unwrap();
        make();
        let result = scratch.run(&without_dev(config()));
        assert_eq!(result.is_ok(), is_equal, "{name}: {result:?}");
    }
}

/// In a user namespace the nodes of the host are bound: one that is another device is not. Control: with the right device
/// the container runs.
#[test]
fn a_node_of_the_host_that_is_another_one_is_not_bound() {
    let Some(scratch) = Scratch::new() else { return };
    set_mode(scratch.path(), 0o755);
    let mut asked = config();
    asked["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        asked["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    }
    assert!(scratch.run(&asked).unwrap().success());
    for (kind, major, minor) in [(SFlag::S_IFCHR, 1, 5), (SFlag::S_IFCHR, 4, 7), (SFlag::S_IFIFO, 0, 0)] {
        let other = scratch.path().join(format!("node-{major}-{minor}"));
        mknod(&other, kind, Mode::from_bits_truncate(0o666), makedev(major, minor)).unwrap();
        // In the mount namespace of this test.
        mount(Some(&other), "/dev/full", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let result = scratch.run(&asked);
        nix::mount::umount("/dev/full").unwrap();
        assert!(result.is_err(), "{major}:{minor}");
    }
}
