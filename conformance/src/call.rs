//! One call of the runtime, with a limit.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What a call left behind.
#[derive(Debug)]
pub(crate) struct Call {
    /// The operation, for evidence.
    pub(crate) operation: String,
    /// The exit code; `None` when the call had to be killed or a signal ended it.
    pub(crate) code: Option<i32>,
    /// Whether it passed its limit and was killed.
    pub(crate) hung: bool,
    /// The standard output of the call (not of a container that was created by it).
    pub(crate) stdout: String,
    /// The standard error.
    pub(crate) stderr: String,
}

impl Call {
    /// Whether the operation succeeded.
    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Whether it generated an error: an exit of its own with a code that is not 0.
    pub(crate) fn refused(&self) -> bool {
        !self.hung && self.code.is_some_and(|code| code != 0)
    }

    /// The call in one line.
    pub(crate) fn describe(&self) -> String {
        let end = match (self.hung, self.code) {
            (true, _) => "hung and was killed".to_owned(),
            (false, Some(code)) => format!("exit {code}"),
            (false, None) => "died of a signal".to_owned(),
        };
        match self.stderr.trim() {
            "" => format!("{}: {end}", self.operation),
            words => format!("{}: {end}: {words}", self.operation),
        }
    }
}

/// Runs `command`, which has its standard input, until its end or `limit`.
///
/// The outputs are files, not pipes: a container that inherits them must not keep the call open.
pub(crate) fn call(
    command: &mut Command,
    operation: &str,
    scratch: &Path,
    limit: Duration,
) -> std::io::Result<Call> {
    let out = scratch.join(format!("{operation}.out"));
    let err = scratch.join(format!("{operation}.err"));
    command.stdout(File::create(&out)?).stderr(File::create(&err)?);
    let mut child = command.spawn()?;
    let begin = Instant::now();
    let mut hung = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begin.elapsed() > limit {
            hung = true;
            child.kill()?;
            break child.wait()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Call {
        operation: operation.to_owned(),
        code: if hung { None } else { status.code() },
        hung,
        stdout: text(&out)?,
        stderr: text(&err)?,
    })
}
