//! --regex and --dry-run.

use crate::support::{Bundle, privileged};

#[test]
fn a_regular_expression_chooses_containers() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["sleep", "1000"]);
    let (one, two) = (bundle.container(), bundle.container());
    for container in [&one, &two] {
        container.go(&["run", "--detach"]).ok();
    }
    bundle.go(&["kill", "--regex", "(", "9"]).fails(1, "--regex");
    bundle.go(&["kill", "--regex", "^no container$", "9"]).ok();
    bundle.go(&["delete", "--regex", "."]).fails(1, "that is not stopped");
    bundle.go(&["kill", "-r", &format!("^{}$", one.id), "KILL"]).ok();
    one.wait_for("stopped");
    assert_eq!(two.status(), "running");
    bundle.go(&["delete", "--force", "--regex", "^cli-"]).ok();
    assert_eq!(bundle.go(&["list", "-q"]).ok().stdout, "");
}

#[test]
fn a_dry_run_changes_nothing() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let container = bundle.container();
    for verb in ["create", "run"] {
        let steps = container.go(&[verb, "--dry-run"]).ok().stdout;
        assert!(steps.lines().count() > 10 && steps.contains("/proc"), "{steps}");
    }
    assert!(!bundle.state().exists());
}
