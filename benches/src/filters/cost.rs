//! Loading the programs, and calls under them: each time in a thread of its own, which keeps its filter.

use std::hint::black_box;
use std::time::Instant;

use nix::sys::personality;
use nix::unistd::getppid;

use super::compile::Program;
use crate::failure::Failure;

/// Calls in a batch; a sample is their mean.
const BATCH: u32 = 20_000;

/// The samples of one program.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Loading it, in microseconds.
    pub(super) load_us: Vec<f64>,
    /// A call that the profile always allows, in nanoseconds.
    pub(super) allowed: Vec<f64>,
    /// A call whose argument the profile asks for and that it allows, in nanoseconds.
    pub(super) checked: Vec<f64>,
}

/// The cost without a filter, and then that of each program; interleaved.
pub(super) fn measure(programs: &[Program], runs: usize) -> Result<Vec<Cost>, Failure> {
    let mut costs: Vec<Cost> = (0..=programs.len()).map(|_| Cost::default()).collect();
    for round in 0..runs {
        for place in 0..costs.len() {
            let subject = (place + round) % costs.len();
            let program = subject.checked_sub(1).map(|index| &programs[index]);
            let (load, allowed, checked) = std::thread::scope(|scope| {
                scope.spawn(|| sample(program)).join().map_err(|_| Failure::new("a thread panicked"))?
            })?;
            let cost = &mut costs[subject];
            cost.load_us.extend(load);
            cost.allowed.push(allowed);
            cost.checked.push(checked);
        }
    }
    Ok(costs)
}

fn sample(program: Option<&Program>) -> Result<(Option<f64>, f64, f64), Failure> {
    let mut load = None;
    if let Some(program) = program {
        let start = Instant::now();
        seccompiler::apply_filter(&program.instructions)
            .map_err(|error| Failure::new(format!("load {}: {error}", program.name)))?;
        load = Some(start.elapsed().as_secs_f64() * 1e6);
    }
    let allowed = batch(getppid);
    personality::get().map_err(Failure::during("personality under the filter"))?;
    let checked = batch(personality::get);
    Ok((load, allowed, checked))
}

fn batch<T>(call: impl Fn() -> T) -> f64 {
    for _ in 0..BATCH / 10 {
        black_box(call());
    }
    let start = Instant::now();
    for _ in 0..BATCH {
        black_box(call());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
}
