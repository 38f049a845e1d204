//! `list`.

use runtime_core::{Listed, State};

use super::{Context, json, print};
use crate::args::options;
use crate::error::{Error, Result};
use crate::table;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let options = context.options();
    if !context.globals.default_root {
        // The default root is made with the first container; another that is missing is a mistake.
        let root = &context.globals.root;
        std::fs::metadata(root).map_err(|error| Error::io(format!("open {root:?}"), &error))?;
    }
    let listed = context.runtime()?.list()?;
    if options.flag(&options::QUIET) {
        return print(&listed.iter().map(|listed| format!("{}\n", listed.id)).collect::<String>());
    }
    let states = states(context, listed);
    match options.text(&options::FORMAT) {
        Some("json") => print(&format!("{}\n", json(&states)?)),
        _ => print(&text(&states)),
    }
}

/// The states that can be told; each other one is a warning.
fn states(context: &Context<'_>, listed: Vec<Listed>) -> Vec<State> {
    let mut states = Vec::new();
    for Listed { id, state, .. } in listed {
        match state {
            Ok(state) => states.push(state),
            // Deleted since it was listed.
            Err(error) if error.kind() == runtime_core::ErrorKind::NotFound => {}
            Err(error) => context
                .log
                .warning(&Error::from(error).context(format!("state of container {id}")).to_string()),
        }
    }
    states
}

fn text(states: &[State]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from).to_vec();
    let rows: Vec<_> = std::iter::once(head).chain(states.iter().map(row)).collect();
    table::align(&rows)
}

fn row(state: &State) -> Vec<String> {
    vec![
        state.id.clone(),
        state.pid.to_string(),
        state.status.to_string(),
        state.bundle.clone(),
        state.created.clone(),
        state.owner.clone(),
    ]
}
