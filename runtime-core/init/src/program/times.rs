//! The memory that the caller sees too: pids that the kernel writes, and when each operation ended.

use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::abi::errno;
use crate::ops::Shared as Layout;
use crate::program::view::View;
use crate::program::{At, EXIT_FAILED, Failure, Step};
use crate::report::Detail;
use crate::sys::{Fd, file, memory, process};

const WORD: usize = size_of::<AtomicU64>();

/// The mapping. The caller has made the file as long as [`Layout`] says.
pub(crate) struct Shared {
    words: &'static [AtomicU64],
    timed: bool,
}

impl Shared {
    /// Maps the memory file.
    pub(crate) fn map(fd: Fd<'_>, plan: &View) -> Step<Self> {
        let bytes = Layout::bytes(if plan.timed { plan.ops().len() } else { 0 });
        if file::length(fd).at(Detail::Open)? < bytes {
            return Err(Failure::new(errno::EPROTO, Detail::Memory));
        }
        // SAFETY: the file is as long, by the check above, and the caller never makes it shorter.
        let words = unsafe { memory::shared(fd, bytes / WORD) }.at(Detail::Memory)?;
        Ok(Self { words, timed: plan.timed })
    }

    /// Half a word of the pids.
    fn half(&self, index: usize) -> &'static AtomicI32 {
        // Whoever has forgotten the memory forks no more.
        let Some(word) = self.words.get(Layout::PIDS) else { crate::program::exit(EXIT_FAILED) };
        // SAFETY: a word of 8 bytes is two halves of 4, which nothing uses as a whole; the mapping stays.
        unsafe { AtomicI32::from_ptr(word.as_ptr().cast::<i32>().add(index)) }
    }

    /// Where the kernel puts the pid of the init.
    pub(crate) fn pid(&self) -> &'static AtomicI32 {
        self.half(0)
    }

    /// Where the kernel puts the pid of the process that the init forks.
    pub(crate) fn forked(&self) -> &'static AtomicI32 {
        self.half(1)
    }

    /// The pid of the process that the init has forked, or 0.
    pub(crate) fn forked_pid(&self) -> u32 {
        self.forked().load(Ordering::Relaxed) as u32
    }

    /// Keeps the memory out of the process that is forked next: the container sees that one, and who traced it could have
    /// the caller believe in any pid. With times, which are for people, it keeps it.
    pub(crate) fn keep_from_fork(&self) -> Step {
        if self.timed {
            return Ok(());
        }
        memory::keep_from_fork(self.words).at(Detail::Memory)
    }

    /// In the forked process: the memory is not there.
    pub(crate) fn forget(&mut self) {
        if !self.timed {
            self.words = &[];
        }
    }

    /// The init begins.
    pub(crate) fn note_begin(&mut self) {
        self.put(Layout::BEGIN);
    }

    /// Operation `step` has ended.
    pub(crate) fn note(&mut self, step: usize) {
        self.put(Layout::TIMES.saturating_add(step));
    }

    fn put(&mut self, word: usize) {
        if !self.timed {
            return;
        }
        if let Some(place) = self.words.get(word) {
            place.store(process::monotonic(), Ordering::Relaxed);
        }
    }
}
