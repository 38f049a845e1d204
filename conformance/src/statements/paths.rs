//! config-linux.md: masked and read-only paths, sysctl, rootfs propagation, and what cannot
//! be judged on every machine.

use super::{Statement, must, untestable};
use crate::case::Case;
use crate::differences::difference;
use crate::verdict::{Outcome, holds, same};
use serde_json::json;

const MASKED: &str = "config-linux.md#masked-paths";
const READONLY: &str = "config-linux.md#readonly-paths";
const SYSCTL: &str = "config-linux.md#sysctl";
const PROPAGATION: &str = "config-linux.md#rootfs-mount-propagation";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("masked-file", MASKED, "a masked file cannot be read", masked_file),
    must("masked-directory", MASKED, "a masked directory shows nothing", masked_directory),
    must("masked-paths-absolute", MASKED, "a relative masked path is invalid", masked_relative),
    must("readonly-path", READONLY, "a read-only path cannot be written", readonly),
    must("sysctl", SYSCTL, "a kernel parameter is set", sysctl),
    must("sysctl-unknown", SYSCTL, "a parameter that is not there is an error", sysctl_unknown),
    must("propagation-shared", PROPAGATION, "shared makes the root shared", shared),
    must("propagation-unbindable", PROPAGATION, "unbindable makes the root unbindable", unbindable),
    must("propagation-unknown", PROPAGATION, "an unknown value is an error", propagation_unknown),
    untestable(
        "mount-label",
        "config-linux.md#mount-label",
        "the label is put on mounts",
        "needs a kernel with SELinux",
    ),
];

fn masked_file(case: &mut Case) -> Outcome {
    std::fs::write(case.rootfs().join("etc/secret"), "a secret")?;
    case.set("/linux/maskedPaths", json!(["/etc/secret", "/not/there"]));
    let seen = case.answer("read:/etc/secret")?;
    holds(seen["text"] == "" || seen["errno"].is_i64(), "nothing to read", seen.to_string())
}

fn masked_directory(case: &mut Case) -> Outcome {
    std::fs::write(case.rootfs().join("etc/secret"), "a secret")?;
    case.set("/linux/maskedPaths", json!(["/etc"]));
    let seen = case.answer("list:/etc")?;
    holds(seen["names"] == json!([]) || seen["errno"].is_i64(), "no entries", seen.to_string())
}

fn masked_relative(case: &mut Case) -> Outcome {
    std::fs::write(case.rootfs().join("etc/secret"), "a secret")?;
    case.set("/linux/maskedPaths", json!(["etc/secret"]));
    let create = case.create()?;
    if create.refused() {
        return Ok(create.describe());
    }
    let known = difference("masked-paths-absolute").map_or("", |row| row.runc);
    case.ask("read:/etc/secret");
    crate::case::must(case.delete()?)?;
    let seen = case.report()?["answers"]["read:/etc/secret"].clone();
    holds(seen["text"] != "a secret", "refused, or masked all the same", format!("{known}: {seen}"))
}

fn readonly(case: &mut Case) -> Outcome {
    case.set("/linux/readonlyPaths", json!(["/etc", "/not/there"]));
    let seen = case.answer("mkdir:/etc/new")?;
    same("errno (EROFS is 30)", &json!(30), &seen["errno"])
}

fn sysctl(case: &mut Case) -> Outcome {
    case.set("/linux/sysctl", json!({"kernel.msgmax": "4321"}));
    same("kernel.msgmax", &json!("4321"), &case.answer("read:/proc/sys/kernel/msgmax")?["text"])
}

fn sysctl_unknown(case: &mut Case) -> Outcome {
    case.set("/linux/sysctl", json!({"kernel.msg_nonsense": "1"}));
    case.refuses()
}

/// The tags of the root's mount.
fn root_tags(case: &mut Case, value: &str) -> Result<String, crate::verdict::Stop> {
    case.set("/linux/rootfsPropagation", json!(value));
    let report = case.report()?;
    let text = report["mountinfo"].as_str().unwrap_or("");
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some("/")).unwrap_or("");
    let head = line.split(" - ").next().unwrap_or("");
    Ok(head.splitn(7, ' ').nth(6).unwrap_or("").to_owned())
}

fn shared(case: &mut Case) -> Outcome {
    let tags = root_tags(case, "shared")?;
    holds(tags.contains("shared:"), "a shared root", format!("tags `{tags}`"))
}

fn unbindable(case: &mut Case) -> Outcome {
    let tags = root_tags(case, "unbindable")?;
    holds(tags.contains("unbindable"), "an unbindable root", format!("tags `{tags}`"))
}

fn propagation_unknown(case: &mut Case) -> Outcome {
    case.set("/linux/rootfsPropagation", json!("nonsense"));
    case.refuses()
}
