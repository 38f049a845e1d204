//! What CRIU is asked for, and what becomes of the container.

use serde_json::json;

use crate::fake::Fake;
use crate::support::{Bundle, Running as _, privileged};

/// The fields of CRIU's options that are looked at here.
const LEAVE_RUNNING: u64 = 3;
const SHELL_JOB: u64 = 7;
const PAGE_SERVER: u64 = 11;
const ROOT: u64 = 13;
const TRACK_MEM: u64 = 15;
const EXT_MNT: u64 = 23;
const CG_ROOT: u64 = 25;
const RST_SIBLING: u64 = 26;
const MANAGE_CGROUPS_MODE: u64 = 34;
const EMPTY_NS: u64 = 38;
const CONFIG_FILE: u64 = 51;

fn has(fields: &[(u64, String)], number: u64, text: &str) -> bool {
    fields.iter().any(|(field, value)| *field == number && value == text)
}

#[test]
fn a_checkpoint_ends_the_container() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let bundle = bundle.with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"destination": "/link", "source": "/tmp", "options": ["bind"]}));
        config["annotations"] = json!({"org.criu.config": "/etc/criu/own.conf"});
    });
    std::fs::create_dir(bundle.path().join("rootfs/real")).expect("a directory");
    std::os::unix::fs::symlink("/real", bundle.path().join("rootfs/link")).expect("a link");
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let words = ["checkpoint", "--shell-job", "--manage-cgroups-mode", "full", "--page-server", "10.0.0.1:9"];
    fake.found_by(&mut bundle.runtime()).args(words).go(&[&container.id]).ok();
    let fields = fake.fields("DUMP");
    for (number, text) in [
        (SHELL_JOB, "1"),
        (MANAGE_CGROUPS_MODE, "4"),
        (PAGE_SERVER, "10.0.0.1=9"),
        (EXT_MNT, "/real=/real"),
        (CONFIG_FILE, "/etc/criu/own.conf"),
        (EMPTY_NS, &libc::CLONE_NEWNET.to_string()),
    ] {
        assert!(has(&fields, number, text), "{number} {text}: {fields:?}");
    }
    assert!(!fields.iter().any(|(number, _)| [LEAVE_RUNNING, TRACK_MEM].contains(number)), "{fields:?}");
    let descriptors = std::fs::read(bundle.path().join("checkpoint/descriptors.json")).expect("descriptors");
    let descriptors: Vec<String> = serde_json::from_slice(&descriptors).expect("JSON");
    assert_eq!((descriptors.len(), descriptors[0].as_str()), (3, "/dev/null"));
    container.go(&["state"]).fails(1, "does not exist");
}

#[test]
fn left_running_and_pre_dumped() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let go = |words: &[&str]| fake.found_by(&mut bundle.runtime()).args(words).go(&[&container.id]);
    go(&["checkpoint", "--leave-running"]).ok();
    assert!(has(&fake.fields("DUMP"), LEAVE_RUNNING, "1"));
    assert_eq!(container.status(), "running");
    // The program claims that the kernel does not track memory.
    go(&["checkpoint", "--pre-dump"]).fails(1, "criu is missing features: MemTrack");
    go(&["checkpoint", "--lazy-pages", "--leave-running"]).ok();
    go(&["checkpoint", "--parent-path", "/tmp"]).fails(1, "--parent-path must be relative");
    go(&["checkpoint", "--parent-path", "nosuch"]).fails(1, "invalid --parent-path: no such file");
    go(&["checkpoint", "--page-server", "nowhere"]).fails(1, "Use --page-server ADDRESS:PORT");
    go(&["checkpoint", "--empty-ns", "user"]).fails(1, "is not supported");
    go(&["checkpoint", "--lazy-pages", "--status-fd", "77"]).fails(1, "invalid --status-fd argument 77");
    assert_eq!(container.status(), "running");
}

#[test]
fn a_restore_makes_the_container() {
    if !privileged() {
        return;
    }
    let (fake, bundle) = (Fake::new(), Bundle::new(&["sleep", "1000"]));
    let bundle = bundle.with(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.push(json!({"destination": "/made/here", "source": "/tmp", "options": ["bind"]}));
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "cat > hooked"]});
        config["hooks"] = json!({"createRuntime": [hook]});
    });
    std::fs::create_dir(bundle.path().join("checkpoint")).expect("a directory");
    let names = json!(["pipe:[1]", "/dev/null", "pipe:[1]"]).to_string();
    std::fs::write(bundle.path().join("checkpoint/descriptors.json"), names).expect("descriptors");
    crate::support::apart::own_mounts();
    let before = crate::support::apart::mount_table();
    let container = bundle.container();
    let words = ["restore", "--detach", "-no-subreaper", "--pid-file", "pid"];
    fake.found_by(&mut bundle.runtime()).args(words).go(&[&container.id]).ok();

    let fields = fake.fields("RESTORE");
    let root = bundle.path().join("rootfs").canonicalize().expect("a path");
    assert!(has(&fields, ROOT, &root.to_string_lossy()), "{fields:?}");
    for (number, text) in [
        (RST_SIBLING, "1"),
        (EXT_MNT, "/made/here=/tmp"),
        (EXT_MNT, "/dev/null=/dev/null"),
        (27, "pipe:[1]=0"),
        (27, "pipe:[1]=2"),
    ] {
        assert!(has(&fields, number, text), "{number} {text}: {fields:?}");
    }
    assert!(
        fields.iter().any(|(number, text)| *number == CG_ROOT && text.contains(&container.id)),
        "{fields:?}"
    );
    assert!(root.join("made/here").is_dir());
    let after = crate::support::apart::mount_table();
    assert_eq!(
        crate::support::apart::still_placed(before),
        after,
        "the mounts of a restore are nobody else's"
    );

    assert_eq!(container.status(), "running");
    let pid = std::fs::read_to_string(bundle.path().join("pid")).expect("the pid file");
    assert_eq!(container.state()["pid"].to_string(), pid);
    let hooked = std::fs::read_to_string(bundle.path().join("hooked")).expect("the hook's state");
    let hooked: serde_json::Value = serde_json::from_str(&hooked).expect("JSON");
    assert_eq!((hooked["status"].as_str(), hooked["pid"].to_string()), (Some("creating"), pid));
    // The name is taken.
    fake.found_by(&mut bundle.runtime()).args(words).go(&[&container.id]).fails(1, "exists");
}
