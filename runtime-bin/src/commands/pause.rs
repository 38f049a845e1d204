//! `pause` and `resume`.

use runtime_core::Result;

use super::Context;

pub(super) fn pause(context: &Context<'_>) -> Result<()> {
    context.container()?.pause()
}

pub(super) fn resume(context: &Context<'_>) -> Result<()> {
    context.container()?.resume()
}
