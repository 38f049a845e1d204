//! `delete`.

use runtime_core::{ErrorKind, Runtime};

use super::{Context, each_matching};
use crate::args::options;
use crate::error::Result;
use crate::notify_directory;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let force = context.options().flag(&options::FORCE);
    let delete = |runtime: &Runtime, id: &str| delete(context, runtime, id, force);
    if context.options().flag(&options::REGEX) {
        return each_matching(context, delete);
    }
    delete(&context.runtime()?, &context.id())
}

fn delete(context: &Context<'_>, runtime: &Runtime, id: &str, force: bool) -> Result<()> {
    let deleted = if force {
        match runtime.delete_force(id) {
            // Engines call it for every container, also for one that is gone already.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    } else {
        runtime.container(id).and_then(runtime_core::Container::delete)
    };
    match deleted {
        // The container is gone, and to fail would say that it is not: "the runtime MUST log a warning" and go on as if
        // the hook had succeeded (runtime.md, "Lifecycle", step 13).
        Err(error) if error.kind() == ErrorKind::Hook => context.log.warning(&error.to_string()),
        other => other?,
    }
    notify_directory::remove(runtime, id)
}
