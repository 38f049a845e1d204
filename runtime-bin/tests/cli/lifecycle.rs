//! create, start, state, kill, delete, pause, resume, list and ps.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Bundle, finish, privileged, until};

/// The longest id that can be the name of a directory; the session keyring has it in its name too.
#[test]
fn an_id_of_255_bytes() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let id = format!("{}-{}", std::process::id(), "x".repeat(255))[..255].to_owned();
    bundle.go(&["run", &id]).ok();
    bundle.go(&["run", &format!("{id}x")]).fails(1, "it is longer than 255 bytes");
}

#[test]
fn created_running_stopped_deleted() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["create", "--pid-file", "pid"]).ok();
    let state = container.state();
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(state["id"], container.id.as_str());
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"].as_str().map(std::path::Path::new), Some(bundle.path()));
    assert!(state["rootfs"].as_str().is_some_and(|path| path.ends_with("/rootfs")), "{state}");
    assert!(state["created"].as_str().is_some_and(|time| time.len() >= 20 && time.ends_with('Z')), "{state}");
    assert!(state.get("owner").is_some_and(Value::is_string), "{state}");
    let pid = std::fs::read_to_string(bundle.path().join("pid")).expect("the pid file");
    assert_eq!(pid, state["pid"].to_string(), "decimal and no newline");
    assert!(!pid.contains('\n'));

    container.go(&["start"]).ok();
    assert_eq!(container.status(), "running");
    container.go(&["start"]).fails(1, "cannot start an already running container");
    container.go(&["delete"]).fails(1, "that is not stopped");

    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    assert_eq!(container.state()["pid"], 0);
    container.go(&["start"]).fails(1, "cannot start a container that has stopped");
    container.go_with(&["kill"], &["KILL"]).fails(1, "container not running");
    container.go_with(&["kill", "--all"], &["9"]).ok();
    container.go(&["delete"]).ok();
    container.go(&["state"]).fails(1, "does not exist");
}

#[test]
fn unknown_containers() {
    let bundle = Bundle::new(&["true"]);
    for verb in ["state", "start", "delete", "pause", "resume", "kill", "ps"] {
        bundle.go(&[verb, "nosuch"]).fails(1, "does not exist");
    }
    bundle.go(&["exec", "nosuch", "true"]).fails(255, "does not exist");
    bundle.go(&["delete", "--force", "nosuch"]).ok();
    bundle.go(&["delete", "nosuch", "-f"]).ok();
}

#[test]
fn bad_ids() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    for id in ["", "../x", "a/b", ".", "..", "a b", "a\nb", "é"] {
        let run = bundle.go(&["create", "--", id]);
        assert_eq!(run.code, 1, "{id:?}: {run:?}");
        assert!(run.stderr.contains("container"), "{id:?}: {run:?}");
    }
    assert!(!bundle.path().join("x").exists());
}

#[test]
fn an_id_is_used_once() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["create"]).ok();
    container.go(&["create"]).fails(1, "exists");
    assert_eq!(container.status(), "created");
}

#[test]
fn a_created_container_needs_no_force() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let container = bundle.container();
    container.go(&["create"]).ok();
    container.go(&["delete"]).ok();
    container.go(&["state"]).fails(1, "does not exist");
}

#[test]
fn signals_by_name_and_number() {
    if !privileged() {
        return;
    }
    let script = "trap 'echo usr1 > /tmp/usr1' USR1; trap 'echo term > /tmp/term' TERM; echo > /tmp/up; while :; do sleep 0.05; done";
    let bundle = Bundle::new(&["sh", "-c", script]);
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let there = |name: &str| bundle.path().join("rootfs/tmp").join(name).exists();
    crate::support::until("the script", || there("up"));
    container.go_with(&["kill"], &["SIGusr1"]).ok();
    crate::support::until("SIGUSR1", || there("usr1"));
    container.go(&["kill"]).ok();
    crate::support::until("SIGTERM", || there("term"));
    container.go_with(&["kill"], &["NOSUCH"]).fails(1, "unknown signal");
    container.go_with(&["kill"], &["9"]).ok();
    container.wait_for("stopped");
}

#[test]
fn list_in_both_forms() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        config["annotations"] = json!({"org.example.key": "value"});
    });
    assert_eq!(bundle.go(&["list"]).code, 1, "a root that does not exist");
    let mut both = [bundle.container(), bundle.container()];
    // As texts, as in the list: 10 comes before 9.
    both.sort_by(|one, two| one.id.cmp(&two.id));
    let [one, two] = &both;
    one.go(&["run", "-d"]).ok();
    two.go(&["create"]).ok();
    let table = bundle.go(&["list"]).ok().stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(lines.len(), 3);
    for (line, (container, status)) in lines[1..].iter().zip([(one, "running"), (two, "created")]) {
        assert_eq!((line[0], line[2]), (container.id.as_str(), status));
        assert_eq!(line[1], container.state()["pid"].to_string());
    }
    assert_eq!(bundle.go(&["list", "-q"]).ok().stdout, format!("{}\n{}\n", one.id, two.id));
    let json: Value = serde_json::from_str(&bundle.go(&["list", "--format=json"]).ok().stdout).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2));
    assert_eq!(json[0]["id"], one.id.as_str());
    assert_eq!(json[0]["annotations"]["org.example.key"], "value");
    bundle.go(&["list", "-f", "xml"]).fails(1, "");
}

#[test]
fn ps_in_both_forms() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let pid = container.state()["pid"].clone();
    let json = container.go(&["ps", "--format", "json"]).ok().stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), json!([pid]));
    let table = container.go(&["ps"]).ok().stdout;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines.len(), lines[0][1]), (2, "PID"), "{table}");
    assert_eq!(lines[1][1], pid.to_string());
    let table = container.go_with(&["ps"], &["-e", "-x"]).ok().stdout;
    assert!(table.contains("PID") && table.contains(&pid.to_string()), "{table}");
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    container.go(&["ps"]).ok();
}

#[test]
fn pause_and_resume() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sh", "-c", "while :; do date +%s%N > /tmp/tick; sleep 0.02; done"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    container.go(&["pause"]).ok();
    assert_eq!(container.status(), "paused");
    let tick = || std::fs::read(bundle.path().join("rootfs/tmp/tick")).unwrap_or_default();
    let before = tick();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(before, tick(), "a paused container does nothing");
    container.go_with(&["exec"], &["true"]).fails(255, "cannot exec in a paused container");
    container.go(&["resume"]).ok();
    assert_eq!(container.status(), "running");
    crate::support::until("a tick", || tick() != before);
    container.go(&["pause"]).ok();
    container.go(&["delete", "--force"]).ok();
}

/// A frozen init never reads its word: the container has to be resumed first.
#[test]
fn a_container_that_is_paused_before_its_start() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        let hook = json!({"path": "/bin/touch", "args": ["touch", "/tmp/hook"]});
        config["hooks"] = json!({"startContainer": [hook]});
    });
    let container = bundle.container();
    container.go(&["create"]).ok();
    container.go(&["pause"]).ok();
    let refused = container.go(&["start"]).fails(1, "cannot start a container in the paused state");
    assert!(refused.stderr.contains("`resume`"), "{refused:?}");
    assert_eq!(container.status(), "paused");
    container.go(&["pause"]).fails(1, "container not running or created");
    container.go_with(&["exec"], &["true"]).fails(255, "cannot exec in a paused container");
    container.go(&["checkpoint"]).fails(1, "cannot be checkpointed in created state");
    container.go(&["delete"]).fails(1, "that is not stopped: paused");
    assert!(!bundle.path().join("rootfs/tmp/hook").exists());
    container.go(&["resume"]).ok();
    assert_eq!(container.status(), "created");
    container.go(&["start"]).ok();
    assert_eq!(container.status(), "running");
    assert!(bundle.path().join("rootfs/tmp/hook").exists());
    container.go(&["delete", "--force"]).ok();

    let container = bundle.container();
    container.go(&["create"]).ok();
    container.go(&["pause"]).ok();
    container.go_with(&["kill"], &["KILL"]).ok();
    container.wait_for("stopped");
    container.go(&["delete"]).ok();
}

/// A signal to all processes freezes them for a moment: that is not to be the end of a pause.
#[test]
fn a_pause_beside_a_signal_to_all() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                container.go_with(&["kill", "--all"], &["CONT"]).ok();
            }
        });
        for _ in 0..20 {
            container.go(&["pause"]).ok();
            container.wait_for("paused");
            container.go(&["resume"]).ok();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn failures_leave_nothing() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    for options in [
        ["--pid-file", "/nonexistent/pid"].as_slice(),
        &["--pidfd-socket", "/nonexistent/socket"],
        &["--console-socket", "/nonexistent/socket"],
        &["--bundle", "/nonexistent"],
        &["--preserve-fds", "2000000"],
    ] {
        for verb in [["create"].as_slice(), &["run", "-d"]] {
            let container = bundle.container();
            let run = container.go(&[verb, options].concat());
            assert_eq!(run.code, 1, "{options:?}: {run:?}");
            assert_eq!(run.stderr.lines().count(), 1, "{options:?}: {run:?}");
            container.go(&["state"]).fails(1, "does not exist");
        }
    }
}

#[test]
fn missing_programs_have_the_texts_of_engines() {
    if !privileged() {
        return;
    }
    for (program, texts) in [
        ("nosuch", ["executable file not found in $PATH", "no such file or directory"]),
        ("/nosuch", ["no such file or directory", "no such file or directory"]),
        ("/etc/passwd", ["permission denied", "permission denied"]),
        ("/etc", ["is a directory", "permission denied"]),
    ] {
        let bundle = Bundle::new(&[program]);
        let container = bundle.container();
        for verb in ["create", "run"] {
            let run = container.go(&[verb]);
            assert_eq!(run.code, 1, "{run:?}");
            assert!(texts.iter().any(|text| run.stderr.contains(text)), "{program}: {run:?}");
            container.go(&["state"]).fails(1, "does not exist");
        }
        let bundle = Bundle::new(&["sleep", "1000"]);
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        let run = container.go_with(&["exec"], &[program]);
        assert_eq!(run.code, 255, "{run:?}");
        assert!(texts.iter().any(|text| run.stderr.contains(text)), "{program}: {run:?}");
        assert_eq!(container.status(), "running");
    }
}

/// Any step of an exec may fail when the container ends meanwhile: there is one error for that.
#[test]
fn exec_beside_the_end_of_the_container() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "0.05"]);
    for round in 0..30 {
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        let refused = loop {
            let run = container.go_with(&["exec"], &["true"]);
            match run.code {
                0 => {}
                // It ran, and was killed with the container.
                137 => assert_eq!(run.stderr, "", "{run:?}"),
                _ => break run,
            }
        };
        assert_eq!(refused.code, 255, "{round}: {refused:?}");
        let words = "exec failed: cannot exec in a stopped container\"\n";
        assert!(refused.stderr.ends_with(words), "{round}: {refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{round}: {refused:?}");
    }
}

/// What a deletion has taken away already is no error of its own: the container is stopped, or does not exist.
#[test]
fn calls_beside_a_deletion() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    for _ in 0..15 {
        let container = bundle.container();
        container.go(&["run", "-d"]).ok();
        std::thread::scope(|scope| {
            for words in [&["exec"][..], &["exec"], &["state"], &["kill"], &["ps"]] {
                let (container, more) = (&container, if words == ["exec"] { &["true"][..] } else { &[] });
                scope.spawn(move || {
                    let refused = loop {
                        let run = container.go_with(words, more);
                        match run.code {
                            0 => {}
                            137 if words == ["exec"] => {}
                            _ => break run,
                        }
                    };
                    let known = ["does not exist", "stopped container", "container not running"];
                    assert!(known.iter().any(|text| refused.stderr.contains(text)), "{refused:?}");
                    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
                });
            }
            container.go(&["delete", "--force"]).ok();
        });
    }
}

/// Nothing was out of memory: the error of an init that somebody kills does not send its reader there.
#[test]
fn an_init_that_is_killed_lacks_no_memory() {
    if !privileged() {
        return;
    }
    let script = r#"kill -9 $(sed 's/.*"pid":\([0-9]*\).*/\1/')"#;
    let bundle = Bundle::new(&["true"]).with(|config| {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        config["hooks"] = json!({"createRuntime": [hook]});
    });
    for verb in ["create", "run"] {
        let run = bundle.container().go(&[verb]).fails(1, "it was killed by signal 9");
        assert!(!run.stderr.contains("memory"), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
}

/// Where the kernel has killed for lack of memory, the error says so.
#[test]
fn an_init_without_memory() {
    if !privileged() {
        return;
    }
    if !std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        eprintln!("skipped: needs the v1 memory controller");
        return;
    }
    let bundle = Bundle::new(&["true"]).with(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 4096, "swap": 4096});
    });
    let run = bundle.container().go(&["run"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("its memory limit is too low"), "{run:?}");
}

/// A start whose hook hangs holds the container's lock. A forced deletion says so, and ends what it waits for.
#[test]
fn a_forced_deletion_tells_who_keeps_it_waiting() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]).with(|config| {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo > /tmp/hook; sleep 1000"]});
        config["hooks"] = json!({"startContainer": [hook]});
    });
    let container = bundle.container();
    container.go(&["create"]).ok();
    let mut start =
        bundle.runtime().args(["start", &container.id]).stderr(Stdio::null()).spawn().expect("a start");
    until("the hook", || bundle.path().join("rootfs/tmp/hook").exists());
    let run = container.go(&["delete", "--force"]);
    assert_eq!(run.code, 0, "{run:?}");
    let words = format!("waiting for another call on container {}: process {} (", container.id, start.id());
    assert!(run.stderr.contains(&words), "no {words:?} in {}", run.stderr);
    finish(&mut start);
    container.go(&["state"]).fails(1, "does not exist");
}

/// runtime.md, "Lifecycle", step 13: a warning, and the next hooks and the deletion go on.
#[test]
fn a_poststop_hook_that_fails_is_a_warning_of_delete() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let made = bundle.path().join("made");
    let touch = json!({"path": "/bin/busybox", "args": ["touch", made]});
    let bundle = bundle.with(|config| {
        config["hooks"] = json!({"poststop": [{"path": "/bin/false"}, touch, {"path": "/missing/hook"}]});
    });
    for delete in [&["delete"][..], &["delete", "--force"], &["delete", "--regex"]] {
        let container = bundle.container();
        container.go(&["create"]).ok();
        let run = container.go(delete);
        assert_eq!(run.code, 0, "{delete:?}: {run:?}");
        for hook in ["level=warning", "poststop hook #0", "poststop hook #2"] {
            assert!(run.stderr.contains(hook), "{delete:?}: {run:?}");
        }
        container.go(&["state"]).fails(1, "does not exist");
        std::fs::remove_file(&made).expect("the hook between them ran");
    }
    let bundle = bundle.with(|config| config["process"]["args"] = json!(["true"]));
    let run = bundle.container().go(&["run"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("level=warning") && made.exists(), "{run:?}");
}
