//! containerd's shim (and Docker's): `runc.go` of containerd/go-runc.

use std::fs;

use serde_json::{Value, json};

use super::engine::{Engine, read_all};
use crate::support::{Bundle, Running as _, privileged, until};

/// The global options of the shim, with a log for this call.
fn words<'a>(root: &'a str, log: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["--root", root, "--log", log, "--log-format", "json"], rest].concat()
}

#[test]
fn create_start_kill_delete() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("trap 'exit 9' TERM; touch /data/ready; while :; do sleep 0.01; done");
    let (root, log, bundle, pid) =
        (engine.root(), engine.path("log.json"), engine.path(""), engine.path("init.pid"));
    let id = engine.id.as_str();
    engine.silent(&words(&root, &log, &["create", "--bundle", &bundle, "--pid-file", &pid, id]));
    assert_eq!(engine.status(), "created");
    let state = engine.json(&words(&root, &log, &["state", id]));
    assert_eq!(state["pid"], engine.pid("init.pid"));
    assert_eq!(state["bundle"], engine.bundle.path().to_str().expect("a path"));
    engine.silent(&words(&root, &log, &["start", id]));
    engine.wait_for_file("ready");
    engine.silent(&words(&root, &log, &["kill", id, "15"]));
    engine.wait_for("stopped");
    // Whether it was there in time is the text's affair: containerd maps it to "not found".
    let again = engine.go(&words(&root, &log, &["kill", "--all", id, "9"]));
    assert!(again.code == 0 || engine.last_error("log.json").contains("container not running"), "{again:?}");
    engine.silent(&words(&root, &log, &["delete", id]));
    let gone = engine.go(&words(&root, &log, &["delete", id]));
    gone.fails(1, "does not exist");
    assert!(engine.last_error("log.json").contains("does not exist"));
    engine.silent(&words(&root, &log, &["delete", "--force", id]));
}

#[test]
fn create_says_in_the_log_what_failed() {
    if !privileged() {
        return;
    }
    for (program, text) in [
        ("no-such-program", "exec: \"no-such-program\": executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
        ("/etc", "is a directory"),
    ] {
        let mut engine = Engine::new("");
        engine.bundle.config["process"]["args"] = json!([program]);
        engine.bundle.write();
        let (root, log, bundle) = (engine.root(), engine.path("log.json"), engine.path(""));
        let run = engine.go(&words(&root, &log, &["create", "--bundle", &bundle, &engine.id]));
        assert_eq!(run.code, 1, "{run:?}");
        let error = engine.last_error("log.json");
        assert!(error.contains(text), "{text:?} is not in {error:?}");
        engine.go(&words(&root, &log, &["state", &engine.id])).fails(1, "does not exist");
    }
}

#[test]
fn create_with_a_console_and_without_a_keyring() {
    if !privileged() {
        return;
    }
    let mut engine = Engine::new("tty; test -w /dev/console && echo writable");
    engine.bundle.config["process"]["terminal"] = json!(true);
    engine.bundle.write();
    let (root, bundle, pid) = (engine.root(), engine.path(""), engine.path("init.pid"));
    let (console, id) = (engine.console(), engine.id.as_str());
    let (socket, log) = (console.path(), engine.path("log.json"));
    let create = ["create", "--bundle", &bundle, "--pid-file", &pid, "--console-socket", &socket];
    let create = [&create[..], &["--no-new-keyring", id]].concat();
    engine.silent(&words(&root, &log, &create));
    let terminal = console.terminal();
    engine.silent(&words(&root, &log, &["start", id]));
    assert_eq!(read_all(terminal), "/dev/pts/0\r\nwritable\r\n");
}

#[test]
fn exec_by_a_file() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let (root, log, pid) = (engine.root(), engine.path("log.json"), engine.path("exec.pid"));
    let process = engine.process(&["sh", "-c", "echo $A > /data/said"], |process| {
        process["env"] = json!(["PATH=/bin", "A=b c"]);
    });
    let exec = ["exec", "--process", &process, "--detach", "--pid-file", &pid, &engine.id];
    engine.silent(&words(&root, &log, &exec));
    until("output", || fs::read_to_string(engine.path("said")).is_ok_and(|text| text == "b c\n"));
    assert!(engine.pid("exec.pid") > 1);
    let process = engine.process(&["tty"], |process| process["terminal"] = json!(true));
    let console = engine.console();
    let socket = console.path();
    let exec = ["exec", "--process", &process, "--console-socket", &socket, "--detach", "--pid-file", &pid];
    engine.silent(&words(&root, &log, &[&exec[..], &[&engine.id]].concat()));
    assert!(read_all(console.terminal()).starts_with("/dev/pts/"));
    let process = engine.process(&["no-such-program"], |_| {});
    let exec = ["exec", "--process", &process, "--detach", "--pid-file", &pid, &engine.id];
    assert_eq!(engine.go(&words(&root, &log, &exec)).code, 255);
    assert!(engine.last_error("log.json").contains("executable file not found in $PATH"));
}

#[test]
fn processes_as_numbers_and_as_a_table() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000 & wait").started();
    let root = engine.root();
    let list = || engine.json(&["--root", &root, "ps", "--format", "json", &engine.id]);
    until("both processes", || list().as_array().is_some_and(|pids| pids.len() == 2));
    assert!(list().as_array().expect("pids").iter().all(Value::is_u64));
    let mut command = engine.command();
    command.env("PATH", "/usr/bin:/bin");
    let table = command.go(&["--root", &root, "ps", "--format", "table", &engine.id, "-ef"]).ok().stdout;
    assert!(table.lines().next().is_some_and(|head| head.contains("PID")), "{table}");
    assert!(table.contains("sleep 1000"), "{table}");
}

#[test]
fn list_as_json() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000");
    let root = engine.root();
    fs::create_dir(&root).expect("a directory");
    let none = engine.json(&["--root", &root, "list", "--format=json"]);
    assert!(none.is_null() || none == json!([]), "{none}");
    let engine = engine.started();
    let list = engine.json(&["--root", &root, "list", "--format=json"]);
    let only = &list.as_array().expect("an array")[0];
    assert_eq!((&only["id"], &only["status"]), (&json!(engine.id), &json!("running")));
    assert!(only["created"].as_str().is_some_and(|time| time.ends_with('Z')), "{only}");
    assert!(only["pid"].as_u64().is_some_and(|pid| pid > 1), "{only}");
}

#[test]
fn statistics_and_limits() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let root = engine.root();
    let event = engine.json(&["--root", &root, "events", "--stats", &engine.id]);
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(engine.id)));
    for group in ["cpu", "memory", "pids", "blkio", "hugetlb"] {
        assert!(event["data"][group].is_object(), "{group} in {event}");
    }
    let run = engine.go_with("{}", &["--root", &root, "update", "--resources", "-", &engine.id]).ok();
    assert_eq!(run.stdout, "");
    let broken = engine.go_with("{", &["--root", &root, "update", "--resources", "-", &engine.id]);
    assert_eq!(broken.code, 1, "{broken:?}");
    engine.silent(&["--root", &root, "pause", &engine.id]);
    assert_eq!(engine.status(), "paused");
    engine.silent(&["--root", &root, "resume", &engine.id]);
    assert_eq!(engine.status(), "running");
}

/// With every flag that go-runc knows; there is no CRIU, because there is no PATH to find it in.
#[test]
fn checkpoint_and_restore_without_criu() {
    if !privileged() {
        return;
    }
    let engine = Engine::new("sleep 1000").started();
    let (root, log, image, work) =
        (engine.root(), engine.path("log.json"), engine.path("image"), engine.path("work"));
    let flags = [
        "--image-path",
        &image,
        "--work-path",
        &work,
        "--tcp-established",
        "--ext-unix-sk",
        "--shell-job",
        "--file-locks",
        "--manage-cgroups-mode",
        "soft",
        "--empty-ns",
        "network",
        "--leave-running",
    ];
    let checkpoint = [&["checkpoint"][..], &flags, &[&engine.id]].concat();
    let run = engine.go(&words(&root, &log, &checkpoint));
    assert_eq!(run.code, 1, "{run:?}");
    assert!(engine.last_error("log.json").to_lowercase().contains("criu"), "{run:?}");
    assert_eq!(engine.status(), "running");
    let bundle = engine.path("");
    let (pid, other) = (engine.path("restored.pid"), format!("{}0", engine.id));
    let restore = ["restore", "--image-path", &image, "--work-path", &work, "--detach", "--pid-file", &pid];
    let restore = [&restore[..], &["-no-subreaper", "--bundle", &bundle, &other]].concat();
    let run = engine.go(&words(&root, &log, &restore));
    assert_eq!(run.code, 1, "{run:?}");
    engine.go(&["--root", &root, "state", &other]).fails(1, "does not exist");
}

/// Three lines, each with one word of its own before the value.
#[test]
fn version() {
    let engine = Engine::new("");
    let text = engine.go(&["--version"]).ok().stdout;
    let lines: Vec<_> = text.trim().lines().collect();
    for (line, separator) in lines.iter().zip(["version ", ": ", ": "]) {
        assert_eq!(line.split(separator).count(), 2, "{line:?}");
    }
    assert!(lines.len() >= 3, "{text}");
    assert!(lines[2].starts_with("spec: 1."), "{text}");
}

/// A shim reaps every process: the status of a detached one is its own to take, also when that has ended before the
/// runtime has.
#[test]
fn a_detached_process_that_has_ended_is_left_to_the_shim() {
    // A subreaper gets the orphans of all tests in its process.
    let mut alone = std::process::Command::new(std::env::current_exe().expect("a path"));
    let run = alone.go(&["--exact", "shim::left_to_a_subreaper", "--ignored", "--test-threads=1"]);
    assert!(run.code == 0 && run.stdout.contains("1 passed"), "{run:?}");
}

#[test]
#[ignore = "for the test before, in a process of its own"]
fn left_to_a_subreaper() {
    if !privileged() {
        return;
    }
    nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "--detach"]).ok();
    let pid_file = bundle.path().join("exec.pid");
    let status_of = || {
        let pid: i32 = std::fs::read_to_string(&pid_file).expect("a pid file").trim().parse().expect("a pid");
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None)
    };
    for round in 0..40 {
        let script = format!("exit {}", round % 7);
        let file = pid_file.to_str().expect("a path");
        container.go_with(&["exec", "--detach", "--pid-file", file], &["sh", "-c", &script]).ok();
        let status = status_of().expect("the process is a child of the subreaper");
        assert!(
            matches!(status, nix::sys::wait::WaitStatus::Exited(_, code) if code == round % 7),
            "{status:?}"
        );
    }
}
