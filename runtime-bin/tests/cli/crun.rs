//! What crun has beyond the specification, and Podman asks for.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::descriptors::{accept, receive};
use crate::rootfs::own_user_namespace;
use crate::seccomp_agent::{Agent, Answers};
use crate::support::{Bundle, Running as _, privileged, runtime_path};

/// The runtime with supplementary groups of its own.
fn with_groups(bundle: &Bundle, groups: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--groups", groups]).arg(runtime_path()).arg("--root").arg(bundle.state());
    command.current_dir(bundle.path());
    command
}

#[test]
fn original_groups_are_kept() {
    if !privileged() {
        return;
    }
    let script = "sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status";
    for (kept, user) in [(false, false), (true, false), (true, true)] {
        let bundle = Bundle::new(&["sh", "-c", &format!("{script}; exec sleep 60")]).with(|config| {
            config["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9]});
            if kept {
                config["annotations"] = json!({"run.oci.keep_original_groups": "1"});
            }
            if user {
                own_user_namespace(config);
                config["linux"]["gidMappings"][0]["size"] = json!(4242);
            }
        });
        // A group that the namespace does not map is there too, under the name of nobody.
        let right = match (kept, user) {
            (false, _) => "9",
            (true, false) => "4241 4242",
            (true, true) => "4241 65534",
        };
        let container = bundle.container();
        let run = with_groups(&bundle, "4241,4242").go(&["run", "--detach", &container.id]).ok();
        container.wait_for("running");
        let mut seen = run.stdout;
        let exec = with_groups(&bundle, "4241,4242").go(&["exec", &container.id, "sh", "-c", script]).ok();
        // The program writes to the caller's output as the one of `exec` does, which has ended by now.
        seen.push_str(&exec.stdout);
        assert_eq!(exec.stdout.trim(), right, "kept {kept}, user {user}");
        assert!(seen.lines().all(|line| line.trim() == right), "{seen}");
    }
}

#[test]
fn the_pidfd_goes_to_its_receiver() {
    if !privileged() {
        return;
    }
    for verb in [&["create"][..], &["run", "--detach"]] {
        let bundle = Bundle::new(&["sleep", "60"]);
        let path = bundle.path().join("receiver");
        let listener = UnixListener::bind(&path).expect("a socket");
        let bundle = bundle.with(|config| config["annotations"] = json!({"run.oci.pidfd_receiver": path}));
        let container = bundle.container();
        container.go(verb).ok();
        let (_, pidfd) = receive(&accept(&listener));
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).expect("fdinfo");
        let line = format!("Pid:\t{}", container.state()["pid"]);
        assert!(info.lines().any(|seen| seen == line), "{info}");
    }
    let bundle = Bundle::new(&["true"])
        .with(|config| config["annotations"] = json!({"run.oci.pidfd_receiver": "/nonexistent/socket"}));
    bundle.container().go(&["run"]).fails(1, "annotations.run.oci.pidfd_receiver");
}

#[test]
fn the_seccomp_listener_goes_to_its_receiver() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["mkdir", "/tmp/new"]);
    let socket = bundle.path().join("agent");
    let bundle = bundle.with(|config| {
        config["annotations"] = json!({"run.oci.seccomp.receiver": socket});
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
    });
    let agent = Agent::new(&socket, Answers::Continue);
    bundle.container().go(&["run"]).ok();
    assert!(agent.state()["pid"].is_i64());
    let bundle = bundle.with(|config| config["annotations"]["run.oci.seccomp.receiver"] = json!("agent"));
    bundle.container().go(&["run"]).fails(1, "annotations.run.oci.seccomp.receiver");
}

/// A sub-cgroup of crun's is not made, and that is said.
#[test]
fn a_subgroup_is_not_made() {
    if !privileged() {
        return;
    }
    for (name, words) in [("", false), ("container", true)] {
        let bundle = Bundle::new(&["true"])
            .with(|config| config["annotations"] = json!({"run.oci.systemd.subgroup": name}));
        let run = bundle.container().go(&["run"]);
        assert_eq!((run.code, run.stderr.contains("run.oci.systemd.subgroup")), (0, words), "{run:?}");
    }
}

/// The output of a script in a container with one more mount, whose root has been prepared.
#[track_caller]
fn with_mount(script: &str, mount: Value, user: bool, prepare: impl FnOnce(&Path)) -> String {
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        config["mounts"].as_array_mut().expect("mounts").push(mount);
        if user {
            own_user_namespace(config);
        }
    });
    prepare(bundle.path());
    bundle.container().go(&["run"]).ok().stdout
}

#[test]
fn a_link_is_copied() {
    if !privileged() {
        return;
    }
    let mount = |source: &str, destination: &str| json!({"destination": destination, "source": source, "type": "bind", "options": ["bind", "ro", "copy-symlink"]});
    let prepare = |bundle: &Path| {
        symlink("/on/the/host", bundle.join("link")).expect("a link");
        symlink("/on/the/host", bundle.join("rootfs/equal")).expect("a link");
        fs::write(bundle.join("file"), "content\n").expect("a file");
    };
    for user in [false, true] {
        let read = |destination: &str| {
            with_mount(&format!("readlink {destination}"), mount("link", destination), user, prepare)
        };
        assert_eq!(read("/new/place"), "/on/the/host\n");
        assert_eq!(read("/equal"), "/on/the/host\n");
        assert_eq!(with_mount("cat /file", mount("file", "/file"), user, prepare), "content\n");
    }
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["mounts"].as_array_mut().expect("mounts").push(mount("link", "/etc/passwd"));
    });
    prepare(bundle.path());
    bundle.container().go(&["run"]).fails(1, "symlink: file exists");
}

#[test]
fn a_link_at_the_destination_is_not_followed() {
    if !privileged() {
        return;
    }
    let script = "cat /link; cat /target; readlink /link";
    let mount = |options: Value| json!({"destination": "/link", "source": "file", "type": "bind", "options": options});
    let prepare = |bundle: &Path| {
        fs::write(bundle.join("file"), "mounted\n").expect("a file");
        fs::write(bundle.join("rootfs/target"), "below\n").expect("a file");
        symlink("target", bundle.join("rootfs/link")).expect("a link");
    };
    let script = format!("{script}; true");
    for user in [false, true] {
        let output = with_mount(&script, mount(json!(["bind", "dest-nofollow"])), user, prepare);
        assert_eq!(output, "mounted\nbelow\n");
        let output = with_mount(&script, mount(json!(["bind"])), user, prepare);
        assert_eq!(output, "mounted\nmounted\ntarget\n");
    }
    // A destination that is missing is made as usual.
    let missing = json!({"destination": "/a/new", "source": "file", "type": "bind",
        "options": ["bind", "dest-nofollow"]});
    assert_eq!(with_mount("cat /a/new", missing, false, prepare), "mounted\n");
}

#[test]
fn a_link_at_the_source_is_not_followed() {
    if !privileged() {
        return;
    }
    let mount = json!({"destination": "/link", "source": "link", "type": "bind",
        "options": ["bind", "src-nofollow", "dest-nofollow"]});
    let output = with_mount("readlink /link", mount, false, |bundle| {
        symlink("/on/the/host", bundle.join("link")).expect("a link");
        symlink("target", bundle.join("rootfs/link")).expect("a link");
    });
    assert_eq!(output, "/on/the/host\n");
}

/// mount(2) takes several options as one text, and so do the containers of runc and crun.
#[test]
fn one_text_may_have_several_options() {
    if !privileged() {
        return;
    }
    let mount = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m,mode=700", "nosuid"]});
    let script = "stat -c %a /data; grep -c ' /data tmpfs rw,nosuid,.*size=1024k,mode=700' /proc/mounts";
    assert_eq!(with_mount(script, mount, false, |_| ()), "700\n1\n");
}
