//! Configurations, and the plans that must come of them.

mod cgroup_mounts;
mod lanes;
mod mounts;
mod namespaces;
mod process;

use serde_json::{Value, json};

use crate::child::ops::Op;
use crate::error::Result;
use crate::host::Host;
use crate::plan::{CreateOptions, LaunchPlan, ParentOp};
use crate::spec::{ValidSpec, default_spec};

fn default() -> Value {
    serde_json::to_value(default_spec(None, true).unwrap()).unwrap()
}

fn options() -> CreateOptions {
    CreateOptions::new("c1", "/bundle")
}

fn valid(spec: &Value) -> ValidSpec {
    ValidSpec::parse(&serde_json::to_vec(spec).unwrap()).unwrap()
}

fn plan_on(spec: &Value, host: &Host) -> Result<LaunchPlan> {
    LaunchPlan::create(&valid(spec), host, &options())
}

fn lines_on(spec: &Value, host: &Host) -> Vec<String> {
    let plan = plan_on(spec, host).unwrap();
    waits_match(&plan);
    plan.to_string().lines().map(str::to_owned).collect()
}

fn lines(spec: &Value) -> Vec<String> {
    lines_on(spec, &Host::for_tests())
}

/// Both lanes name the same points in the same order.
fn waits_match(plan: &LaunchPlan) {
    let child = plan.child.ops().iter().filter_map(|op| match op {
        Op::Sync { point } => Some(format!("{point:?}")),
        Op::AwaitWord => Some("word".to_owned()),
        Op::Receive { into, .. } => Some(match *into {
            crate::child::ops::Slot::NETWORK => "network".to_owned(),
            crate::child::ops::Slot::MOUNT => "tree".to_owned(),
            _ => "state".to_owned(),
        }),
        _ => None,
    });
    let parent = plan.parent.iter().filter_map(|op| match op {
        ParentOp::Answer(point) => Some(format!("{point:?}")),
        ParentOp::LetRun => Some("word".to_owned()),
        ParentOp::MakeNetwork { .. } => Some("network".to_owned()),
        ParentOp::SendTree { .. } => Some("tree".to_owned()),
        _ => None,
    });
    // The state comes with the answer to the hooks.
    let child: Vec<String> = child.filter(|wait| wait != "state").collect();
    assert_eq!(child, parent.collect::<Vec<_>>());
}

#[track_caller]
fn position(lines: &[String], start: &str) -> usize {
    lines
        .iter()
        .position(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no {start:?} in\n{}", lines.join("\n")))
}

#[track_caller]
fn in_order(lines: &[String], starts: &[&str]) {
    let places: Vec<usize> = starts.iter().map(|start| position(lines, start)).collect();
    assert!(places.is_sorted(), "{places:?} in\n{}", lines.join("\n"));
}

fn has(lines: &[String], start: &str) -> bool {
    lines.iter().any(|line| line.starts_with(start))
}

fn with_mount(mount: Value) -> Value {
    let mut spec = default();
    spec["mounts"].as_array_mut().unwrap().push(mount);
    spec
}

fn with_namespaces(namespaces: Value) -> Value {
    let mut spec = default();
    spec["linux"]["namespaces"] = namespaces;
    spec
}

fn with_user_namespace() -> Value {
    let mut spec = default();
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        spec["linux"][map] = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
    }
    spec
}

/// Compares with a recorded plan; `UPDATE_GOLDEN=1` records it anew.
#[track_caller]
fn golden(name: &str, plan: &str) {
    // How many instructions a filter has is another module's subject.
    let filter = "child: load a seccomp filter";
    let short = |line: &str| if line.starts_with(filter) { filter.to_owned() } else { line.to_owned() };
    let plan: String = plan.lines().map(|line| short(line) + "\n").collect();
    let path = format!("{}/tests/fixtures/plans/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &plan).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    assert!(plan == recorded, "{path} differs:\n{plan}");
}
