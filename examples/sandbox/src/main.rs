//! A command in a sandbox: each module of the library alone, and all of them together. README.md is the tutorial to it.
//!
//! ```text
//! cargo run -p sandbox -- namespaces
//! ```

#![forbid(unsafe_code)]

mod all;
mod capabilities;
mod cgroup;
mod filter;
mod idmap;
mod namespaces;
mod rootfs;

use std::process::ExitCode;

use runtime_core::namespaces::Namespaces;
use runtime_core::{Exit, Sandbox};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let run = match arguments.first().map(String::as_str) {
        Some("namespaces") => namespaces::run(),
        Some("rootfs") => rootfs::run(),
        Some("capabilities") => capabilities::run(),
        Some("filter") => filter::run(),
        Some("cgroup") => cgroup::run(),
        Some("idmap") => idmap::run(),
        Some("all") if arguments.len() > 1 => all::run(&arguments[1..]),
        _ => Err("usage: sandbox namespaces|rootfs|capabilities|filter|cgroup|idmap, or sandbox all PROGRAM [ARGUMENT...]".into()),
    };
    match run {
        Ok(Exit::Code(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Ok(other) => {
            eprintln!("sandbox: {other:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether this program has root's privilege.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Namespaces take a privilege, which a user has in a user namespace of its own.
fn with_privilege(sandbox: Sandbox<'_>) -> Sandbox<'_> {
    if is_root() { sandbox } else { sandbox.namespaces(Namespaces::USER) }
}
