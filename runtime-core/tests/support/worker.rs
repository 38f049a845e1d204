//! One call of the library in a process of its own, for the tests that break or end that process.
//!
//! The process is the test program again, with the test `worker`. It says which thread will make the
//! call, waits for a word, and makes the call between two marks that the tracer sees.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use runtime_core::{Result, Runtime, Signal};

use super::scene;

const WORK: &str = "TEST_WORK";
const STATE: &str = "TEST_STATE_ROOT";
const ID: &str = "TEST_ID";
const BUNDLE: &str = "TEST_BUNDLE";
const OUTCOME: &str = "TEST_OUTCOME";

/// An argument of prctl(2) that no kernel has: the call has begun, the call has ended.
pub(crate) const MARKS: [u64; 2] = [0x7465_7374, 0x7465_7375];

/// A worker that waits for the word.
pub(crate) struct Worker {
    pub(crate) process: Child,
    /// The thread that makes the call.
    pub(crate) thread: i32,
    outcome: PathBuf,
}

/// What came of a worker's call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed(String),
    /// It never said: a panic, or it was killed.
    Silent,
}

impl Worker {
    /// Starts a worker for `work` on the container `id`.
    pub(crate) fn start(work: &str, runtime: &Runtime, id: &str, bundle: &Path) -> Self {
        let outcome = bundle.join(format!("outcome-{work}"));
        std::fs::write(&outcome, "").expect("a file for the outcome");
        let errors = std::fs::File::create(outcome.with_extension("stderr")).expect("a file for errors");
        let mut process = Command::new("/proc/self/exe")
            .args(["--exact", "worker", "--nocapture", "--test-threads=1"])
            .env(WORK, work)
            .env("RUST_BACKTRACE", "0")
            .env(STATE, runtime.state_root())
            .env(ID, id)
            .env(BUNDLE, bundle)
            .env(OUTCOME, &outcome)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the worker starts");
        // A container may inherit the other end: never read to the end.
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let thread = lines
            .map_while(std::io::Result::ok)
            .find_map(|line| line.split_once("thread ").and_then(|(_, number)| number.trim().parse().ok()));
        Self { process, thread: thread.expect("the worker names its thread"), outcome }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).expect("a pid")
    }

    /// Lets it make its call.
    pub(crate) fn go(&mut self) {
        self.process.stdin.take().expect("a pipe").write_all(b"g").expect("the worker waits");
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let text = std::fs::read_to_string(&self.outcome).expect("the outcome");
        match text.split_once(' ') {
            Some(("done", _)) => Outcome::Done,
            Some(("failed", error)) => Outcome::Failed(error.to_owned()),
            _ => Outcome::Silent,
        }
    }

    /// What it printed, such as a panic.
    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(self.outcome.with_extension("stderr")).expect("the errors")
    }
}

/// The test `worker` of each program that has workers: nothing unless it is started as one.
pub(crate) fn main() {
    let Ok(work) = std::env::var(WORK) else { return };
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name}"));
    let (id, bundle) = (variable(ID), PathBuf::from(variable(BUNDLE)));
    let runtime = Runtime::builder().state_root(variable(STATE)).build().expect("a runtime");
    println!("thread {}", nix::unistd::gettid());
    std::io::stdin().read_exact(&mut [0]).expect("the word");
    mark(0);
    let result = call(&work, &runtime, &id, &bundle);
    mark(1);
    let text = match result {
        Ok(()) => "done ".to_owned(),
        Err(error) => format!("failed {error}"),
    };
    std::fs::write(variable(OUTCOME), text).expect("the outcome is written");
    std::process::exit(0);
}

fn call(work: &str, runtime: &Runtime, id: &str, bundle: &Path) -> Result<()> {
    match work {
        "create" => runtime.create(scene::plan(runtime, id, bundle)?).map(drop),
        "run" => runtime.run(scene::plan(runtime, id, bundle)?).map(drop),
        "start" => runtime.container(id)?.start(),
        "exec" => scene::exec(&runtime.container(id)?, &["true"]).map(drop),
        "delete" => runtime.container(id)?.delete(),
        "signal" => runtime.container(id)?.kill_all(Signal::URG),
        "terminate" => runtime.container(id)?.kill_all(Signal::TERM),
        "force" => runtime.delete_force(id),
        other => panic!("{other} is no work"),
    }
}

fn mark(which: usize) {
    // SAFETY: an option that no kernel has; nothing but EINVAL comes of it.
    unsafe { libc::syscall(libc::SYS_prctl, MARKS[which], 0, 0, 0, 0) };
}
