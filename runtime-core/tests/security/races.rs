//! The image, or a volume that another container shares, changes while the container is made
//! (CVE-2021-30465, CVE-2024-45310).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::support::{Scratch, config, mountinfo, runs, shell, with_mount, without_dev};

/// Exchanges two names for ever, until it is dropped.
struct Racer(Child);

impl Racer {
    fn start(scratch: &Scratch, one: &Path, other: &Path) -> Self {
        scratch.add_attacker();
        let program = scratch.path().join("attacker");
        fs::rename(scratch.root().join("bin/attacker"), &program).unwrap();
        let racer = Self(Command::new(program).arg("exchange").args([one, other]).spawn().unwrap());
        // The control of every race: both states are seen.
        let (mut links, mut others) = (0, 0);
        while links == 0 || others == 0 {
            match fs::symlink_metadata(one) {
                Ok(data) if data.is_symlink() => links += 1,
                _ => others += 1,
            }
        }
        racer
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Points and types of the mounts of a container.
fn points(pid: i32) -> Vec<String> {
    mountinfo(pid).iter().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// A destination, or its parent, is a directory and a link to the host in turn.
#[test]
fn an_exchanged_destination_stays_inside() {
    let Some(scratch) = Scratch::new() else { return };
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let volume = scratch.root().join("volume");
    fs::create_dir_all(volume.join("place")).unwrap();
    symlink("../../../outside", volume.join("link")).unwrap();
    let _racer = Racer::start(&scratch, &volume.join("place"), &volume.join("link"));
    let (mut made, mut refused) = (0, 0);
    let before = crate::apart::mount_table();
    for run in 0..runs() {
        let destination = ["/volume/place", "/volume/place/x"][run as usize % 2];
        let mount = json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"});
        match scratch.create(&with_mount(config(), mount)) {
            Ok(created) => {
                made += 1;
                let points = points(created.pid());
                assert_eq!(points.len(), 5, "{points:?}");
                let inside = |point: &String| point.starts_with("/volume/") || point.starts_with("/outside");
                assert!(points.iter().any(inside), "{points:?}");
            }
            Err(_) => refused += 1,
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made on the host");
        assert_eq!(crate::apart::mount_table(), crate::apart::still_placed(before.clone()));
    }
    println!("{made} made, {refused} refused");
}

/// /proc is a directory and a link in turn: real, or refused.
#[test]
fn an_exchanged_proc_is_real_or_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let root = scratch.root();
    fs::create_dir_all(root.join("fake/self/attr")).unwrap();
    symlink("fake", root.join("other")).unwrap();
    let _racer = Racer::start(&scratch, &root.join("proc"), &root.join("other"));
    for _ in 0..runs() {
        if let Ok(created) = scratch.create(&config()) {
            let points = points(created.pid());
            // An exchange after the mount renames what it is on.
            let proc = points.iter().any(|point| point == "/proc" || point == "/other");
            assert!(proc && !points.iter().any(|point| point.starts_with("/fake")), "{points:?}");
        }
        assert_eq!(fs::read_dir(root.join("fake")).unwrap().count(), 1);
    }
}

/// /dev/null is the real one and a link to a file of the host in turn, while paths are masked by it.
#[test]
fn an_exchanged_dev_null_masks_or_is_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let decoy = scratch.decoy();
    let root = scratch.root();
    fs::write(root.join("etc/secret"), "secret").unwrap();
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(&root.join("dev/null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    symlink("../../../decoy", root.join("dev/other")).unwrap();
    let _racer = Racer::start(&scratch, &root.join("dev/null"), &root.join("dev/other"));
    let mut asked: Value = without_dev(shell("cat /etc/secret > /out/secret; true"));
    asked["linux"]["maskedPaths"] = json!(["/etc/secret"]);
    let mut ran = 0;
    for _ in 0..runs() {
        scratch.clear();
        ran += u32::from(scratch.run(&asked).is_ok());
        assert_eq!(scratch.output("secret"), "");
        decoy.check();
    }
    println!("{ran} ran");
}

/// The terminal's places are real and links in turn: the decoy is never opened nor covered.
#[test]
fn an_exchanged_console_stays_inside() {
    let Some(scratch) = Scratch::new() else { return };
    let decoy = scratch.decoy();
    let root = scratch.root();
    fs::write(root.join("dev/console"), "").unwrap();
    symlink("../../../decoy", root.join("dev/other")).unwrap();
    let _racer = Racer::start(&scratch, &root.join("dev/console"), &root.join("dev/other"));
    let pts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]});
    let mut asked = with_mount(without_dev(config()), pts);
    asked["process"]["terminal"] = json!(true);
    for _ in 0..runs() {
        if let Ok(mut created) = scratch.create(&asked) {
            assert!(created.take_console().is_some());
        }
        decoy.check();
    }
}

/// A directory that is copied into a tmpfs, and a link to the host, in turn: nothing of the host is copied.
#[test]
fn an_exchanged_source_of_a_copy_stays_inside() {
    let Some(scratch) = Scratch::new() else { return };
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "secret").unwrap();
    let volume = scratch.root().join("volume");
    fs::create_dir_all(volume.join("place")).unwrap();
    fs::write(volume.join("place/file"), "mine").unwrap();
    symlink("../../../outside", volume.join("link")).unwrap();
    let _racer = Racer::start(&scratch, &volume.join("place"), &volume.join("link"));
    let (mut copied, mut refused) = (0, 0);
    for run in 0..runs() {
        let destination = ["/volume", "/volume/place"][run as usize % 2];
        let mount =
            json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]});
        scratch.clear();
        let line = "cat /volume/file /volume/place/file /volume/link/file > /out/all 2> /dev/null; true";
        match scratch.run(&with_mount(shell(line), mount)) {
            Ok(_) => copied += 1,
            Err(_) => refused += 1,
        }
        assert!(!scratch.output("all").contains("secret"), "{destination}: {}", scratch.output("all"));
    }
    println!("{copied} copied, {refused} refused");
}
