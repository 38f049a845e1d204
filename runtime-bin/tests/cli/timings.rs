//! `--trace-timings`.

use crate::support::{Bundle, privileged};

/// The steps of each lane, with their times in order; the program's own output stays as it is.
#[test]
fn each_step_of_all_lanes_has_its_time() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["echo", "hello"]);
    let container = bundle.container();
    let run = bundle.go(&["--trace-timings", "run", &container.id]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "hello\n"), "{run:?}");
    for step in [
        "parent  read the configuration",
        "parent  plan the launch",
        "parent  send the plan",
        "stage   clone3 of the container's init",
        "stage   make a network namespace",
        "child   begin as the init",
        "child   pivot_root into the root file system",
        "parent  the program is executed",
        "parent  the process has ended",
        "parent  delete the container",
    ] {
        assert!(run.stderr.contains(step), "no {step:?} in {}", run.stderr);
    }
    let times = run.stderr.lines().skip(2).map(|line| {
        let word = line.split_whitespace().next().expect("a time");
        word.parse::<f64>().expect("a number")
    });
    assert!(times.is_sorted(), "{}", run.stderr);
}

#[test]
fn without_the_option_nothing_is_told() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let container = bundle.container();
    let run = bundle.go(&["run", &container.id]).ok();
    assert_eq!(run.stderr, "");
}

#[test]
fn an_exec_has_times_too() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let run = bundle.go(&["--trace-timings", "exec", &container.id, "true"]);
    assert_eq!(run.code, 0, "{run:?}");
    for step in
        ["parent  read the state, plan", "child   begin as the init", "parent  the program is executed"]
    {
        assert!(run.stderr.contains(step), "no {step:?} in {}", run.stderr);
    }
}

/// A start has the caller's steps: the init was made by `create`, and has nowhere to write times.
#[test]
fn a_start_has_times_too() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]).with(|config| {
        config["hooks"] = serde_json::json!({"poststart": [{"path": "/bin/true"}]});
    });
    let container = bundle.container();
    container.go(&["create"]).ok();
    let run = bundle.go(&["--trace-timings", "start", &container.id]);
    assert_eq!(run.code, 0, "{run:?}");
    let steps: Vec<&str> =
        run.stderr.lines().filter_map(|line| line.split_once("parent  ")).map(|(_, step)| step).collect();
    assert_eq!(
        steps,
        [
            "processor time before",
            "read the state",
            "connect to the start gate",
            "read the configuration",
            "the program is executed",
            "poststart hooks",
        ],
        "{}",
        run.stderr
    );
}
