//! The start of the process.
//!
//! With glibc the program's entry is C's `main`. What Rust's own start does first, 0.1 ms of a command, is done here as far
//! as the program needs it: standard streams that are closed, SIGPIPE, and a panic's exit code. The rest is left
//! out: the message of an overflown main stack, which ends by SIGSEGV instead, and for which /proc/self/maps is read and a
//! signal stack made. With musl, which does not give the arguments to the standard library otherwise, the entry is Rust's.

use std::io::Write as _;

/// The exit code of a panic, as Rust's start has it.
#[cfg(all(target_env = "gnu", not(test)))]
const PANICKED: u8 = 101;

/// The entry that the C library calls.
// The name is the C library's, which calls no other function of it.
#[cfg(all(target_env = "gnu", not(test)))]
#[expect(unsafe_code, reason = "no_mangle")]
#[unsafe(no_mangle)]
extern "C" fn main() -> std::ffi::c_int {
    // Nobody could be told: the streams are what is missing.
    if runtime_core::program::guard_standard_streams().is_err() {
        std::process::abort();
    }
    let code = std::panic::catch_unwind(super::program).unwrap_or(PANICKED);
    flush();
    code.into()
}

/// What follows Rust's start.
#[cfg(not(all(target_env = "gnu", not(test))))]
pub(super) fn run() -> std::process::ExitCode {
    let code = super::program();
    flush();
    code.into()
}

/// The standard output keeps the last line if it has no end.
fn flush() {
    // Its reader has closed it: nothing to say and nobody to say it to.
    std::io::stdout().flush().unwrap_or_default();
}
