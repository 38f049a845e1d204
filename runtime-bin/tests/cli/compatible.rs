//! What users of runc rely on beyond the specification, and what its own suite looks at: texts,
//! defaults, the attributes of bind mounts, destinations that do not exist yet.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bundle, Run, Running as _, privileged, runtime_path};

fn run(args: &[&str], change: impl FnOnce(&mut Value)) -> Run {
    let bundle = Bundle::new(args).with(change);
    bundle.container().go(&["run"])
}

fn user_namespace(config: &mut Value) {
    config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
}

fn add_mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().expect("mounts").push(mount);
}

#[test]
fn an_ambient_capability_that_is_not_inheritable_is_a_warning() {
    if !privileged() {
        return;
    }
    let args = ["grep", "CapAmb", "/proc/self/status"];
    let run = run(&args, |config| {
        config["process"]["capabilities"]["inheritable"] = json!(["CAP_KILL"]);
        config["process"]["capabilities"]["ambient"] = json!(["CAP_KILL", "CAP_CHOWN"]);
    });
    assert_eq!((run.code, run.stdout.as_str()), (0, "CapAmb:\t0000000000000020\n"), "{run:?}");
    assert!(run.stderr.contains("can't raise ambient capability CAP_CHOWN: "), "{run:?}");
}

#[test]
fn the_affinity_of_the_caller_is_not_the_containers() {
    if !privileged() {
        return;
    }
    let list = |text: &str| text.split_whitespace().last().unwrap_or_default().to_owned();
    let own = fs::read_to_string("/proc/self/status").expect("status");
    let own = own.lines().find(|line| line.starts_with("Cpus_allowed_list")).map(list).expect("a list");
    let bundle = Bundle::new(&["grep", "Cpus_allowed_list", "/proc/self/status"]);
    let container = bundle.container();
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(runtime_path()).arg("--root").arg(bundle.state());
    let run = command.current_dir(bundle.path()).go(&["run", &container.id]).ok();
    assert_eq!(list(&run.stdout), own);
}

#[test]
fn root_may_enter_a_directory_for_a_user_who_may_not() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["process"]["cwd"] = json!("/root");
        config["process"]["user"] = json!({"uid": 42, "gid": 42});
    });
    fs::set_permissions(bundle.path().join("rootfs/root"), fs::Permissions::from_mode(0o700))
        .expect("a mode");
    bundle.container().go(&["run"]).ok();
}

#[test]
fn a_failed_hook_is_named_by_its_place() {
    if !privileged() {
        return;
    }
    for name in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let run = run(&["true"], |config| {
            config["hooks"] = json!({ name: [
                {"path": "/bin/busybox", "args": ["true"]},
                {"path": "/bin/busybox", "args": ["false"]}
            ]});
        });
        run.fails(1, &format!("error running {name} hook #1:"));
    }
}

#[test]
fn a_start_container_hook_has_the_home_of_the_user() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["cat", "/tmp/home"]).with(|config| {
        config["process"]["env"] = json!(["PATH=/bin"]);
        let args = ["sh", "-c", "echo $HOME > /tmp/home"];
        config["hooks"] = json!({"startContainer": [{"path": "/bin/sh", "args": args}]});
    });
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "/root\n");
}

#[test]
fn masked_twice_is_covered_once() {
    if !privileged() {
        return;
    }
    let run = run(&["grep", "-c", " /tmp ", "/proc/mounts"], |config| {
        config["linux"]["maskedPaths"] = json!(["/tmp", "/tmp"]);
    });
    assert_eq!(run.ok().stdout, "1\n");
}

#[test]
fn a_link_at_proc_is_refused_in_known_words() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    symlink("/tmp", bundle.path().join("rootfs/proc")).expect("a link");
    bundle.container().go(&["run"]).fails(1, "must be mounted on ordinary directory");
}

#[test]
fn a_tmpfs_takes_the_mode_of_its_place_as_an_option() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["grep", " /data ", "/proc/mounts"]).with(|config| {
        add_mount(config, json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"}));
    });
    let place = bundle.path().join("rootfs/data");
    fs::create_dir(&place).expect("a directory");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o710)).expect("a mode");
    let run = bundle.container().go(&["run"]).ok();
    assert!(run.stdout.contains("mode=710"), "{run:?}");
}

#[test]
fn dangling_links_lead_to_places_that_are_made() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["cat", "/tmp/a/b/c/hosts"]).with(|config| {
        let mount = json!({"destination": "/etc/hosts", "source": "hosts", "options": ["bind"]});
        add_mount(config, mount);
    });
    let root = bundle.path().join("rootfs");
    symlink("/tmp/a/b", root.join("jump")).expect("a link");
    symlink("../jump/c/hosts", root.join("etc/hosts")).expect("a link");
    fs::write(bundle.path().join("hosts"), "mounted\n").expect("a file");
    assert_eq!(bundle.container().go(&["run"]).ok().stdout, "mounted\n");
    assert_eq!(fs::read_to_string(root.join("tmp/a/b/c/hosts")).expect("made below the root"), "");
}

#[test]
fn links_in_a_circle_are_refused() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]).with(|config| {
        add_mount(config, json!({"destination": "/etc/x/y", "source": ".", "options": ["bind"]}));
    });
    symlink("/etc/x", bundle.path().join("rootfs/etc/x")).expect("a link");
    bundle.container().go(&["run"]).fails(1, "mounts[");
}

#[test]
fn a_mount_may_have_its_source_among_the_mounts_before_it() {
    if !privileged() {
        return;
    }
    for change in [|_: &mut Value| {}, user_namespace] {
        let mut bundle = Bundle::new(&["cat", "/second/sub/file"]);
        let root = bundle.path().join("rootfs").to_string_lossy().into_owned();
        for (name, text) in [("one", "of one\n"), ("two", "of two\n")] {
            fs::create_dir_all(bundle.path().join(name).join("sub")).expect("a directory");
            fs::write(bundle.path().join(name).join("file"), text).expect("a file");
        }
        let bind = |from: &str, to: &str| json!({"destination": to, "source": from, "options": ["rbind"]});
        change(&mut bundle.config);
        add_mount(&mut bundle.config, bind("one", "/first"));
        add_mount(&mut bundle.config, bind("two", "/first/sub"));
        add_mount(&mut bundle.config, bind(&format!("{root}/first"), &format!("{root}/second")));
        bundle.write();
        assert_eq!(bundle.container().go(&["run"]).ok().stdout, "of two\n");
    }
}

#[test]
fn a_destination_written_as_a_path_of_the_host_reaches_no_place_that_is_forbidden() {
    if !privileged() {
        return;
    }
    let mut bundle = Bundle::new(&["true"]);
    let destination = format!("{}/rootfs/proc/self", bundle.path().display());
    add_mount(&mut bundle.config, json!({"destination": destination, "source": "/tmp", "options": ["bind"]}));
    bundle.write();
    bundle.container().go(&["run"]).fails(1, "cannot be mounted because it is inside /proc");
}

/// Runs a script in a private mount namespace with a tmpfs of these options on `source` of the bundle,
/// and returns the options of its bind mount in the container.
fn bound(bundle: &Bundle, options: &str) -> Run {
    fs::create_dir_all(bundle.path().join("source")).expect("a directory");
    let id = bundle.container().id.clone();
    let script = format!(
        "mount -t tmpfs none source && mount -o remount,bind,{options} source && exec \"$0\" --root state run {id}"
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &script]).arg(runtime_path());
    command.current_dir(bundle.path()).go::<&str>(&[])
}

fn binding(options: &[&str], change: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::new(&["awk", "$2 == \"/mnt\" { print $4 }", "/proc/mounts"]).with(|config| {
        change(config);
        add_mount(config, json!({"destination": "/mnt", "source": "source", "options": options}));
    })
}

#[test]
fn bind_mounts_keep_their_access_times_unless_told() {
    if !privileged() {
        return;
    }
    let host = "ro,noexec,noatime";
    for (options, expected) in [
        (&["bind"][..], "ro,noexec,noatime"),
        (&["bind", "dev"], "rw,noatime"),
        (&["bind", "atime", "dev"], "rw,noatime"),
        (&["bind", "relatime"], "rw,relatime"),
        (&["bind", "nodiratime"], "rw,nodiratime,relatime"),
        (&["bind", "strictatime"], "rw"),
    ] {
        let run = bound(&binding(options, |_| {}), host).ok();
        let shown = run.stdout.trim().trim_end_matches(",inode64");
        assert_eq!(shown, expected, "{options:?}");
    }
}

#[test]
fn a_user_namespace_keeps_what_the_host_has_set() {
    if !privileged() {
        return;
    }
    let run = bound(&binding(&["bind", "nosuid"], user_namespace), "ro,nodev,noatime").ok();
    assert!(run.stdout.starts_with("ro,nosuid,nodev,noatime"), "{run:?}");
    let run = bound(&binding(&["bind", "rw"], user_namespace), "ro,nodev");
    run.fails(1, "operation not permitted");
    // Neither may the container take it back later.
    let bundle = binding(&["bind"], |config| {
        user_namespace(config);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
        config["process"]["args"] = json!(["mount", "-o", "remount,bind,rw", "/mnt"]);
    });
    let run = bound(&bundle, "ro");
    assert_ne!(run.code, 0, "{run:?}");
}

#[test]
fn the_terminal_has_the_group_of_its_devpts() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "stat -c %u:%g $(tty)"]).with(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["user"] = json!({"uid": 1000, "gid": 100});
    });
    let run = bundle.container().go(&["run"]).ok();
    assert_eq!(run.stdout.trim(), "1000:5");
}

#[test]
fn a_created_container_ends_on_request() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let container = bundle.container();
    container.go(&["create"]).ok();
    container.go_with(&["kill"], &["TERM"]).ok();
    container.wait_for("stopped");
}

#[test]
fn without_pivot_no_bare_proc_is_left() {
    if !privileged() {
        return;
    }
    let script = "unshare -mrpf mount -t proc none /proc";
    let bundle = Bundle::new(&["sh", "-c", script]).with(|config| {
        for set in ["bounding", "permitted"] {
            let names = config["process"]["capabilities"][set].as_array_mut().expect("a set");
            names.push(json!("CAP_SETFCAP"));
        }
    });
    let run = bundle.container().go(&["run", "--no-pivot"]);
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("mount: permission denied"), "{run:?}");
}

#[test]
fn mounts_in_the_mount_namespace_of_the_caller() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "test -e /proc/self/stat && echo x > /dev/null && echo done"]);
    let bundle = bundle.with(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "mount");
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let id = bundle.container().id.clone();
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private"]).arg(runtime_path()).args(["--root", "state", "run"]);
    let run = command.arg(&id).current_dir(bundle.path()).go::<&str>(&[]).ok();
    assert_eq!(run.stdout, "done\n");
}

#[test]
fn a_memory_policy_that_is_none_is_told_in_known_words() {
    if !privileged() {
        return;
    }
    for (policy, text) in [
        (json!({}), "invalid memory policy mode"),
        (json!({"mode": "INTERLEAVE", "nodes": "0"}), "invalid memory policy mode"),
        (json!({"mode": "MPOL_PREFERRED", "flags": ["x"]}), "invalid memory policy flag"),
        (json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}), "mode requires 0 nodes but got 8"),
        (json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}), "invalid memory policy node"),
    ] {
        run(&["true"], |config| config["linux"]["memoryPolicy"] = policy).fails(1, text);
    }
}

#[test]
fn the_debug_log_names_the_stages() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    let debug = |words: &[&str], more: &[&str]| {
        let run = bundle.go(&[&["--debug"], words, &[container.id.as_str()], more].concat());
        assert_eq!(run.code, 0, "{run:?}");
        run.stderr
    };
    let text = debug(&["run", "-d"], &[]);
    for stage in ["nsexec container setup", "child process in init()", "init: closing the pipe"] {
        assert!(text.contains(stage), "{stage}: {text}");
    }
    let text = debug(&["exec"], &["true"]);
    assert!(text.contains("setns_init: about to exec"), "{text}");
}

#[test]
fn a_start_container_hook_has_the_filter_of_the_program() {
    if !privileged() {
        return;
    }
    let run = run(&["true"], |config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]
        });
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        config["hooks"] =
            json!({"startContainer": [{"path": "/bin/busybox", "args": ["mkdir", "/tmp/made"]}]});
    });
    let run = run.fails(1, "error running startContainer hook #0:");
    assert!(run.stderr.contains("bad system call"), "{run:?}");
}
