//! Tests that need root, in a mount namespace of their own.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Whether the test can run; prints why if not. The calling thread gets a private mount
/// namespace, which the commands that it starts inherit, with the chosen view of cgroups.
pub(crate) fn privileged() -> bool {
    if !nix::unistd::geteuid().is_root() {
        let required = std::env::var_os("REQUIRE_PRIVILEGED").is_some_and(|value| value == "1");
        assert!(!required, "REQUIRE_PRIVILEGED=1, but the test does not run as root");
        eprintln!("skipped: needs root");
        return false;
    }
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private mounts");
    match std::env::var("CGROUP_VIEW").as_deref() {
        Ok("v1") => umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH).expect("no cgroup2"),
        Ok("v2") => {
            umount2("/sys/fs/cgroup", MntFlags::MNT_DETACH).expect("no cgroups");
            mount(Some("none"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), None::<&str>)
                .expect("cgroup2");
        }
        _ => {}
    }
    true
}
