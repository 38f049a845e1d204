//! Failures: what CRIU says reaches the user, and nothing is left.

use std::process::Command;

use crate::fake::Fake;
use crate::support::{Bundle, Running as _, privileged, runtime_path};

/// What the fake writes into its log.
const REASON: &str = "(00.2) Error (fake.c:1): the reason";

#[test]
fn a_failed_checkpoint_says_why_and_lets_the_container_run() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let mut command = bundle.runtime();
    let run =
        fake.fails(&mut command, "DUMP").args(["checkpoint", "--work-path", "work"]).go(&[&container.id]);
    let run = run.fails(1, REASON).fails(1, "criu failed: type DUMP errno 22");
    let run = run.fails(1, "work/dump.log");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert_eq!(container.status(), "running");
}

#[test]
fn a_failed_restore_leaves_nothing() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let container = bundle.container();
    let go = |command: &mut Command| command.args(["restore", "--detach"]).go(&[&container.id]);
    go(fake.fails(&mut bundle.runtime(), "RESTORE")).fails(1, "checkpoint");
    std::fs::create_dir(bundle.path().join("checkpoint")).expect("a directory");
    std::fs::write(bundle.path().join("checkpoint/descriptors.json"), "[]").expect("descriptors");
    go(fake.fails(&mut bundle.runtime(), "RESTORE")).fails(1, REASON).fails(1, "checkpoint/restore.log");
    container.go(&["state"]).fails(1, "does not exist");
    assert_eq!(std::fs::read_dir(bundle.state()).expect("the state root").count(), 0);
}

#[test]
fn what_was_added_is_not_saved() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let list = serde_json::json!([{"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"}]);
    std::fs::write(bundle.path().join("mounts.json"), list.to_string()).expect("the list");
    let mounts = |verb: &str| bundle.go(&["mounts", verb, &container.id, "mounts.json"]);
    mounts("add").ok();
    let checkpoint = |options: &[&str]| {
        let mut command = bundle.runtime();
        fake.found_by(&mut command).arg("checkpoint").args(options).go(&[&container.id])
    };
    let run = checkpoint(&[]).fails(1, "save the mount on \\\"/scratch\\\"");
    run.fails(1, "hint: take it away with `mounts remove` first");
    // The memory alone is no matter of mounts; a kernel may lack what that takes.
    let run = checkpoint(&["--pre-dump"]);
    assert!(!run.stderr.contains("save the mount"), "{run:?}");
    mounts("remove").ok();
    checkpoint(&[]).ok();
}

#[test]
fn what_is_for_new_containers_only_is_not_restored() {
    if !privileged() {
        return;
    }
    for (key, value) in [
        ("netDevices", serde_json::json!({"nonesuch0": {}})),
        ("intelRdt", serde_json::json!({"l3CacheSchema": "L3:0=f"})),
    ] {
        let fake = Fake::new();
        let bundle = Bundle::new(&["sleep", "1000"]).with(|config| config["linux"][key] = value);
        std::fs::create_dir(bundle.path().join("checkpoint")).expect("a directory");
        std::fs::write(bundle.path().join("checkpoint/descriptors.json"), "[]").expect("descriptors");
        let container = bundle.container();
        let mut command = bundle.runtime();
        let run = fake.found_by(&mut command).args(["restore", "--detach"]).go(&[&container.id]);
        run.fails(1, &format!("linux.{key}")).fails(1, "hint: ");
        container.go(&["state"]).fails(1, "does not exist");
    }
}

/// In a network that is joined they have to be there already.
#[test]
fn a_network_device_is_where_the_restored_container_has_it() {
    if !privileged() {
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network");
    let fake = Fake::new();
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(serde_json::json!({"type": "network", "path": "/proc/self/ns/net"}));
        config["linux"]["netDevices"] = serde_json::json!({"host0": {"name": "eth0"}});
    });
    std::fs::create_dir(bundle.path().join("checkpoint")).expect("a directory");
    std::fs::write(bundle.path().join("checkpoint/descriptors.json"), "[]").expect("descriptors");
    let container = bundle.container();
    let restore = || {
        let mut command = bundle.runtime();
        fake.found_by(&mut command).args(["restore", "--detach"]).go(&[&container.id])
    };
    let run = restore().fails(1, "the network namespace does not have it");
    run.fails(1, "linux.netDevices.host0").fails(1, "hint: move it there");
    container.go(&["state"]).fails(1, "does not exist");
    let add = ["link", "add", "eth0", "type", "veth"];
    std::process::Command::new("ip").go(&add).ok();
    restore().ok();
    container.go(&["delete", "--force"]).ok();
}

/// Create refuses such an image too; what CRIU would make of it has the source as its root.
#[test]
fn no_link_leads_a_mount_to_the_root() {
    if !privileged() {
        return;
    }
    let fake = Fake::new();
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(serde_json::json!({"destination": "/link", "source": "/tmp", "options": ["bind"]}));
    });
    std::os::unix::fs::symlink("/", bundle.path().join("rootfs/link")).expect("a link");
    std::fs::create_dir(bundle.path().join("checkpoint")).expect("a directory");
    std::fs::write(bundle.path().join("checkpoint/descriptors.json"), "[]").expect("descriptors");
    let container = bundle.container();
    let mut command = bundle.runtime();
    fake.found_by(&mut command).args(["restore", "--detach"]).go(&[&container.id]).fails(1, "/link");
}

#[test]
fn a_missing_or_old_criu_is_named() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let mut without = bundle.runtime();
    without.env("PATH", "/nonexistent").arg("checkpoint").go(&[&container.id]).fails(1, "need CRIU");
    let mut old = bundle.runtime();
    let old = fake.has_version(&mut old, "2.12.0").arg("checkpoint").go(&[&container.id]);
    old.fails(1, "CRIU version 21200 must be 30000 or higher");
    let mut profile = bundle.runtime();
    let profile = fake.has_version(&mut profile, "3.15.0").args(["restore", "--lsm-profile", "apparmor:x"]);
    profile.go(&["other"]).fails(1, "must be 31600 or higher");
}

#[test]
fn what_does_not_run_cannot_be_saved() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let container = bundle.container();
    let go = || fake.found_by(&mut bundle.runtime()).arg("checkpoint").go(&[&container.id]);
    go().fails(1, "does not exist");
    container.go(&["create"]).ok();
    go().fails(1, "Container cannot be checkpointed in created state");
}

#[test]
fn the_help_says_that_checkpoint_is_there() {
    let run = Command::new(runtime_path()).go(&["checkpoint", "--help"]).ok();
    for option in
        ["--image-path", "--lazy-pages", "--manage-cgroups-mode", "--status-fd", "--tcp-skip-in-flight"]
    {
        assert!(run.stdout.contains(option), "{option}");
    }
}

/// CRIU that does not answer is ended, and the container is as it was.
#[test]
fn an_answer_has_a_limit() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let ended = |fake: &Fake| !std::path::Path::new(&format!("/proc/{}", fake.pid())).exists();
    for paused in [false, true] {
        if paused {
            container.go(&["pause"]).ok();
        }
        let words = ["checkpoint", "--criu-timeout", "300ms"];
        let run = fake.is_silent(&mut bundle.runtime(), "DUMP").args(words).go(&[&container.id]);
        run.fails(1, "no answer within 0.3 s")
            .fails(1, "hint: it was ended; --criu-timeout sets another limit");
        assert!(ended(&fake), "{} still runs", fake.pid());
        assert_eq!(container.status(), if paused { "paused" } else { "running" });
    }
    container.go(&["resume"]).ok();
    assert_eq!(container.status(), "running");
    container.go_with(&["exec"], &["true"]).ok();

    let other = bundle.container();
    let words = ["restore", "--detach", "--criu-timeout", "300ms"];
    let run = fake.is_silent(&mut bundle.runtime(), "RESTORE").args(words).go(&[&other.id]);
    run.fails(1, "no answer within 0.3 s");
    assert!(ended(&fake), "{} still runs", fake.pid());
    other.go(&["state"]).fails(1, "does not exist");
    for (limit, text) in [("soon", "is not a time"), ("-1s", "is not a time")] {
        let limit = format!("--criu-timeout={limit}");
        fake.found_by(&mut bundle.runtime()).args(["checkpoint", &limit]).go(&[&container.id]).fails(1, text);
    }
}
