//! runtime.md: create, start, kill, delete; bundle.md.

use super::{Statement, must, untestable};
use crate::case::{Case, gone, must_refuse};
use crate::cgroup;
use crate::differences::difference;
use crate::verdict::{Outcome, fail, holds, same};
use nix::sys::wait::WaitStatus;
use serde_json::json;

const CREATE: &str = "runtime.md#create";
const START: &str = "runtime.md#start";
const KILL: &str = "runtime.md#kill";
const DELETE: &str = "runtime.md#delete";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must(
        "bundle-config-json",
        "bundle.md#container-format",
        "config.json must lie in the bundle's root",
        no_config,
    ),
    must("create-needs-bundle", CREATE, "create of a bundle that is not there is an error", no_bundle),
    must("create-needs-id", CREATE, "create without an id is an error", no_id),
    must(
        "create-unique-id",
        CREATE,
        "a second container of that id is refused, the first unharmed",
        duplicate,
    ),
    must("create-invalid-id", CREATE, "an id with .. is refused, or stays in the state directory", |case| {
        odd_id(case, "../outside")
    }),
    must("create-waits", CREATE, "create does not run the program", waits),
    must("create-fixes-config", CREATE, "a later change of config.json has no effect", fixed),
    must(
        "create-refuses-whole",
        CREATE,
        "a property that cannot be applied fails create and leaves nothing",
        impossible,
    ),
    must("start-runs-program", START, "start runs the program", runs),
    must("start-needs-id", START, "start without an id is an error", start_no_id),
    must("start-unknown-id", START, "start of an unknown id is an error", start_unknown),
    must("start-running", START, "start of a running container is an error without effect", start_twice),
    must("start-stopped", START, "start of a stopped container is an error", start_stopped),
    must("start-needs-process", START, "start without a process is an error", no_process),
    must("kill-sends-signal", KILL, "kill sends the named signal to the container process", kills),
    must("kill-created", KILL, "a created container can be signalled", kills_created),
    must("kill-stopped", KILL, "kill of a stopped container is an error", kill_stopped),
    must("kill-needs-id", KILL, "kill without an id is an error", kill_no_id),
    must(
        "delete-running",
        DELETE,
        "delete of a running container is an error without effect",
        delete_running,
    ),
    must(
        "delete-created",
        DELETE,
        "delete of a created container is an error without effect",
        delete_created,
    ),
    must("delete-stopped", DELETE, "delete removes a stopped container", delete_stopped),
    must("delete-cgroups", DELETE, "delete removes the cgroups that create made", delete_cgroups),
    must("delete-reuse", DELETE, "the id of a deleted container can be used again", reuse),
    must("delete-keeps-foreign", DELETE, "delete leaves what create did not make", keeps_foreign),
    must("delete-needs-id", DELETE, "delete without an id is an error", delete_no_id),
    untestable(
        "warnings-go-on",
        "runtime.md#warnings",
        "a logged warning does not change an operation's flow",
        "whether a line is a warning is not defined; the cases with a defined effect have rows of their own",
    ),
];

fn no_config(case: &mut Case) -> Outcome {
    must_refuse(case.create_as(&case.id)?)
}

fn no_bundle(case: &mut Case) -> Outcome {
    let missing = case.share().join("missing").display().to_string();
    must_refuse(case.raw(&["create", "--bundle", &missing, &case.id])?)
}

fn no_id(case: &mut Case) -> Outcome {
    case.write_config()?;
    let bundle = case.bundle().display().to_string();
    must_refuse(case.raw(&["create", "--bundle", &bundle])?)
}

fn duplicate(case: &mut Case) -> Outcome {
    case.created()?;
    let before = case.state()?;
    // Without a pid file: the first container's must stay.
    let bundle = case.bundle().display().to_string();
    let evidence = must_refuse(case.raw(&["create", "--bundle", &bundle, &case.id])?)?;
    same("pid of the first container", &before["pid"], &case.state()?["pid"])?;
    same("status of the first container", &json!("created"), &case.state()?["status"])?;
    Ok(evidence)
}

/// Which ids are valid is the runtime's choice; one that it takes has to work, and to stay among its own
/// files.
pub(super) fn odd_id(case: &mut Case, id: &str) -> Outcome {
    case.write_config()?;
    let create = case.create_as(id)?;
    if create.refused() {
        return Ok(create.describe());
    }
    let state = case.raw(&["state", id])?;
    let outside = case.beside_the_state(id);
    let end = case.raw(&["delete", "--force", id])?;
    if outside {
        return fail("nothing is made outside the state directory", create.describe());
    }
    holds(state.ok() && end.ok(), "state and delete know the id", state.describe())
}

fn waits(case: &mut Case) -> Outcome {
    case.created()?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    same("output before start", &json!(""), &json!(case.output()))?;
    case.start()?;
    case.hear()?;
    Ok("silent after create, a report after start".into())
}

fn fixed(case: &mut Case) -> Outcome {
    case.ask("before");
    case.created()?;
    case.set("/process/args", json!(["/probe", "after"]));
    case.write_config()?;
    case.start()?;
    same("second argument", &json!("before"), &case.hear()?["args"][1])
}

fn impossible(case: &mut Case) -> Outcome {
    case.push("/mounts", json!({"destination": "/tmp", "type": "no-such-file-system", "source": "none"}));
    case.refuses()
}

fn runs(case: &mut Case) -> Outcome {
    same("program", &json!("/probe"), &case.report()?["args"][0])
}

fn start_no_id(case: &mut Case) -> Outcome {
    must_refuse(case.raw(&["start"])?)
}

fn start_unknown(case: &mut Case) -> Outcome {
    must_refuse(case.start()?)
}

fn start_twice(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.report()?;
    let evidence = must_refuse(case.start()?)?;
    same("status", &json!("running"), &case.state()?["status"])?;
    same("number of reports", &json!(1), &json!(case.output().lines().count()))?;
    Ok(evidence)
}

fn start_stopped(case: &mut Case) -> Outcome {
    case.report()?;
    case.wait()?;
    must_refuse(case.start()?)
}

fn no_process(case: &mut Case) -> Outcome {
    if let Some(config) = case.config.as_object_mut() {
        config.remove("process");
    }
    let create = case.create()?;
    if create.refused() {
        let known = difference("start-needs-process").map_or("", |row| row.runc);
        return Ok(format!("{known}: {}", create.describe()));
    }
    must_refuse(case.start()?)
}

fn kills(case: &mut Case) -> Outcome {
    // An init of a pid namespace only dies of SIGKILL or of what it handles, so share one.
    case.drop_namespace("pid");
    case.ask("wait");
    case.need_root("the host's pid namespace")?;
    case.report()?;
    crate::case::must(case.kill("USR1")?)?;
    let end = case.wait()?;
    // Nothing is known of an end that another process has reaped.
    let right = matches!(end, None | Some(WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGUSR1, _)));
    holds(right, "the process dies of SIGUSR1", format!("{end:?}"))
}

fn kills_created(case: &mut Case) -> Outcome {
    case.created()?;
    crate::case::must(case.kill("KILL")?)?;
    case.wait()?;
    same("status", &json!("stopped"), &case.state()?["status"])
}

fn kill_stopped(case: &mut Case) -> Outcome {
    case.report()?;
    case.wait()?;
    must_refuse(case.kill("TERM")?)
}

fn kill_no_id(case: &mut Case) -> Outcome {
    must_refuse(case.raw(&["kill"])?)
}

fn delete_running(case: &mut Case) -> Outcome {
    case.ask("wait");
    case.report()?;
    let evidence = must_refuse(case.delete()?)?;
    same("status", &json!("running"), &case.state()?["status"])?;
    Ok(evidence)
}

fn delete_created(case: &mut Case) -> Outcome {
    case.created()?;
    let call = case.delete()?;
    if call.refused() {
        return same("status", &json!("created"), &case.state()?["status"]);
    }
    let Some(row) = difference("delete-created").filter(|_| call.ok()) else {
        return fail("delete is an error or removes the container", call.describe());
    };
    if case.known()? || !case.pid().is_none_or(gone) {
        return fail(row.runc, "it succeeded, but the container is still there");
    }
    Ok(format!("as runc: {}", row.runc))
}

fn delete_stopped(case: &mut Case) -> Outcome {
    case.report()?;
    case.wait()?;
    crate::case::must(case.delete()?)?;
    holds(!case.known()?, "the id is unknown after delete", "the container was deleted")
}

fn delete_cgroups(case: &mut Case) -> Outcome {
    case.need_root("cgroups")?;
    case.own_cgroup();
    let name = case.own_place();
    case.ask("wait");
    case.report()?;
    let pid = case.pid().ok_or_else(|| crate::verdict::Stop::Skip("no pid file".into()))?;
    let mut made = cgroup::all(pid);
    made.retain(|directory| directory.ends_with(&name));
    if made.is_empty() {
        return fail(format!("the container is in a cgroup {name}"), format!("{:?}", cgroup::all(pid)));
    }
    crate::case::must(case.kill("KILL")?)?;
    case.wait()?;
    crate::case::must(case.delete()?)?;
    let count = made.len();
    made.retain(|directory| directory.exists());
    holds(made.is_empty(), "no cgroup of the container is left", format!("{count} made, left: {made:?}"))
}

fn reuse(case: &mut Case) -> Outcome {
    case.report()?;
    case.wait()?;
    crate::case::must(case.delete()?)?;
    case.created()?;
    same("status", &json!("created"), &case.state()?["status"])
}

fn keeps_foreign(case: &mut Case) -> Outcome {
    case.bind_share(json!(["rbind"]));
    std::fs::write(case.share().join("mine"), "kept")?;
    case.report()?;
    case.wait()?;
    crate::case::must(case.delete()?)?;
    let mine = std::fs::read_to_string(case.share().join("mine"))?;
    let rootfs = case.rootfs().join("probe").exists();
    holds(
        mine == "kept" && rootfs,
        "the bind source and the rootfs are left",
        format!("{mine}, probe in rootfs: {rootfs}"),
    )
}

fn delete_no_id(case: &mut Case) -> Outcome {
    must_refuse(case.raw(&["delete"])?)
}
