//! The example limits a program, tells what it used, and leaves nothing.

use std::path::Path;
use std::process::{Command, Output};

/// Why the tests cannot run; `REQUIRE_PRIVILEGED=1` makes that a failure.
fn can_run() -> bool {
    let root = std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("Uid:\t0\t")));
    if !root {
        let required = std::env::var_os("REQUIRE_PRIVILEGED").is_some_and(|value| value == "1");
        assert!(!required, "REQUIRE_PRIVILEGED=1, but the test does not run as root");
        println!("skipped: needs root");
    }
    root
}

fn run(cgroup: &str, resources: &str, program: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_limit"))
        .arg(resources)
        .args(program)
        .env("LIMIT_CGROUP", cgroup)
        .output()
        .expect("the example starts")
}

/// A path that no other test has.
fn unique(name: &str) -> String {
    format!("/example-limit-{name}-{}", std::process::id())
}

#[test]
fn a_program_is_limited() {
    if !can_run() {
        return;
    }
    let cgroup = unique("pids");
    let output = run(&cgroup, "{}", &["sh", "-c", "sleep 600 & cat /proc/self/cgroup; exit 3"]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(text.lines().any(|line| line.ends_with(&cgroup)), "{text}");
    assert!(errors.contains("exit code 3") && errors.contains("cpu "), "{errors}");
    for hierarchy in ["", "memory", "pids", "unified"] {
        assert!(!Path::new("/sys/fs/cgroup").join(hierarchy).join(&cgroup[1..]).exists());
    }
}

/// Runs `body` in the view of this machine, and on a hybrid one once more with v1 alone, in a mount
/// namespace of its own.
fn in_views(body: impl Fn(&[&str])) {
    body(&[]);
    if Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        let alone = "umount /sys/fs/cgroup/unified && exec \"$@\"";
        body(&["unshare", "-m", "--propagation", "private", "sh", "-c", alone, "_"]);
    }
}

#[test]
fn each_limit_is_the_kernels() {
    if !can_run() {
        return;
    }
    // Controller, resources, and the files of v1 and v2 with what they hold then.
    let table = [
        ("memory", r#"{"memory": {"limit": 67108864}}"#, ["memory.limit_in_bytes", "memory.max"], "67108864"),
        ("pids", r#"{"pids": {"limit": 17}}"#, ["pids.max"; 2], "17"),
        ("cpuset", r#"{"cpu": {"cpus": "0"}}"#, ["cpuset.cpus"; 2], "0"),
        (
            "hugetlb",
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}"#,
            ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"],
            "4194304",
        ),
    ];
    in_views(|around| {
        for (controller, resources, [v1, v2], value) in table {
            let cgroup = unique(&format!("file-{controller}"));
            // In one of these places, by the arrangement of the machine.
            let root = "/sys/fs/cgroup";
            let script = format!(
                "cat {root}/{controller}{cgroup}/{v1} {root}{cgroup}/{v2} {root}/unified{cgroup}/{v2} 2>/dev/null; true"
            );
            let words = [around, &[env!("CARGO_BIN_EXE_limit"), resources, "sh", "-c", &script]].concat();
            let output = Command::new(words[0])
                .args(&words[1..])
                .env("LIMIT_CGROUP", &cgroup)
                .output()
                .expect("the example starts");
            let errors = String::from_utf8_lossy(&output.stderr);
            if errors.contains(" controller is not in the") {
                println!("skipped: {errors}");
                continue;
            }
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), value, "{resources}: {errors}");
        }
    });
}

#[test]
fn a_memory_hog_is_killed() {
    if !can_run() {
        return;
    }
    let cgroup = unique("memory");
    let resources = r#"{"memory": {"limit": 33554432, "swap": 33554432}}"#;
    let output = run(&cgroup, resources, &["tail", "/dev/zero"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("the memory controller is not in the") {
        println!("skipped: {errors}");
        return;
    }
    assert!(
        errors.contains("ended by signal 9") && errors.contains("killed for lack of memory: 1"),
        "{errors}"
    );
}

#[test]
fn all_that_is_wrong_is_told() {
    if !can_run() {
        return;
    }
    let resources = r#"{"blockIO": {"weight": 5}, "unified": {"../x": "1"}}"#;
    let output = run(&unique("wrong"), resources, &["true"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("linux.resources.blockIO.weight") && errors.contains("linux.resources.unified"),
        "{errors}"
    );
}
