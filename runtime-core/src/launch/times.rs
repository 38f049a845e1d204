//! The memory that the caller, stage 0 and the init share: pids, and when each operation ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::uio::pread;

use crate::error::{Error, Result};
use crate::plan::LaunchPlan;
use crate::sys::memfd::{self, Purpose};
use crate::timings::{Lane, Mark, Timings};
use runtime_init::ops::Shared as Layout;

/// The shared memory of one launch.
#[derive(Debug)]
pub(super) struct Shared {
    file: OwnedFd,
    timings: Option<Arc<Timings>>,
}

/// A memory file for the pids, and for the times of so many operations.
pub(super) fn memory(ops: usize) -> Result<OwnedFd> {
    let failed = |errno: Errno| Error::system("make the memory that the init shares", errno);
    let file = memfd::create(Purpose::Data).map_err(failed)?;
    let size = i64::try_from(Layout::bytes(ops)).unwrap_or(i64::MAX);
    nix::unistd::ftruncate(&file, size).map_err(failed)?;
    Ok(file)
}

impl Shared {
    /// With a number for the end of each operation if somebody wants to know.
    pub(super) fn new(plan: &LaunchPlan, timings: Option<&Arc<Timings>>) -> Result<Self> {
        let ops = timings.map_or(0, |_| plan.child.ops().len());
        Ok(Self { file: memory(ops)?, timings: timings.cloned() })
    }

    /// Marks a step of the caller's lane, if somebody wants to know.
    pub(super) fn mark(&self, step: impl FnOnce() -> String) {
        if let Some(timings) = &self.timings {
            timings.mark(step());
        }
    }

    /// The pids that the kernel has written: the init's, and that of the process that the init has forked.
    ///
    /// A process of the container that may trace the init can have written anything: the caller looks whether they are
    /// children of its own.
    pub(super) fn pids(&self) -> [Option<i32>; 2] {
        let mut word = [0u8; 8];
        let read = pread(&self.file, &mut word, const { Layout::PIDS as i64 * 8 });
        let [a, b, c, d, e, f, g, h] = word;
        let pid = |bytes| Some(i32::from_ne_bytes(bytes)).filter(|pid| *pid > 0 && read == Ok(8));
        [pid([a, b, c, d]), pid([e, f, g, h])]
    }

    /// Takes over the times that have been written up to now: they are numbers for people.
    pub(super) fn collect(&self, plan: &LaunchPlan) -> Result<()> {
        let Some(timings) = &self.timings else { return Ok(()) };
        let mut bytes = vec![0; Layout::bytes(plan.child.ops().len())];
        let len =
            pread(&self.file, &mut bytes, 0).map_err(|errno| Error::system("read the timings", errno))?;
        let (words, _) = bytes.get(..len).unwrap_or_default().as_chunks();
        let first = plan.child.first_of_init();
        let begun = (Lane::Child, "begin as the init".to_owned());
        let steps = (0..plan.child.ops().len())
            .map(|step| (if step < first { Lane::Stage } else { Lane::Child }, plan.child.explain(step)));
        let marks = std::iter::once(begun)
            .chain(steps)
            .zip(words.iter().skip(Layout::BEGIN))
            .map(|((lane, step), at)| Mark { lane, step, at: u64::from_ne_bytes(*at) })
            .filter(|mark| mark.at != 0);
        timings.add(marks);
        Ok(())
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
