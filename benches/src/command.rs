//! One call of a program, measured.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::failure::Failure;
use crate::peak;

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
}

impl Gauge {
    /// Calls the program, which must succeed. What it writes to standard error goes to `log` (a file: a
    /// pipe would stay open in a container's init) and is the text of the failure.
    pub(crate) fn call(self, program: &Path, arguments: &[&str], log: &Path) -> Result<f64, Failure> {
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(format!("{} {}: {cause}", program.display(), arguments.join(" ")))
        };
        let errors = File::create(log).map_err(Failure::during(format!("create {log:?}")))?;
        let mut command = match self {
            Self::Time => Command::new(program),
            Self::PeakMemory => {
                let mut command = Command::new("/proc/self/exe");
                command.arg(peak::OPTION).arg(program);
                command
            }
        };
        command.args(arguments).env_clear().env("PATH", PATH).stdin(Stdio::null()).stderr(errors);
        let (status, value) = match self {
            Self::Time => {
                let begin = Instant::now();
                let status = command.stdout(Stdio::null()).status();
                let elapsed = begin.elapsed();
                (status.map_err(|error| failed(&error))?, Some(elapsed.as_secs_f64() * 1000.0))
            }
            Self::PeakMemory => {
                let output = command.output().map_err(|error| failed(&error))?;
                (output.status, String::from_utf8_lossy(&output.stdout).trim().parse().ok())
            }
        };
        if !status.success() {
            return Err(failed(&format_args!("{status}{}", indented(log))));
        }
        value.ok_or_else(|| failed(&"no measurement"))
    }
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
