//! config.md: what is said of each kind of hook.

use super::hooks::{add, journal, live, names};
use super::{Statement, must};
use crate::case::{Case, must as succeed, must_refuse};
use crate::verdict::{Outcome, Stop, fail, holds, same, skip};
use serde_json::{Value, json};

const HOOKS: &str = "config.md#posix-platform-hooks";
const LIFECYCLE: &str = "runtime.md#lifecycle";
const PRESTART: &str = "config.md#prestart";
const CREATE_RUNTIME: &str = "config.md#createruntime-hooks";
const CREATE_CONTAINER: &str = "config.md#createcontainer-hooks";
const START_CONTAINER: &str = "config.md#startcontainer-hooks";
const POSTSTART: &str = "config.md#poststart";
const POSTSTOP: &str = "config.md#poststop";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("hook-prestart-absolute", HOOKS, "a relative path of a prestart hook is an error", |case| {
        relative(case, "prestart")
    }),
    must(
        "hook-createcontainer-absolute",
        HOOKS,
        "a relative path of a createContainer hook is an error",
        |case| relative(case, "createContainer"),
    ),
    must(
        "hook-startcontainer-absolute",
        HOOKS,
        "a relative path of a startContainer hook is an error",
        |case| relative(case, "startContainer"),
    ),
    must("hook-poststart-absolute", HOOKS, "a relative path of a poststart hook is an error", |case| {
        relative(case, "poststart")
    }),
    must("hook-poststop-absolute", HOOKS, "a relative path of a poststop hook is an error", |case| {
        relative(case, "poststop")
    }),
    must("hook-prestart-resolve", PRESTART, "a prestart hook's path is one of the host", |case| {
        of_host(case, "prestart")
    }),
    must(
        "hook-createruntime-resolve",
        CREATE_RUNTIME,
        "a createRuntime hook's path is one of the host",
        |case| of_host(case, "createRuntime"),
    ),
    must(
        "hook-createcontainer-resolve",
        CREATE_CONTAINER,
        "a createContainer hook's path is one of the host",
        |case| of_host(case, "createContainer"),
    ),
    must(
        "hook-startcontainer-resolve",
        START_CONTAINER,
        "a startContainer hook's path is one of the container",
        of_container,
    ),
    must("hook-poststart-resolve", POSTSTART, "a poststart hook's path is one of the host", |case| {
        of_host(case, "poststart")
    }),
    must("hook-poststop-resolve", POSTSTOP, "a poststop hook's path is one of the host", |case| {
        of_host(case, "poststop")
    }),
    must("hook-prestart-step", PRESTART, "prestart hooks run in create", |case| in_create(case, "prestart")),
    must("hook-createruntime-step", CREATE_RUNTIME, "createRuntime hooks run in create", |case| {
        in_create(case, "createRuntime")
    }),
    must("hook-createcontainer-step", CREATE_CONTAINER, "createContainer hooks run in create", |case| {
        in_create(case, "createContainer")
    }),
    must(
        "hook-startcontainer-step",
        START_CONTAINER,
        "startContainer hooks run in start, before the program",
        in_start,
    ),
    must(
        "hook-poststart-step",
        POSTSTART,
        "poststart hooks run after the program began, before start returns",
        poststart,
    ),
    must(
        "hook-poststop-step",
        POSTSTOP,
        "poststop hooks run in delete, when the container is gone",
        poststop,
    ),
    must("hook-prestart-first", PRESTART, "prestart hooks run before createRuntime hooks", |case| {
        pair(case, "createRuntime", "prestart", ["prestart", "createRuntime"])
    }),
    must(
        "hook-createcontainer-after",
        CREATE_CONTAINER,
        "createContainer hooks run after createRuntime hooks",
        |case| pair(case, "createContainer", "createRuntime", ["createRuntime", "createContainer"]),
    ),
    must(
        "hook-createruntime-environment",
        CREATE_RUNTIME,
        "createRuntime hooks find the namespaces made",
        environment,
    ),
    must(
        "hook-createcontainer-pivot",
        CREATE_CONTAINER,
        "createContainer hooks run before the root is changed",
        |case| root_changed(case, "createContainer", false),
    ),
    must(
        "hook-startcontainer-pivot",
        START_CONTAINER,
        "startContainer hooks run in the container's root",
        |case| root_changed(case, "startContainer", true),
    ),
    must("hook-prestart-state", HOOKS, "a prestart hook reads the state", |case| {
        state(case, "prestart", &["creating", "created"])
    }),
    must("hook-createruntime-state", HOOKS, "a createRuntime hook reads the state", |case| {
        state(case, "createRuntime", &["creating", "created"])
    }),
    must("hook-createcontainer-state", HOOKS, "a createContainer hook reads the state", |case| {
        state(case, "createContainer", &["creating", "created"])
    }),
    must("hook-startcontainer-state", HOOKS, "a startContainer hook reads the state", |case| {
        state(case, "startContainer", &["created"])
    }),
    must("hook-poststart-state", HOOKS, "a poststart hook reads the state", |case| {
        state(case, "poststart", &["running", "stopped"])
    }),
    must("hook-poststop-state", HOOKS, "a poststop hook reads the state", |case| {
        state(case, "poststop", &["stopped"])
    }),
    must(
        "hook-poststart-failure",
        LIFECYCLE,
        "after a failing poststart hook start fails and the program ends",
        poststart_failure,
    ),
    must(
        "hook-prestart-unwinds",
        LIFECYCLE,
        "after a failing prestart hook the poststop hooks run",
        |case| unwinds(case, "prestart"),
    ),
    must(
        "hook-createruntime-unwinds",
        LIFECYCLE,
        "after a failing createRuntime hook the poststop hooks run",
        |case| unwinds(case, "createRuntime"),
    ),
    must(
        "hook-createcontainer-unwinds",
        LIFECYCLE,
        "after a failing createContainer hook the poststop hooks run",
        |case| unwinds(case, "createContainer"),
    ),
    must(
        "hook-startcontainer-stops",
        LIFECYCLE,
        "after a failing startContainer hook the container is stopped or destroyed",
        stops,
    ),
];

/// No sentence names the operation: the one that calls the hook may be the first to look.
pub(super) fn relative(case: &mut Case, kind: &str) -> Outcome {
    case.push(&format!("/hooks/{kind}"), json!({"path": "probe", "args": ["probe", "hook"]}));
    let create = case.create()?;
    if create.refused() {
        return Ok(create.describe());
    }
    let start = case.start()?;
    if start.refused() || kind != "poststop" {
        return must_refuse(start);
    }
    case.wait()?;
    must_refuse(case.delete()?)
}

/// The same path is a program on the host and a text in the container.
fn of_host(case: &mut Case, kind: &str) -> Outcome {
    case.bind_share(json!(["rbind"]));
    let program = case.share().join("program");
    std::fs::hard_link(case.rootfs().join("probe"), &program)?;
    let inside = case.rootfs().join(program.strip_prefix("/").unwrap_or(&program));
    if let Some(parent) = inside.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(inside, "not a program")?;
    let hook = json!({"path": program, "args": ["program", "hook", journal(case), kind, "0"]});
    case.push(&format!("/hooks/{kind}"), hook);
    let lines = live(case, &[])?;
    same("hooks that ran", &json!([kind]), &names(&lines))
}

/// A path that is there in the container only.
fn of_container(case: &mut Case) -> Outcome {
    std::fs::hard_link(case.rootfs().join("probe"), case.rootfs().join("etc/only-here"))?;
    let hook = json!({"path": "/etc/only-here", "args": ["x", "hook", "/out/hooks", "inside", "0"]});
    case.push("/hooks/startContainer", hook);
    let lines = live(case, &[])?;
    same("hooks that ran", &json!(["inside"]), &names(&lines))
}

fn in_create(case: &mut Case, kind: &str) -> Outcome {
    case.bind_share(json!(["rbind"]));
    add(case, kind, kind, "0");
    case.created()?;
    same("hooks after create", &json!([kind]), &names(&case.hook_lines(&journal(case))))
}

fn in_start(case: &mut Case) -> Outcome {
    case.bind_share(json!(["rbind"]));
    add(case, "startContainer", "startContainer", "0");
    case.ask("size:/out/hooks");
    case.created()?;
    same("hooks after create", &json!([]), &names(&case.hook_lines(&journal(case))))?;
    succeed(case.start()?)?;
    let size = case.hear()?["answers"]["size:/out/hooks"]["size"].clone();
    holds(size.as_u64().is_some_and(|size| size > 0), "the program finds the hook's line", size.to_string())
}

fn poststart(case: &mut Case) -> Outcome {
    add(case, "poststart", "poststart", "0");
    case.ask("wait");
    case.created()?;
    same("hooks after create", &json!([]), &names(&case.hook_lines(&journal(case))))?;
    succeed(case.start()?)?;
    let lines = case.hook_lines(&journal(case));
    case.hear()?;
    same("hooks when start has returned", &json!(["poststart"]), &names(&lines))
}

fn poststop(case: &mut Case) -> Outcome {
    add(case, "poststop", "poststop", "0");
    case.report()?;
    case.wait()?;
    same("hooks before delete", &json!([]), &names(&case.hook_lines(&journal(case))))?;
    succeed(case.delete()?)?;
    same("hooks when delete has returned", &json!(["poststop"]), &names(&case.hook_lines(&journal(case))))
}

/// Two kinds, written in the wrong order.
fn pair(case: &mut Case, first: &str, second: &str, order: [&str; 2]) -> Outcome {
    case.bind_share(json!(["rbind"]));
    add(case, first, first, "0");
    add(case, second, second, "0");
    case.created()?;
    same("order", &json!(order), &names(&case.hook_lines(&journal(case))))
}

fn only(case: &mut Case, kind: &str) -> Result<Value, Stop> {
    live(case, &[kind])?.into_iter().next().map_or_else(|| fail("the hook runs", "it left no line"), Ok)
}

/// The pid of the state is in a pid namespace of its own when the hook runs: the hook looks.
fn environment(case: &mut Case) -> Outcome {
    let line = only(case, "createRuntime")?;
    let state: Value = serde_json::from_str(line["state"].as_str().unwrap_or("")).unwrap_or(Value::Null);
    if state["status"] == "creating" && state["pid"].as_i64().unwrap_or(0) == 0 {
        return skip("the state is `creating` and needs no pid");
    }
    let seen = line["init_pid_namespace"].clone();
    let report: Value = serde_json::from_str(case.output().trim()).unwrap_or(Value::Null);
    same("pid namespace of the state's pid", &report["namespaces"]["pid"], &seen)
}

fn root_changed(case: &mut Case, kind: &str, inside: bool) -> Outcome {
    same("/probe is there for the hook", &json!(inside), &only(case, kind)?["probe_seen"])
}

/// The values of `status` with a definition; a runtime may have others.
const DEFINED: [&str; 4] = ["creating", "created", "running", "stopped"];

fn state(case: &mut Case, kind: &str, right: &[&str]) -> Outcome {
    case.set("/annotations", json!({"org.example.hook": "seen"}));
    let line = only(case, kind)?;
    let text = line["state"].as_str().unwrap_or("");
    let state: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let whole = state["id"] == case.id.as_str()
        && state["ociVersion"].is_string()
        && state["bundle"] == json!(case.bundle())
        && state["annotations"]["org.example.hook"] == "seen"
        && state["status"]
            .as_str()
            .is_some_and(|status| right.contains(&status) || !DEFINED.contains(&status));
    let expected =
        format!("id, version, bundle, annotation and status {right:?}, or one of the runtime's own");
    holds(whole, &expected, text)
}

fn poststart_failure(case: &mut Case) -> Outcome {
    add(case, "poststart", "poststart", "3");
    case.ask("wait");
    case.created()?;
    let evidence = must_refuse(case.start()?)?;
    case.wait()?;
    Ok(evidence)
}

fn unwinds(case: &mut Case, kind: &str) -> Outcome {
    case.bind_share(json!(["rbind"]));
    add(case, kind, kind, "3");
    add(case, "poststop", "poststop", "0");
    must_refuse(case.create()?)?;
    same("hooks called", &json!([kind, "poststop"]), &names(&case.hook_lines(&journal(case))))
}

fn stops(case: &mut Case) -> Outcome {
    case.bind_share(json!(["rbind"]));
    add(case, "startContainer", "startContainer", "3");
    case.created()?;
    case.start()?;
    case.wait()?;
    same("output of the program", &json!(""), &json!(case.output()))?;
    if !case.known()? {
        return Ok("the container is destroyed".into());
    }
    same("status", &json!("stopped"), &case.state()?["status"])
}
