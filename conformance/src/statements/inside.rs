//! config.md: version, root, hostname, domainname, extensibility, annotations.

use super::{Statement, must, untestable};
use crate::case::Case;
use crate::verdict::{Outcome, holds, same};
use serde_json::json;

const ROOT: &str = "config.md#root";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must(
        "version-semver",
        "config.md#specification-version",
        "an ociVersion that is no version is refused",
        version,
    ),
    must("root-readonly", ROOT, "with readonly the root cannot be written", readonly),
    must("root-writable", ROOT, "without readonly the root can be written", writable),
    must("root-exists", ROOT, "a missing root directory is an error", missing),
    must("root-relative", ROOT, "a relative root path is taken from the bundle", relative),
    must("hostname", "config.md#hostname", "the container sees the configured hostname", hostname),
    must("domainname", "config.md#domainname", "the container sees the configured domain name", domainname),
    must("unknown-property", "config.md#extensibility", "an unknown property is ignored", unknown),
    must("unknown-annotation", "config.md#annotations", "an unknown annotation is ignored", annotation),
    must("invalid-value", "config.md#valid-values", "a value of a wrong type is an error", wrong_type),
    untestable(
        "annotation-keys",
        "config.md#annotations",
        "keys are not empty",
        "binds the author of the configuration",
    ),
];

fn version(case: &mut Case) -> Outcome {
    case.set("/ociVersion", json!("one"));
    case.refuses()
}

/// Creates /new; the answer's errno is null when that worked.
fn make(case: &mut Case) -> Result<serde_json::Value, crate::verdict::Stop> {
    Ok(case.answer("mkdir:/new")?["errno"].clone())
}

fn readonly(case: &mut Case) -> Outcome {
    case.set("/root/readonly", json!(true));
    same("errno of mkdir /new (EROFS is 30)", &json!(30), &make(case)?)
}

fn writable(case: &mut Case) -> Outcome {
    same("errno of mkdir /new", &json!(null), &make(case)?)
}

fn missing(case: &mut Case) -> Outcome {
    case.set("/root/path", json!("nowhere"));
    case.refuses()
}

fn relative(case: &mut Case) -> Outcome {
    let answer = case.answer("stat:/probe")?;
    let data = std::fs::metadata(case.rootfs().join("probe"))?;
    same("inode of /probe", &json!(std::os::unix::fs::MetadataExt::ino(&data)), &answer["inode"])
}

fn hostname(case: &mut Case) -> Outcome {
    case.set("/hostname", json!("conformance-host"));
    same("hostname", &json!("conformance-host"), &case.report()?["hostname"])
}

fn domainname(case: &mut Case) -> Outcome {
    case.set("/domainname", json!("conformance.example"));
    same("domain name", &json!("conformance.example"), &case.report()?["domainname"])
}

fn unknown(case: &mut Case) -> Outcome {
    case.set("/notInTheSpecification", json!({"a": [1]}));
    case.set("/linux/alsoUnknown", json!("b"));
    case.set("/process/unknownToo", json!(3));
    let report = case.report()?;
    holds(report["pid"].is_u64(), "the container runs", "it ran with three unknown properties")
}

fn annotation(case: &mut Case) -> Outcome {
    case.set("/annotations", json!({"com.example.unheard-of": "x"}));
    let report = case.report()?;
    holds(report["pid"].is_u64(), "the container runs", "it ran with an unknown annotation")
}

fn wrong_type(case: &mut Case) -> Outcome {
    case.set("/process/args", json!("/probe"));
    case.refuses_at_start()
}
