//! One call of the library in a process of its own, for the tests that break or end that process.
//!
//! The process is the test program again, with the test `worker`. It says which thread will make the
//! call, waits for a word, and makes the call between two marks that the tracer sees.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use runtime_core::cgroup::resources::Resources;
use runtime_core::spec::parse_resources;
use runtime_core::{Result, Runtime, Signal};

use super::scene;

const WORK: &str = "TEST_WORK";
const STATE: &str = "TEST_STATE_ROOT";
const ID: &str = "TEST_ID";
const BUNDLE: &str = "TEST_BUNDLE";
const OUTCOME: &str = "TEST_OUTCOME";
const TROUBLE: &str = "TEST_TROUBLE";

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
        Self::start_in(work, runtime, id, bundle, None)
    }

    /// The same with [`Trouble`].
    pub(crate) fn start_in(
        work: &str,
        runtime: &Runtime,
        id: &str,
        bundle: &Path,
        trouble: Option<&str>,
    ) -> Self {
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
            .envs(trouble.map(|text| (TROUBLE, text)))
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

    /// Lets it make its call without a tracer, and waits for its end.
    pub(crate) fn finish(&mut self) -> Outcome {
        self.go();
        self.process.wait().expect("the worker ends");
        self.outcome()
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
    let mut outcome = std::fs::OpenOptions::new().write(true).open(variable(OUTCOME)).expect("a file");
    println!("thread {}", nix::unistd::gettid());
    std::io::stdin().read_exact(&mut [0]).expect("the word");
    let trouble = std::env::var(TROUBLE).ok().map(|text| Trouble::begin(&text));
    mark(0);
    let result = call(&work, &runtime, &id, &bundle);
    mark(1);
    drop(trouble);
    let text = match result {
        Ok(()) => "done ".to_owned(),
        Err(error) => format!("failed {error}"),
    };
    outcome.write_all(text.as_bytes()).expect("the outcome is written");
    std::process::exit(0);
}

fn call(work: &str, runtime: &Runtime, id: &str, bundle: &Path) -> Result<()> {
    match work {
        "create" => runtime.create(scene::plan(runtime, id, bundle)?).map(drop),
        "run" => runtime.run(scene::plan(runtime, id, bundle)?).map(drop),
        "start" => runtime.container(id)?.start(),
        "exec" => scene::exec(&runtime.container(id)?, &["true"]).map(drop),
        "delete" => runtime.container(id)?.delete(),
        "update" => runtime.container(id)?.update(&limits()?),
        "pause" => runtime.container(id)?.pause(),
        "resume" => runtime.container(id)?.resume(),
        "signal" => runtime.container(id)?.kill_all(Signal::URG),
        "terminate" => runtime.container(id)?.kill_all(Signal::TERM),
        "force" => runtime.delete_force(id),
        other => panic!("{other} is no work"),
    }
}

fn limits() -> Result<Resources> {
    // On a hybrid machine each view has some controllers.
    let text = match Path::new("/sys/fs/cgroup/pids").exists() {
        true => r#"{"pids": {"limit": 50}}"#,
        false => r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}]}"#,
    };
    parse_resources(text.as_bytes(), "resources").map(|(resources, _)| resources)
}

/// What makes the call of a worker harder, until it is dropped.
struct Trouble {
    limits: Vec<(Resource, u64, u64)>,
}

impl Trouble {
    /// `nofile:N` and `fsize:N`: a soft limit; `timer:N`: a signal every N microseconds, which interrupts calls.
    fn begin(text: &str) -> Self {
        let (kind, number) = text.split_once(':').expect("a kind and a number");
        let number: u64 = number.parse().expect("a number");
        let mut trouble = Self { limits: Vec::new() };
        match kind {
            "nofile" => trouble.limit(Resource::RLIMIT_NOFILE, number),
            "fsize" => {
                // As a program in Go has it: an error, not the end.
                handle(libc::SIGXFSZ);
                trouble.limit(Resource::RLIMIT_FSIZE, number);
            }
            "timer" => {
                handle(libc::SIGALRM);
                timer(number);
            }
            other => panic!("{other} is no trouble"),
        }
        trouble
    }

    fn limit(&mut self, resource: Resource, soft: u64) {
        let (before, hard) = getrlimit(resource).expect("a limit");
        self.limits.push((resource, before, hard));
        setrlimit(resource, soft, hard).expect("a lower limit");
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        timer(0);
        for (resource, soft, hard) in self.limits.drain(..) {
            setrlimit(resource, soft, hard).expect("the limit of before");
        }
    }
}

/// A handler that does nothing, without SA_RESTART.
fn handle(signal: i32) {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: the handler touches nothing; the structure is as sigaction(2) has it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

fn timer(microseconds: u64) {
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds as i64 };
    let value = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the kernel reads a live structure.
    unsafe { libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const value, 0) };
}

fn mark(which: usize) {
    // SAFETY: an option that no kernel has; nothing but EINVAL comes of it.
    unsafe { libc::syscall(libc::SYS_prctl, MARKS[which], 0, 0, 0, 0) };
}
