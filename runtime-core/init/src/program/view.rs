//! The plan image, mapped read-only.

use core::ffi::CStr;

use crate::abi::errno;
use crate::ops::{Header, MAGIC, Op, Parameter, Slice, Str};
use crate::program::{At, Failure, Step};
use crate::report::Detail;
use crate::sys::{Fd, file, memory};

/// The mapped image. It lives as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct View {
    ops: &'static [Op],
    arena: &'static [u8],
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
        let malformed = Failure::new(errno::EPROTO, Detail::Whole);
        if len < size_of::<Header>() {
            return Err(malformed);
        }
        // SAFETY: the mapping is page-aligned and as long as a header at least.
        let header = unsafe { *image.as_ptr().cast::<Header>() };
        let arena = image.get(header.arena as usize..).ok_or(malformed)?;
        let end = (header.ops as usize).saturating_mul(size_of::<Op>()).saturating_add(size_of::<Header>());
        if header.magic != MAGIC
            || end > header.arena as usize
            || header.base != base
            || header.init > header.ops
        {
            return Err(malformed);
        }
        // SAFETY: in bounds by the check above; the header's size keeps the alignment; the library
        // compiled from the same source wrote valid operations.
        let ops = unsafe {
            core::slice::from_raw_parts(
                image.as_ptr().add(size_of::<Header>()).cast::<Op>(),
                header.ops as usize,
            )
        };
        Ok(Self {
            ops,
            arena,
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
        self.arena.get(at.0 as usize..).and_then(|tail| CStr::from_bytes_until_nul(tail).ok()).unwrap_or(c"")
    }

    /// The bytes of an array with elements of `size` bytes.
    fn array(&self, slice: Slice, size: usize) -> &'static [u8] {
        let start = slice.offset as usize;
        let end = (slice.len as usize).saturating_mul(size).saturating_add(start);
        self.arena.get(start..end).unwrap_or_default()
    }

    /// An array of bytes.
    pub(crate) fn bytes(&self, slice: Slice) -> &'static [u8] {
        self.array(slice, 1)
    }

    /// An array of bytes in elements of 8.
    pub(crate) fn words(&self, slice: Slice) -> &'static [u8] {
        self.array(slice, 8)
    }

    /// An array of numbers.
    pub(crate) fn numbers(&self, slice: Slice) -> &'static [u32] {
        let bytes = self.array(slice, 4);
        // SAFETY: arrays are aligned to 8 in the arena, the arena to 8 in the image, the image to a
        // page; any bits are a u32.
        unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / 4) }
    }

    /// An array of file system options.
    pub(crate) fn parameters(&self, slice: Slice) -> &'static [Parameter] {
        let bytes = self.array(slice, size_of::<Parameter>());
        let (pairs, _) = bytes.as_chunks::<{ size_of::<Parameter>() }>();
        // SAFETY: as `numbers`; a Parameter is two u32.
        unsafe { core::slice::from_raw_parts(pairs.as_ptr().cast(), pairs.len()) }
    }
}
