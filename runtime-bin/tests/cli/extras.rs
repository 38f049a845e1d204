//! What other runtimes have beside runc's commands: --config, info, manual pages, files for hooks' output,
//! log daemons.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bundle, Running as _, privileged, runtime};

#[test]
fn a_configuration_of_another_name() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    fs::rename(bundle.path().join("config.json"), bundle.path().join("other.json")).expect("renamed");
    let container = bundle.container();
    container.go(&["create"]).fails(1, "config.json");
    container.go(&["create", "--config", "other.json"]).ok();
    container.go(&["start"]).ok();
    // exec takes the container's process from there, too.
    assert_eq!(container.go_with(&["exec"], &["pwd"]).ok().stdout, "/\n");
    let second = bundle.container();
    second.go(&["run", "--detach", "-f", bundle.path().join("other.json").to_str().expect("a path")]).ok();
}

#[test]
fn spec_writes_a_file_of_another_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let spec =
        |option: &str| runtime().args(["spec", "--bundle"]).arg(directory.path()).go(&[option, "other.json"]);
    spec("--file").ok();
    let text = fs::read(directory.path().join("other.json")).expect("the file");
    let config: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(config["root"]["path"], "rootfs");
    assert!(!directory.path().join("config.json").exists());
    spec("-f").fails(1, "exists");
}

#[test]
fn info_for_people_and_programs() {
    let table = runtime().go(&["info"]).ok().stdout;
    assert!(table.contains("cgroups") && table.contains("kernel"), "{table}");
    let document = runtime().go(&["info", "--format", "json"]).ok().stdout;
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel");
    assert_eq!(document["kernel"], kernel.trim());
    assert!(document["namespaces"].as_array().is_some_and(|kinds| kinds.contains(&json!("pid"))));
}

#[test]
fn manual_pages_are_clean() {
    let directory = tempfile::tempdir().expect("a directory");
    runtime().arg("man").go(&[directory.path()]).ok();
    let pages: Vec<_> =
        fs::read_dir(directory.path()).expect("pages").map(|page| page.expect("a page").path()).collect();
    assert!(pages.iter().any(|page| page.ends_with("runtime-checkpoint.8")) && pages.len() > 15, "{pages:?}");
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("skipped: groff is not installed");
        return;
    }
    for page in pages {
        let run = Command::new("groff").args(["-man", "-Tascii", "-ww", "-z"]).go(&[&page]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{page:?}");
    }
}

#[test]
fn completions_are_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        if Command::new(shell).args(["-c", "true"]).output().is_err() {
            eprintln!("skipped: {shell} is not installed");
            continue;
        }
        let script = tempfile::NamedTempFile::new().expect("a file");
        fs::write(script.path(), runtime().go(&["completion", shell]).ok().stdout).expect("the script");
        Command::new(shell).arg("-n").go(&[script.path()]).ok();
    }
}

#[test]
fn hooks_write_to_files() {
    if !privileged() {
        return;
    }
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["annotations"] = json!({"run.oci.hooks.stdout": "out", "run.oci.hooks.stderr": "err"});
        config["hooks"] = json!({
            "createRuntime": hook("echo made; echo careful >&2"), "poststop": hook("echo gone"),
            "createContainer": hook("echo inside; echo mounts >&2"),
            "startContainer": hook("echo starts; echo soon >&2"),
        });
    });
    bundle.container().go(&["run"]).ok();
    let read = |name: &str| fs::read_to_string(bundle.path().join(name)).expect("the file");
    let printed = ("made\ninside\nstarts\ngone\n".to_owned(), "careful\nmounts\nsoon\n".to_owned());
    assert_eq!((read("out"), read("err")), printed);
    let bundle =
        bundle.with(|config| config["annotations"]["run.oci.hooks.stdout"] = json!("/nonexistent/out"));
    bundle.container().go(&["run"]).fails(1, "annotations.run.oci.hooks.stdout");
    // One that nobody reads must not hold the runtime up, which has the container's lock.
    let fifo = bundle.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let bundle = bundle.with(|config| config["annotations"]["run.oci.hooks.stdout"] = json!("fifo"));
    bundle.container().go(&["run"]).fails(1, "annotations.run.oci.hooks.stdout");
}

/// The path may lie where a container writes: it must not choose the file. Control: the same file without
/// the link.
#[test]
fn files_for_hooks_are_not_found_through_links() {
    if !privileged() {
        return;
    }
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = Bundle::new(&["true"]);
    // The same path on the host, where nothing is.
    let made = bundle.path().join("made-on-the-host");
    let bundle = bundle.with(|config| {
        config["process"]["args"] = json!(["ln", "-sf", made, "/out"]);
        config["root"]["readonly"] = json!(false);
        config["annotations"] = json!({"run.oci.hooks.stdout": "rootfs/out"});
        config["hooks"] = json!({"poststop": hook("echo gone; touch ran")});
    });
    let directory = bundle.path().to_owned();
    let path = |name: &str| directory.join(name);
    fs::write(path("victim"), "").expect("a file");
    std::os::unix::fs::symlink(path("victim"), path("rootfs/victim-of-the-host")).expect("a link");
    bundle.container().go(&["run"]);
    assert!(path("ran").exists(), "the hook runs, whatever becomes of its output");
    assert!(fs::symlink_metadata(path("rootfs/out")).is_ok_and(|data| data.is_symlink()), "the control");
    assert!(!made.exists(), "the link of the container was followed");
    let linked = bundle.with(|config| {
        config["process"]["args"] = json!(["true"]);
        config["annotations"]["run.oci.hooks.stdout"] = json!("rootfs/victim-of-the-host");
        config["hooks"] = json!({"createRuntime": hook("echo made")});
    });
    linked.container().go(&["run"]).fails(1, "without symbolic links");
    let read = || fs::read_to_string(linked.path().join("victim")).expect("the file");
    assert_eq!(read(), "");
    let plain = linked.with(|config| config["annotations"]["run.oci.hooks.stdout"] = json!("victim"));
    plain.container().go(&["run"]).ok();
    assert_eq!(fs::read_to_string(plain.path().join("victim")).expect("the file"), "made\n");
}

/// The init keeps the files while it waits; the program gets none of them.
#[test]
fn hooks_of_a_container_that_waits_write_to_files() {
    if !privileged() {
        return;
    }
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = Bundle::new(&["sh", "-c", "ls /proc/self/fd > /tmp/fds"]).with(|config| {
        config["annotations"] = json!({"run.oci.hooks.stderr": "err"});
        config["hooks"] = json!({
            "createContainer": hook("echo lost; echo inside >&2"), "startContainer": hook("echo starts >&2"),
        });
    });
    let container = bundle.container();
    container.go(&["create"]).ok();
    let read = |name: &str| fs::read_to_string(bundle.path().join(name)).expect("the file");
    assert_eq!(read("err"), "inside\n");
    container.go(&["start"]).ok();
    container.wait_for("stopped");
    assert_eq!(read("err"), "inside\nstarts\n");
    // The standard streams, and the directory that is read.
    assert_eq!(read("rootfs/tmp/fds"), "0\n1\n2\n3\n");
}

/// The init keeps CAP_SYS_ADMIN from the load of the filter to execve(2); a hook of the container between
/// them must not have it, whoever the user is. Control: the bounding set, which is asked for, is there.
#[test]
fn hooks_in_the_container_have_no_more_than_the_program() {
    if !privileged() {
        return;
    }
    let script = "grep ^Cap /proc/self/status";
    for (uid, ambient) in [(0, json!([])), (1000, json!([])), (1000, json!(["CAP_CHOWN"]))] {
        let bundle = Bundle::new(&["sh", "-c", &format!("cat /tmp/hook; {script}")]).with(|config| {
            let capabilities = json!({
                "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"],
                "inheritable": ["CAP_CHOWN"], "ambient": ambient,
            });
            config["process"]["capabilities"] = capabilities;
            config["process"]["user"] = json!({"uid": uid, "gid": 0});
            config["process"]["noNewPrivileges"] = json!(false);
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
            let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("{script} > /tmp/hook")]});
            config["hooks"] = json!({"startContainer": [hook]});
            config["root"]["readonly"] = json!(false);
        });
        let tmp = bundle.path().join("rootfs/tmp");
        fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).expect("a mode");
        let output = bundle.container().go(&["run"]).ok().stdout;
        let lines: Vec<&str> = output.lines().collect();
        let (hook, program) = lines.split_at(lines.len() / 2);
        assert!(hook == program && hook.len() == 5 && hook[3].ends_with("0000000021"), "{uid}: {output}");
    }
}

#[test]
fn logs_go_where_the_option_says() {
    let bundle = Bundle::new(&["true"]);
    bundle.go(&["--log", "file:log", "state", "nosuch"]).fails(1, "does not exist");
    assert!(fs::read_to_string(bundle.path().join("log")).expect("the log").contains("does not exist"));
    // A daemon that does not listen is named; where one does, the error goes to the user as well.
    for place in ["syslog:tag", "journald:tag"] {
        let run = bundle.go(&["--log", place, "state", "nosuch"]);
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("--log") || run.stderr.contains("does not exist"), "{run:?}");
    }
}

#[test]
fn the_words_of_refused_ids() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.go(&["create", ""]).fails(1, "container id cannot be empty");
    let container = bundle.container();
    container.go(&["create"]).ok();
    container.go(&["create"]).fails(1, "container with given ID already exists");
}
