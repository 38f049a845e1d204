//! The cgroup views that a machine can have, and running a test in each.

use std::process::Command;
use std::time::Duration;

use runtime_core::cgroup::{Hierarchies, Mode};

/// Says to the re-executed test which view it is in.
const INSIDE: &str = "TEST_VIEW";

/// How long a test may take, in seconds: one that hangs is a failure, not a hanging suite.
const LIMIT_SECONDS: u64 = 540;

/// Makes one test of `$name` for each view.
macro_rules! in_views {
    ($name:ident: $($view:ident),+) => {
        mod $name {
            $(
                #[test]
                fn $view() {
                    let test = concat!(module_path!(), "::", stringify!($view));
                    $crate::views::run(stringify!($view), test, super::$name);
                }
            )+
        }
    };
}
pub(crate) use in_views;

/// Why a test cannot run here; fails if it has to.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"),
        "must not skip: {reason}"
    );
    println!("skipped: {reason}");
}

/// Runs `body` in `view`, in a process of its own: what the test sees of its process is not that of
/// other tests.
pub(crate) fn run(view: &str, test: &str, body: fn()) {
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    if std::env::var(INSIDE).is_ok_and(|inside| inside == view) {
        return body();
    }
    let machine = Hierarchies::detect().expect("the machine has cgroups").mode();
    let script = match (view, machine) {
        ("hybrid", Mode::Hybrid) | ("v1", Mode::Legacy) | ("v2", Mode::Unified) => "true",
        ("v1", Mode::Hybrid) => "umount /sys/fs/cgroup/unified",
        ("v2", Mode::Hybrid | Mode::Legacy) => {
            "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
        }
        _ => {
            println!("skipped: this machine has no {view} view");
            return;
        }
    };
    // The name of a test is its path without the crate.
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    let output = Command::new("timeout")
        .args(["--signal=KILL", &LIMIT_SECONDS.to_string()])
        .args(["unshare", "-m", "--propagation", "private"])
        .args(["sh", "-c", &format!("{script} && exec \"$@\""), "_"])
        .arg(std::env::current_exe().expect("the test has a path"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, view)
        .output()
        .expect("timeout(1) and unshare(1) run");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && text.contains("1 passed"),
        "failed in the {view} view: {}",
        output.status
    );
}

/// Polls `condition` for at most five seconds.
pub(crate) fn eventually(condition: impl FnMut() -> bool) -> bool {
    let mut condition = condition;
    for _ in 0..500 {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
