//! Configurations, and the plans that must come of them.

mod cgroup_mounts;
mod lanes;
mod mounts;
mod namespaces;
mod process;

use serde_json::{Value, json};

use crate::error::Result;
use crate::host::Host;
use crate::plan::{CreateOptions, ExecOptions, LaunchPlan, ParentOp};
use crate::spec::{ValidSpec, default_spec};
use runtime_init::ops::{Op, Slot, StageOp, WaitOp};

fn default() -> Value {
    serde_json::to_value(default_spec(None, true).unwrap()).unwrap()
}

fn options() -> CreateOptions {
    CreateOptions { id: "c1".to_owned(), bundle: "/bundle".to_owned(), ..CreateOptions::new() }
}

fn exec_options() -> ExecOptions {
    ExecOptions { id: "c1".to_owned(), bundle: "/bundle".to_owned(), ..ExecOptions::new() }
}

fn valid(spec: &Value) -> ValidSpec {
    ValidSpec::parse(&serde_json::to_vec(spec).unwrap()).unwrap()
}

fn plan_on(spec: &Value, host: &Host) -> Result<LaunchPlan> {
    LaunchPlan::create(&ValidSpec::parse(&serde_json::to_vec(spec).unwrap())?, host, &options())
}

fn lines_on(spec: &Value, host: &Host) -> Vec<String> {
    let plan = plan_on(spec, host).unwrap();
    waits_match(&plan);
    plan.to_string().lines().map(str::to_owned).collect()
}

fn lines(spec: &Value) -> Vec<String> {
    lines_on(spec, &Host::for_tests())
}

/// The lanes name the same points in the same order: the init and the caller, and the init and stage 0.
fn waits_match(plan: &LaunchPlan) {
    let (stage, init) = plan.child.ops().split_at(plan.child.first_of_init());
    let waits = init.iter().filter_map(|op| match op {
        Op::Wait(WaitOp::Sync { point }) => Some(format!("{point:?}")),
        Op::Wait(WaitOp::AwaitWord) => Some("word".to_owned()),
        _ => None,
    });
    let answers = plan.parent.iter().filter_map(|op| match op {
        ParentOp::Answer(point) => Some(format!("{point:?}")),
        ParentOp::LetRun => Some("word".to_owned()),
        _ => None,
    });
    assert_eq!(waits.collect::<Vec<_>>(), answers.collect::<Vec<_>>());
    let wants = init.iter().filter_map(|op| match *op {
        Op::Wait(WaitOp::AskStage) => Some("ask".to_owned()),
        Op::Wait(WaitOp::Receive { from: Slot::LANES, into, count }) => Some(format!("{into:?} {count}")),
        _ => None,
    });
    let gives = stage.iter().filter_map(|op| match *op {
        Op::Stage(StageOp::AwaitInit) => Some("ask".to_owned()),
        Op::Stage(StageOp::HandOver { first, count }) => Some(format!("{first:?} {count}")),
        _ => None,
    });
    assert_eq!(wants.collect::<Vec<_>>(), gives.collect::<Vec<_>>());
    assert_eq!(stage.iter().filter(|op| matches!(op, Op::Stage(StageOp::CloneInit { .. }))).count(), 1);
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
