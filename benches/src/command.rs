//! One call of a program, measured.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use nix::sys::wait::WaitStatus;

use crate::failure::Failure;
use crate::{order, peak};

/// The only variable that the programs get.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How many lines of a program's errors are shown.
const SHOWN_LINES: usize = 8;

/// What is measured of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gauge {
    /// Milliseconds from before the program is spawned until it has been waited for.
    Time,
    /// The largest resident set of the program and of the children that it waited for, in KiB.
    PeakMemory,
    /// Page faults that needed no disk, of the same processes.
    Faults,
    /// Milliseconds of processor time, in the kernel and out of it, of the same processes.
    Processor,
    /// System calls of the program and of everything that it starts, as the tracepoint counts them: perf(1).
    SystemCalls,
    /// Instructions outside of the kernel, likewise; few virtual machines let one count them.
    Instructions,
    /// Executes the program step by step, and leaves where its instructions were in the file of [`addresses`], each a line;
    /// the result is their number.
    Addresses,
}

impl Gauge {
    /// Calls the program, which must succeed. What it writes to standard error goes to `log` (a file: a
    /// pipe would stay open in a container's init) and is the text of the failure.
    pub(crate) fn call(self, program: &Path, arguments: &[&str], log: &Path) -> Result<f64, Failure> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(format!("{} {}: {cause}", program.display(), arguments.join(" ")))
        };
        let errors = File::create(log).map_err(Failure::during(format!("create {log:?}")))?;
        let counts = log.with_extension("counts");
        let mut command = match self {
            Self::Time => Command::new(program),
            Self::PeakMemory | Self::Faults | Self::Processor => {
                let mut command = Command::new("/proc/self/exe");
                command.arg(peak::OPTION).arg(program);
                command
            }
            Self::Addresses => {
                let mut command = Command::new("/proc/self/exe");
                command.arg(order::OPTION).arg(program);
                command
            }
            Self::SystemCalls => perf("raw_syscalls:sys_enter", program, &counts),
            Self::Instructions => perf("instructions:u", program, &counts),
        };
        command.args(arguments).env_clear().env("PATH", PATH).stdin(Stdio::null()).stderr(errors);
        let (status, value) = match self {
            Self::Time => {
                let begin = Instant::now();
                let status = command.stdout(Stdio::null()).status();
                let elapsed = begin.elapsed();
                (status.map_err(|error| failed(&error))?, Some(elapsed.as_secs_f64() * 1000.0))
            }
            Self::PeakMemory | Self::Faults | Self::Processor => {
                let output = command.output().map_err(|error| failed(&error))?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                (output.status, peak::field(&text, self))
            }
            Self::Addresses => {
                let child = command.stdout(Stdio::null()).spawn().map_err(|error| failed(&error))?;
                let (status, seen) = order::follow(child.id()).map_err(|errno| failed(&errno))?;
                let text: String = seen.iter().map(|address| format!("{address}\n")).collect();
                std::fs::write(addresses(log), text).map_err(|error| failed(&error))?;
                let code = if let WaitStatus::Exited(_, code) = status { code } else { 1 };
                (ExitStatus::from_raw(code << 8), Some(seen.len() as f64))
            }
            Self::SystemCalls | Self::Instructions => {
                let status = command.stdout(Stdio::null()).status();
                let status = status.map_err(Failure::during("start perf (Debian: linux-perf)"))?;
                let text = std::fs::read_to_string(&counts).unwrap_or_default();
                (status, text.lines().find_map(|line| line.split(',').next()?.parse().ok()))
            }
        };
        if !status.success() {
            return Err(failed(&format_args!("{status}{}", indented(log))));
        }
        value.ok_or_else(|| failed(&"no measurement"))
    }
}

/// Where [`Gauge::Addresses`] leaves them.
pub(crate) fn addresses(log: &Path) -> PathBuf {
    log.with_extension("addresses")
}

/// Counts an event of the program and its descendants; the number begins a line of the file `counts`.
fn perf(event: &str, program: &Path, counts: &Path) -> Command {
    let mut command = Command::new("perf");
    command.args(["stat", "--field-separator", ",", "--event", event, "--output"]).arg(counts).arg("--");
    command.arg(program);
    command
}

/// Calls the program `count` times at once; the result is the milliseconds until the last call has ended.
/// Each call must succeed. `arguments` makes those of each.
pub(crate) fn at_once<'a>(
    program: &Path,
    count: usize,
    arguments: impl Fn(usize) -> Vec<&'a str>,
    log: &Path,
) -> Result<f64, Failure> {
    let errors = File::create(log).map_err(Failure::during(format!("create {log:?}")))?;
    let mut commands = Vec::new();
    for number in 0..count {
        let mut command = Command::new(program);
        let errors = errors.try_clone().map_err(Failure::during(format!("share {log:?}")))?;
        command.args(arguments(number)).env_clear().env("PATH", PATH);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        commands.push(command);
    }
    let begin = Instant::now();
    let children: Vec<_> = commands.iter_mut().map(Command::spawn).collect();
    let ends: Vec<_> = children.into_iter().map(|child| child.and_then(|mut child| child.wait())).collect();
    let elapsed = begin.elapsed();
    for end in ends {
        let status = end.map_err(Failure::during(format!("start {program:?}")))?;
        if !status.success() {
            let failed = format!("{} ({count} at once): {status}{}", program.display(), indented(log));
            return Err(Failure::new(failed));
        }
    }
    Ok(elapsed.as_secs_f64() * 1000.0)
}

/// The beginning of what the program said.
fn indented(log: &Path) -> String {
    match std::fs::read(log) {
        Ok(bytes) => String::from_utf8_lossy(&bytes)
            .lines()
            .take(SHOWN_LINES)
            .map(|line| format!("\n    {line}"))
            .collect(),
        Err(error) => format!("\n    (read {log:?}: {error})"),
    }
}

/// The first line of `program --version`.
pub(crate) fn version(program: &Path) -> Result<String, Failure> {
    let output = Command::new(program)
        .arg("--version")
        .env_clear()
        .env("PATH", PATH)
        .output()
        .map_err(Failure::during(format!("start {program:?}")))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("{program:?} --version printed nothing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_carries_what_was_said() {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let error = Gauge::Time
            .call(Path::new("/bin/sh"), &["-c", "echo no such thing >&2; exit 3"], log.path())
            .expect_err("a failure")
            .to_string();
        assert!(error.contains("exit status: 3\n    no such thing"), "{error}");
    }

    #[test]
    fn a_call_takes_time() {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let time = Gauge::Time.call(Path::new("/bin/true"), &[], log.path()).expect("a time");
        assert!(time > 0.0);
    }
}
