//! The parts of a plan's image: whatever bytes it has, nothing outside of it is read.

use core::ffi::CStr;

use crate::ops::{Header, MAGIC, Op, Parameter, Slice, Str};

impl Header {
    /// The size of a header, in bytes.
    pub const BYTES: usize = size_of::<Self>();

    /// The header of an image whose first slot is descriptor `base`. `None` if it is none, or if the operations
    /// that it counts do not fit between it and the arena.
    pub fn of(image: &[u8], base: i32) -> Option<Self> {
        let [magic, ops, arena, number, init, timed, low, high] = image.get(..Self::BYTES)?.as_chunks().0
        else {
            return None;
        };
        let word = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes);
        let ([a, b, c, d], [e, f, g, h]) = (*low, *high);
        let header = Self {
            magic: word(magic),
            ops: word(ops),
            arena: word(arena),
            base: i32::from_ne_bytes(*number),
            init: word(init),
            timed: word(timed),
            inherited: u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        };
        let end = (header.ops as usize).checked_mul(size_of::<Op>())?.checked_add(Self::BYTES)?;
        let fits = end <= header.arena as usize && header.arena as usize <= image.len();
        let right = header.magic == MAGIC && header.base == base && header.init <= header.ops;
        (fits && right).then_some(header)
    }
}

/// The strings and arrays of an image.
#[derive(Clone, Copy, Debug)]
pub struct Arena<'a>(&'a [u8]);

impl<'a> Arena<'a> {
    /// Those from the offset that the header of `image` has.
    pub fn of(image: &'a [u8], header: &Header) -> Self {
        Self(image.get(header.arena as usize..).unwrap_or_default())
    }

    /// A string; the empty string for none or a bad offset.
    pub fn text(self, at: Str) -> &'a CStr {
        self.0.get(at.0 as usize..).and_then(|tail| CStr::from_bytes_until_nul(tail).ok()).unwrap_or(c"")
    }

    /// The bytes of an array with elements of `size` bytes; none for an array that is not all there.
    fn array(self, slice: Slice, size: usize) -> &'a [u8] {
        let start = slice.offset as usize;
        let end = (slice.len as usize).saturating_mul(size).saturating_add(start);
        self.0.get(start..end).unwrap_or_default()
    }

    /// An array of bytes.
    pub fn bytes(self, slice: Slice) -> &'a [u8] {
        self.array(slice, 1)
    }

    /// An array of bytes in elements of 8.
    pub fn words(self, slice: Slice) -> &'a [u8] {
        self.array(slice, 8)
    }

    /// An array of numbers.
    pub fn numbers(self, slice: Slice) -> &'a [u32] {
        let (words, _) = self.array(slice, size_of::<u32>()).as_chunks::<{ size_of::<u32>() }>();
        let start = words.as_ptr().cast::<u32>();
        // The library aligns arrays to 8.
        if !start.is_aligned() {
            return &[];
        }
        // SAFETY: borrowed for as long, aligned, and as many as there are; any bits are a u32.
        unsafe { core::slice::from_raw_parts(start, words.len()) }
    }

    /// An array of file system options.
    pub fn parameters(self, slice: Slice) -> &'a [Parameter] {
        let (pairs, _) = self.array(slice, size_of::<Parameter>()).as_chunks::<{ size_of::<Parameter>() }>();
        let start = pairs.as_ptr().cast::<Parameter>();
        if !start.is_aligned() {
            return &[];
        }
        // SAFETY: as `numbers`; a Parameter is two u32.
        unsafe { core::slice::from_raw_parts(start, pairs.len()) }
    }
}
