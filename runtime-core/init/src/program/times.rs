//! The memory that the caller sees too: pids that the kernel writes, and when each operation ended.

use crate::ops::Shared as Layout;
use crate::program::view::View;
use crate::program::{At, Failure, Step, call, errno};
use crate::report::Detail;
use crate::syscall::nr;

/// The mapping. The caller has made the file as long as [`Layout`] says.
pub(crate) struct Shared {
    words: &'static mut [u64],
    timed: bool,
}

impl Shared {
    /// Maps the memory file.
    pub(crate) fn map(fd: i32, plan: &View) -> Step<Self> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_SHARED: usize = 1;
        const SEEK_END: usize = 2;
        let bytes = Layout::bytes(if plan.timed { plan.ops().len() } else { 0 });
        if call!(nr::LSEEK, fd, 0, SEEK_END).at(Detail::Open)? < bytes {
            return Err(Failure { errno: errno::EPROTO, detail: Detail::Memory as u32 });
        }
        let start = call!(nr::MMAP, 0, bytes, PROT_READ_WRITE, MAP_SHARED, fd, 0).at(Detail::Memory)?;
        // SAFETY: a fresh mapping of a file that is as long, by the check above; it stays until the end of the
        // process. The kernel writes the first word on behalf of this process alone, and nobody reads it here.
        let words = unsafe { core::slice::from_raw_parts_mut(start as *mut u64, bytes / size_of::<u64>()) };
        Ok(Self { words, timed: plan.timed })
    }

    /// Where the kernel puts the pid of the init.
    pub(crate) fn pid(&self) -> *const i32 {
        self.words.as_ptr().cast()
    }

    /// Where the kernel puts the pid of the process that the init forks.
    pub(crate) fn forked(&self) -> *const i32 {
        self.pid().wrapping_add(1)
    }

    /// The pid of the process that the init has forked, or 0.
    pub(crate) fn forked_pid(&self) -> u32 {
        // SAFETY: it is in the mapping; volatile, as the kernel writes it on behalf of another process.
        unsafe { self.forked().read_volatile() as u32 }
    }

    /// Keeps the memory out of the process that is forked next: the container sees that one, and who traced it could have
    /// the caller believe in any pid. With times, which are for people, it keeps it.
    pub(crate) fn keep_from_fork(&self) -> Step {
        const MADV_DONTFORK: usize = 10;
        if self.timed {
            return Ok(());
        }
        call!(nr::MADVISE, self.words.as_ptr(), size_of_val(self.words), MADV_DONTFORK)
            .at(Detail::Memory)
            .map(drop)
    }

    /// In the forked process: the memory is not there.
    pub(crate) fn forget(&mut self) {
        if !self.timed {
            self.words = &mut [];
        }
    }

    /// The init begins.
    pub(crate) fn note_begin(&mut self) {
        self.put(Layout::BEGIN);
    }

    /// Operation `step` has ended.
    pub(crate) fn note(&mut self, step: usize) {
        self.put(Layout::TIMES + step);
    }

    fn put(&mut self, word: usize) {
        const CLOCK_MONOTONIC: usize = 1;
        if !self.timed {
            return;
        }
        let mut time = [0u64; 2];
        call!(nr::CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr()).ok();
        if let Some(place) = self.words.get_mut(word) {
            *place = time[0] * 1_000_000_000 + time[1];
        }
    }
}
