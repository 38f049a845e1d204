//! `mounts add` and `mounts remove`.

use std::io::Read as _;

use super::Context;

use crate::error::{Error, Result};

/// The longest list that is read.
const LIMIT: u64 = 1 << 20;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let verb = context.matches.positional(0);
    let container = context.runtime()?.container(&context.matches.positional(1))?;
    let mounts = || read(context.matches.positionals.get(2).map(AsRef::as_ref));
    match &*verb {
        "add" => Ok(container.add_mounts(&mounts()?)?),
        "remove" => Ok(container.remove_mounts(&mounts()?)?),
        other => Err(Error::invalid(format!("unknown command {other:?}"), "mounts takes add or remove")),
    }
}

/// The JSON text in the file, or on the standard input for `-`.
fn read(path: Option<&std::ffi::OsStr>) -> Result<Vec<u8>> {
    let path = std::path::Path::new(path.unwrap_or_default());
    let failed = |error: std::io::Error| Error::io(format!("read {path:?}"), &error);
    let mut bytes = Vec::new();
    if path == std::path::Path::new("-") {
        std::io::stdin().take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    match bytes.len() as u64 > LIMIT {
        true => Err(Error::invalid(format!("{path:?}"), "larger than 1 MiB")),
        false => Ok(bytes),
    }
}
