//! What the host sees of the mounts that are made for a container: nothing, at no time. Each test stands on a
//! host of its own, a mount namespace whose mounts are all shared, as under systemd.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::rootfs::own_user_namespace;
use crate::support::{Bundle, privileged};

/// A length that fsconfig(2) refuses for a value.
const LONG: usize = 256;

/// Runs `test` in a thread whose mounts are a shared copy of the machine's.
fn on_a_shared_host(test: impl FnOnce() + Send) {
    let host = || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).expect("a mount namespace");
        for flag in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
            mount(None::<&str>, "/", None::<&str>, flag | MsFlags::MS_REC, None::<&str>)
                .expect("propagation");
        }
        test();
    };
    let ended = std::thread::scope(|scope| scope.spawn(host).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

fn new_tmpfs(path: &Path) {
    fs::create_dir_all(path).expect("a directory");
    mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a tmpfs");
}

/// Notices each change of the thread's mounts, also one that was taken back.
struct Watch(File);

impl Watch {
    fn new() -> Self {
        Self(File::open("/proc/thread-self/mountinfo").expect("mountinfo"))
    }

    /// Whether there was a change since the last call.
    fn changed(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, PollTimeout::ZERO).expect("poll") > 0
    }
}

/// An overlay of `layers` directories, the path of each of which is longer than `length`.
fn overlay(bundle: &Path, layers: usize, length: usize) -> serde_json::Value {
    let lower: Vec<String> = (0..layers)
        .map(|index| {
            let path =
                bundle.join(format!("layer{index}")).join("x".repeat(length.min(250))).join("y".repeat(200));
            fs::create_dir_all(&path).expect("a directory");
            fs::write(path.join(format!("file{index}")), "").expect("a file");
            path.display().to_string()
        })
        .collect();
    let option = format!("lowerdir={}", lower.join(":"));
    json!({"destination": "/data/inner", "type": "overlay", "source": "overlay", "options": ["nosuid", option]})
}

#[test]
fn long_options() {
    if !privileged() {
        return;
    }
    // Beyond a page each layer is an option of its own; a path may be longer than such an option.
    for (layers, length, user) in [(2, 1, false), (2, 1, true), (30, 1, false), (30, 240, true)] {
        for propagation in [None, Some("shared"), Some("rprivate")] {
            let bundle =
                Bundle::new(&["sh", "-c", "ls /data/inner | wc -l; grep -c ' /data/inner ' /proc/mounts"]);
            let option = overlay(bundle.path(), layers, length);
            assert!(option["options"][1].as_str().is_some_and(|text| text.len() > LONG));
            let bundle = bundle.with(|config| {
                config["mounts"].as_array_mut().expect("mounts").push(option);
                if user {
                    own_user_namespace(config);
                }
                if let Some(propagation) = propagation {
                    config["linux"]["rootfsPropagation"] = json!(propagation);
                }
            });
            on_a_shared_host(|| {
                let watch = Watch::new();
                let output = bundle.container().go(&["run"]).ok().stdout;
                assert_eq!(output, format!("{layers}\n1\n"), "{propagation:?}, user {user}");
                assert!(!watch.changed(), "{layers} layers, {propagation:?}: the host has seen a mount");
                // Control: a mount of this host is seen, also when it has gone.
                new_tmpfs(&bundle.path().join("control"));
                assert!(watch.changed());
            });
        }
    }
}

/// A long option does not need a mount namespace of the container.
#[test]
fn long_options_without_a_mount_namespace() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["/bin/ls", "/data/inner"]);
    let option = overlay(bundle.path(), 2, 1);
    let bundle = bundle.with(|config| {
        config["mounts"] = json!([option]);
        config["linux"]["namespaces"] = json!([{"type": "pid"}]);
        config.as_object_mut().expect("an object").remove("hostname");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["process"]["args"] = json!(["/bin/ls", "/data/inner"]);
    });
    on_a_shared_host(|| assert_eq!(bundle.container().go(&["run"]).ok().stdout, "file0\nfile1\n"));
}

/// What is mounted below the root on the host is no way back for the mounts of the container.
#[test]
fn mounts_below_the_root() {
    if !privileged() {
        return;
    }
    for propagation in [None, Some("shared"), Some("rshared"), Some("slave"), Some("private")] {
        let bundle = Bundle::new(&["grep", "-c", " /data/inner ", "/proc/mounts"]).with(|config| {
            let inner = json!({"destination": "/data/inner", "type": "tmpfs", "source": "tmpfs"});
            config["mounts"].as_array_mut().expect("mounts").push(inner);
            config["linux"]["maskedPaths"] = json!(["/data/masked"]);
            config["linux"]["readonlyPaths"] = json!(["/data/readonly"]);
            if let Some(propagation) = propagation {
                config["linux"]["rootfsPropagation"] = json!(propagation);
            }
        });
        on_a_shared_host(|| {
            let data = bundle.path().join("rootfs/data");
            new_tmpfs(&data);
            for name in ["inner", "masked", "readonly"] {
                fs::create_dir(data.join(name)).expect("a directory");
            }
            let watch = Watch::new();
            assert_eq!(bundle.container().go(&["run"]).ok().stdout, "1\n", "{propagation:?}");
            assert!(!watch.changed(), "{propagation:?}: the host has seen a mount");
        });
    }
}

/// Without pivot_root the host's procfs and sysfs leave the container's mount namespace, and only that.
#[test]
fn no_pivot_keeps_the_hosts_mounts() {
    if !privileged() {
        return;
    }
    for propagation in [None, Some("slave"), Some("shared"), Some("rshared")] {
        let bundle = Bundle::new(&["true"]).with(|config| {
            if let Some(propagation) = propagation {
                config["linux"]["rootfsPropagation"] = json!(propagation);
            }
        });
        on_a_shared_host(|| {
            let outer = bundle.path().join("outer");
            new_tmpfs(&outer);
            let inner = outer.join("proc");
            fs::create_dir(&inner).expect("a directory");
            mount(Some("proc"), &inner, Some("proc"), MsFlags::empty(), None::<&str>).expect("a procfs");
            let watch = Watch::new();
            let run = bundle.container().go(&["run", "--no-pivot"]);
            if propagation.is_some_and(|propagation| propagation.ends_with("shared")) {
                run.fails(1, "linux.rootfsPropagation: rootfsPropagation of [r]shared is not possible");
            } else {
                run.ok();
            }
            assert!(!watch.changed(), "{propagation:?}: the host has lost a mount");
        });
    }
}
