//! The plan image, mapped read-only.

use core::ffi::CStr;

use crate::abi::errno;
use crate::arena::Arena;
use crate::ops::{Header, Op, Parameter, Slice, Str};
use crate::program::{At, Failure, Step};
use crate::report::Detail;
use crate::sys::{Fd, file, memory};

/// The mapped image. It lives as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct View {
    ops: &'static [Op],
    arena: Arena<'static>,
    /// Number of the first inherited descriptor.
    pub(crate) base: i32,
    /// Bit n is set if slot n is filled from outside.
    pub(crate) inherited: u64,
    /// The times of the operations are wanted.
    pub(crate) timed: bool,
    first_of_init: usize,
}

impl View {
    /// Maps the memory file in the first slot.
    pub(crate) fn map(base: i32) -> Step<Self> {
        let file = Fd::numbered(base);
        let len = file::length(file).at(Detail::Open)?;
        // SAFETY: the file is as long, and sealed: it can neither shrink nor change.
        let image = unsafe { memory::file(file, len) }.at(Detail::Memory)?;
        let header = Header::of(image, base).ok_or(Failure::new(errno::EPROTO, Detail::Whole))?;
        // SAFETY: they are in the image, by the check above; the mapping is page-aligned, and the header's size keeps
        // the alignment; the library compiled from the same source wrote valid operations.
        let ops = unsafe {
            core::slice::from_raw_parts(image.as_ptr().add(Header::BYTES).cast::<Op>(), header.ops as usize)
        };
        Ok(Self {
            ops,
            arena: Arena::of(image, &header),
            base,
            inherited: header.inherited,
            timed: header.timed != 0,
            first_of_init: header.init as usize,
        })
    }

    /// Index of the init's first operation.
    pub(crate) fn first_of_init(&self) -> usize {
        self.first_of_init
    }

    /// The operations.
    pub(crate) fn ops(&self) -> &'static [Op] {
        self.ops
    }

    /// A string of the arena; the empty string for none or a bad offset.
    pub(crate) fn text(&self, at: Str) -> &'static CStr {
        self.arena.text(at)
    }

    /// An array of bytes.
    pub(crate) fn bytes(&self, slice: Slice) -> &'static [u8] {
        self.arena.bytes(slice)
    }

    /// An array of bytes in elements of 8.
    pub(crate) fn words(&self, slice: Slice) -> &'static [u8] {
        self.arena.words(slice)
    }

    /// An array of numbers.
    pub(crate) fn numbers(&self, slice: Slice) -> &'static [u32] {
        self.arena.numbers(slice)
    }

    /// An array of file system options.
    pub(crate) fn parameters(&self, slice: Slice) -> &'static [Parameter] {
        self.arena.parameters(slice)
    }
}
