//! The device program on the real kernel: attached to a cgroup of a private cgroup2 mount.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use oci_spec::runtime::LinuxDeviceCgroup;
use runtime_core::cgroup::devices::DeviceRules;

/// Whether to go on; a missing privilege is a failure where privileges are promised.
fn privileged() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"), "root is required");
    eprintln!("skipped: needs root");
    false
}

/// A directory with mounts on it. Never removed recursively: a cgroup hierarchy is in it.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        for path in [self.0.join("cgroup"), self.0.clone()] {
            if let Err(error) = umount2(&path, MntFlags::MNT_DETACH) {
                eprintln!("umount {}: {error}", path.display());
            }
        }
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}

/// A cgroup that goes away with the test.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The processes in it have been waited for; a cgroup empties a moment later.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("left behind: {}", self.0.display());
    }
}

fn rules(json: &str) -> DeviceRules {
    let devices: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
    DeviceRules::from_resources(Some(&devices)).unwrap()
}

/// Runs a shell line inside the cgroup.
fn works(cgroup: &Path, line: &str) -> bool {
    let script = format!("echo 0 > {}/cgroup.procs || exit 99; {line}", cgroup.display());
    let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    assert_ne!(output.status.code(), Some(99), "{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

#[test]
fn mknod_open_read_and_write() {
    if !privileged() {
        return;
    }
    let place = Place(tempfile::tempdir().unwrap().keep());
    // Of this thread and its children only.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), &place.0, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let hierarchy = place.0.join("cgroup");
    fs::create_dir(&hierarchy).unwrap();
    mount(Some("none"), &hierarchy, Some("cgroup2"), MsFlags::empty(), none).unwrap();
    let cgroup = Cgroup(hierarchy.join(format!("device-test-{}", std::process::id())));
    fs::create_dir(&cgroup.0).unwrap();
    let directory = File::open(&cgroup.0).unwrap();
    let node = |name: &str| place.0.join(name).display().to_string();
    let (kmsg, zero, full) = (node("kmsg"), node("zero"), node("full"));
    let try_all = || {
        [
            format!("head -c1 {zero} >/dev/null"),
            format!("mknod {kmsg}2 c 1 11 && rm {kmsg}2"),
            format!(": < {kmsg}"),
            format!(": > {kmsg}"),
        ]
        .map(|line| works(&cgroup.0, &line))
    };
    for (path, minor) in [(&zero, "5"), (&kmsg, "11"), (&full, "7")] {
        assert!(Command::new("mknod").args([path, "c", "1", minor]).status().unwrap().success());
    }

    assert_eq!(try_all(), [true; 4], "without a program");

    let docker = rules(r#"[{"allow": false, "access": "rwm"}]"#);
    docker.attach(directory.as_fd()).unwrap();
    assert_eq!(try_all(), [true, true, false, false], "default list");

    let wider = rules(
        r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]"#,
    );
    wider.replace(directory.as_fd()).unwrap();
    assert_eq!(try_all(), [true, true, true, false], "one device for reading");

    let all_but_one = rules(
        r#"[{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "w"}]"#,
    );
    all_but_one.replace(directory.as_fd()).unwrap();
    assert_eq!(try_all(), [true, true, true, false], "all but writing one device");
    assert!(!works(&cgroup.0, &format!(": <> {kmsg}")), "reading and writing includes writing");

    rules(r#"[{"allow": true, "access": "rwm"}]"#).replace(directory.as_fd()).unwrap();
    assert_eq!(try_all(), [true; 4], "everything again");

    // Two programs (as when another manager attached one): both go.
    docker.attach(directory.as_fd()).unwrap();
    wider.replace(directory.as_fd()).unwrap();
    assert_eq!(try_all(), [true, true, true, false], "instead of two programs");
}
