//! Commands and daemons, none of which can make a test wait for ever.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Outcome, Stop, eventually};

/// The longest time that one command of a check may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The result of a command that ended by itself.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code, or 128 and the signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    command: String,
}

impl Output {
    /// Standard output without the last newlines, if the command succeeded.
    pub(crate) fn ok(self) -> Result<String, Stop> {
        self.code(0)
    }

    /// Standard output without the last newlines, if the command ended with this code.
    pub(crate) fn code(self, want: i32) -> Result<String, Stop> {
        if self.code == want {
            return Ok(self.stdout.trim_end().to_owned());
        }
        Err(format!(
            "`{}` ended with {}, want {want}; stdout {:?}, stderr {:?}",
            self.command,
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
        .into())
    }

    /// Standard error, if the command failed in any way.
    pub(crate) fn fails(self) -> Result<String, Stop> {
        if self.code != 0 {
            return Ok(self.stderr);
        }
        Err(format!("`{}` succeeded, stdout {:?}", self.command, self.stdout.trim_end()).into())
    }
}

/// A command with a clean environment, a time limit, and output that never blocks: it goes to
/// files, because detached processes of an engine may hold a pipe open for ever.
pub(crate) struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    stdin: Option<String>,
    limit: Duration,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/run"), ("LANG", "C")];
        Cmd {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: env.map(|(name, value)| (name.to_owned(), value.into())).into(),
            stdin: None,
            limit: COMMAND_LIMIT,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same command, started by another one that takes it as its last arguments.
    pub(crate) fn under(mut self, outer: &[&str]) -> Self {
        let inner = std::mem::replace(&mut self.program, outer[0].into());
        let outer = outer[1..].iter().map(OsString::from);
        self.args = outer.chain([inner]).chain(self.args).collect();
        self
    }

    /// The same command on a pseudo-terminal of its own.
    pub(crate) fn on_terminal(self) -> Self {
        let words = std::iter::once(&self.program).chain(&self.args);
        let quoted = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")));
        let line = quoted.collect::<Vec<_>>().join(" ");
        Cmd {
            program: "script".into(),
            args: ["-qec", &line, "/dev/null"].map(OsString::from).into(),
            ..self
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env);
        command
    }

    fn text(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Runs the command to its end; a command over its limit is killed and is a failure.
    pub(crate) fn run(self) -> Result<Output, Stop> {
        let text = self.text();
        let failed = |error: std::io::Error| Stop::Failed(format!("`{text}`: {error}"));
        let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let stdin = match &self.stdin {
            None => Stdio::null(),
            Some(text) => {
                let mut file = tempfile::tempfile()?;
                std::io::Write::write_all(&mut file, text.as_bytes())?;
                file.seek(SeekFrom::Start(0))?;
                file.into()
            }
        };
        let mut child = self
            .command()
            .stdin(stdin)
            .stdout(out.try_clone()?)
            .stderr(err.try_clone()?)
            .spawn()
            .map_err(failed)?;
        let status = wait(&mut child, self.limit).map_err(failed)?;
        let (stdout, stderr) = (read_back(&mut out)?, read_back(&mut err)?);
        let Some(status) = status else {
            let limit = self.limit;
            return Err(
                format!("`{text}` still ran after {limit:?}; stdout {stdout:?}, stderr {stderr:?}").into()
            );
        };
        Ok(Output { code: exit_code(status), stdout, stderr, command: text })
    }

    /// Starts a daemon whose output goes to a file.
    pub(crate) fn daemon(self, log: &Path) -> Result<Child, Stop> {
        let log = File::create(log)?;
        Ok(self.command().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
    }
}

/// The exit code, or 128 and the signal.
pub(super) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn read_back(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for a child; `None` if it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Waits until a daemon answers; its log is part of the failure.
pub(crate) fn await_daemon(daemon: &mut Child, log: &Path, ready: impl Fn() -> Result<(), Stop>) -> Outcome {
    let result = eventually(Duration::from_secs(60), || match daemon.try_wait()? {
        Some(status) => Err(Stop::Skipped(format!("the daemon ended: {status}"))),
        None => ready(),
    });
    let log = || last_lines(&fs::read_to_string(log).unwrap_or_default(), 15);
    match result {
        Ok(()) => Ok(()),
        Err(Stop::Failed(text) | Stop::Skipped(text)) => Err(format!("{text}\n{}", log()).into()),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Stops a daemon that this test started: TERM, then KILL.
pub(crate) fn stop_daemon(daemon: &mut Child) {
    Cmd::new("kill").arg(daemon.id().to_string()).run().ok();
    wait(daemon, Duration::from_secs(20)).ok();
}
