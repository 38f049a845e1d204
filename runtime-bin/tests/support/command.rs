//! Commands that end: each has a limit of time.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest time that a command may take: only what hangs reaches it, also in a virtual machine without
/// processors of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// The program under test.
pub(crate) fn runtime_path() -> PathBuf {
    std::env::var_os("RUNTIME_UNDER_TEST")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_runtime")), PathBuf::from)
}

/// Copies the program to where another user may run it. By a process of its own: a child of another test that is
/// made meanwhile would hold a descriptor of this one, and a file that is open for writing cannot be executed.
#[track_caller]
pub(crate) fn copy_runtime(to: &Path) {
    let status = Command::new("cp").arg(runtime_path()).arg(to).status().expect("cp");
    assert!(status.success(), "cp: {status}");
}

/// A command of the program under test, with an environment that the test does not depend on.
pub(crate) fn runtime() -> Command {
    let mut command = Command::new(runtime_path());
    command.env_remove("XDG_RUNTIME_DIR").env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code, or minus the signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Asserts that the command succeeded without a word on the standard error output.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self
    }

    /// Asserts that the command failed with `code` and that its error holds `text`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.contains(text), "{text:?} is not in {self:?}");
        self
    }
}

/// Runs commands to their end.
pub(crate) trait Running {
    /// Runs the command with `args` and an empty standard input.
    fn go<I: AsRef<OsStr>>(&mut self, args: &[I]) -> Run;
}

impl Running for Command {
    #[track_caller]
    fn go<I: AsRef<OsStr>>(&mut self, args: &[I]) -> Run {
        // Files, not pipes: a detached container keeps them open.
        let (stdout, stderr) = (output(), output());
        self.args(args).stdin(Stdio::null()).stdout(clone(&stdout)).stderr(clone(&stderr));
        let mut child = self.spawn().unwrap_or_else(|error| panic!("start {self:?}: {error}"));
        let code = finish(&mut child);
        Run { code, stdout: text(stdout), stderr: text(stderr) }
    }
}

fn output() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn clone(file: &File) -> File {
    file.try_clone().expect("a descriptor")
}

fn text(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("the beginning");
    file.read_to_end(&mut bytes).expect("the output");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for a child, and ends it after the limit.
#[track_caller]
pub(crate) fn finish(child: &mut Child) -> i32 {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
        }
        if Instant::now() > end {
            child.kill().expect("killed");
            child.wait().expect("ended");
            panic!("the command did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `done`, at most the limit of time.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads what has arrived on a file, up to the limit of time, until it holds `text`.
#[track_caller]
pub(crate) fn read_until(file: &mut File, text: &str) -> String {
    let mut seen = Vec::new();
    let end = Instant::now() + LIMIT;
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(text) {
        assert!(Instant::now() < end, "{text:?} is not in {:?}", String::from_utf8_lossy(&seen));
        let mut fds = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(file), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, nix::poll::PollTimeout::from(100u16)).expect("poll") > 0 {
            match file.read(&mut bytes) {
                Ok(0) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
                Ok(count) => seen.extend_from_slice(&bytes[..count]),
            }
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}
