//! runtime.md and bundle.md: what holds for every operation, and the states between them.

use super::{Statement, must, untestable};
use crate::case::{Case, gone, must as succeed, must_refuse};
use crate::cgroup;
use crate::verdict::{Outcome, Stop, fail, holds, same, skip};
use serde_json::{Value, json};

const LIFECYCLE: &str = "runtime.md#lifecycle";
const STATE: &str = "runtime.md#state";
const ERRORS: &str = "runtime.md#errors";
const CREATE: &str = "runtime.md#create";
const KILL: &str = "runtime.md#kill";
const DELETE: &str = "runtime.md#delete";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must(
        "scope-operations",
        "runtime.md#scope-of-a-container",
        "who creates a container can use each operation on it",
        whole_life,
    ),
    must(
        "operations-all",
        "runtime.md#operations",
        "state, create, start, kill and delete are there",
        whole_life,
    ),
    must("state-schema", STATE, "the state has the types of the schema", schema),
    must("state-pid-created", STATE, "the state of a created container has a pid", pid_created),
    must(
        "state-query",
        "runtime.md#query-state",
        "state returns the state of the container that is asked for",
        query,
    ),
    must(
        "state-after-delete",
        "runtime.md#query-state",
        "the state of a deleted container is an error",
        after_delete,
    ),
    must(
        "lifecycle-environment",
        LIFECYCLE,
        "the namespaces are there when create has returned",
        environment,
    ),
    must("lifecycle-mounts", LIFECYCLE, "the mounts are there when create has returned", mounts),
    must("lifecycle-config", LIFECYCLE, "start does not read config.json again", config_gone),
    must("lifecycle-undone", LIFECYCLE, "delete undoes the mounts of create", undone),
    must("errors-mounts", ERRORS, "a failed create leaves no mount", error_mounts),
    must("errors-cgroups", ERRORS, "a failed create leaves no cgroup", error_cgroups),
    must("errors-processes", ERRORS, "a failed create leaves no process", error_processes),
    must("errors-id", ERRORS, "the id of a failed create can be used", error_id),
    must("create-empty-id", CREATE, "an empty id is refused", |case| {
        case.write_config()?;
        must_refuse(case.create_as("")?)
    }),
    must("create-slash-id", CREATE, "an id with a slash is refused, or works as any other", |case| {
        super::operations::odd_id(case, "a/b")
    }),
    must("create-two", CREATE, "two containers of one bundle are two", two),
    must(
        "create-limits",
        CREATE,
        "limits of linux.resources are there when create has returned",
        created_limits,
    ),
    must("start-deleted", "runtime.md#start", "start of a deleted container is an error", |case| {
        case.report()?;
        case.wait()?;
        succeed(case.delete()?)?;
        must_refuse(case.start()?)
    }),
    must("kill-unknown-id", KILL, "kill of an unknown id is an error", |case| {
        must_refuse(case.kill("TERM")?)
    }),
    must("kill-unknown-signal", KILL, "an unknown signal is an error without effect", unknown_signal),
    must("kill-number", KILL, "a signal by its number is sent, where the command line takes numbers", number),
    must("kill-stopped-unharmed", KILL, "kill of a stopped container leaves it stopped", |case| {
        case.report()?;
        case.wait()?;
        must_refuse(case.kill("KILL")?)?;
        same("status", &json!("stopped"), &case.state()?["status"])
    }),
    must("delete-unknown-id", DELETE, "delete of an unknown id is an error", |case| {
        must_refuse(case.delete()?)
    }),
    must("delete-processes", DELETE, "no process of the container is left by delete", no_process_left),
    must(
        "bundle-config-name",
        "bundle.md#container-format",
        "the file is named config.json and nothing else",
        other_name,
    ),
    must(
        "bundle-config-place",
        "bundle.md#container-format",
        "the file is in the root of the bundle, not below",
        other_place,
    ),
    must(
        "bundle-outside",
        "config.md#root",
        "the root is that of root.path: the bundle's directory is not part of the container",
        outside,
    ),
    must(
        "dev-links-source",
        "runtime-linux.md#dev-symbolic-links",
        "the links of /dev are there after the mounts, on a tmpfs of the bundle's own",
        links,
    ),
    untestable(
        "bundle-one-directory",
        "bundle.md#container-format",
        "all parts of a bundle are in one local directory",
        "binds the author: root.path may be anywhere",
    ),
    untestable(
        "state-unique-host",
        STATE,
        "an id is unique on the host",
        "a runtime knows its own state directory only; create-unique-id has the rest",
    ),
];

/// All five operations, each by a call of its own.
fn whole_life(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.created()?;
    same("status", &json!("created"), &case.state()?["status"])?;
    succeed(case.start()?)?;
    case.hear()?;
    same("status", &json!("running"), &case.state()?["status"])?;
    succeed(case.kill("KILL")?)?;
    case.wait()?;
    same("status", &json!("stopped"), &case.state()?["status"])?;
    succeed(case.delete()?)?;
    Ok("create, state, start, kill, delete".into())
}

fn schema(case: &mut Case) -> Outcome {
    case.set("/annotations", json!({"a.b": "c"}));
    case.created()?;
    let state = case.state()?;
    let strings = ["ociVersion", "id", "status", "bundle"].iter().all(|key| state[*key].is_string());
    let pid = state["pid"].as_i64().is_some_and(|pid| pid >= 0);
    let annotations = state["annotations"].as_object().is_some_and(|map| map.values().all(Value::is_string));
    let status =
        ["creating", "created", "running", "stopped"].contains(&state["status"].as_str().unwrap_or(""));
    holds(
        strings && pid && annotations && status,
        "strings, a pid, a map of strings, a known status",
        state.to_string(),
    )
}

fn pid_created(case: &mut Case) -> Outcome {
    case.created()?;
    let seen = case.state()?["pid"].clone();
    same("pid", &json!(case.pid().map(nix::unistd::Pid::as_raw)), &seen)
}

/// The state of the container, and the id and the state of another that is created beside it.
fn beside(case: &Case) -> Result<(Value, String, Value), Stop> {
    let other = format!("{}-b", case.id);
    let bundle = case.bundle().display().to_string();
    succeed(case.raw(&["create", "--bundle", &bundle, &other])?)?;
    let call = case.raw(&["state", &other])?;
    let seen = serde_json::from_str(&call.stdout).unwrap_or(Value::Null);
    let own = case.state()?;
    succeed(case.raw(&["delete", "--force", &other])?)?;
    Ok((own, other, seen))
}

/// Another container with another state must not be mistaken for it.
fn query(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.report()?;
    let (own, other, seen) = beside(case)?;
    same(
        "ids and states",
        &json!([case.id, "running", other, "created"]),
        &json!([own["id"], own["status"], seen["id"], seen["status"]]),
    )
}

fn after_delete(case: &mut Case) -> Outcome {
    case.report()?;
    case.wait()?;
    succeed(case.delete()?)?;
    must_refuse(case.raw(&["state", &case.id])?)
}

fn pid_of(case: &Case) -> Result<nix::unistd::Pid, Stop> {
    case.pid().map_or_else(|| fail("the runtime writes the pid file", "no pid"), Ok)
}

fn environment(case: &mut Case) -> Outcome {
    case.created()?;
    let pid = pid_of(case)?;
    for name in ["mnt", "ipc", "uts", "pid"] {
        let own = std::fs::read_link(format!("/proc/thread-self/ns/{name}"))?;
        let seen = std::fs::read_link(format!("/proc/{pid}/ns/{name}"))?;
        if own == seen {
            return fail(format!("a {name} namespace of its own"), seen.display().to_string());
        }
    }
    Ok("mnt, ipc, uts and pid are new".into())
}

fn mounts(case: &mut Case) -> Outcome {
    case.push("/mounts", json!({"destination": "/tmp", "type": "tmpfs", "source": "early"}));
    case.created()?;
    let text = std::fs::read_to_string(format!("/proc/{}/mountinfo", pid_of(case)?))?;
    holds(
        text.contains(" - tmpfs early "),
        "a tmpfs from `early`",
        text.lines().last().unwrap_or("").to_owned(),
    )
}

fn config_gone(case: &mut Case) -> Outcome {
    case.ask("kept");
    case.created()?;
    std::fs::remove_file(case.bundle().join("config.json"))?;
    succeed(case.start()?)?;
    same("second argument", &json!("kept"), &case.hear()?["args"][1])
}

/// The lines of the suite's mount table that name the case's bundle.
fn own_mounts(case: &Case) -> Result<Vec<String>, Stop> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    let bundle = case.bundle().display().to_string();
    Ok(text.lines().filter(|line| line.contains(&bundle)).map(str::to_owned).collect())
}

fn undone(case: &mut Case) -> Outcome {
    let before = own_mounts(case)?;
    case.push("/mounts", json!({"destination": "/tmp", "type": "tmpfs", "source": "early"}));
    case.report()?;
    case.wait()?;
    succeed(case.delete()?)?;
    same("mounts of the bundle on the host", &json!(before), &json!(own_mounts(case)?))
}

/// A configuration that fails late, after mounts and cgroups.
fn fail_late(case: &mut Case) -> Outcome {
    if !case.rootless {
        case.own_cgroup();
    }
    case.push("/mounts", json!({"destination": "/tmp", "type": "tmpfs", "source": "early"}));
    case.set("/linux/sysctl", json!({"kernel.msg_nonsense": "1"}));
    case.refuses()
}

fn error_mounts(case: &mut Case) -> Outcome {
    let before = own_mounts(case)?;
    fail_late(case)?;
    same("mounts of the bundle on the host", &json!(before), &json!(own_mounts(case)?))
}

fn error_cgroups(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    let evidence = fail_late(case)?;
    let left = cgroup::named(&case.own_place());
    holds(left.is_empty(), "no cgroup of that name", format!("{left:?}; {evidence}"))
}

/// Whatever came from the bundle has the bundle's root.
fn error_processes(case: &mut Case) -> Outcome {
    let evidence = fail_late(case)?;
    let root = case.rootfs();
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let of_bundle = |name: &str| {
            let link = std::fs::read_link(entry.path().join(name));
            link.is_ok_and(|link| link.starts_with(&root))
        };
        if of_bundle("root") || of_bundle("cwd") {
            left.push(entry.file_name());
        }
    }
    holds(left.is_empty() && case.pid().is_none_or(gone), "no process", format!("{left:?}; {evidence}"))
}

fn error_id(case: &mut Case) -> Outcome {
    fail_late(case)?;
    case.remove("/linux", "sysctl");
    same("program", &json!("/probe"), &case.report()?["args"][0])
}

fn two(case: &mut Case) -> Outcome {
    case.created()?;
    let (own, other, seen) = beside(case)?;
    holds(own["pid"] != seen["pid"] && seen["id"] == other.as_str(), "two pids", format!("{own} and {seen}"))
}

/// Properties of `process` may wait for start; those of `linux.resources` may not.
fn created_limits(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    let files =
        [("pids", "pids.max"), ("hugetlb", "hugetlb.2MB.max"), ("hugetlb", "hugetlb.2MB.limit_in_bytes")];
    let own = nix::unistd::getpid();
    let Some(controller) =
        files.iter().map(|(name, _)| *name).find(|name| cgroup::directory(own, name).is_some())
    else {
        return skip("no cgroup hierarchy with pids or hugetlb here");
    };
    case.own_cgroup();
    case.set("/linux/resources", json!({"pids": {"limit": 77}}));
    if controller == "hugetlb" {
        let limits = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
        case.set("/linux/resources", limits);
    }
    case.created()?;
    let directory = cgroup::directory(pid_of(case)?, controller);
    let Some(directory) = directory else {
        return skip(format!("no cgroup of the container with {controller}"));
    };
    let texts = files.iter().filter_map(|(_, file)| std::fs::read_to_string(directory.join(file)).ok());
    let texts: Vec<String> = texts.map(|text| text.trim().to_owned()).collect();
    let right = texts.iter().any(|text| text == "77" || text == "4194304");
    holds(right, "the limit before start", format!("{controller}: {texts:?}"))
}

fn unknown_signal(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.report()?;
    let evidence = must_refuse(case.kill("NOSUCHSIGNAL")?)?;
    same("status", &json!("running"), &case.state()?["status"])?;
    Ok(evidence)
}

fn number(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.report()?;
    let call = case.kill("9")?;
    if call.refused() {
        return skip(format!("the command line takes no numbers: {}", call.describe()));
    }
    succeed(call)?;
    case.wait()?;
    same("status", &json!("stopped"), &case.state()?["status"])
}

fn no_process_left(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.report()?;
    succeed(case.kill("KILL")?)?;
    case.wait()?;
    succeed(case.delete()?)?;
    holds(pid_of(case).is_ok_and(gone), "the container process is gone", "gone")
}

fn other_name(case: &mut Case) -> Outcome {
    case.write_config()?;
    std::fs::rename(case.bundle().join("config.json"), case.bundle().join("spec.json"))?;
    must_refuse(case.create_as(&case.id)?)
}

fn other_place(case: &mut Case) -> Outcome {
    case.write_config()?;
    std::fs::rename(case.bundle().join("config.json"), case.rootfs().join("config.json"))?;
    must_refuse(case.create_as(&case.id)?)
}

fn outside(case: &mut Case) -> Outcome {
    case.ask("stat:/config.json");
    case.ask("stat:/../config.json");
    let answers = case.report()?["answers"].clone();
    let hidden = |question: &str| answers[question]["errno"] == 2;
    holds(
        hidden("stat:/config.json") && hidden("stat:/../config.json"),
        "config.json is not to be seen",
        answers.to_string(),
    )
}

fn links(case: &mut Case) -> Outcome {
    case.push(
        "/mounts",
        json!({"destination": "/dev", "type": "tmpfs", "source": "second", "options": ["mode=755"]}),
    );
    case.ask("link:/dev/fd");
    case.ask("list:/dev");
    let answers = case.report()?["answers"].clone();
    same("/dev/fd", &json!("/proc/self/fd"), &answers["link:/dev/fd"]["text"])
}
