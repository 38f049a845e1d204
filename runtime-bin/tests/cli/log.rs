//! The log file and the standard error output.

use crate::support::Bundle;

#[test]
fn json_log_file() {
    let bundle = Bundle::new(&["true"]);
    for _ in 0..2 {
        let run = bundle.go(&["--log", "log", "--log-format=json", "state", "nosuch"]);
        // The text alone goes to the user, without a form.
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("does not exist") && !run.stderr.contains("level"), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1);
    }
    let log = std::fs::read_to_string(bundle.path().join("log")).expect("the log");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "each error once, appended: {log}");
    for line in lines {
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().is_some_and(|message| message.contains("does not exist")));
        let time = line["time"].as_str().expect("a time");
        assert_eq!((time.len(), &time[10..11], &time[19..]), (20, "T", "Z"));
    }
}

#[test]
fn text_on_stderr() {
    let bundle = Bundle::new(&["true"]);
    let run = bundle.go(&["state", "nosuch"]);
    assert!(run.stderr.starts_with("time=\"20"), "{run:?}");
    assert!(run.stderr.contains("Z\" level=error msg=\""), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1);
    let run = bundle.go(&["--log-format", "json", "state", "nosuch"]);
    assert!(serde_json::from_str::<serde_json::Value>(&run.stderr).is_ok(), "{run:?}");
}

#[test]
fn usage_errors_reach_the_log_file() {
    let bundle = Bundle::new(&["true"]);
    bundle.go(&["--log", "log", "--log-format", "json", "state", "--nosuch"]).fails(1, "-nosuch");
    let log = std::fs::read_to_string(bundle.path().join("log")).expect("the log");
    assert!(log.contains("\"level\":\"error\"") && log.contains("-nosuch"), "{log}");
}

#[test]
fn debug_lines_only_on_demand() {
    let bundle = Bundle::new(&["true"]);
    let plain = bundle.go(&["state", "nosuch"]);
    assert!(!plain.stderr.contains("level=debug"), "{plain:?}");
    let debug = bundle.go(&["--debug", "state", "nosuch"]);
    assert!(debug.stderr.contains("level=debug"), "{debug:?}");
}

#[test]
fn the_log_file_is_readable_by_all() {
    use std::os::unix::fs::PermissionsExt as _;
    let bundle = Bundle::new(&["true"]);
    bundle.go(&["--log", "log", "list"]);
    let mode = std::fs::metadata(bundle.path().join("log")).expect("the log").permissions().mode();
    assert_eq!(mode & 0o777 & !0o022, 0o644);
}
