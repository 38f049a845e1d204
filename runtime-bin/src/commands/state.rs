//! `state`.

use super::{Context, print};

use crate::error::{Error, Result};

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let state = context.container()?.state()?;
    let text =
        serde_json::to_string_pretty(&state).map_err(|error| Error::invalid("state", error.to_string()))?;
    print(&format!("{text}\n"))
}
