//! What every engine test needs: named checks and their verdicts, and the small facts that they ask for.

mod cgroup;
mod command;
mod place;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use cgroup::{
    cgroup_of, cgroup_value, controllers, exec_joins_cgroup, hierarchies, is_unified, remove_empty,
};
pub(crate) use command::{Cmd, Output, await_daemon, stop_daemon};
pub(crate) use place::{Place, engine_test};

/// Why a check did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The effect was not the one expected.
    Failed(String),
    /// This machine cannot show the effect, with any runtime.
    Skipped(String),
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Stop::Failed(text)
    }
}

impl From<&str> for Stop {
    fn from(text: &str) -> Self {
        Stop::Failed(text.to_owned())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Stop::Failed(error.to_string())
    }
}

/// What a check returns.
pub(crate) type Outcome = Result<(), Stop>;

/// Checks of an engine `E`, each with its name.
pub(crate) type Table<E> = [(&'static str, fn(&E) -> Outcome)];

/// The names in a table.
pub(crate) fn names_of<E>(table: &Table<E>) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

/// Fails unless the two are equal.
pub(crate) fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    got: T,
    want: U,
) -> Outcome {
    if got == want {
        return Ok(());
    }
    Err(format!("{what}: got {got:?}, want {want:?}").into())
}

/// Fails unless the text contains the part.
pub(crate) fn has(what: &str, text: &str, part: &str) -> Outcome {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("{what}: {part:?} is not in {text:?}").into())
}

/// Fails unless the condition holds.
pub(crate) fn that(what: &str, condition: bool) -> Outcome {
    if condition { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

/// Repeats a check until it passes, at most for the given time.
pub(crate) fn eventually(limit: Duration, mut check: impl FnMut() -> Outcome) -> Outcome {
    let deadline = Instant::now() + limit;
    loop {
        match check() {
            Err(Stop::Failed(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

/// The named checks of one engine, and their count.
pub(crate) struct Checks {
    engine: String,
    only: Option<String>,
    counts: RefCell<Counts>,
}

#[derive(Default)]
struct Counts {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Checks {
    fn new(engine: &str) -> Self {
        Checks {
            engine: engine.to_owned(),
            only: std::env::var("ENGINES_ONLY").ok(),
            counts: RefCell::default(),
        }
    }

    /// Runs one check and prints its line.
    pub(crate) fn run(&self, name: &str, check: impl FnOnce() -> Outcome) {
        if self.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            self.always(name, check);
        }
    }

    /// Runs a check that `ENGINES_ONLY` cannot leave out.
    pub(crate) fn always(&self, name: &str, check: impl FnOnce() -> Outcome) {
        let started = Instant::now();
        let outcome = check();
        let seconds = started.elapsed().as_secs_f64();
        let (engine, mut counts) = (&self.engine, self.counts.borrow_mut());
        match outcome {
            Ok(()) => {
                counts.passed += 1;
                println!("ok {engine}: {name} ({seconds:.2} s)");
            }
            Err(Stop::Skipped(why)) => {
                counts.skipped += 1;
                println!("skip {engine}: {name}: {why}");
            }
            Err(Stop::Failed(why)) => {
                println!("FAIL {engine}: {name} ({seconds:.2} s): {why}");
                counts.failed.push(name.to_owned());
            }
        }
    }

    /// Runs a table of checks on an engine.
    pub(crate) fn table<E>(&self, engine: &E, table: &Table<E>) {
        for (name, check) in table {
            self.run(name, || check(engine));
        }
    }

    fn finish(&self) {
        let Counts { passed, skipped, failed } = &*self.counts.borrow();
        println!("{}: {passed} passed, {} failed, {skipped} skipped", self.engine, failed.len());
        assert!(failed.is_empty(), "failed checks: {}", failed.join("; "));
        assert!(passed + skipped > 0, "no check ran");
    }
}

/// The value of a field of `/proc/PID/status` text, without blanks around it.
pub(crate) fn status_field<'a>(status: &'a str, name: &str) -> Result<&'a str, Stop> {
    let field = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
    status.lines().find_map(field).ok_or_else(|| format!("no {name} in {status:?}").into())
}

/// Fails, naming the Debian package, if a program is missing.
pub(crate) fn need(program: &str, package: &str) -> Outcome {
    if Path::new(program).exists() {
        return Ok(());
    }
    Err(format!("{program} is missing: install the Debian package {package} (see .ci/packages-engines.txt)")
        .into())
}

/// Whether the checks leave the engine's seccomp profile on.
pub(crate) fn seccomp_is_on() -> bool {
    std::env::var("ENGINE_SECCOMP").as_deref() != Ok("unconfined")
}

/// The set of all capabilities that a container can get here.
///
/// Skips for runc on a machine that does not have every capability: it starts no such container.
pub(crate) fn grants_everything(runtime: &Path) -> Result<String, Stop> {
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status_field(&status, "CapBnd")?;
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse().unwrap_or(63);
    let full = u64::from_str_radix(bounding, 16).is_ok_and(|set| set.count_ones() == last + 1);
    if !full && runtime.file_name().is_some_and(|name| name == "runc") {
        return Err(Stop::Skipped(format!("the bounding set here is only {bounding}, which runc refuses")));
    }
    Ok(bounding.to_owned())
}

/// How far a file grows in a while: what a container writes all the time shows whether it runs.
pub(crate) fn growth(file: &Path, during: Duration) -> Result<u64, Stop> {
    let before = fs::metadata(file)?.len();
    std::thread::sleep(during);
    Ok(fs::metadata(file)?.len() - before)
}

/// Lines that are now in `/proc/self/mountinfo` and name this text.
pub(crate) fn mounts_with(text: &str) -> Result<Vec<String>, Stop> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter(|line| line.contains(text)).map(str::to_owned).collect())
}

/// The directories in a directory, without symbolic links.
pub(crate) fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
