//! The example does what its page says, and leaves nothing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_supervisor");

fn can_run() -> bool {
    let own = std::fs::metadata("/proc/self").expect("procfs");
    if std::os::unix::fs::MetadataExt::uid(&own) == 0 {
        return true;
    }
    let required = std::env::var_os("REQUIRE_PRIVILEGED").is_some_and(|value| value == "1");
    assert!(!required, "REQUIRE_PRIVILEGED=1, but the test does not run as root");
    println!("skipped: needs root");
    false
}

/// Runs the pod `spec` in a place that has to be empty afterwards; `act` gets the lines of its output.
fn run(spec: &str, name: &str, act: impl FnOnce(u32, &mut dyn Iterator<Item = String>)) -> Output {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("pod.json");
    // The cgroups are named after the containers: other runs of this test have others.
    let name = format!("{name}-{}", std::process::id());
    std::fs::write(&file, spec.replace("POD", &name)).expect("written");
    let temporary = place.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    let mut child = Command::new(PROGRAM)
        .arg(&file)
        .env("TMPDIR", &temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let stdout = child.stdout.take().expect("a pipe");
    let mut seen = String::new();
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok).inspect(|line| {
        seen.push_str(line);
        seen.push('\n');
    });
    act(child.id(), &mut lines);
    lines.for_each(drop);
    let mut output = child.wait_with_output().expect("it ends");
    output.stdout = seen.into_bytes();
    assert_eq!(temporary.read_dir().expect("the directory").count(), 0, "something is left");
    for hierarchy in ["", "memory", "pids", "unified"] {
        let Ok(entries) = Path::new("/sys/fs/cgroup").join(hierarchy).read_dir() else { continue };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let left: Vec<String> = names.filter(|left| left.starts_with(&name)).collect();
        assert_eq!(left, [""; 0], "cgroups in {hierarchy:?}");
    }
    output
}

/// Reads until a line comes.
fn wait_for(lines: &mut dyn Iterator<Item = String>, is_it: impl Fn(&str) -> bool) -> bool {
    for line in lines {
        if is_it(&line) {
            return true;
        }
    }
    false
}

fn text(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into(), String::from_utf8_lossy(&output.stderr).into())
}

#[test]
fn a_pod_runs_to_its_end() {
    if !can_run() {
        return;
    }
    let line = r#"echo "$(hostname) $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/pid)""#;
    let spec = serde_json::json!({"name": "POD", "containers": [
        {"name": "a", "args": ["sh", "-c", line]},
        {"name": "b", "args": ["sh", "-c", format!("{line}; echo wrong >&2; exit 3")], "restart": {"on-failure": 1}},
    ]});
    let (printed, errors) = text(&run(&spec.to_string(), "run", |_, _| {}));
    let said =
        |name: &str| -> Vec<&str> { printed.lines().filter_map(|line| line.strip_prefix(name)).collect() };
    let (a, b) = (said("a | "), said("b | "));
    assert_eq!((a.len(), b.len()), (1, 4), "{printed}{errors}");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (a, first, second) = (words(a[0]), words(b[0]), words(b[2]));
    assert!(a[0].starts_with("run-"), "{printed}");
    // One name and one network, also after the second start; processes are each one's own.
    assert_eq!((&a[..2], &a[..2]), (&first[..2], &second[..2]), "{printed}");
    assert_ne!(a[2], first[2]);
    assert_eq!(printed.matches("b: ended: Code(3)").count(), 2, "{printed}");
    assert!(printed.contains("a: ended: Code(0)") && printed.contains("b: start 2"), "{printed}");
}

/// SIGTERM ends a container that goes on for ever, and one that is about to be started again.
#[test]
fn a_signal_ends_the_pod() {
    if !can_run() {
        return;
    }
    let spec = serde_json::json!({"name": "POD", "containers": [
        {"name": "deaf", "args": ["sh", "-c", "trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.1; done"]},
        {"name": "restless", "args": ["true"], "restart": "always"},
    ]});
    let output = run(&spec.to_string(), "signal", |pid, lines| {
        assert!(wait_for(lines, |line| line == "deaf | ready"));
        assert!(
            wait_for(lines, |line| line.starts_with("deaf: ") && line.ends_with(" tasks")),
            "no statistics"
        );
        let killed = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
    });
    let (printed, errors) = text(&output);
    assert!(
        printed.contains("deaf | asked\n") && printed.contains("deaf: ended: Code(5)"),
        "{printed}{errors}"
    );
    assert!(output.status.success(), "{printed}{errors}");
}

#[test]
fn a_container_that_cannot_be_run_ends_the_pod() {
    if !can_run() {
        return;
    }
    let spec = serde_json::json!({"name": "POD", "containers": [
        {"name": "good", "args": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]},
        {"name": "bad", "args": ["/no/program"], "restart": "always"},
    ]});
    let output = run(&spec.to_string(), "bad", |_, _| {});
    let (printed, errors) = text(&output);
    assert!(errors.contains("/no/program") && errors.contains("no such file"), "{printed}{errors}");
    assert_eq!(output.status.code(), Some(1));
}

/// The code of the page is that of the example.
#[test]
fn the_page_shows_the_code() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(directory.join("README.md")).expect("the page");
    let sources = directory.join("src").read_dir().expect("the sources").flatten();
    let sources: Vec<String> =
        sources.map(|entry| std::fs::read_to_string(entry.path()).expect("a source")).collect();
    let blocks: Vec<&str> =
        page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect();
    assert!(blocks.len() >= 4, "{} blocks", blocks.len());
    for block in blocks {
        assert!(sources.iter().any(|source| source.contains(block)), "not in the example:\n{block}");
    }
    let lines = std::fs::read_to_string(directory.join("src/task.rs")).expect("a source").lines().count();
    assert!(page.contains(&format!("has {lines} lines")), "task.rs has {lines} lines");
    assert!(page.contains(&std::fs::read_to_string(directory.join("pod.json")).expect("the pod")));
}
