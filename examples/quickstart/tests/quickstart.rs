//! The example runs, with and without root, shows the isolation, and leaves nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// A user that no machine has.
const NOBODY: u32 = 64_321;

/// Runs the example with its temporary files in `place`; with `user`, as that one.
fn run(place: &Path, user: Option<u32>) -> Output {
    // The build directory may be closed to other users.
    let program = place.join("quickstart");
    fs::copy(env!("CARGO_BIN_EXE_quickstart"), &program).expect("copy the example");
    let temporary = place.join("tmp");
    fs::create_dir(&temporary).expect("a directory");
    for (path, mode) in [(place, 0o755), (&program, 0o755), (&temporary, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let mut command = Command::new(program);
    command.env("TMPDIR", &temporary).current_dir(place);
    if let Some(id) = user {
        command.uid(id).gid(id);
    }
    command.output().expect("the example starts")
}

/// The value of a line in the container's column.
fn inside<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.get(56..)).unwrap_or_else(|| panic!("{name:?} is missing in\n{text}"))
}

fn check(user: Option<u32>) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let output = run(place.path(), user);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(inside(&text, "process id"), "1");
    assert_eq!(inside(&text, "processes in sight"), "1");
    assert_eq!(inside(&text, "host name"), "quickstart");
    assert_eq!(inside(&text, "network interfaces"), "lo");
    assert_eq!(inside(&text, "capabilities"), "0 of them");
    assert_eq!(inside(&text, "no_new_privs"), "1");
    assert_eq!(inside(&text, "write to the root directory"), "read-only file system");
    assert_ne!(inside(&text, "change a kernel setting"), "allowed");
    assert_ne!(inside(&text, "read the kernel's timers"), "allowed");
    let left = fs::read_dir(place.path().join("tmp")).expect("readable").count();
    assert_eq!(left, 0, "something is left");
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether this machine lets its users make user namespaces.
fn users_may() -> bool {
    let text = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    text.trim() != "0"
}

#[test]
fn as_root() {
    if !is_root() {
        assert!(std::env::var_os("REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"), "root is required");
        eprintln!("skipped: needs root");
        return;
    }
    check(None);
}

#[test]
fn as_a_user() {
    if !users_may() {
        eprintln!("skipped: this machine has user namespaces switched off");
        return;
    }
    check(is_root().then_some(NOBODY));
}
