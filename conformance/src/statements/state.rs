//! runtime.md: the state document.

use super::{Statement, must, untestable};
use crate::case::{Case, must_refuse};
use crate::verdict::{Outcome, fail, holds, same};
use serde_json::json;

const SECTION: &str = "runtime.md#state";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("state-oci-version", SECTION, "the state names a version of the specification", version),
    must("state-id", SECTION, "the state carries the container's id", id),
    must("state-created", SECTION, "after create the status is created", created),
    must("state-running", SECTION, "while the program runs the status is running", running),
    must("state-stopped", SECTION, "after the program's end the status is stopped", stopped),
    must("state-pid", SECTION, "the state carries the pid of the container process", pid),
    must("state-bundle", SECTION, "the state carries the bundle's absolute path", bundle),
    must("state-annotations", SECTION, "the state carries the annotations", annotations),
    must("state-unknown-id", "runtime.md#query-state", "the state of an unknown id is an error", unknown),
    must("state-needs-id", "runtime.md#query-state", "state without an id is an error", without_id),
    untestable(
        "state-new-values",
        SECTION,
        "a status beyond the four defined ones stands for a new state",
        "no rule tells from outside whether a state is a new one",
    ),
];

fn version(case: &mut Case) -> Outcome {
    case.created()?;
    let version = case.state()?["ociVersion"].clone();
    let text = version.as_str().unwrap_or("");
    let numbers = text.split(['-', '+']).next().unwrap_or("").split('.');
    let right = numbers.clone().count() == 3 && numbers.clone().all(|n| n.parse::<u32>().is_ok());
    holds(right, "ociVersion is a semantic version", version.to_string())
}

fn id(case: &mut Case) -> Outcome {
    case.created()?;
    same("id", &json!(case.id), &case.state()?["id"])
}

fn created(case: &mut Case) -> Outcome {
    case.created()?;
    same("status", &json!("created"), &case.state()?["status"])
}

fn running(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.report()?;
    same("status", &json!("running"), &case.state()?["status"])
}

fn stopped(case: &mut Case) -> Outcome {
    case.report()?;
    case.wait()?;
    same("status", &json!("stopped"), &case.state()?["status"])
}

fn pid(case: &mut Case) -> Outcome {
    case.ask("wait");
    let report = case.report()?;
    let pid = case.state()?["pid"].clone();
    let link = std::fs::read_link(format!("/proc/{pid}/ns/pid"))?.display().to_string();
    same("pid namespace of the state's pid", &report["namespaces"]["pid"], &json!(link))
}

fn bundle(case: &mut Case) -> Outcome {
    case.created()?;
    let seen = case.state()?["bundle"].clone();
    let path = std::path::Path::new(seen.as_str().unwrap_or(""));
    let right = path.is_absolute() && path.canonicalize().is_ok_and(|path| path == case.bundle());
    holds(right, &format!("an absolute path to {}", case.bundle().display()), seen.to_string())
}

fn annotations(case: &mut Case) -> Outcome {
    case.set("/annotations", json!({"org.example.key": "a value"}));
    case.created()?;
    same("annotation", &json!("a value"), &case.state()?["annotations"]["org.example.key"])
}

fn unknown(case: &mut Case) -> Outcome {
    case.created()?;
    if !case.known()? {
        return fail("state knows the created container", "it does not");
    }
    must_refuse(case.raw(&["state", "an-id-that-nobody-made"])?)
}

fn without_id(case: &mut Case) -> Outcome {
    case.created()?;
    must_refuse(case.raw(&["state"])?)
}
