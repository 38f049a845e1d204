//! Peak memory of a command.
//!
//! The kernel counts for a process also what its memory was before execve. A child that shares its
//! parent's memory until then (as `posix_spawn` does it) is therefore never below its parent, and this
//! program is larger than a small runtime. So the command is started by fork, which copies only the
//! pages that were written. And the maximum can only be asked for all children at once: each
//! measurement has a process of its own, this program with [`OPTION`].

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{UsageWho, getrusage};

/// The first argument of the helper; the command follows.
pub(crate) const OPTION: &str = "--peak-of";

/// Runs the command, and prints the largest resident set of its processes in KiB.
pub(crate) fn helper(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("{OPTION} needs a command");
        return ExitCode::FAILURE;
    };
    // A user id, even the same, makes the standard library fork.
    let status = Command::new(program).args(arguments).uid(0).stdout(Stdio::null()).status();
    match (status, getrusage(UsageWho::RUSAGE_CHILDREN)) {
        (Ok(status), Ok(usage)) => {
            println!("{}", usage.max_rss());
            if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        (Err(error), _) => {
            eprintln!("start {program:?}: {error}");
            ExitCode::FAILURE
        }
        (_, Err(error)) => {
            eprintln!("getrusage: {error}");
            ExitCode::FAILURE
        }
    }
}
