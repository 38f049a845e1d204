//! Limits that are felt: what the kernel does when a program goes beyond them.

use std::time::{Duration, Instant};

use runtime_core::cgroup::Cgroup;
use serde_json::json;

use crate::view::{Scratch, eventually, in_views};

fn has(scratch: &Scratch, controller: &str) -> bool {
    let has = scratch.has(controller);
    if !has {
        println!("skipped: this view has no {controller} controller");
    }
    has
}

fn nothing() -> Scratch {
    Scratch::new(&json!({}))
}

in_views!(a_memory_hog_is_killed: hybrid, v1, v2);
fn a_memory_hog_is_killed() {
    let mut scratch = nothing();
    if !has(&scratch, "memory") {
        return;
    }
    let limit: u64 = 32 << 20;
    scratch.apply(&json!({"memory": {"limit": limit, "swap": limit}})).expect("the limit applies");
    assert_eq!(scratch.cgroup.oom_kills().expect("a number"), Some(0));
    // It waits for the end of a line that never ends.
    let pid = scratch.spawn("exec tail /dev/zero");
    assert!(eventually(|| scratch.cgroup.oom_kills().expect("a number") == Some(1)), "process {pid}");
    scratch.reap();
    let memory = scratch.cgroup.statistics().expect("statistics").memory;
    // v2 has no peak before Linux 5.19.
    assert!(memory.usage.max == 0 || (limit / 2..=limit).contains(&memory.usage.max), "{memory:?}");
}

in_views!(a_fork_bomb_stops_at_the_limit: hybrid, v1, v2);
fn a_fork_bomb_stops_at_the_limit() {
    const PIDS: u64 = 20;
    let mut scratch = nothing();
    if !has(&scratch, "pids") {
        return;
    }
    scratch.apply(&json!({"pids": {"limit": PIDS}})).expect("the limit applies");
    scratch.spawn("i=0; while [ $i -lt 60 ]; do sleep 600 & i=$((i+1)); done; sleep 600");
    let refused = || {
        scratch.read("pids", "pids.events").lines().any(|line| line.starts_with("max ") && line != "max 0")
    };
    assert!(eventually(refused), "nothing was refused");
    let pids = scratch.cgroup.statistics().expect("statistics").pids;
    assert!(pids.limit == PIDS && pids.current <= PIDS && pids.current > PIDS / 2, "{pids:?}");
    assert!(scratch.cgroup.processes(true).expect("processes").len() as u64 <= PIDS);
}

/// Seconds of CPU that the cgroup uses in a second, over at least `time`.
fn rate(cgroup: &Cgroup, time: Duration) -> f64 {
    let used = || cgroup.statistics().expect("statistics").cpu.usage.total;
    let (begin, before) = (Instant::now(), used());
    std::thread::sleep(time);
    let (after, elapsed) = (used(), begin.elapsed());
    (after - before) as f64 / elapsed.as_nanos() as f64
}

in_views!(a_busy_loop_gets_its_quota: hybrid, v1, v2);
fn a_busy_loop_gets_its_quota() {
    const QUOTA: f64 = 0.1;
    let mut scratch = nothing();
    if !has(&scratch, "cpu") {
        return;
    }
    scratch.apply(&json!({"cpu": {"quota": 10_000, "period": 100_000}})).expect("the limit applies");
    scratch.spawn("while :; do :; done");
    assert!(eventually(
        || scratch.cgroup.statistics().expect("statistics").cpu.throttling.throttled_periods > 2
    ));
    let mut seen = Vec::new();
    // Never more; and as much, as soon as a busy machine lets it.
    for _ in 0..10 {
        let rate = rate(&scratch.cgroup, Duration::from_secs(3));
        seen.push(rate);
        assert!(rate <= QUOTA * 1.1, "more than the quota: {seen:?}");
        if rate >= QUOTA * 0.9 {
            println!("{seen:?}");
            return;
        }
    }
    panic!("less than the quota: {seen:?}");
}

in_views!(a_limit_below_the_usage_is_refused_when_asked: v2);
fn a_limit_below_the_usage_is_refused_when_asked() {
    let mut scratch = nothing();
    if !has(&scratch, "memory") {
        return;
    }
    scratch.apply(&json!({"memory": {"limit": 256 << 20}})).expect("the limit applies");
    scratch.spawn("head -c 32M /dev/zero | tail -c 32M | sleep 600");
    let usage = || scratch.cgroup.statistics().expect("statistics").memory.usage.usage;
    assert!(eventually(|| usage() > 16 << 20), "{}", usage());
    let request = |check: bool| json!({"memory": {"limit": 8 << 20, "checkBeforeUpdate": check}});
    let error = scratch.apply(&request(true)).expect_err("it uses more").to_string();
    assert!(error.contains("rejecting memory limit 8388608 <= usage"), "{error}");
    assert_eq!(scratch.read("memory", "memory.max"), (256 << 20).to_string());
}

in_views!(threads_of_a_threaded_cgroup_are_ended: v2);
fn threads_of_a_threaded_cgroup_are_ended() {
    let mut scratch = nothing();
    let directory = scratch.directory("cgroup");
    let pid = scratch.spawn("exec sleep 600");
    let inner = format!("{directory}/threads");
    std::fs::create_dir(&inner).expect("a sub-cgroup");
    std::fs::write(format!("{inner}/cgroup.type"), "threaded").expect("it is threaded");
    std::fs::write(format!("{inner}/cgroup.threads"), pid.to_string()).expect("the thread moves");
    assert_eq!(scratch.read("cgroup", "cgroup.type"), "domain threaded");
    assert_eq!(scratch.cgroup.processes(true).expect("processes"), [pid]);
    assert_eq!(scratch.cgroup.statistics().expect("statistics").pids.current, 1);
    scratch.cgroup.freeze(Duration::from_secs(10)).expect("it freezes");
    scratch.cgroup.thaw().expect("it thaws");
    scratch.cgroup.kill_all().expect("it ends");
    scratch.reap();
    scratch.cgroup.remove().expect("it is removed");
    assert_eq!(scratch.left(), [""; 0]);
}
