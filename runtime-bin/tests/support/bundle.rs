//! Bundles with a busybox root, and containers that are deleted at the end of a test.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Run, Running as _, runtime};

/// Debian's busybox-static.
const BUSYBOX: &str = "/bin/busybox";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A bundle and a state root in a temporary directory.
pub(crate) struct Bundle {
    directory: TempDir,
    /// The configuration; [`Bundle::write`] puts it into the bundle.
    pub(crate) config: Value,
}

impl Bundle {
    /// A bundle whose process has no terminal and runs `args`.
    pub(crate) fn new(args: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let bundle = Self { config: Value::Null, directory };
        bundle.make_root();
        runtime().arg("spec").current_dir(bundle.path()).go::<&str>(&[]).ok();
        let text = fs::read(bundle.path().join("config.json")).expect("config.json");
        let mut config: Value = serde_json::from_slice(&text).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["root"]["readonly"] = json!(false);
        let bundle = Self { config, ..bundle };
        bundle.write();
        bundle
    }

    /// Changes the configuration.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self.write();
        self
    }

    /// Writes the configuration.
    pub(crate) fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.config).expect("JSON");
        fs::write(self.path().join("config.json"), text).expect("config.json");
    }

    /// The bundle's directory; sockets and files of a test go here, too.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of the containers' state.
    pub(crate) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// A command of the runtime on this state root, in the bundle.
    pub(crate) fn runtime(&self) -> Command {
        let mut command = runtime();
        command.arg("--root").arg(self.state()).current_dir(self.path());
        command
    }

    /// Runs a command of the runtime.
    #[track_caller]
    pub(crate) fn go(&self, args: &[&str]) -> Run {
        self.runtime().go(args)
    }

    /// A container of this bundle that does not exist yet; its id is unique on the machine.
    pub(crate) fn container(&self) -> Container<'_> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Container { bundle: self, id: format!("cli-{}-{number}", std::process::id()) }
    }

    fn make_root(&self) {
        let root = self.path().join("rootfs");
        for directory in ["bin", "etc", "tmp", "root", "home/user"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        super::apart::copy_program(Path::new(BUSYBOX), &root.join("bin/busybox"));
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
        )
        .expect("passwd");
        let list = Command::new(BUSYBOX).go(&["--list"]).ok().stdout;
        for applet in list.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
    }
}

/// A container of a test.
pub(crate) struct Container<'a> {
    bundle: &'a Bundle,
    pub(crate) id: String,
}

impl Container<'_> {
    /// Runs `runtime VERB OPTIONS... ID`.
    #[track_caller]
    pub(crate) fn go(&self, words: &[&str]) -> Run {
        self.bundle.go(&[words, &[self.id.as_str()]].concat())
    }

    /// Runs `runtime VERB OPTIONS... ID MORE...`.
    #[track_caller]
    pub(crate) fn go_with(&self, words: &[&str], more: &[&str]) -> Run {
        self.bundle.go(&[words, &[self.id.as_str()], more].concat())
    }

    /// The state as `state` shows it.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.go(&["state"]).ok().stdout).expect("JSON")
    }

    /// The status in the state.
    #[track_caller]
    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until the container has this status.
    #[track_caller]
    pub(crate) fn wait_for(&self, status: &str) {
        super::command::until(status, || self.status() == status);
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let run = self.bundle.go(&["delete", "--force", &self.id]);
        if run.code != 0 && !std::thread::panicking() {
            panic!("delete --force: {run:?}");
        }
    }
}
