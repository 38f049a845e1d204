//! Profiles of the user's own: `--security-opt seccomp=FILE`, and what each action does inside.

use std::fs;

use serde_json::{Value, json};

use super::Docker;
use crate::support::{Outcome, Output, Stop, Table, has, same, seccomp_is_on};

pub(super) const CHECKS: &Table<Docker> = &[
    ("seccomp: a file, SCMP_ACT_ERRNO with errnoRet", errno),
    ("seccomp: a file, SCMP_ACT_ERRNO by an argument", by_argument),
    ("seccomp: a file, SCMP_ACT_LOG", log),
    ("seccomp: a file, SCMP_ACT_TRACE without a tracer", trace),
    ("seccomp: a file, SCMP_ACT_TRAP", trap),
    ("seccomp: a file, SCMP_ACT_KILL and its kinds", kill),
    ("seccomp: a file, SCMP_ACT_LOG by default", default_action),
];

/// Makes a directory by a program of its own, and prints how that went.
const MKDIR: &str = "grep Seccomp: /proc/self/status; /bin/mkdir /new; echo $?";

/// The shell calls kill(2) itself, so it can catch the signal of that call.
const CATCH: &str = "trap 'echo caught' SYS; kill -0 $$; echo alive";

/// Runs a script under a profile.
fn under(docker: &Docker, name: &str, profile: &Value, script: &str) -> Result<Output, Stop> {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    let file = docker.host_dir("seccomp")?.join(format!("{name}.json"));
    fs::write(&file, profile.to_string())?;
    let option = format!("seccomp={}", file.display());
    docker.run(&["--security-opt", &option], &["sh", "-c", script])
}

/// A profile that allows everything but for one rule.
fn all_but(rule: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
}

fn errno(docker: &Docker) -> Outcome {
    let profile =
        all_but(json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 }));
    let output = under(docker, "errno", &profile, MKDIR)?;
    has("what mkdir says", &output.stderr, "No space left on device")?;
    same("output", output.ok()?, "Seccomp:\t2\n1")?;
    let profile = all_but(json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }));
    has("without errnoRet", &under(docker, "eperm", &profile, MKDIR)?.stderr, "Operation not permitted")
}

fn by_argument(docker: &Docker) -> Outcome {
    let profile = all_but(json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
        "args": [{ "index": 1, "value": 18, "valueTwo": 0, "op": "SCMP_CMP_EQ" }] }));
    let output =
        under(docker, "argument", &profile, "kill -0 $$ && echo asked; kill -CONT $$ || echo refused")?;
    has("what kill says", &output.stderr, "No space left on device")?;
    same("output", output.ok()?, "asked\nrefused")
}

fn log(docker: &Docker) -> Outcome {
    let profile = all_but(json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_LOG" }));
    same("output", under(docker, "log", &profile, MKDIR)?.ok()?, "Seccomp:\t2\n0")
}

fn trace(docker: &Docker) -> Outcome {
    let profile = all_but(json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRACE" }));
    let output = under(docker, "trace", &profile, MKDIR)?;
    has("what mkdir says", &output.stderr, "Function not implemented")?;
    same("output", output.ok()?, "Seccomp:\t2\n1")
}

fn trap(docker: &Docker) -> Outcome {
    let profile = all_but(json!({ "names": ["kill"], "action": "SCMP_ACT_TRAP" }));
    same("caught", under(docker, "trap", &profile, CATCH)?.ok()?, "caught\nalive")
}

fn kill(docker: &Docker) -> Outcome {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let profile = all_but(json!({ "names": ["kill"], "action": action }));
        let output = under(docker, action, &profile, &format!("echo before; {CATCH}"))?;
        // 128 and SIGSYS.
        same(action, output.code(159)?, "before")?;
    }
    Ok(())
}

/// A default that is neither allow nor errno, and a rule from it.
fn default_action(docker: &Docker) -> Outcome {
    let profile = json!({ "defaultAction": "SCMP_ACT_LOG", "syscalls": [
        { "names": ["swapon", "swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }] });
    let output = under(docker, "default", &profile, "swapoff /none; /bin/mkdir /new && echo made")?;
    has("what swapoff says", &output.stderr, "not supported")?;
    same("output", output.ok()?, "made")
}
