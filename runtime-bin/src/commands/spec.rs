//! `spec`.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};
use runtime_core::{Error, Result};

use super::Context;
use crate::args::options;

/// The name that the specification gives the configuration.
const CONFIG: &str = "config.json";

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let options = context.options();
    let cgroup2 = statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let rootless = options
        .flag(&options::SPEC_ROOTLESS)
        .then(|| (geteuid().as_raw(), getegid().as_raw()));
    let text = crate::spec::example(cgroup2, rootless)?;
    let path = options.path(&options::BUNDLE).unwrap_or_default().join(CONFIG);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| {
            if error.kind() == ErrorKind::AlreadyExists {
                return Error::new(
                    runtime_core::ErrorKind::AlreadyExists,
                    format!("File {} exists. Remove it first", path.display()),
                );
            }
            Error::io(format!("create {path:?}"), &error)
        })?;
    file.write_all(&text)
        .map_err(|error| Error::io(format!("write {path:?}"), &error))
}
