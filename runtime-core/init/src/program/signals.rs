//! Signals: what a container's program begins with, and what ends a container that waits.

use crate::abi::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use crate::program::{At, Step};
use crate::report::Detail;
use crate::sys::signal::{set_all_default, set_last_handler, unblock_all};

/// All dispositions to default: a caller's ignored SIGPIPE is not the container's. What stage 0 sets, the init inherits.
pub(crate) fn reset() -> Step {
    set_all_default().at(Detail::Whole)
}

/// An empty mask.
pub(crate) fn unblock() -> Step {
    unblock_all().at(Detail::Whole)
}

/// Lets the signals that ask a program to end do so while the container waits for its start: the first
/// process of a pid namespace gets none that it has no handler for (pid_namespaces(7)).
pub(crate) fn end_on_request() -> Step {
    extern "C" fn end(signal: i32) -> ! {
        crate::program::exit((signal as u32).saturating_add(128));
    }
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        set_last_handler(signal, end).at(Detail::Whole)?;
    }
    Ok(())
}
