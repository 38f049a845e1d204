//! For the beginning of a program: calls that change the calling process.
//!
//! The rest of the library leaves its caller alone, so what a program must have for containers, it asks for here, once,
//! before it has threads:
//!
//! ```no_run
//! # fn main() -> Result<(), runtime_core::Error> {
//! // A service manager may have started this program with SIGCHLD ignored.
//! runtime_core::program::reset_child_signal()?;
//! let runtime = runtime_core::Runtime::builder().build()?;
//! # Ok(())
//! # }
//! ```
//!
//! The other two are for a program of few milliseconds, such as the one that engines call for each step:
//! [`guard_standard_streams`] for one whose entry is C's `main`, and [`prefault`] for one that faults in its memory page by page.

use crate::error::{Error, Result};
use crate::sys::process;

pub use crate::sys::memory::prefault;
pub use crate::sys::streams::guard_standard_streams;

/// Gives SIGCHLD its default disposition in the calling process (sigaction(2)).
///
/// Where a process inherited "ignore" the kernel reaps its children itself, so that no exit status is
/// left to wait for. A program that waits for containers, runs hooks or maps ids without privilege calls this when it
/// starts.
///
/// # Errors
///
/// Those of sigaction(2).
pub fn reset_child_signal() -> Result<()> {
    process::reset_child_signal().map_err(|errno| Error::system("reset SIGCHLD", errno))
}
