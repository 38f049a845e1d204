//! config-linux.md: intelRdt. The file system exists on processors that have it only; the runtime that
//! comes with this suite has unit tests with a directory in its place.

use super::{Statement, must, untestable};
use crate::case::Case;
use crate::verdict::{Outcome, skip};
use serde_json::json;

const SECTION: &str = "config-linux.md#intelrdt";
const WHY: &str = "needs a processor with resctrl";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("rdt-missing", SECTION, "intelRdt without resctrl is an error", missing),
    untestable("rdt-tasks", SECTION, "the process is in the tasks of its class", WHY),
    untestable("rdt-unset", SECTION, "without intelRdt and without schemata nothing is written", WHY),
    untestable("rdt-root", SECTION, "closID / is the default class", WHY),
    untestable("rdt-syntax", SECTION, "memBwSchema begins with MB:, no value has a newline", WHY),
    untestable(
        "rdt-schemata",
        SECTION,
        "l3CacheSchema, memBwSchema and schemata are written in that order",
        WHY,
    ),
    untestable("rdt-own", SECTION, "without closID the class has the container's id", WHY),
    untestable("rdt-make", SECTION, "a class that is not there is made", WHY),
    untestable("rdt-compare", SECTION, "a class with other schemata is an error", WHY),
    untestable("rdt-preset", SECTION, "a closID without schemata must be there", WHY),
    untestable("rdt-remove", SECTION, "a class that was made for the container goes with it", WHY),
    untestable("rdt-keep", SECTION, "any other class stays", WHY),
    untestable("rdt-monitor", SECTION, "enableMonitoring makes, joins and removes a monitoring group", WHY),
];

fn missing(case: &mut Case) -> Outcome {
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    if mounts.contains(" - resctrl ") {
        return skip("resctrl is mounted here");
    }
    case.set("/linux/intelRdt", json!({"closID": "suite", "l3CacheSchema": "L3:0=f"}));
    case.refuses()
}
