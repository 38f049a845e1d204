//! Commands that this version knows and does not carry out.

use runtime_core::{Error, ErrorKind, Result};

use super::Context;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, context.matches.command.name).reason("not implemented yet"))
}
