//! Masked and read-only paths, with whatever the image has at /dev/null (CVE-2025-31133,
//! CVE-2025-62161, CVE-2026-88265).

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::support::{Scratch, config, shell, with_mount, without_dev};

fn masked(mut config: Value) -> Value {
    config["linux"]["maskedPaths"] =
        json!(["/etc/secret", "/etc/directory", "/etc/missing", "/etc/secret/below"]);
    config
}

const READ: &str = "cat /etc/secret > /out/file; ls -A /etc/directory > /out/list; touch /etc/directory/x && touch /out/written; true";

/// Control: without the mask the same program reads both.
#[test]
fn masked_paths_hold_whatever_dev_null_is() {
    let Some(scratch) = Scratch::new() else { return };
    let root = scratch.root();
    fs::write(root.join("etc/secret"), "secret").unwrap();
    fs::create_dir(root.join("etc/directory")).unwrap();
    fs::write(root.join("etc/directory/secret"), "secret").unwrap();
    assert!(scratch.run_shell(READ).unwrap().success());
    assert_eq!((scratch.output("file"), scratch.output("list")), ("secret".into(), "secret\n".into()));
    assert_eq!(scratch.output("written"), "");
    fs::remove_file(root.join("etc/directory/x")).unwrap();

    let decoy = scratch.decoy();
    let null = root.join("dev/null");
    type Make<'a> = (&'a str, Box<dyn Fn()>);
    let node = |kind: SFlag, number| {
        let null = null.clone();
        Box::new(move || mknod(&null, kind, Mode::from_bits_truncate(0o666), number).unwrap())
            as Box<dyn Fn()>
    };
    let link = |target: std::path::PathBuf| {
        let null = null.clone();
        Box::new(move || symlink(&target, &null).unwrap()) as Box<dyn Fn()>
    };
    let cases: Vec<Make> = vec![
        ("missing", Box::new(|| {})),
        ("link to the host", link(decoy.0.clone())),
        ("relative link", link("../../../decoy".into())),
        ("link inside", link("/etc/secret".into())),
        ("link to procfs", link("/proc/self/status".into())),
        ("fifo", node(SFlag::S_IFIFO, 0)),
        ("zero", node(SFlag::S_IFCHR, makedev(1, 5))),
        ("block device", node(SFlag::S_IFBLK, makedev(1, 3))),
        ("regular file", node(SFlag::S_IFREG, 0)),
        ("null", node(SFlag::S_IFCHR, makedev(1, 3))),
    ];
    for (name, make) in cases {
        fs::remove_dir_all(root.join("dev")).unwrap();
        fs::create_dir(root.join("dev")).unwrap();
        make();
        scratch.clear();
        let result = scratch.run(&masked(without_dev(shell(READ))));
        decoy.check();
        assert_eq!(
            (scratch.output("file"), scratch.output("list")),
            (String::new(), String::new()),
            "{name}"
        );
        assert!(!scratch.root().join("out/written").exists(), "{name}");
        // Where /dev/null is what it has to be, the container runs.
        assert_eq!(result.is_ok(), name == "null" || name == "missing", "{name}: {result:?}");
    }
}

/// The image's links at masked and read-only paths stay inside.
/// Control: the path itself is read-only, and was not before.
#[test]
fn restrictions_do_not_leave_the_root() {
    let Some(scratch) = Scratch::new() else { return };
    let decoy = scratch.decoy();
    for (index, target) in [decoy.0.clone(), "../../../decoy".into(), "/etc".into()].iter().enumerate() {
        symlink(target, scratch.root().join(format!("etc/link{index}"))).unwrap();
    }
    let line = "touch /etc/file && touch /out/written; true";
    assert!(scratch.run_shell(line).unwrap().success());
    assert!(scratch.root().join("out/written").exists());
    scratch.clear();
    let mut asked = shell(line);
    asked["linux"]["readonlyPaths"] = json!(["/etc", "/etc/link0", "/etc/link1", "/etc/link2", "/missing"]);
    asked["linux"]["maskedPaths"] = json!(["/etc/link0", "/etc/link1"]);
    let before = crate::apart::mount_table();
    assert!(scratch.run(&asked).unwrap().success());
    assert!(!scratch.root().join("out/written").exists());
    decoy.check();
    assert_eq!(crate::apart::mount_table(), crate::apart::still_placed(before));
}

/// All masked directories are one file system, read-only: one superblock, however many there are.
/// Control: two tmpfs mounts of the configuration have two.
#[test]
fn masked_directories_share_a_file_system() {
    let Some(scratch) = Scratch::new() else { return };
    let mut asked = config();
    for name in ["a", "b", "c"] {
        fs::create_dir(scratch.root().join(name)).unwrap();
    }
    asked["linux"]["maskedPaths"] = json!(["/a", "/b", "/c"]);
    for destination in ["/tmp", "/out"] {
        asked["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}));
    }
    let created = scratch.create(&asked).unwrap();
    let device = |point: &str| {
        let lines = crate::support::mountinfo(created.pid());
        let line = lines.iter().find(|line| line.split(' ').nth(4) == Some(point)).unwrap();
        let fields: Vec<&str> = line.split(' ').collect();
        (fields[2].to_owned(), fields[5].starts_with("ro"))
    };
    assert_eq!(device("/a"), device("/b"));
    assert_eq!(device("/a"), device("/c"));
    assert!(device("/a").1);
    assert_ne!(device("/tmp"), device("/out"));
}

/// A node of the test's own at /dev/null: the host's would be given away for all.
fn own_null(scratch: &Scratch) {
    use nix::mount::{MsFlags, mount};
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let node = scratch.path().join("null");
    mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    mount(Some(&node), "/dev/null", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Pipes, files and /dev/null as standard streams of another user: only what is the caller's to give
/// changes its owner, and never /dev/null. Control: the pipe does change.
#[test]
fn dev_null_is_not_given_away() {
    use std::os::unix::fs::MetadataExt;
    if !crate::support::alone("masked::dev_null_is_not_given_away") {
        return;
    }
    let Some(scratch) = Scratch::new() else { return };
    let (reader, writer) = std::io::pipe().unwrap();
    nix::unistd::dup2_stdin(&reader).unwrap();
    let owner = || fs::metadata("/proc/self/fd/0").unwrap().uid();
    own_null(&scratch);
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!(owner(), 0);
    let mut asked = shell("readlink /proc/$$/fd/0 > /out/stdin");
    asked["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    assert!(scratch.run(&asked).unwrap().success());
    assert!(scratch.output("stdin").starts_with("pipe:"));
    assert_eq!(owner(), 1000);
    drop(writer);
    let file = fs::File::open("/dev/null").unwrap();
    nix::unistd::dup2_stdin(&file).unwrap();
    assert!(scratch.run(&asked).unwrap().success());
    // Where the container has no such node of its own, the stream stays what the caller gave.
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let bind = json!({"destination": "/dev", "type": "bind", "source": empty, "options": ["rbind"]});
    assert!(scratch.run(&with_mount(without_dev(asked), bind)).unwrap().success());
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode()), (null.uid(), null.gid(), null.mode()));
}

/// /dev is bound, so that the runtime makes nothing in it: what masks a file is the null device of that directory, or the
/// container is refused. Control: with that device the path is masked.
#[test]
fn the_null_of_a_bound_dev_is_verified() {
    let Some(scratch) = Scratch::new() else { return };
    let dev = scratch.path().join("dev");
    fs::create_dir(&dev).unwrap();
    fs::write(scratch.root().join("etc/secret"), "secret").unwrap();
    let everybody = Mode::from_bits_truncate(0o666);
    let node = |name: &str, kind, minor| mknod(&dev.join(name), kind, everybody, makedev(1, minor)).unwrap();
    node("real", SFlag::S_IFCHR, 3);
    let bind = json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"]});
    let mut asked = with_mount(without_dev(shell("cat /etc/secret > /out/secret; true")), bind);
    asked["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    type Make<'a> = (&'a str, Box<dyn Fn() + 'a>, bool);
    let cases: Vec<Make> = vec![
        ("missing", Box::new(|| {}), false),
        ("link to a device of that kind", Box::new(|| symlink("real", dev.join("null")).unwrap()), false),
        ("link to the host", Box::new(|| symlink("/etc/passwd", dev.join("null")).unwrap()), false),
        ("regular file", Box::new(|| fs::write(dev.join("null"), "shown").unwrap()), false),
        ("fifo", Box::new(|| node("null", SFlag::S_IFIFO, 0)), false),
        ("zero", Box::new(|| node("null", SFlag::S_IFCHR, 5)), false),
        ("block device", Box::new(|| node("null", SFlag::S_IFBLK, 3)), false),
        ("directory", Box::new(|| fs::create_dir(dev.join("null")).unwrap()), false),
        ("null", Box::new(|| node("null", SFlag::S_IFCHR, 3)), true),
    ];
    for (name, make, is_null) in cases {
        fs::remove_file(dev.join("null")).or_else(|_| fs::remove_dir(dev.join("null"))).ok();
        make();
        scratch.clear();
        let result = scratch.run(&asked);
        assert_eq!(result.is_ok(), is_null, "{name}: {result:?}");
        assert_eq!(scratch.output("secret"), "", "{name}");
    }
}
