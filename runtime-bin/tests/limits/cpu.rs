//! Processor time, by the kernel's own account: what else runs on the machine does not count.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::scene::{ASLEEP, BUSY, Group, controllers, limited};
use crate::support::{Bundle, Container, until};

/// How long counting may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits, with more patience than [`until`].
#[track_caller]
fn counted(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn started(bundle: &Bundle) -> (Container<'_>, Group) {
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    (container, group)
}

/// The longest period that the kernel takes, in microseconds: the machine below may stop this one for a
/// moment, and a period that it sleeps through gives nothing.
const PERIOD: u64 = 1_000_000;

/// Microseconds used in each period of the quota, over many of them.
fn used_in_a_period(group: &Group) -> u64 {
    const PERIODS: u64 = 10;
    let now = || group.counters("cpu.stat", ["usage_usec", "nr_periods"]);
    // The first periods pay for the start.
    let begin = now()[1];
    counted("some periods", || now()[1] >= begin + 2);
    let [usage, periods] = now();
    counted("many periods", || now()[1] >= periods + PERIODS);
    let end = now();
    (end[0] - usage) / (end[1] - periods)
}

#[track_caller]
fn within_a_tenth(used: u64, quota: u64) {
    assert!(used.abs_diff(quota) <= quota / 10, "{used} of {quota} us in each period");
}

#[test]
fn a_busy_loop_gets_its_quota() {
    if !controllers(&["cpu"]) {
        return;
    }
    let bundle = limited(BUSY, &json!({"cpu": {"quota": 200_000, "period": PERIOD}}));
    let (container, group) = started(&bundle);
    group.has("cpu.max", "200000 1000000");
    within_a_tenth(used_in_a_period(&group), 200_000);
    assert!(group.counter("cpu.stat", "nr_throttled") > 0);

    container.go(&["update", "--cpu-quota", "400000"]).ok();
    group.has("cpu.max", "400000 1000000");
    within_a_tenth(used_in_a_period(&group), 400_000);
}

#[test]
fn many_busy_loops_share_one_quota() {
    if !controllers(&["cpu"]) {
        return;
    }
    let loops = "for i in 1 2 3; do while :; do :; done & done; wait";
    let bundle = limited(&["sh", "-c", loops], &json!({"cpu": {"quota": 300_000, "period": PERIOD}}));
    let (_container, group) = started(&bundle);
    within_a_tenth(used_in_a_period(&group), 300_000);
}

#[test]
fn what_was_saved_may_be_spent_in_a_burst() {
    if !controllers(&["cpu"]) {
        return;
    }
    // It rests for several periods, and then wants more than one period gives.
    let work = "while :; do sleep 0.5; i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; done";
    let cpu = json!({"quota": 10000, "period": 100_000, "burst": 10000});
    let bundle = limited(&["sh", "-c", work], &json!({ "cpu": cpu }));
    let (_container, group) = started(&bundle);
    group.has("cpu.max.burst", "10000");
    counted("a burst", || {
        let [bursts, time] = group.counters("cpu.stat", ["nr_bursts", "burst_usec"]);
        bursts > 0 && time > 0
    });
}

#[test]
fn processes_stay_on_their_processors() {
    if !controllers(&["cpuset"]) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({"cpu": {"cpus": "1", "mems": "0"}}));
    let (container, group) = started(&bundle);
    group.has("cpuset.cpus.effective", "1");
    group.has("cpuset.mems.effective", "0");
    let allowed = |args: &[&str]| container.go_with(&["exec"], args).ok().stdout;
    let line = allowed(&["grep", "Cpus_allowed_list", "/proc/self/status"]);
    assert_eq!(line.trim(), "Cpus_allowed_list:\t1");
    assert_eq!(allowed(&["nproc"]).trim(), "1");
    // Those that run already move, too.
    container.go(&["update", "--cpuset-cpus", "0"]).ok();
    let line = allowed(&["grep", "Cpus_allowed_list", "/proc/1/status"]);
    assert_eq!(line.trim(), "Cpus_allowed_list:\t0");
}

/// What two busy containers on one processor use, in the time in which both use `TOTAL`.
fn compete(one: &Value, other: &Value) -> (Group, Group, [u64; 2]) {
    const TOTAL: u64 = 4_000_000;
    let on_one = |cpu: &Value| {
        let mut cpu = cpu.clone();
        cpu["cpus"] = json!("0");
        limited(BUSY, &json!({ "cpu": cpu }))
    };
    let bundles = [on_one(one), on_one(other)];
    let (_first, one) = started(&bundles[0]);
    let (_second, other) = started(&bundles[1]);
    let usage = || [&one, &other].map(|group| group.counter("cpu.stat", "usage_usec"));
    until("both run", || usage().iter().all(|used| *used > 0));
    let begin = usage();
    let since = || [usage()[0] - begin[0], usage()[1] - begin[1]];
    counted("the time", || since().iter().sum::<u64>() >= TOTAL);
    let used = since();
    (one, other, used)
}

#[test]
fn shares_divide_a_processor() {
    if !controllers(&["cpu", "cpuset"]) {
        return;
    }
    let cpu = |shares: u64| json!({"shares": shares});
    let (_, _, [small, big]) = compete(&cpu(1024), &cpu(4096));
    // The weights that runc 1.3.2 and crun 1.23 gave these shares first: 100 and 303.
    let ratio = big as f64 / small as f64;
    assert!((2.4..3.7).contains(&ratio), "{big} and {small} us: {ratio}");
}

#[test]
fn the_idle_get_what_is_left() {
    if !controllers(&["cpu", "cpuset"]) {
        return;
    }
    let (_, _, [idle, busy]) = compete(&json!({"idle": 1}), &json!({"shares": 1024}));
    assert!(idle * 20 < busy, "the idle one used {idle} us, the other {busy}");
}
