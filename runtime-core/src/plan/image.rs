//! The plan image: operations and their arena, as the tiny init reads them.

use std::collections::HashMap;

use crate::origin::Origin;
use runtime_init::ops::{Header, MAGIC, Op, Parameter, Slice, Str, WaitOp};

/// About as many strings as the plan of a usual container has.
const STRINGS: usize = 200;

/// The FNV-1a hash of a text: it only finds equal texts, and a false hit is seen by comparison.
fn hash(text: &[u8]) -> u64 {
    text.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Operations of stage 0 and of the init under construction.
///
/// Strings are put into the arena once and shared. The arena begins with a NUL, so offset 0 is the
/// empty string.
#[derive(Debug, Clone)]
pub(crate) struct ChildPlan {
    ops: Vec<Op>,
    origins: Vec<Option<Origin>>,
    /// How many of them, from the first on, are stage 0's.
    first_of_init: usize,
    arena: Vec<u8>,
    /// Where the last text with a hash is: texts that share one are only kept twice.
    strings: HashMap<u64, Str>,
}

impl Default for ChildPlan {
    fn default() -> Self {
        // Eight bytes keep the first array aligned.
        Self {
            ops: Vec::with_capacity(128),
            origins: Vec::with_capacity(128),
            first_of_init: 0,
            arena: {
                let mut arena = Vec::with_capacity(4096);
                arena.resize(8, 0);
                arena
            },
            strings: HashMap::with_capacity(STRINGS),
        }
    }
}

impl ChildPlan {
    /// Adds an operation that no field of the configuration asked for.
    pub(crate) fn push(&mut self, op: Op) {
        self.ops.push(op);
        self.origins.push(None);
    }

    /// Puts the operations of stage 0 before those of the init.
    pub(crate) fn put_stage(&mut self, stage: Vec<(Op, Option<Origin>)>) {
        self.first_of_init = self.first_of_init.saturating_add(stage.len());
        let (ops, origins): (Vec<Op>, Vec<_>) = stage.into_iter().unzip();
        self.ops.splice(0..0, ops);
        self.origins.splice(0..0, origins);
    }

    /// Index of the init's first operation.
    pub(crate) fn first_of_init(&self) -> usize {
        self.first_of_init
    }

    /// Takes the wait at the start gate away.
    pub(crate) fn remove_gate(&mut self) {
        while let Some(at) = self.ops.iter().position(|op| {
            matches!(
                op,
                Op::Wait(WaitOp::AwaitStart) | Op::Wait(WaitOp::PrepareHold) | Op::Wait(WaitOp::Hold)
            )
        }) {
            self.ops.remove(at);
            self.origins.remove(at);
        }
    }

    /// Whether the init waits for `start` behind its filter.
    pub(crate) fn holds(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Wait(WaitOp::Hold)))
    }

    /// Adds an operation that the field `origin` (a JSON path) asked for.
    pub(crate) fn push_from(&mut self, op: Op, origin: impl Into<Origin>) {
        self.ops.push(op);
        self.origins.push(Some(origin.into()));
    }

    /// A NUL-terminated copy of `text`. Validation has refused interior NULs; should one come
    /// here, the string ends at it.
    pub(crate) fn string(&mut self, text: impl AsRef<[u8]>) -> Str {
        let text = text.as_ref();
        if text.is_empty() {
            return Str::NONE;
        }
        let hash = hash(text);
        if let Some(known) = self.strings.get(&hash)
            && self.is_at(*known, text)
        {
            return *known;
        }
        let at = Str(self.arena.len() as u32);
        self.arena.extend_from_slice(text);
        self.arena.push(0);
        self.strings.insert(hash, at);
        at
    }

    fn is_at(&self, at: Str, text: &[u8]) -> bool {
        self.arena
            .get(at.0 as usize..)
            .and_then(|tail| tail.strip_prefix(text))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// A copy of `bytes`, aligned to 8.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Slice {
        self.array(bytes.len(), bytes)
    }

    /// A copy of `bytes` as an array of elements of 8 bytes.
    pub(crate) fn instructions(&mut self, bytes: &[u8]) -> Slice {
        self.array(bytes.len() / 8, bytes)
    }

    /// An array of numbers.
    pub(crate) fn numbers(&mut self, numbers: &[u32]) -> Slice {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        self.array(numbers.len(), &bytes)
    }

    /// An array of strings.
    pub(crate) fn strings<T: AsRef<[u8]>>(&mut self, texts: &[T]) -> Slice {
        let offsets: Vec<u32> = texts.iter().map(|text| self.string(text).0).collect();
        self.numbers(&offsets)
    }

    /// An array of file system options: `key` or `key=value`.
    pub(crate) fn parameters<T: AsRef<str>>(&mut self, options: &[T]) -> Slice {
        let mut bytes = Vec::with_capacity(options.len().saturating_mul(size_of::<Parameter>()));
        for option in options {
            let (key, value) = match option.as_ref().split_once('=') {
                Some((key, value)) => (self.string(key), self.string(value)),
                None => (self.string(option.as_ref()), Str::NONE),
            };
            bytes.extend_from_slice(&key.0.to_ne_bytes());
            bytes.extend_from_slice(&value.0.to_ne_bytes());
        }
        self.array(options.len(), &bytes)
    }

    fn array(&mut self, len: usize, bytes: &[u8]) -> Slice {
        if len == 0 {
            return Slice::EMPTY;
        }
        self.arena.resize(self.arena.len().next_multiple_of(8), 0);
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        Slice { offset, len: len as u32 }
    }

    /// The operations, in order.
    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The field that asked for operation `step`.
    pub(crate) fn origin(&self, step: usize) -> Option<&Origin> {
        self.origins.get(step)?.as_ref()
    }

    /// The text at `at`, for messages.
    pub(crate) fn text(&self, at: Str) -> std::borrow::Cow<'_, str> {
        let tail = self.arena.get(at.0 as usize..).unwrap_or_default();
        String::from_utf8_lossy(tail.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// The bytes of a byte array, for messages.
    pub(crate) fn slice(&self, slice: Slice) -> &[u8] {
        self.arena
            .get(slice.offset as usize..slice.offset.saturating_add(slice.len) as usize)
            .unwrap_or_default()
    }

    /// The whole image. `base` is the number of the first slot's descriptor, `inherited` has a bit for each slot that is
    /// filled from outside, `timed` asks for the times of the operations.
    pub(crate) fn image(&self, base: i32, inherited: u64, timed: bool) -> Vec<u8> {
        let ops = size_of_val(self.ops.as_slice());
        let arena = size_of::<Header>().saturating_add(ops).next_multiple_of(8);
        let header = [
            MAGIC,
            self.ops.len() as u32,
            arena as u32,
            base as u32,
            self.first_of_init as u32,
            u32::from(timed),
        ];
        let mut image = Vec::with_capacity(arena.saturating_add(self.arena.len()));
        header.iter().for_each(|word| image.extend_from_slice(&word.to_ne_bytes()));
        image.extend_from_slice(&inherited.to_ne_bytes());
        image.extend_from_slice(crate::sys::raw::op_bytes(&self.ops));
        image.resize(arena, 0);
        image.extend_from_slice(&self.arena);
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime_init::ops::ProcessOp;

    #[test]
    fn equal_strings_are_stored_once_and_arrays_are_aligned() {
        let mut plan = ChildPlan::default();
        let first = plan.string("proc");
        assert_eq!(first, plan.string("proc"));
        assert_eq!(plan.text(first), "proc");
        let array = plan.numbers(&[1, 2, 3]);
        assert_eq!((array.offset % 8, array.len), (0, 3));
    }

    #[test]
    fn the_image_begins_with_its_magic_and_is_aligned() {
        let mut plan = ChildPlan::default();
        plan.push(Op::Process(ProcessOp::NewSession));
        let image = plan.image(3, 0b11, false);
        assert_eq!(image[..4], MAGIC.to_ne_bytes());
        let arena = u32::from_ne_bytes(image[8..12].try_into().unwrap());
        assert_eq!(arena % 8, 0);
        assert_eq!(image.len(), arena as usize + 8);
    }
}
