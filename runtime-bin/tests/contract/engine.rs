//! The place of an engine: a bundle, and commands with an environment as bare as the engine's.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};

use crate::support::{Bundle, Run, Running as _, runtime_path, until};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// An engine with one container, which is deleted at the end.
pub(crate) struct Engine {
    pub(crate) bundle: Bundle,
    /// 64 hexadecimal digits, as engines make them.
    pub(crate) id: String,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let run = self.go(&["--root", &self.root(), "delete", "--force", &self.id]);
        assert!(run.code == 0 || std::thread::panicking(), "delete --force: {run:?}");
    }
}

impl Engine {
    /// An engine whose container runs a shell script. Its bundle is `/data` inside.
    pub(crate) fn new(script: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:032x}{number:032x}", std::process::id());
        let bundle = Bundle::new(&["sh", "-c", script]);
        let data = json!({"destination": "/data", "source": bundle.path(), "options": ["bind", "rw"]});
        let bundle = bundle.with(|config| {
            config["process"]["env"] = json!(["PATH=/bin"]);
            config["mounts"].as_array_mut().expect("mounts").push(data);
        });
        Self { bundle, id }
    }

    /// The state root, as a word.
    pub(crate) fn root(&self) -> String {
        self.path("state")
    }

    /// A path in the bundle, as a word.
    pub(crate) fn path(&self, name: &str) -> String {
        self.bundle.path().join(name).to_string_lossy().into_owned()
    }

    /// A command of the program without an environment, from the root directory.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(runtime_path());
        command.env_clear().current_dir("/");
        command
    }

    /// Runs exactly these words.
    #[track_caller]
    pub(crate) fn go(&self, words: &[&str]) -> Run {
        self.command().go(words)
    }

    /// Runs exactly these words, with a file as standard input.
    #[track_caller]
    pub(crate) fn go_with(&self, input: &str, words: &[&str]) -> Run {
        fs::write(self.path("input"), input).expect("a file");
        // A shell opens the file: the support's commands have an empty input.
        let script = format!("exec \"$@\" < {}", self.path("input"));
        let mut command = Command::new("/bin/sh");
        command.env_clear().current_dir("/").args(["-c", &script, "sh"]).arg(runtime_path());
        command.go(words)
    }

    /// Runs exactly these words, which must succeed and print nothing.
    #[track_caller]
    pub(crate) fn silent(&self, words: &[&str]) {
        let run = self.go(words);
        assert_eq!((run.code, &*run.stdout, &*run.stderr), (0, "", ""), "{words:?}");
    }

    /// Runs exactly these words, which must print JSON alone.
    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let run = self.go(words).ok();
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
    }

    /// Creates and starts the container with the fewest words.
    #[track_caller]
    pub(crate) fn started(self) -> Self {
        let (root, bundle) = (self.root(), self.path(""));
        self.silent(&["--root", &root, "create", "--bundle", &bundle, &self.id]);
        self.silent(&["--root", &root, "start", &self.id]);
        self
    }

    /// The status in the state.
    #[track_caller]
    pub(crate) fn status(&self) -> String {
        let state = self.json(&["--root", &self.root(), "state", &self.id]);
        state["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until the container has this status.
    #[track_caller]
    pub(crate) fn wait_for(&self, status: &str) {
        until(status, || self.status() == status);
    }

    /// Waits until a file of the bundle exists.
    #[track_caller]
    pub(crate) fn wait_for_file(&self, name: &str) {
        until(name, || Path::new(&self.path(name)).exists());
    }

    /// What a shell script in the container prints.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        self.go(&["--root", &self.root(), "exec", &self.id, "sh", "-c", script]).ok().stdout
    }

    /// The process id in a pid file, which has no newline.
    #[track_caller]
    pub(crate) fn pid(&self, file: &str) -> u32 {
        let text = fs::read_to_string(self.path(file)).expect("a pid file");
        text.parse().unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    /// A process for `exec --process`, in a file.
    pub(crate) fn process(&self, args: &[&str], change: impl FnOnce(&mut Value)) -> String {
        let mut process = self.bundle.config["process"].clone();
        process["args"] = json!(args);
        change(&mut process);
        fs::write(self.path("process.json"), process.to_string()).expect("a file");
        self.path("process.json")
    }

    /// The last line of a log with level "error", as Docker and containerd look for it.
    #[track_caller]
    pub(crate) fn last_error(&self, log: &str) -> String {
        let text = fs::read_to_string(self.path(log)).expect("a log");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON in each line"));
        let mut errors = lines.filter(|line| line["level"] == "error");
        let last = errors.next_back().unwrap_or_else(|| panic!("no error in {text:?}"));
        assert!(last["time"].as_str().is_some_and(|time| time.contains('T')), "{last}");
        last["msg"].as_str().expect("a message").to_owned()
    }

    /// A socket for `--console-socket`.
    pub(crate) fn console(&self) -> Console {
        let path = self.bundle.path().join("console");
        // One for each call: the engine makes a new one each time.
        if path.exists() {
            fs::remove_file(&path).expect("removed");
        }
        Console { listener: UnixListener::bind(&path).expect("a socket"), path }
    }
}

/// The engine's end of a console socket.
pub(crate) struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// The socket, as a word.
    pub(crate) fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// The terminal that the runtime sent.
    pub(crate) fn terminal(&self) -> File {
        let (stream, _) = self.listener.accept().expect("a connection");
        let (mut name, mut space) = ([0; 256], nix::cmsg_space!([i32; 1]));
        let mut slices = [IoSliceMut::new(&mut name)];
        let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty());
        let message = message.expect("a message");
        let descriptor = message.cmsgs().expect("control data").find_map(|part| match part {
            ControlMessageOwned::ScmRights(numbers) => numbers.first().copied(),
            _ => None,
        });
        let descriptor = descriptor.expect("a descriptor");
        // SAFETY: the kernel made this descriptor for us a moment ago, and nobody else has its number.
        File::from(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }
}

/// Reads a terminal to its end: the last process of it is gone.
pub(crate) fn read_all(mut terminal: File) -> String {
    let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
    // EIO is the end of a terminal.
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        text.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
