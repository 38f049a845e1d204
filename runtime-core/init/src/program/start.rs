//! The entry point, the memory functions that the compiler calls, and the panic handler.

#[cfg(target_arch = "x86_64")]
use core::arch::asm;

#[cfg(all(program, target_arch = "x86_64"))]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor %ebp, %ebp",
    "mov %rsp, %rdi",
    "and $-16, %rsp",
    "call {entry}",
    "hlt",
    entry = sym entry,
    options(att_syntax)
);

#[cfg(all(program, target_arch = "aarch64"))]
core::arch::global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x0, sp", "bl {entry}", "brk #1", entry = sym entry);

/// `argv[1]` is the number of the first slot's descriptor, in decimal; `argv[2]` is `i` in the init, and in stage 0 `s`, or
/// `n` if it makes a network namespace at once.
extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: the kernel starts a program with argc and argv on the stack; argv has as many C strings as argc says.
    let (base, mode) = unsafe {
        match *stack {
            0..3 => (-1, b'i'),
            _ => (decimal(*stack.add(2) as *const u8), *(*stack.add(3) as *const u8)),
        }
    };
    crate::program::main(
        base,
        if mode == b'i' { crate::program::Lane::Init } else { crate::program::Lane::Stage },
        mode == b'n',
    )
}

/// # Safety
/// `text` must be NUL-terminated.
unsafe fn decimal(mut text: *const u8) -> i32 {
    let mut value = 0i32;
    // SAFETY: the caller vouches for the end.
    unsafe {
        while (*text).is_ascii_digit() {
            value = value.wrapping_mul(10).wrapping_add(i32::from(*text & 0x0f));
            text = text.add(1);
        }
    }
    value
}

#[cfg(program)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    crate::program::exit(112)
}

/// # Safety
/// As C's memcpy.
#[cfg_attr(program, unsafe(no_mangle))]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for both areas.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..len {
        // SAFETY: as above; volatile so that the loop is not turned into a call of this function.
        unsafe { to.add(at).write_volatile(*from.add(at)) };
    }
    to
}

/// # Safety
/// As C's memmove.
#[cfg_attr(program, unsafe(no_mangle))]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize) < (from as usize) {
        // SAFETY: forward copying is right for this overlap.
        return unsafe { memcpy(to, from, len) };
    }
    for at in (0..len).rev() {
        // SAFETY: the caller vouches for both areas; volatile as in memcpy.
        unsafe { to.add(at).write_volatile(*from.add(at)) };
    }
    to
}

/// # Safety
/// As C's memset.
#[cfg_attr(program, unsafe(no_mangle))]
unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for the area.
    unsafe {
        asm!("rep stosb", inout("rcx") len => _, inout("rdi") to => _, in("al") value as u8, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..len {
        // SAFETY: as above; volatile as in memcpy.
        unsafe { to.add(at).write_volatile(value as u8) };
    }
    to
}

/// # Safety
/// As C's memcmp.
#[cfg_attr(program, unsafe(no_mangle))]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    for at in 0..len {
        // SAFETY: the caller vouches for both areas; volatile as in memcpy.
        let (x, y) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if x != y {
            return i32::from(x).wrapping_sub(i32::from(y));
        }
    }
    0
}

/// # Safety
/// As C's bcmp.
#[cfg_attr(program, unsafe(no_mangle))]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
    // SAFETY: as memcmp.
    unsafe { memcmp(a, b, len) }
}

/// # Safety
/// As C's strlen.
#[cfg_attr(program, unsafe(no_mangle))]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut len = 0usize;
    // SAFETY: the caller vouches for the end; volatile as in memcpy.
    while unsafe { text.add(len).read_volatile() } != 0 {
        len = len.wrapping_add(1);
    }
    len
}
