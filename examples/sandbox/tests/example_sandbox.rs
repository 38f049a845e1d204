//! Each part of the example does what its page says, as root and as a user, and leaves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A user that no machine has.
const NOBODY: u32 = 64_322;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs the example as `user`, with its temporary files in a place that has to be empty afterwards.
fn run(arguments: &[&str], user: Option<u32>) -> Output {
    let place = tempfile::tempdir().expect("a temporary directory");
    // The build directory may be closed to other users.
    let program = place.path().join("sandbox");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_sandbox")).arg(&program).status();
    assert!(copied.is_ok_and(|status| status.success()));
    let temporary = place.path().join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    for (path, mode) in [(place.path(), 0o755), (&program, 0o755), (&temporary, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let mut command = Command::new(program);
    command.args(arguments).env("TMPDIR", &temporary).current_dir("/").stdin(Stdio::null());
    if let Some(id) = user {
        command.uid(id).gid(id);
    }
    let output = command.output().expect("the example starts");
    assert_eq!(temporary.read_dir().expect("the directory").count(), 0, "left in {arguments:?}");
    output
}

/// What it prints, in which `wanted` has to be.
fn check(arguments: &[&str], user: Option<u32>, wanted: &[&str]) {
    let output = run(arguments, user);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if errors.contains(" controller is not in the") {
        println!("skipped: {errors}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{arguments:?} of {user:?}: {text}\n{errors}");
    for part in wanted {
        assert!(text.contains(part), "{part:?} of {arguments:?} of {user:?}: {text}\n{errors}");
    }
}

/// Runs the test as who runs it, and as a user without rights if that is root.
fn for_root_and_a_user(body: impl Fn(Option<u32>)) {
    body(None);
    if is_root() {
        body(Some(NOBODY));
    }
}

#[test]
fn namespaces() {
    for_root_and_a_user(|user| check(&["namespaces"], user, &["I am process 1 on sandbox\n", "    lo:"]));
}

#[test]
fn rootfs() {
    for_root_and_a_user(|user| check(&["rootfs"], user, &["bin\n", "the root is read-only\nnew\n"]));
}

#[test]
fn capabilities() {
    let few = ["CapPrm:\t0000000000000401", "CapEff:\t0000000000000401", "CapBnd:\t0000000000000401"];
    for_root_and_a_user(|user| {
        check(&["capabilities"], user, &["CAP_CHOWN,CAP_NET_BIND_SERVICE is 0000000000000401"])
    });
    for_root_and_a_user(move |user| check(&["capabilities"], user, &few));
}

#[test]
fn filter() {
    for_root_and_a_user(|user| check(&["filter"], user, &["no directories here\n"]));
}

#[test]
fn idmap() {
    let user = Some(NOBODY).filter(|_| is_root());
    check(&["idmap"], user, &["0\n         0"]);
    if is_root() {
        check(&["idmap"], user, &["64322          1\n"]);
        check(&["idmap"], None, &["100000      65536\n"]);
    }
}

#[test]
fn cgroup() {
    if !is_root() {
        let required = std::env::var_os("REQUIRE_PRIVILEGED").is_some_and(|value| value == "1");
        assert!(!required, "REQUIRE_PRIVILEGED=1, but the test does not run as root");
        println!("skipped: needs root");
        return;
    }
    check(&["cgroup"], None, &[":/sandbox-"]);
    let errors = run(&["cgroup"], Some(NOBODY)).stderr;
    let errors = String::from_utf8_lossy(&errors);
    let refused = errors.contains("permission denied; hint: run as root, or delegate the cgroup");
    assert!(refused || errors.contains(" controller is not in the"), "{errors}");
    no_cgroup_is_left();
}

#[test]
fn all() {
    let script = "echo $$; id -u; hostname; unshare -m true || echo denied; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ls /; exit 0";
    let wanted =
        ["1\n0\nsandbox\ndenied\n", "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n", "\ndev\n"];
    check(&["all", "sh", "-c", script], None, &wanted);
    if is_root() {
        check(&["all", "sh", "-c", script], Some(NOBODY), &wanted);
    }
    assert_eq!(
        run(&["all", "sh", "-c", "exit 7"], Some(NOBODY).filter(|_| is_root())).status.code(),
        Some(7)
    );
    let errors = run(&["all", "/missing"], Some(NOBODY).filter(|_| is_root())).stderr;
    assert!(String::from_utf8_lossy(&errors).contains("/missing"));
}

fn no_cgroup_is_left() {
    // Another test of this program may be at work: only what is old counts.
    let pid_is_gone = |name: &str| !Path::new("/proc").join(name.trim_start_matches("sandbox-")).exists();
    for hierarchy in ["", "memory", "pids", "unified"] {
        let Ok(entries) = Path::new("/sys/fs/cgroup").join(hierarchy).read_dir() else { continue };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let left: Vec<String> =
            names.filter(|name| name.starts_with("sandbox-")).filter(|name| pid_is_gone(name)).collect();
        assert_eq!(left, [""; 0], "in {hierarchy:?}");
    }
}

/// The code of the page is that of the example.
#[test]
fn the_page_shows_the_code() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(directory.join("README.md")).expect("the page");
    let sources = directory.join("src").read_dir().expect("the sources").flatten();
    let sources: Vec<String> =
        sources.map(|entry| fs::read_to_string(entry.path()).expect("a source")).collect();
    let blocks: Vec<&str> =
        page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect();
    assert!(blocks.len() >= 7, "{} blocks", blocks.len());
    for block in blocks {
        assert!(sources.iter().any(|source| source.contains(block)), "not in the example:\n{block}");
    }
}
