//! What the kernel counts of a command and its children: peak memory, page faults, processor time.
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
use nix::sys::time::TimeVal;

use crate::command::Gauge;

/// The first argument of the helper; the command follows.
pub(crate) const OPTION: &str = "--peak-of";

/// Runs the command, and prints for its processes: the largest resident set in KiB, page faults, and
/// microseconds of processor time.
pub(crate) fn helper(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("{OPTION} needs a command");
        return ExitCode::FAILURE;
    };
    // A user id, even the same, makes the standard library fork.
    let status = Command::new(program).args(arguments).uid(0).stdout(Stdio::null()).status();
    match (status, getrusage(UsageWho::RUSAGE_CHILDREN)) {
        (Ok(status), Ok(usage)) => {
            let micros = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
            let processor = micros(usage.user_time()) + micros(usage.system_time());
            println!("{} {} {processor}", usage.max_rss(), usage.minor_page_faults());
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

/// What the helper printed of that kind.
pub(crate) fn field(text: &str, gauge: Gauge) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>().ok());
    match gauge {
        Gauge::PeakMemory => numbers.next()?,
        Gauge::Faults => numbers.nth(1)?,
        Gauge::Processor => numbers.nth(2)?.map(|micros| micros / 1000.0),
        Gauge::Time | Gauge::SystemCalls | Gauge::Instructions | Gauge::Addresses => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gauge_has_its_field() {
        let fields =
            [Gauge::PeakMemory, Gauge::Faults, Gauge::Processor].map(|gauge| field("10 20 3500", gauge));
        assert_eq!(fields, [Some(10.0), Some(20.0), Some(3.5)]);
        assert_eq!(field("", Gauge::Faults), None);
    }
}
