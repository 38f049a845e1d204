//! `features`.

use super::print;

use crate::error::{Error, Result};

pub(super) fn run() -> Result<()> {
    let text = serde_json::to_string_pretty(&crate::features::document())
        .map_err(|error| Error::invalid("features", error.to_string()))?;
    print(&format!("{text}\n"))
}
