//! The runtime inside of a chroot: what joins a container later begins at the root of its mount namespace, which has
//! to be the container's root and not that of the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::support::{Bundle, Run, Running as _, privileged, runtime_path};

/// Makes `root` a mount, with all of the machine that the runtime needs.
fn make_chroot(root: &Path) {
    let bind = |source: &Path, target: &Path| {
        fs::create_dir_all(target).expect("a directory");
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(source), target, None::<&str>, flags, None::<&str>).expect("a bind mount");
    };
    fs::create_dir_all(root).expect("a directory");
    bind(root, root);
    // Otherwise all that follows would be mounted a second time, in the directory below.
    mount(None::<&str>, root, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).expect("propagation");
    for name in ["usr", "proc", "sys", "dev", "etc", "tmp", "run"] {
        bind(&Path::new("/").join(name), &root.join(name));
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        match fs::read_link(Path::new("/").join(name)) {
            Ok(target) => std::os::unix::fs::symlink(target, root.join(name)).expect("a link"),
            Err(_) => bind(&Path::new("/").join(name), &root.join(name)),
        }
    }
    bind(runtime_path().parent().expect("a directory"), &root.join("program"));
}

#[test]
fn joins_lead_into_the_container() {
    if !privileged() {
        return;
    }
    for shared in [false, true] {
        for (no_pivot, propagation) in [(false, None), (true, None), (false, Some("shared"))] {
            let what = format!("shared host {shared}, no_pivot {no_pivot}, {propagation:?}");
            let bundle = Bundle::new(&["sleep", "60"]).with(|config| {
                if let Some(propagation) = propagation {
                    config["linux"]["rootfsPropagation"] = json!(propagation);
                }
            });
            fs::write(bundle.path().join("rootfs/inside"), "").expect("a file");
            let id = bundle.container();
            let test = || in_chroot(&bundle, &id.id, shared, no_pivot);
            let (seen, mounts) =
                std::thread::scope(|scope| scope.spawn(test).join()).unwrap_or_else(|panic| {
                    eprintln!("{what}");
                    std::panic::resume_unwind(panic)
                });
            assert_eq!(seen, "/inside\nyes\n", "{what}");
            assert_eq!(mounts.0, mounts.1, "{what}: the mounts of the host are as they were");
        }
    }
}

/// What a joined process sees, and the mounts of the host before and after.
fn in_chroot(bundle: &Bundle, id: &str, shared: bool, no_pivot: bool) -> (String, (String, String)) {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).expect("a mount namespace");
    for flag in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED].into_iter().take(1 + usize::from(shared)) {
        mount(None::<&str>, "/", None::<&str>, flag | MsFlags::MS_REC, None::<&str>).expect("propagation");
    }
    let root = bundle.path().join("chroot");
    make_chroot(&root);
    let go = |words: &[&str]| -> Run {
        let program = Path::new("/program").join(runtime_path().file_name().expect("a name"));
        let mut command = Command::new("chroot");
        command.arg(&root).arg("sh").args(["-c", "cd \"$1\" && shift && exec \"$@\"", "sh"]);
        command.arg(bundle.path()).arg(program).arg("--root").arg(bundle.state()).go(words)
    };
    let table = || fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    let before = table();
    let run: &[&str] =
        if no_pivot { &["run", "--detach", "--no-pivot", id] } else { &["run", "--detach", id] };
    go(run).ok();
    let script = "ls /inside; test -e /usr/bin/env || echo yes";
    let exec = go(&["exec", id, "sh", "-c", script]);
    let after = table();
    go(&["delete", "--force", id]).ok();
    (exec.ok().stdout, (before, after))
}
