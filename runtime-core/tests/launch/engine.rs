//! A program that embeds the library: the test program again, with the test `engine`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use runtime_core::Runtime;

use super::support::scene::{LIMIT, Scene};
use super::support::views::eventually;

const WORK: &str = "LAUNCH_WORK";
const ROOT: &str = "LAUNCH_ROOT";

/// What the engine is to do; it fails by a panic. The path is that of the scene.
type Work = fn(&Path, &Runtime);

/// All that an engine can do, by name.
const WORKS: &[(&str, Work)] = &[
    ("keeping", super::waits::keeping_engine),
    ("leaving", super::waits::leaving_engine),
    ("frozen", super::frozen::engine),
    ("rootless", super::own::rootless_engine),
    ("mapped", super::reaper::mapped_engine),
    ("first", super::place::first_engine),
    ("unshared", super::place::unshared_engine),
];

/// The command for an engine, which `launcher` (a program with arguments) starts; empty for none.
pub(crate) fn command(work: &str, scene: &Scene, launcher: &[&str]) -> Command {
    let program = std::env::current_exe().expect("the test has a path");
    let mut words = launcher.iter().map(PathBuf::from).chain([program]);
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).args(["--exact", "engine", "--nocapture", "--test-threads=1"]);
    command.env(WORK, work).env(ROOT, scene.path()).stdin(Stdio::null());
    command
}

/// Runs an engine to its end; fails if that fails.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("the engine starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{}: {text}{errors}", output.status);
}

/// Kills an engine, and waits for its end.
pub(crate) fn kill(mut engine: Child) {
    engine.kill().expect("killed");
    engine.wait().expect("reaped");
}

/// A file by which the engine tells that it has come to a place.
pub(crate) fn tell(path: &Path, place: &str) {
    std::fs::write(path.join(format!("at-{place}")), "").expect("a file");
}

pub(crate) fn await_told(path: &Path, place: &str) {
    assert!(eventually(|| path.join(format!("at-{place}")).exists()), "not at {place} within {LIMIT:?}");
}

/// The engine; nothing unless it is started as one.
pub(crate) fn main() {
    let Ok(wanted) = std::env::var(WORK) else { return };
    let path = PathBuf::from(std::env::var(ROOT).expect("the path of the scene"));
    let runtime = Runtime::builder().state_root(path.join("state")).build().expect("a runtime");
    let work = WORKS.iter().find(|(name, _)| *name == wanted).map(|(_, work)| work);
    work.unwrap_or_else(|| panic!("{wanted} is no work"))(&path, &runtime);
}
