//! The suite against our own runtime.

mod support;

use conformance::{Options, Record, Verdict, run};

/// Statements that our runtime does not fulfil yet: open defects, to be emptied. A fixed one
/// must be taken out: the test compares both ways.
const OPEN: &[&str] = &[];

#[test]
fn our_runtime_conforms() {
    if !support::privileged("our_runtime_conforms") {
        return;
    }
    let mut options = Options::new(support::our_runtime());
    options.timeout = std::time::Duration::from_secs(30);
    let records = run(&options, |_| ()).expect("the suite runs");
    println!("counted: conformance as root, {}: {}", support::view(), conformance::summary(&records));
    judge(&records);
    let ran = records.iter().filter(|record| !matches!(record.verdict, Verdict::Skip(_))).count();
    assert!(ran > 400, "{ran} checks ran");
}

/// What concerns cgroups, where systemd makes them.
#[test]
fn our_runtime_conforms_with_systemd() {
    if !support::privileged("our_runtime_conforms_with_systemd") {
        return;
    }
    let there = |place: &str| std::path::Path::new(place).exists();
    if !there("/run/systemd/system") || !there("/sys/fs/cgroup/cgroup.controllers") {
        println!("skipped: systemd does not run, or not with cgroup v2 alone");
        return;
    }
    let mut options = Options::new(support::our_runtime());
    options.timeout = std::time::Duration::from_secs(30);
    options.systemd = true;
    options.filter = vec!["cgroup".to_owned(), "config-linux.md#cpu".to_owned()];
    let records = run(&options, |_| ()).expect("the suite runs");
    println!("counted: conformance with systemd, {}: {}", support::view(), conformance::summary(&records));
    judge(&records);
    let passed = records.iter().filter(|record| matches!(record.verdict, Verdict::Pass(_))).count();
    assert!(passed > 20, "{passed} checks passed");
}

/// The whole suite as a user that owns nothing but a directory.
#[test]
fn our_runtime_conforms_rootless() {
    if !support::privileged("our_runtime_conforms_rootless") {
        return;
    }
    let home = support::Home::new();
    let runtime = home.copy(&support::our_runtime());
    let suite = home.copy(std::path::Path::new(env!("CARGO_BIN_EXE_conformance")));
    let report = home.path().join("report.xml");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", support::USER, "--regid", support::USER, "--clear-groups"]);
    command.arg(suite).args(["--tap", "--timeout", "30", "--runtime"]).arg(runtime);
    command.arg("--junit").arg(report);
    command.env("TMPDIR", home.path()).env("XDG_RUNTIME_DIR", home.path());
    let output = command.output().expect("run setpriv");
    let text = String::from_utf8_lossy(&output.stdout);
    let counts = text.lines().last().unwrap_or_default().trim_start_matches("# ");
    println!("counted: conformance as a user, {}: {counts}", support::view());
    let failed: Vec<&str> = text.lines().filter_map(failed_id).collect();
    let new: Vec<_> = failed.iter().filter(|id| !OPEN.contains(*id)).collect();
    assert!(new.is_empty(), "{new:?}\n{text}");
    let skipped =
        text.lines().filter_map(|line| line.strip_prefix("ok ")?.split_once(" - ")?.1.split_once(" # SKIP "));
    let hidden: Vec<_> = skipped.filter_map(|(id, reason)| hidden(id, reason)).collect();
    assert!(hidden.is_empty(), "refused, and so not judged: {hidden:?}");
    let passed = text.lines().filter(|line| line.starts_with("ok ") && !line.contains("# SKIP")).count();
    assert!(
        passed > 300,
        "{passed} checks passed as a user\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `not ok 7 - id: statement`.
fn failed_id(line: &str) -> Option<&str> {
    line.strip_prefix("not ok ")?.split_once(" - ")?.1.split_once(':').map(|(id, _)| id)
}

/// What the kernel or the cgroup of a test machine may refuse to any runtime. A refusal is not judged, so
/// each other one would hide a defect of ours.
const REFUSED_HERE: &[&str] = &[
    "scheduler-fifo",
    "scheduler-rr",
    "scheduler-deadline",
    "scheduler-deadline-flags",
    "memory-policy-weighted",
    "memory-policy-balancing",
    "cgroup-block-weight",
];

/// The id of a check that was not judged because the runtime refused.
fn hidden<'a>(id: &'a str, reason: &str) -> Option<&'a str> {
    let refused = reason.starts_with("refused, which a runtime may");
    (refused && !REFUSED_HERE.contains(&id)).then_some(id)
}

fn judge(records: &[Record]) {
    let hidden: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.verdict {
            Verdict::Skip(reason) => hidden(record.id, reason),
            Verdict::Pass(_) | Verdict::Fail { .. } => None,
        })
        .collect();
    assert!(hidden.is_empty(), "refused, and so not judged: {hidden:?}");
    let failed: Vec<_> =
        records.iter().filter(|record| matches!(record.verdict, Verdict::Fail { .. })).collect();
    let new: Vec<_> = failed.iter().filter(|record| !OPEN.contains(&record.id)).collect();
    assert!(new.is_empty(), "{new:#?}");
    let fixed = |id: &&&str| !failed.iter().any(|record| record.id == **id);
    let fixed: Vec<_> = OPEN.iter().filter(fixed).collect();
    assert!(fixed.is_empty(), "no longer open: {fixed:?}");
}
