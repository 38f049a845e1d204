//! Where the time of a launch goes, step by step, for who asks.
//!
//! Without a [`Timings`] nothing is measured: the library asks whether there is one, and the init whether it
//! was given memory for its times.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use runtime_core::Runtime;
//! use runtime_core::timings::Timings;
//!
//! # fn main() -> runtime_core::Result<()> {
//! let timings = Arc::new(Timings::new());
//! let runtime = Runtime::builder().timings(timings.clone()).build()?;
//! // After a container was made:
//! print!("{timings}");
//! # Ok(())
//! # }
//! ```

use std::fmt::{self, Display};
use std::sync::{Mutex, PoisonError};

use crate::sys::clock;

/// Who does a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lane {
    /// The caller.
    Parent,
    /// Stage 0, the process between the caller and the init.
    Stage,
    /// The container's init, meanwhile.
    Child,
}

/// The end of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// Who did it.
    pub lane: Lane,
    /// The step, in the words of a plan's `Display`.
    pub step: String,
    /// Nanoseconds of CLOCK_MONOTONIC when it ended.
    pub at: u64,
}

/// Collects the ends of steps; shared with a [`Runtime`](crate::Runtime) by its builder. Its `Display` is
/// a table: microseconds from the beginning to the end of each step, microseconds since the last step of
/// the same lane, and the step.
#[derive(Debug)]
pub struct Timings {
    begin: u64,
    /// Processor time of the process before, in nanoseconds.
    before: u64,
    marks: Mutex<Vec<Mark>>,
}

impl Default for Timings {
    fn default() -> Self {
        Self { begin: clock::monotonic(), before: clock::processor(), marks: Mutex::default() }
    }
}

impl Timings {
    /// Begins now.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the caller has ended a step.
    pub fn mark(&self, step: impl Into<String>) {
        self.add([Mark { lane: Lane::Parent, step: step.into(), at: clock::monotonic() }]);
    }

    pub(crate) fn add(&self, marks: impl IntoIterator<Item = Mark>) {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).extend(marks);
    }

    /// What was marked, in the order of time.
    pub fn marks(&self) -> Vec<Mark> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        marks.sort_by_key(|mark| mark.at);
        marks
    }
}

impl Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        writeln!(f, "{:>9} {:>9}  lane    step", "at, us", "took, us")?;
        writeln!(f, "{:>9} {:>9.1}  parent  processor time before", "-", micros(self.before))?;
        let (mut parent, mut stage, mut child) = (self.begin, None, None);
        for mark in self.marks() {
            let at = micros(mark.at.saturating_sub(self.begin));
            let (lane, last) = match mark.lane {
                Lane::Parent => ("parent", std::mem::replace(&mut parent, mark.at)),
                // The first of the child began when nobody knows: with the parent's step before.
                Lane::Stage => ("stage", stage.replace(mark.at).unwrap_or(parent)),
                Lane::Child => ("child", child.replace(mark.at).unwrap_or(parent)),
            };
            let took = micros(mark.at.saturating_sub(last));
            writeln!(f, "{at:>9.1} {took:>9.1}  {lane:<6}  {}", mark.step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_in_the_order_of_time() {
        let timings = Timings::new();
        timings.mark("second");
        timings.add([Mark { lane: Lane::Child, step: "first".into(), at: timings.begin }]);
        let steps: Vec<_> = timings.marks().into_iter().map(|mark| mark.step).collect();
        assert_eq!(steps, ["first", "second"]);
    }

    #[test]
    fn a_step_takes_the_time_since_the_last_of_its_lane() {
        let timings = Timings { begin: 1_000_000, before: 5_000, marks: Mutex::default() };
        let mark = |lane, step: &str, at| Mark { lane, step: step.to_owned(), at };
        timings.add([
            mark(Lane::Parent, "clone", 1_010_000),
            mark(Lane::Child, "session", 1_012_500),
            mark(Lane::Parent, "network", 1_030_000),
            mark(Lane::Child, "proc", 1_040_000),
        ]);
        let text = timings.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..3], ["-", "5.0", "parent"]);
        assert_eq!(lines[2], ["10.0", "10.0", "parent", "clone"]);
        assert_eq!(lines[3], ["12.5", "2.5", "child", "session"]);
        assert_eq!(lines[4], ["30.0", "20.0", "parent", "network"]);
        assert_eq!(lines[5], ["40.0", "27.5", "child", "proc"]);
    }
}
