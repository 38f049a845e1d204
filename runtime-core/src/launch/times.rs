//! When each operation of the child lane ended: the init writes it into memory that both see.
//!
//! Only with a [`Timings`]; else the init has no such memory.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::plan::LaunchPlan;
use crate::sys::memfd::{self, Purpose};
use crate::timings::{Lane, Mark, Timings};

/// Memory for the times of one launch.
#[derive(Debug)]
pub(super) struct Times {
    timings: Arc<Timings>,
    file: OwnedFd,
}

impl Times {
    /// A memory file with a number for the init's beginning and one for the end of each operation.
    pub(super) fn new(timings: &Arc<Timings>, plan: &LaunchPlan) -> Result<Self> {
        let failed = |errno: Errno| Error::system("make memory for timings", errno);
        let file = memfd::create(Purpose::Data).map_err(failed)?;
        let size = (plan.child.ops().len() + 1) * size_of::<u64>();
        nix::unistd::ftruncate(&file, i64::try_from(size).unwrap_or(0)).map_err(failed)?;
        Ok(Self { timings: timings.clone(), file })
    }

    /// Marks a step of the parent lane.
    pub(super) fn mark(&self, step: String) {
        self.timings.mark(step);
    }

    /// Takes over what the init has written up to now. A program of the container that traces the init may
    /// have written anything: they are numbers for people.
    pub(super) fn collect(self, plan: &LaunchPlan) -> Result<()> {
        let mut bytes = Vec::new();
        let mut file = std::fs::File::from(self.file);
        // The file's offset is that of nobody else: the init maps it.
        let size = ((plan.child.ops().len() + 1) * size_of::<u64>()) as u64;
        file.by_ref()
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::io("read the timings", &error))?;
        let (times, _) = bytes.as_chunks();
        let begun = "execute the init".to_owned();
        let steps = (0..plan.child.ops().len()).map(|step| plan.child.explain(step));
        let marks = std::iter::once(begun)
            .chain(steps)
            .zip(times)
            .map(|(step, at)| Mark { lane: Lane::Child, step, at: u64::from_ne_bytes(*at) })
            .filter(|mark| mark.at != 0);
        self.timings.add(marks);
        Ok(())
    }
}

impl AsFd for Times {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
