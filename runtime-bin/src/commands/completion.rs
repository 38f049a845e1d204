//! `completion SHELL`.

use super::{Context, print};
use crate::args::commands::SHELLS;
use crate::args::completion;
use crate::error::{Error, Result};

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let shell = context.matches.positional(0);
    let script = completion::script(&shell).ok_or_else(|| {
        Error::invalid(format!("shell {shell:?}"), "no completion for it").hint(SHELLS.join(", "))
    })?;
    print(&script)
}
