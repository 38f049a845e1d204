//! Views of plain data as bytes.

use runtime_init::ops::Op;

/// The memory of the operations, as the init maps it. Padding bytes are whatever they are in
/// memory; the init never reads them.
pub(crate) fn op_bytes(ops: &[Op]) -> &[u8] {
    // SAFETY: `ops` is a valid, initialised slice that outlives the result, and u8 has no
    // alignment. Padding inside an Op may be uninitialised; the bytes are only ever copied to the
    // plan's memory file, never inspected.
    unsafe { std::slice::from_raw_parts(ops.as_ptr().cast::<u8>(), size_of_val(ops)) }
}
