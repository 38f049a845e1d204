//! What no sentence of the specification asks for, though the usual runtimes do it and engines and other
//! suites rely on it: where hooks run, what they inherit, and the standard streams.

use super::hooks::live;
use super::process::leak;
use super::{Statement, practice};
use crate::case::Case;
use crate::verdict::{Outcome, fail, holds, same};
use serde_json::json;

const HOOKS: &str = "config.md#posix-platform-hooks";
const STREAMS: &str = "runtime-linux.md#file-descriptors";

/// The kinds that run outside the container.
const OUTSIDE: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    practice("hook-directory", HOOKS, "hooks of the runtime namespace begin in the bundle", directory),
    practice("hook-descriptors", HOOKS, "a hook inherits the standard streams and nothing else", descriptors),
    practice("stream-input", STREAMS, "the program reads the standard input of create", input),
    practice("stream-error", STREAMS, "the program writes to the standard error of create", error),
    practice("stream-null", STREAMS, "a stream on /dev/null is the container's device", null),
];

fn directory(case: &mut Case) -> Outcome {
    let lines = live(case, &OUTSIDE)?;
    same("number of hooks", &json!(OUTSIDE.len()), &json!(lines.len()))?;
    for line in lines {
        same(&format!("directory of {}", line["name"]), &json!(case.bundle()), &line["cwd"])?;
    }
    Ok("four hooks began in the bundle".into())
}

fn descriptors(case: &mut Case) -> Outcome {
    leak(case);
    let lines = live(case, &super::hooks::ORDER)?;
    same("number of hooks", &json!(6), &json!(lines.len()))?;
    for line in lines {
        same(&format!("descriptors of {}", line["name"]), &json!([0, 1, 2]), &line["fds"])?;
    }
    Ok("six hooks had 0, 1 and 2".into())
}

fn input(case: &mut Case) -> Outcome {
    let file = case.share().join("input");
    std::fs::write(&file, "from outside")?;
    case.input = Some(file);
    same("standard input", &json!("from outside"), &case.answer("input:")?["text"])
}

fn error(case: &mut Case) -> Outcome {
    case.answer("error:to-the-outside")?;
    let seen = case.errors();
    holds(seen.contains("to-the-outside"), "what the program wrote", seen)
}

/// Who owns the host's device file could otherwise be changed from inside.
fn null(case: &mut Case) -> Outcome {
    case.ask("stat:/proc/self/fd/0");
    case.ask("stat:/dev/null");
    let answers = case.report()?["answers"].clone();
    let (stream, own) = (&answers["stat:/proc/self/fd/0"], &answers["stat:/dev/null"]);
    if stream["inode"].is_null() {
        return fail("standard input is open", stream.to_string());
    }
    same("/dev/null as standard input", own, stream)
}
