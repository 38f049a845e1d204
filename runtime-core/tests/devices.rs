//! The device program on the real kernel: attached to a cgroup of a private cgroup2 mount.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
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
    let text = format!(r#"{{"devices": {json}}}"#);
    let (resources, _) = runtime_core::spec::parse_resources(text.as_bytes(), "resources").unwrap();
    DeviceRules::from_resources(resources.devices.as_deref()).unwrap()
}

/// Runs a shell line inside the cgroup.
fn works(cgroup: &Path, line: &str) -> bool {
    let script = format!("echo 0 > {}/cgroup.procs || exit 99; {line}", cgroup.display());
    let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
    assert_ne!(output.status.code(), Some(99), "{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// A private cgroup2 mount, of this thread and its children only, and a cgroup in it.
fn cgroup_in_private_mount(name: &str) -> (Place, Cgroup) {
    let place = Place(tempfile::tempdir().unwrap().keep());
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), &place.0, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let hierarchy = place.0.join("cgroup");
    fs::create_dir(&hierarchy).unwrap();
    mount(Some("none"), &hierarchy, Some("cgroup2"), MsFlags::empty(), none).unwrap();
    let cgroup = Cgroup(hierarchy.join(format!("{name}-{}", std::process::id())));
    fs::create_dir(&cgroup.0).unwrap();
    (place, cgroup)
}

#[test]
fn mknod_open_read_and_write() {
    if !privileged() {
        return;
    }
    let (place, cgroup) = cgroup_in_private_mount("device-test");
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

/// Numbers of bpf(2), `union bpf_attr` for PROG_QUERY and PROG_GET_FD_BY_ID.
mod bpf {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    const GET_FD_BY_ID: libc::c_int = 13;
    const QUERY: libc::c_int = 16;
    const CGROUP_DEVICE: u32 = 6;

    fn call(command: libc::c_int, words: &mut [u32; 8]) -> libc::c_long {
        // SAFETY: the attributes are as large as they say; a pointer in them is the caller's.
        unsafe { libc::syscall(libc::SYS_bpf, command, words.as_mut_ptr(), size_of_val(words)) }
    }

    /// The ids of the device programs of a cgroup.
    pub(super) fn attached(cgroup: &impl AsRawFd) -> Vec<u32> {
        let mut ids = [0u32; 16];
        let pointer = ids.as_mut_ptr() as u64;
        let mut words = [0; 8];
        words[..2].copy_from_slice(&[cgroup.as_raw_fd() as u32, CGROUP_DEVICE]);
        words[4..7].copy_from_slice(&[pointer as u32, (pointer >> 32) as u32, ids.len() as u32]);
        assert_eq!(call(QUERY, &mut words), 0, "{}", std::io::Error::last_os_error());
        ids[..words[6] as usize].to_vec()
    }

    /// Whether the kernel still has a program.
    pub(super) fn exists(id: u32) -> bool {
        let mut words = [0; 8];
        words[0] = id;
        let fd = call(GET_FD_BY_ID, &mut words);
        if fd >= 0 {
            // SAFETY: new, and ours alone.
            drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        }
        fd >= 0
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

const ONE_FOR_READING: &str = r#"[{"allow": false, "access": "rwm"},
    {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]"#;
const ONE_FOR_WRITING: &str = r#"[{"allow": false, "access": "rwm"},
    {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}]"#;

/// While programs replace each other, what both allow is never denied and what both deny never allowed.
#[test]
fn replaced_at_once() {
    if !privileged() {
        return;
    }
    let (place, cgroup) = cgroup_in_private_mount("device-replace");
    let directory = File::open(&cgroup.0).unwrap();
    for (name, minor) in [("zero", "5"), ("kmsg", "11")] {
        assert!(
            Command::new("mknod").arg(place.0.join(name)).args(["c", "1", minor]).status().unwrap().success()
        );
    }
    let (reading, writing) = (rules(ONE_FOR_READING), rules(ONE_FOR_WRITING));
    reading.attach(directory.as_fd()).unwrap();

    // `true`, because a redirection that fails ends the shell with `:`.
    let script = "echo 0 > cgroup/$1/cgroup.procs || exit 99; echo ready > ready; rounds=0
        until [ -e stop ]; do
            true < zero || echo denied
            (true <> kmsg) 2>/dev/null && echo allowed
            rounds=$((rounds + 1)); echo $rounds > rounds
        done";
    let name = cgroup.0.file_name().unwrap();
    let child = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(name)
        .current_dir(&place.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the shell is in the cgroup", || place.0.join("ready").exists());
    let rounds =
        || fs::read_to_string(place.0.join("rounds")).unwrap_or_default().trim().parse().unwrap_or(0);
    let mut replaced = 0;
    eventually("the shell tries the devices", || {
        for _ in 0..100 {
            writing.replace(directory.as_fd()).unwrap();
            assert_eq!(bpf::attached(&directory).len(), 1);
            reading.replace(directory.as_fd()).unwrap();
            replaced += 2;
        }
        rounds() >= 200 && replaced >= 1000
    });
    fs::write(place.0.join("stop"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    println!("{replaced} replacements, {} rounds", rounds());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

/// A program goes with its cgroup, a replaced one at once, and the caller's limits are not touched.
#[test]
fn nothing_is_left() {
    if !privileged() {
        return;
    }
    let memlock = || nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK).unwrap();
    let before = memlock();
    let (_place, cgroup) = cgroup_in_private_mount("device-left");
    let directory = File::open(&cgroup.0).unwrap();
    rules(ONE_FOR_READING).attach(directory.as_fd()).unwrap();
    let first = bpf::attached(&directory);
    assert!(first.len() == 1 && bpf::exists(first[0]), "{first:?}");

    rules(ONE_FOR_WRITING).replace(directory.as_fd()).unwrap();
    let second = bpf::attached(&directory);
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    eventually("the replaced program is gone", || !bpf::exists(first[0]));

    drop(directory);
    drop(cgroup);
    eventually("the program is gone with its cgroup", || !bpf::exists(second[0]));
    assert_eq!(memlock(), before);
}
