//! Memory of the calling process.

/// Has the kernel provide memory that a program of few milliseconds is going to use: `stack` bytes below the
/// caller's frame, on the main thread's stack, and `heap` bytes that the allocator gives next. A call for each
/// instead of a page fault for each page; without effect before Linux 5.14.
///
/// For the beginning of `main`: an engine that embeds the library has its memory already.
pub fn prefault(stack: usize, heap: usize) {
    let here = 0u8;
    provide((&raw const here as usize).saturating_sub(stack), stack);
    let block = Vec::<u8>::with_capacity(heap);
    provide(block.as_ptr() as usize, heap);
}

/// madvise(2) with MADV_POPULATE_WRITE of the whole pages in a range.
fn provide(start: usize, length: usize) {
    const PAGE: usize = 4096;
    let first = start.next_multiple_of(PAGE);
    let end = start.saturating_add(length) & !(PAGE - 1);
    if let Some(length) = end.checked_sub(first) {
        // SAFETY: the advice changes no byte of any memory; of pages that are not there, or not to be
        // written, the kernel says so.
        unsafe { libc::madvise(first as *mut libc::c_void, length, libc::MADV_POPULATE_WRITE) };
    }
}
