//! Writes when each operation ended, if the caller gave memory for that.

use crate::child::ops::Slot;
use crate::child::report::Detail;
use crate::child::syscall::nr;
use crate::view::View;
use crate::{At, Step, call, file};

/// One number for the beginning, and one for each operation: nanoseconds of CLOCK_MONOTONIC.
pub struct Times(&'static mut [u64]);

impl Times {
    /// Maps the memory, closes its descriptor, and notes the beginning; `None` without.
    pub fn map(plan: &View) -> Step<Option<Self>> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_SHARED: usize = 1;
        if plan.inherited >> Slot::TIMES.0 & 1 == 0 {
            return Ok(None);
        }
        let fd = plan.base + Slot::TIMES.0 as i32;
        let count = plan.ops().len() + 1;
        let start = call!(nr::MMAP, 0, count * size_of::<u64>(), PROT_READ_WRITE, MAP_SHARED, fd, 0)
            .at(Detail::Memory)?;
        file::close(fd);
        // SAFETY: a fresh mapping of a file that the library has made as long; it stays until the end of the
        // process. Nobody reads it before the init has ended or waits.
        let mut times = Self(unsafe { core::slice::from_raw_parts_mut(start as *mut u64, count) });
        times.note(0);
        Ok(Some(times))
    }

    /// Operation `step` - 1 has ended.
    pub fn note(&mut self, step: usize) {
        const CLOCK_MONOTONIC: usize = 1;
        let mut time = [0u64; 2];
        call!(nr::CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr()).ok();
        if let Some(place) = self.0.get_mut(step) {
            *place = time[0] * 1_000_000_000 + time[1];
        }
    }
}
