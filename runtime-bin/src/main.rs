//! The program `runtime`: the command-line contract of runc over the library `runtime-core`.
//!
//! It parses arguments, keeps the log file and chooses exit codes; everything that a container is
//! made of is in the library. Each error is returned up to this file and logged here, once.

#![cfg_attr(all(target_env = "gnu", not(test)), no_main)]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::unreachable,
        clippy::allow_attributes_without_reason,
        reason = "no input may end the program"
    )
)]

mod args;
mod commands;
mod duration;
mod error;
mod failure;
mod fd_socket;
mod features;
mod foreground;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
#[path = "../../runtime-core/fuzz/driver.rs"]
mod fuzz_driver;
mod globals;
mod handover;
mod log;
mod name;
mod notify;
mod notify_directory;
mod pid_file;
mod process_spec;
mod size;
mod stages;
mod start;
mod sub_cgroup;
mod table;
mod terminal;
mod timestamp;
mod user;
mod version;

use std::io::Write as _;

use args::{Matches, Request, Values};
use failure::Failure;
use globals::Globals;
use log::Log;

/// musl's gives every small block back to the kernel at once, which costs a short-lived program 50 calls.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// With glibc the entry is in [`start`].
#[cfg(not(all(target_env = "gnu", not(test))))]
fn main() -> std::process::ExitCode {
    start::run()
}

/// The program; the result is its exit code.
fn program() -> u8 {
    let (values, request) = args::parse(std::env::args_os().skip(1));
    let log = match globals::log(&values) {
        Ok(log) => log,
        Err(error) => return fail(&Log::default(), &Failure::from(error)),
    };
    match request {
        Ok(Request::Help(command)) => show(&args::help::text(command)),
        Ok(Request::Version) => show(&version::text()),
        Ok(Request::Run(matches)) => run(&log, &values, matches),
        Err(usage) => {
            log.error(&usage.message);
            usage.code
        }
    }
}

fn run(log: &Log, values: &Values, matches: Matches) -> u8 {
    let result = runtime_core::program::reset_child_signal()
        .map_err(error::Error::from)
        .and_then(|()| Globals::resolve(values))
        .map_err(Failure::from)
        .and_then(|globals| {
            let timings = globals.timings.clone();
            let result = commands::run(&commands::Context { log, globals, matches });
            // A closed stream is no reason to fail: the container has what it was to have.
            timings.iter().for_each(|timings| {
                std::io::stderr().write_all(timings.to_string().as_bytes()).unwrap_or_default();
            });
            result
        });
    match result {
        Ok(code) => code,
        Err(failure) => fail(log, &failure),
    }
}

fn fail(log: &Log, failure: &Failure) -> u8 {
    log.debug(|| format!("failed: {:?}", failure.kind));
    log.error(&failure.message);
    failure.code
}

fn show(text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        // The reader has closed the pipe: nothing to say and nobody to say it to.
        Err(_) => 1,
    }
}
