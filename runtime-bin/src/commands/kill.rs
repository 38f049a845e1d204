//! `kill`.

use runtime_core::{ErrorKind, Runtime, Signal};

use super::{Context, each_matching};
use crate::args::options;
use crate::error::Result;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let name = context.matches.positional(1);
    let signal = if name.is_empty() { Signal::TERM } else { name.parse()? };
    let all = context.options().flag(&options::ALL);
    let kill = |runtime: &Runtime, id: &str| kill(runtime, id, signal, all);
    if context.options().flag(&options::REGEX) {
        return each_matching(context, kill);
    }
    kill(&context.runtime()?, &context.id())
}

fn kill(runtime: &Runtime, id: &str, signal: Signal, all: bool) -> Result<()> {
    let container = runtime.container(id)?;
    if !all {
        return Ok(container.kill(signal)?);
    }
    match container.kill_all(signal) {
        // Engines send it to make sure that nothing is left.
        Err(error) if error.kind() == ErrorKind::WrongState => Ok(()),
        other => Ok(other?),
    }
}
