//! What keeps a test apart from the rest of the machine and from the other tests of its process: namespaces
//! of its own, and programs that no other thread can keep busy.

#![allow(dead_code)]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Gives the calling thread, and what it starts, a mount namespace of its own: mounts of other programs do
/// not come here, and mounts of the test do not leave. Without root it stays where it is.
pub(crate) fn own_mounts() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).expect("private mounts");
}

/// A number that no test of another process has, also of one with the same pid in another PID namespace: cgroups and state
/// are not of a PID namespace.
pub(crate) fn process_tag() -> String {
    use std::os::unix::fs::MetadataExt as _;
    let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino());
    format!("{:x}-{}", namespace & 0xff_ffff, std::process::id())
}

/// The mount table of the calling thread, by lines.
pub(crate) fn mount_table() -> Vec<String> {
    BEGUN.get_or_init(SystemTime::now);
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    text.lines().map(str::to_owned).collect()
}

/// Lines of an earlier mount table, without those whose place has been removed meanwhile: where another program
/// removes the place of a mount of its own, the kernel takes that mount out of the copies in all namespaces.
pub(crate) fn still_placed(mut table: Vec<String>) -> Vec<String> {
    table.retain(|line| has_place(line));
    table
}

/// Whether the place of a mount, a line of a mount table, is still there, and has not been made anew since this process
/// read its first table.
pub(crate) fn has_place(line: &str) -> bool {
    let place = line.split(' ').nth(4).unwrap_or_default();
    // Names with spaces have escapes, which no program beside the tests has used yet.
    if place.contains('\\') {
        return true;
    }
    let Ok(metadata) = std::fs::symlink_metadata(place) else { return false };
    match (metadata.created(), BEGUN.get()) {
        (Ok(made), Some(begun)) => made <= *begun,
        _ => true,
    }
}

/// When this process read its first mount table.
static BEGUN: OnceLock<SystemTime> = OnceLock::new();

/// Gives the calling thread a network namespace of its own.
pub(crate) fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
}

/// Copies a program by a process of its own. A file that this process writes could be inherited, open for
/// writing, by what another thread starts at that moment, and execve(2) of it would fail with ETXTBSY.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("--").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "copy {} to {}", from.display(), to.display());
}
