//! The words around an error: runc's, as far as people, engines and tests look for them, and the name under
//! which the program was called.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Bundle, Running as _, privileged, runtime_path};

const START: &str = "unable to start container process: ";
const INIT: &str = "unable to start container process: error during container init: ";

/// What `run` and `create` say of a configuration, without what is before `run failed: `.
fn failure(verb: &str, change: impl FnOnce(&mut Value)) -> String {
    let bundle = Bundle::new(&["true"]).with(change);
    let log = bundle.path().join("log");
    let container = bundle.container();
    let mut command = bundle.runtime();
    let run = command.arg("--log").arg(&log).arg(verb).go(&[&container.id]);
    assert_eq!(run.code, 1, "{run:?}");
    let name = runtime_path().file_name().expect("a name").to_string_lossy().into_owned();
    let begin = format!("{name} {verb} failed: ");
    let text = run.stderr.strip_prefix(&begin).unwrap_or_else(|| panic!("{begin} is not in {run:?}"));
    text.trim_end().to_owned()
}

fn hook(name: &str) -> impl FnOnce(&mut Value) + '_ {
    move |config| config["hooks"] = json!({name: [{"path": "/bin/false"}]})
}

fn mount(mount: Value) -> impl FnOnce(&mut Value) {
    move |config| config["mounts"].as_array_mut().expect("mounts").push(mount)
}

#[test]
fn how_far_the_launch_was() {
    if !privileged() {
        return;
    }
    let bind = json!({"destination": "/x", "source": "/nonexistent", "options": ["bind"]});
    let unknown = json!({"destination": "/x", "source": "here", "type": "nonesuch"});
    let option = json!({"destination": "/x", "source": "memory", "type": "tmpfs", "options": ["size=none"]});
    for verb in ["run", "create"] {
        for (text, begin, end) in [
            (
                failure(verb, mount(bind.clone())),
                format!("{INIT}error mounting \"/nonexistent\" to rootfs at \"/x\": "),
                ": no such file or directory (mounts[7])",
            ),
            (
                failure(verb, mount(unknown.clone())),
                format!("{INIT}error mounting \"here\" to rootfs at \"/x\": "),
                ": no such device (mounts[7])",
            ),
            (
                failure(verb, mount(option.clone())),
                format!("{INIT}error mounting \"memory\" to rootfs at \"/x\": "),
                ": invalid argument (mounts[7])",
            ),
            (
                failure(verb, |config| config["process"]["args"] = json!(["nonesuch"])),
                format!("{INIT}exec: \"nonesuch\": executable file not found in $PATH"),
                "",
            ),
            (
                failure(verb, |config| config["process"]["args"] = json!(["/etc"])),
                format!("{INIT}exec: \"/etc\": is a directory"),
                "",
            ),
            (
                failure(verb, |config| config["process"]["cwd"] = json!("/etc/passwd")),
                format!("{INIT}chdir to cwd (\"/etc/passwd\") set in config.json failed: "),
                "not a directory (process.cwd)",
            ),
            (failure(verb, hook("prestart")), format!("{INIT}error running prestart hook #0: "), ""),
            (
                failure(verb, hook("createRuntime")),
                format!("{INIT}error running createRuntime hook #0: "),
                "",
            ),
            (
                failure(verb, hook("createContainer")),
                format!("{INIT}error running createContainer hook #0: "),
                "",
            ),
        ] {
            assert!(text.starts_with(&begin) && text.ends_with(end), "{text:?} is not {begin:?}…{end:?}");
        }
    }
    // The process runs already.
    let text = failure("run", hook("poststart"));
    assert!(text.starts_with("error running poststart hook #0: "), "{text:?}");
    // Nothing was started.
    let text = failure("run", |config| config["process"]["cwd"] = json!("etc"));
    assert!(!text.contains(START), "{text:?}");
}

#[test]
fn exec_has_a_frame_of_its_own() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    container.go(&["run"]).fails(1, " run failed: container with given ID already exists: ");
    for (options, program, text) in [
        ([].as_slice(), "nonesuch", "exec: \\\"nonesuch\\\": executable file not found in $PATH"),
        (&[], "/etc", "exec: \\\"/etc\\\": is a directory"),
        (&["--cwd", "/etc/passwd"], "true", "chdir to cwd (\\\"/etc/passwd\\\") set in config.json failed: "),
        (&["--cgroup", "/nonesuch"], "true", "adding pid to the sub cgroup: "),
    ] {
        let words = [&["exec"], options].concat();
        container.go_with(&words, &[program]).fails(255, &format!("exec failed: {START}{text}"));
    }
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    container.go_with(&["exec"], &["true"]).fails(255, "exec failed: cannot exec in a stopped container");
}

#[test]
fn the_name_is_that_of_the_call() {
    let directory = tempfile::tempdir().expect("a directory");
    let link = directory.path().join("runc");
    symlink(runtime_path(), &link).expect("a link");
    let runc = || Command::new(&link);
    let version = runc().go(&["--version"]).ok().stdout;
    assert!(version.starts_with("runc version "), "{version}");
    let help = runc().go(&["--help"]).ok().stdout;
    assert!(help.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"), "{help}");
    assert!(help.contains("   runc [global options] ") && help.contains("# runc run <"), "{help}");
    let help = runc().go(&["run", "--help"]).ok().stdout;
    assert!(help.starts_with("NAME:\n   runc run - ") && help.contains("   runc run [options] "), "{help}");
    let nowhere = directory.path().join("nowhere");
    let run = |name: &str| Command::new(&link).args(["run", "--bundle"]).arg(&nowhere).go(&[name]);
    run("x").fails(1, "runc run failed: ");
    // It is the caller's to choose: no more than a word is taken.
    let mut renamed = Command::new(&link);
    std::os::unix::process::CommandExt::arg0(&mut renamed, "two\nlines");
    assert!(renamed.go(&["--version"]).ok().stdout.starts_with("runtime version "));
    assert!(
        !Path::new(&nowhere).exists() && fs::read_dir(directory.path()).expect("a directory").count() == 1
    );
}
