//! The example does what its page says, and leaves nothing.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// After this long the supervisor hangs, on however slow a machine.
const LIMIT: Duration = Duration::from_secs(300);

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

/// A supervisor that runs.
struct Supervisor {
    pid: u32,
    temporary: PathBuf,
}

impl Supervisor {
    fn kill(&self, signal: &str) {
        let killed = Command::new("kill").args([signal, &self.pid.to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()));
    }

    /// Waits until there is an entry with this name, so deep in its directory for temporary files.
    fn wait_for_entry(&self, depth: usize, name: &str) {
        let begin = Instant::now();
        loop {
            let mut directories = vec![self.temporary.clone()];
            for _ in 0..depth {
                let inside =
                    directories.iter().flat_map(|directory| directory.read_dir()).flatten().flatten();
                directories = inside.map(|entry| entry.path()).collect();
            }
            if directories
                .iter()
                .any(|path| path.file_name().is_some_and(|found| name.is_empty() || found == name))
            {
                return;
            }
            assert!(begin.elapsed() < LIMIT, "there is no {name:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Ends the supervisor `pid` if nothing comes by the limit, or if the test fails.
fn watch(pid: u32) -> mpsc::Sender<()> {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        for (limit, signal) in [(LIMIT, "-TERM"), (Duration::from_secs(60), "-KILL")] {
            if end.recv_timeout(limit).is_ok() {
                return;
            }
            eprintln!("the supervisor gets {signal}");
            Command::new("kill").args([signal, &pid.to_string()]).status().ok();
        }
    });
    ended
}

/// Runs the pod `spec` in a place that has to be empty afterwards; `act` gets the lines of its output.
fn run(spec: &str, name: &str, act: impl FnOnce(&Supervisor, &mut dyn Iterator<Item = String>)) -> Output {
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
    let watched = watch(child.id());
    let stdout = child.stdout.take().expect("a pipe");
    let mut seen = String::new();
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok).inspect(|line| {
        seen.push_str(line);
        seen.push('\n');
    });
    act(&Supervisor { pid: child.id(), temporary: temporary.clone() }, &mut lines);
    lines.for_each(drop);
    let mut output = child.wait_with_output().expect("it ends");
    watched.send(()).expect("it has ended by itself");
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
    let line = r#"echo "$(hostname) $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/pid) $$""#;
    let spec = serde_json::json!({"name": "POD", "containers": [
        {"name": "a", "args": ["sh", "-c", line]},
        {"name": "b", "args": ["sh", "-c", format!("{line}; echo wrong >&2; exit 3")], "restart": {"on-failure": 1}},
    ]});
    let (printed, errors) = text(&run(&spec.to_string(), "run", |_, _| {}));
    let said =
        |name: &str| -> Vec<&str> { printed.lines().filter_map(|line| line.strip_prefix(name)).collect() };
    // The order of two streams is nobody's.
    let (a, (wrong, b)) =
        (said("a | "), said("b | ").into_iter().partition::<Vec<_>, _>(|line| *line == "wrong"));
    assert_eq!((a.len(), b.len(), wrong.len()), (1, 2, 2), "{printed}{errors}");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (a, first, second) = (words(a[0]), words(b[0]), words(b[1]));
    assert!(a[0].starts_with("run-"), "{printed}");
    // One name and one network, also after the second start. Each is the first process of a PID namespace: it is its own. (The
    // numbers of their namespaces may be the same, one after the other.)
    assert_eq!((&a[..2], &a[..2]), (&first[..2], &second[..2]), "{printed}");
    let own = std::fs::read_link("/proc/self/ns/pid").expect("procfs");
    for words in [&a, &first, &second] {
        assert_eq!(words[3], "1", "{printed}");
        assert_ne!(Path::new(&words[2]), own, "{printed}");
    }
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
    let output = run(&spec.to_string(), "signal", |supervisor, lines| {
        assert!(wait_for(lines, |line| line == "deaf | ready"));
        assert!(
            wait_for(lines, |line| line.starts_with("deaf: ") && line.ends_with(" tasks")),
            "no statistics"
        );
        supervisor.kill("-TERM");
    });
    let (printed, errors) = text(&output);
    assert!(
        printed.contains("deaf | asked\n") && printed.contains("deaf: ended: Code(5)"),
        "{printed}{errors}"
    );
    assert!(output.status.success(), "{printed}{errors}");
}

/// Before there is a pod, while it is made, and after that.
#[test]
fn a_signal_at_any_moment_leaves_nothing() {
    if !can_run() {
        return;
    }
    // It ends by itself: the first process of a PID namespace does not end by a SIGTERM without a handler.
    let spec = serde_json::json!({"name": "POD", "containers": [
        {"name": "a", "args": ["sleep", "0.5"], "restart": "always"},
    ]});
    let spec = spec.to_string();
    for delay in [0, 2, 5, 10, 20, 40] {
        let output = run(&spec, "early", |supervisor, _| {
            thread::sleep(Duration::from_millis(delay));
            supervisor.kill("-TERM");
        });
        // The first may have come before `main`.
        assert!(output.status.success() || output.status.signal() == Some(15), "{delay} ms: {output:?}");
        assert_eq!(text(&output).1, "", "{delay} ms");
    }
    // From the directory on, the supervisor has something to take away.
    let name = |container| format!("early-{}-{container}", std::process::id());
    for (signal, depth, entry) in [
        ("-TERM", 1, String::new()),
        ("-INT", 2, "rootfs".to_owned()),
        ("-HUP", 2, "state".to_owned()),
        ("-TERM", 3, name("pod")),
        ("-TERM", 3, name("a")),
    ] {
        let output = run(&spec, "early", |supervisor, _| {
            supervisor.wait_for_entry(depth, &entry);
            supervisor.kill(signal);
        });
        assert!(output.status.success(), "{entry:?}: {output:?}");
        assert_eq!(text(&output).1, "", "{entry:?}");
    }
}

/// What is not UTF-8 is no end of the log, and a line without an end is printed in parts.
#[test]
fn any_bytes_are_logged() {
    if !can_run() {
        return;
    }
    let line = r"printf 'caf\351\n\n'; head -c 200000 /dev/zero | tr '\0' x; printf '\nlast'";
    let spec = serde_json::json!({"name": "POD", "containers": [{"name": "a", "args": ["sh", "-c", line]}]});
    let output = run(&spec.to_string(), "bytes", |_, _| {});
    let (printed, errors) = text(&output);
    let logged: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("a | ")).collect();
    assert_eq!(logged[..2], ["caf\u{fffd}", ""], "{errors}");
    assert_eq!(logged.last(), Some(&"last"), "{errors}");
    let long: Vec<usize> = logged[2..logged.len() - 1].iter().map(|line| line.len()).collect();
    assert_eq!(long, [65536, 65536, 65536, 200_000 - 3 * 65536], "{errors}");
    assert!(printed.contains("a: ended: Code(0)") && output.status.success(), "{errors}");
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
