//! config.md: the six kinds of hooks.

use super::{Statement, must};
use crate::case::{Case, must as succeed};
use crate::verdict::{Outcome, Stop, fail, holds, same};
use serde_json::{Value, json};
use std::path::PathBuf;

const HOOKS: &str = "config.md#posix-platform-hooks";
const LIFECYCLE: &str = "runtime.md#lifecycle";

/// The kinds in the order in which the lifecycle calls them.
pub(super) const ORDER: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("hooks-order", LIFECYCLE, "each kind of hook is called at its step", order),
    must("hooks-listed-order", HOOKS, "hooks of a kind are called in the listed order", listed),
    must("hooks-state", HOOKS, "the state comes on standard input", state),
    must("hooks-args-env", HOOKS, "a hook gets its arguments and environment", words),
    must("hooks-timeout", HOOKS, "a hook that passes its timeout fails create", timeout),
    must("hooks-path-absolute", HOOKS, "a relative path is an error", |case| {
        super::hook_kinds::relative(case, "createRuntime")
    }),
    must("hooks-create-step", LIFECYCLE, "prestart to createContainer run in create, not later", create_step),
    must("hook-prestart-namespace", HOOKS, "prestart runs in the runtime's namespaces", |case| {
        outside(case, "prestart")
    }),
    must("hook-createruntime-namespace", HOOKS, "createRuntime runs in the runtime's namespaces", |case| {
        outside(case, "createRuntime")
    }),
    must(
        "hook-createcontainer-namespace",
        HOOKS,
        "createContainer runs in the container's namespaces",
        |case| inside(case, "createContainer"),
    ),
    must(
        "hook-startcontainer-namespace",
        HOOKS,
        "startContainer runs in the container's namespaces",
        |case| inside(case, "startContainer"),
    ),
    must("hook-poststart-namespace", HOOKS, "poststart runs in the runtime's namespaces", |case| {
        outside(case, "poststart")
    }),
    must("hook-poststop-namespace", HOOKS, "poststop runs in the runtime's namespaces", |case| {
        outside(case, "poststop")
    }),
    must("hook-prestart-failure", LIFECYCLE, "a failing prestart hook fails create", |case| {
        fatal(case, "prestart")
    }),
    must("hook-createruntime-failure", LIFECYCLE, "a failing createRuntime hook fails create", |case| {
        fatal(case, "createRuntime")
    }),
    must("hook-createcontainer-failure", LIFECYCLE, "a failing createContainer hook fails create", |case| {
        fatal(case, "createContainer")
    }),
    must(
        "hook-startcontainer-failure",
        LIFECYCLE,
        "after a failing startContainer hook the program does not run",
        start_failure,
    ),
    must(
        "hook-poststop-failure",
        LIFECYCLE,
        "a failing poststop hook does not stop delete or the next hook",
        stop_failure,
    ),
];

/// The file that hooks write, as the host sees it.
pub(super) fn journal(case: &Case) -> PathBuf {
    case.share().join("hooks")
}

/// Adds a hook of that kind; its line goes to /out/hooks, which is `share` on both sides.
pub(super) fn add(case: &mut Case, kind: &str, name: &str, code: &str) {
    let inside = kind == "startContainer";
    let path = if inside { "/probe".into() } else { case.rootfs().join("probe") };
    let file = if inside { "/out/hooks".into() } else { journal(case) };
    let hook = json!({"path": path, "args": ["probe", "hook", file, name, code], "env": ["HOOK=yes"]});
    case.push(&format!("/hooks/{kind}"), hook);
}

/// A whole life with these hooks; the lines that they left.
pub(super) fn live(case: &mut Case, kinds: &[&str]) -> Result<Vec<Value>, Stop> {
    case.bind_share(json!(["rbind"]));
    for kind in kinds {
        add(case, kind, kind, "0");
    }
    case.report()?;
    case.wait()?;
    succeed(case.delete()?)?;
    Ok(case.hook_lines(&journal(case)))
}

pub(super) fn names(lines: &[Value]) -> Value {
    lines.iter().map(|line| line["name"].clone()).collect()
}

fn order(case: &mut Case) -> Outcome {
    same("order of the hooks", &json!(ORDER), &names(&live(case, &ORDER)?))
}

fn listed(case: &mut Case) -> Outcome {
    for name in ["first", "second", "third"] {
        add(case, "createRuntime", name, "0");
    }
    case.created()?;
    same("order", &json!(["first", "second", "third"]), &names(&case.hook_lines(&journal(case))))
}

fn state(case: &mut Case) -> Outcome {
    let lines = live(case, &ORDER)?;
    same("number of hooks", &json!(6), &json!(lines.len()))?;
    for line in lines {
        let text = line["state"].as_str().unwrap_or("");
        let state: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let right = state["id"] == case.id.as_str()
            && state["ociVersion"].is_string()
            && state["status"].is_string()
            && state["bundle"] == json!(case.bundle());
        if !right {
            return fail(format!("{} reads the state", line["name"]), text);
        }
    }
    Ok("six hooks read id, ociVersion, status and bundle".into())
}

fn words(case: &mut Case) -> Outcome {
    add(case, "createRuntime", "a b", "0");
    case.created()?;
    let lines = case.hook_lines(&journal(case));
    let Some(line) = lines.first() else { return fail("the hook runs", "it left no line") };
    same("fourth argument", &json!("a b"), &line["args"][3])?;
    let there = line["env"].as_array().is_some_and(|list| list.contains(&json!("HOOK=yes")));
    holds(there, "HOOK=yes is in the environment", line["env"].to_string())
}

fn timeout(case: &mut Case) -> Outcome {
    let path = case.rootfs().join("probe");
    case.push("/hooks/createRuntime", json!({"path": path, "args": ["probe", "wait"], "timeout": 1}));
    let call = case.create()?;
    crate::case::must_refuse(call)
}

fn create_step(case: &mut Case) -> Outcome {
    case.bind_share(json!(["rbind"]));
    for kind in ORDER {
        add(case, kind, kind, "0");
    }
    case.created()?;
    same("hooks after create", &json!(ORDER[..3]), &names(&case.hook_lines(&journal(case))))
}

/// The only line of a life with one hook.
fn only(case: &mut Case, kind: &str) -> Result<Value, Stop> {
    let lines = live(case, &[kind])?;
    lines.into_iter().next().map_or_else(|| fail("the hook runs", "it left no line"), Ok)
}

fn outside(case: &mut Case, kind: &str) -> Outcome {
    let line = only(case, kind)?;
    for namespace in ["mnt", "pid", "uts"] {
        let own = std::fs::read_link(format!("/proc/thread-self/ns/{namespace}"))?.display().to_string();
        same(&format!("{namespace} namespace"), &json!(own), &line["namespaces"][namespace])?;
    }
    Ok("mnt, pid and uts are the runtime's".into())
}

/// Mount and uts are the container's; the pid namespace can only be entered by a child.
fn inside(case: &mut Case, kind: &str) -> Outcome {
    let line = only(case, kind)?;
    let report: Value = serde_json::from_str(case.output().trim()).unwrap_or(Value::Null);
    for namespace in ["mnt", "uts", "ipc"] {
        let wanted = &report["namespaces"][namespace];
        same(&format!("{namespace} namespace"), wanted, &line["namespaces"][namespace])?;
    }
    Ok("mnt, uts and ipc are the container's".into())
}

fn fatal(case: &mut Case, kind: &str) -> Outcome {
    add(case, kind, kind, "3");
    let evidence = case.refuses()?;
    let lines = case.hook_lines(&journal(case));
    holds(!lines.is_empty(), "the hook was called", evidence)
}

fn start_failure(case: &mut Case) -> Outcome {
    case.bind_share(json!(["rbind"]));
    add(case, "startContainer", "startContainer", "3");
    case.created()?;
    // Whether start itself can tell depends on how far the runtime waits for the program.
    let start = case.start()?;
    case.wait()?;
    same("output of the program", &json!(""), &json!(case.output()))?;
    holds(journal(case).exists(), "the hook was called", start.describe())
}

fn stop_failure(case: &mut Case) -> Outcome {
    add(case, "poststop", "first", "3");
    add(case, "poststop", "second", "0");
    case.report()?;
    case.wait()?;
    let call = case.delete()?;
    same("hooks called", &json!(["first", "second"]), &names(&case.hook_lines(&journal(case))))?;
    holds(!case.known()?, "the container is deleted", call.describe())
}
