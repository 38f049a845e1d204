//! `man DIR`.

use std::path::Path;

use super::Context;
use crate::args::man;
use crate::error::{Error, Result};

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let Some(directory) = context.matches.positionals.first().map(Path::new) else { return Ok(()) };
    let failed = |path: &Path, error: &std::io::Error| Error::io(format!("write {path:?}"), error);
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
    man::pages().iter().try_for_each(|(name, page)| {
        let path = directory.join(name);
        std::fs::write(&path, page).map_err(|error| failed(&path, &error))
    })
}
