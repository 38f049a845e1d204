//! Machines that let nobody execute memory files: vm.memfd_noexec=2.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bundle, Running as _, privileged, runtime_path};

/// The sysctl is one of the pid namespace, and can never be lowered: all of this is in a new one, whose first
/// process is this script. It prints what the init is, and what came of writing to it.
const SCRIPT: &str = r#"
echo 2 > /proc/sys/vm/memfd_noexec || exit 77
id=$1
shift
"$@" create --pid-file pid "$id" || exit 1
pid=$(cat pid)
echo "init: $(readlink /proc/$pid/exe)"
exec 3< /proc/$pid/exe
"$@" start "$id" || exit 2
(echo overwritten > /proc/self/fd/3) 2>/dev/null && echo "the init was written"
chown 4242 /proc/self/fd/3 2>/dev/null && echo "the init was given away"
exec 3<&-
"$@" exec "$id" echo "in the container" || exit 3
"$@" kill "$id" KILL || exit 4
while kill -0 $pid 2>/dev/null; do :; done
"$@" delete "$id"
"#;

#[test]
fn the_init_runs_without_a_memory_file() {
    lives_without_a_memory_file(|_| {});
}

/// Whose root is another user of the host, and does not own the file.
#[test]
fn the_init_of_a_user_namespace_does_too() {
    lives_without_a_memory_file(|config| {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        config["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
}

fn lives_without_a_memory_file(change: impl FnOnce(&mut Value)) {
    if !privileged() {
        return;
    }
    if !Path::new("/proc/sys/vm/memfd_noexec").exists() {
        eprintln!("skipped: this kernel has no vm.memfd_noexec");
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]).with(change);
    // The user of the namespace makes mount points in the root file system.
    std::os::unix::fs::chown(bundle.path().join("rootfs"), Some(100_000), Some(100_000)).expect("an owner");
    std::fs::set_permissions(bundle.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let container = bundle.container();
    let run = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--propagation", "private", "sh", "-c", SCRIPT, "_"])
        .arg(&container.id)
        .arg(runtime_path())
        .arg("--root")
        .arg(bundle.state())
        .current_dir(bundle.path())
        .go::<&str>(&[])
        .ok();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("init: ") && lines[0].contains("runtime-init"), "{lines:?}");
    assert!(!lines[0].contains("memfd:"), "{lines:?}");
    assert_eq!(lines[1], "in the container");
}
