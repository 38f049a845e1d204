//! The suite against our own runtime.

mod support;

use conformance::{Options, Verdict, run};

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
    let failed: Vec<_> =
        records.iter().filter(|record| matches!(record.verdict, Verdict::Fail { .. })).collect();
    let new: Vec<_> = failed.iter().filter(|record| !OPEN.contains(&record.id)).collect();
    assert!(new.is_empty(), "{new:#?}");
    let fixed = |id: &&&str| !failed.iter().any(|record| record.id == **id);
    let fixed: Vec<_> = OPEN.iter().filter(fixed).collect();
    assert!(fixed.is_empty(), "no longer open: {fixed:?}");
    assert!(records.len() > 150, "{} checks ran", records.len());
}
