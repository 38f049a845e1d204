//! `pause` and `resume`.

use super::Context;

use crate::error::Result;

pub(super) fn pause(context: &Context<'_>) -> Result<()> {
    Ok(context.container()?.pause()?)
}

pub(super) fn resume(context: &Context<'_>) -> Result<()> {
    Ok(context.container()?.resume()?)
}
