//! events: statistics, and running out of memory.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Bundle, Container, finish, privileged, until};

/// `events` that runs, and the file that it writes to.
struct Follower {
    child: Child,
    output: std::path::PathBuf,
}

impl Follower {
    fn new(bundle: &Bundle, container: &Container<'_>, interval: &str) -> Self {
        let output = bundle.path().join(format!("events-{interval}"));
        let file = File::create(&output).expect("a file");
        let errors = file.try_clone().expect("a descriptor");
        let child = bundle
            .runtime()
            .args(["events", "--interval", interval, &container.id])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .expect("events");
        Self { child, output }
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.output).expect("the output");
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| event["type"] == kind).count()
    }

    /// Asserts that it ends by itself.
    #[track_caller]
    fn ends(&mut self) {
        assert_eq!(finish(&mut self.child), 0, "{:?}", fs::read_to_string(&self.output));
    }
}

fn limited(args: &[&str]) -> Bundle {
    Bundle::new(args).with(|config| {
        if fs::exists("/sys/fs/cgroup/memory").unwrap_or(false) {
            config["linux"]["resources"] =
                json!({"memory": {"limit": 33554432, "swap": 33554432}, "pids": {"limit": 20}});
        }
    })
}

fn has_memory() -> bool {
    fs::exists("/sys/fs/cgroup/memory").unwrap_or(false)
}

#[test]
fn statistics_once() {
    if !privileged() {
        return;
    }
    let bundle = limited(&["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let line = container.go(&["events", "--stats"]).ok().stdout;
    assert_eq!(line.lines().count(), 1, "{line:?}");
    assert!(
        line.starts_with(&format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{", container.id)),
        "{line}"
    );
    let event: Value = serde_json::from_str(&line).expect("JSON");
    let data = &event["data"];
    for field in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb"] {
        assert!(data[field].is_object(), "{field} in {line}");
    }
    assert!(data["cpu"]["usage"]["total"].as_u64().is_some_and(|time| time > 0), "{line}");
    assert!(data["pids"]["current"].as_u64().is_some_and(|count| count > 0), "{line}");
    if has_memory() {
        assert_eq!(data["memory"]["usage"]["limit"], 33554432);
        assert_eq!(data["memory"]["swap"]["limit"], 33554432);
        assert!(data["memory"]["usage"]["usage"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
        assert!(data["memory"]["raw"]["hierarchical_memory_limit"].is_u64(), "{line}");
        assert_eq!(data["pids"]["limit"], 20);
    }
}

#[test]
fn statistics_in_intervals_until_the_end() {
    if !privileged() {
        return;
    }
    let bundle = limited(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let begin = Instant::now();
    let mut fast = Follower::new(&bundle, &container, "50ms");
    let mut slow = Follower::new(&bundle, &container, "1h");
    until("five statistics", || fast.count("stats") >= 5);
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    for event in fast.events() {
        assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(container.id)));
        assert!(event["data"]["pids"]["current"].is_u64(), "{event}");
    }
    container.go_with(&["kill"], &["KILL"]).ok();
    fast.ends();
    slow.ends();
    assert_eq!(slow.events(), [json!(null); 0]);
}

#[test]
fn out_of_memory() {
    if !privileged() {
        return;
    }
    if !has_memory() {
        eprintln!("skipped: needs the v1 memory controller");
        return;
    }
    let bundle = limited(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let mut events = Follower::new(&bundle, &container, "50ms");
    until("statistics", || events.count("stats") > 0);
    assert_eq!(events.count("oom"), 0);
    let hog = || container.go_with(&["exec"], &["tail", "/dev/zero"]).code;
    for count in 1..=2 {
        assert_eq!(hog(), 137, "the kernel kills it");
        until("an event", || events.count("oom") >= count);
    }
    let line = format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", container.id);
    assert!(fs::read_to_string(&events.output).expect("the output").contains(&line));
    assert_eq!(container.status(), "running");
    container.go(&["delete", "--force"]).ok();
    events.ends();
    assert_eq!(events.count("oom"), 2, "one for each kill, and none for the removed cgroup");
}

#[test]
fn an_init_out_of_memory_is_told_before_the_end() {
    if !privileged() || !has_memory() {
        eprintln!("skipped: needs root and the v1 memory controller");
        return;
    }
    let bundle = limited(&["tail", "/dev/zero"]);
    let container = bundle.container();
    container.go(&["create"]).ok();
    let mut events = Follower::new(&bundle, &container, "10ms");
    until("statistics", || events.count("stats") > 0);
    container.go(&["start"]).ok();
    events.ends();
    assert_eq!(events.count("oom"), 1);
}

#[test]
fn what_is_refused() {
    if !privileged() {
        return;
    }
    let bundle = limited(&["true"]);
    bundle.go(&["events", "--stats", "nosuch"]).fails(1, "does not exist");
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    for (interval, text) in [
        ("0", "must be greater than 0"),
        ("0s", "must be greater than 0"),
        ("-1s", "must be greater than 0"),
        ("soon", "is not a time"),
    ] {
        container.go(&["events", "--interval", interval]).fails(1, text);
    }
    container.wait_for("stopped");
    let text = format!("container with id {} is not running", container.id);
    container.go(&["events"]).fails(1, &text);
    container.go(&["events", "--stats"]).fails(1, &text);
}
