//! events: statistics, and running out of memory.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Bundle, Container, Running as _, finish, privileged, until};

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

/// Every name that containerd's go-runc reads (its `Stats`), as far as the machine has the numbers.
#[test]
fn the_names_that_containerd_reads() {
    if !privileged() {
        return;
    }
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; cat /bin/busybox >/tmp/copy; \
                  : >/tmp/worked; sleep 1000";
    let bundle = limited(&["sh", "-c", script]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    until("it has worked", || fs::exists(bundle.path().join("rootfs/tmp/worked")).unwrap_or(false));
    let line = container.go(&["events", "--stats"]).ok().stdout;
    let event: Value = serde_json::from_str(&line).expect("JSON");
    let data = &event["data"];
    let has = |names: &[&str]| {
        for name in names {
            let found = data.pointer(name).is_some_and(|value| !value.is_null());
            assert!(found, "{name} in {line}");
        }
    };
    has(&["/cpu/usage/total", "/cpu/usage/kernel", "/cpu/usage/user", "/cpu/throttling", "/pids/current"]);
    has(&["/memory", "/blkio", "/hugetlb"]);
    if has_memory() {
        has(&["/cpu/usage/percpu", "/memory/cache", "/memory/raw/total_cache", "/pids/limit"]);
        for entry in ["usage", "swap", "kernel", "kernelTCP"] {
            has(&[&format!("/memory/{entry}/limit"), &format!("/memory/{entry}/failcnt")]);
        }
        for entry in ["usage", "swap", "kernel"] {
            has(&[&format!("/memory/{entry}/usage"), &format!("/memory/{entry}/max")]);
        }
    }
    for entry in data["blkio"]["ioServiceBytesRecursive"].as_array().into_iter().flatten() {
        assert!(entry["op"].is_string() && entry["major"].as_u64().is_some_and(|major| major > 0), "{line}");
    }
    for (size, pages) in data["hugetlb"].as_object().expect("an object") {
        assert!(size.ends_with('B') && pages["failcnt"].is_u64(), "{line}");
    }
}

/// The v2 cgroup of a container, on a machine that mounts cgroup2.
fn unified(container: &Container<'_>) -> Option<std::path::PathBuf> {
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.state()["pid"])).expect("cgroup");
    let path = table.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let root = roots.into_iter().find(|root| fs::exists(format!("{root}/cgroup.procs")).unwrap_or(false))?;
    Some(std::path::Path::new(root).join(path))
}

/// Pressure (the kernel's accounting/psi.rst) under the names that runc 1.2 gave it.
#[test]
fn pressure_of_each_resource() {
    if !privileged() {
        return;
    }
    let bundle = limited(&["sh", "-c", "while :; do :; done"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let files = [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("blkio", "io.pressure")];
    let Some(group) = unified(&container).filter(|group| group.join(files[0].1).exists()) else {
        eprintln!("skipped: no cgroup2 with pressure stall information");
        return;
    };
    let told = || -> Value {
        let line = container.go(&["events", "--stats"]).ok().stdout;
        serde_json::from_str(&line).expect("JSON")
    };
    for (name, file) in files {
        assert!(told()["data"][name]["psi"].is_object(), "{name}: {}", told());
        assert!(group.join(file).exists(), "{file}");
    }
    // Two loops on one processor: one of them waits.
    container.go_with(&["exec", "-d"], &["sh", "-c", "while :; do :; done"]).ok();
    let pid = container.state()["pid"].to_string();
    for line in fs::read_to_string(group.join("cgroup.procs")).expect("processes").lines() {
        let run = Command::new("taskset").args(["-p", "-c", "0"]).go(&[line]);
        assert_eq!(run.code, 0, "{run:?} of {pid}");
    }
    until("pressure", || {
        let some = &told()["data"]["cpu"]["psi"]["some"];
        let averages = ["avg10", "avg60", "avg300"].iter().all(|name| some[name].is_f64());
        averages && some["total"].as_u64().is_some_and(|total| total > 0)
    });
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
