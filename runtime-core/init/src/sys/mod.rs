//! System calls without libc, each as a function with types: for the init, and for the few calls between clone3 and
//! execveat, where libc's errno would be the caller's.
//!
//! A function makes one call and adds nothing; its manual page says what it does and how it fails. The only unsafe
//! functions are those whose contract a type cannot hold. Those that are called in many places are never inlined: the
//! program waits in the memory of every created container.

use core::arch::asm;

mod fd;
pub mod file;
pub mod memory;
pub mod mount;
pub mod process;
pub mod signal;
pub mod socket;
pub mod terminal;

pub use fd::{
    Fd, Owned, close_range, descriptor_flags, dup_above, dup_onto, pidfd_getfd, pidfd_open,
    set_descriptor_flags, set_status_flags, status_flags,
};

/// The result of a system call: its value, or the errno.
pub type Result<T = ()> = core::result::Result<T, i32>;

/// Calls the kernel.
///
/// # Safety
/// The arguments must be what call `nr` expects; memory that they point to must be valid for what the call does with
/// it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn syscall(nr: usize, a: [usize; 6]) -> Result<usize> {
    let value: isize;
    // SAFETY: the caller vouches for the arguments; the clobbers are those of the `syscall`
    // instruction.
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => value,
             in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result(value)
}

/// Calls the kernel.
///
/// # Safety
/// The arguments must be what call `nr` expects; memory that they point to must be valid for what the call does with
/// it.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn syscall(nr: usize, a: [usize; 6]) -> Result<usize> {
    let value: isize;
    // SAFETY: the caller vouches for the arguments.
    unsafe {
        asm!("svc 0", in("x8") nr, inlateout("x0") a[0] as isize => value,
             in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    result(value)
}

#[inline]
fn result(value: isize) -> Result<usize> {
    if (-4095..0).contains(&value) { Err(value.wrapping_neg() as i32) } else { Ok(value as usize) }
}

/// The arguments of a call: those that are not given are 0.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "more than six arguments do not compile"
)]
const fn words<const N: usize>(given: [usize; N]) -> [usize; 6] {
    const { assert!(N <= 6) };
    let mut all = [0; 6];
    let mut at = 0;
    while at < N {
        all[at] = given[at];
        at += 1;
    }
    all
}

/// `call!(NR, args…)`: a system call with its arguments cast to words. It is unsafe, as [`syscall`] is.
macro_rules! call {
    ($nr:expr $(, $arg:expr)*) => {
        $crate::sys::syscall($nr, $crate::sys::words([$($arg as usize),*]))
    };
}
use call;
