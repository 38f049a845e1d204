//! The wait for `start` behind a filter that has a listener.
//!
//! The agent gets the listener while the container is created, so the filter is loaded before the wait, and from then on
//! each system call may be denied, or wait for the agent. This wait makes none: it reads a page that is missing, and
//! userfaultfd(2) lets it sleep until `start` fills that page. A signal or a freezer interrupts the sleep as it
//! interrupts any other; the read is made again then.

use crate::abi::O_CLOEXEC;
use crate::hold::{PAGE, PAGE_BYTES};
use crate::ops::Slot;
use crate::program::{At, Init, Step, signals, sync};
use crate::report::Detail;
use crate::sys::{Owned, dup_onto, memory, socket};

/// `PrepareHold`.
pub(crate) fn prepare(init: &mut Init) -> Step {
    signals::end_on_request()?;
    sync::close_all_but(init, &[Slot::SYNC, Slot::GATE, Slot::HANDLER]);
    memory::reserve(PAGE, PAGE_BYTES).at(Detail::Memory)?;
    let fd = memory::userfault(PAGE, PAGE_BYTES).at(Detail::Userfault)?;
    let number = Slot::HOLD.number(init.plan.base);
    dup_onto(fd.fd(), number, O_CLOEXEC).at(Detail::Dup)?;
    // SAFETY: the duplicate, which nothing else owns: what the slot had is closed.
    init.set(Slot::HOLD, unsafe { Owned::from_number(number) });
    Ok(())
}

/// `Hold`.
pub(crate) fn wait(init: &mut Init) {
    // SAFETY: `prepare` has mapped the page, readable, at this address, and nothing unmaps it.
    unsafe { (PAGE as *const u8).read_volatile() };
    init.held = true;
}

/// Takes the connection of `start`, which has been made before the page was filled, so that a failure can be told.
pub(crate) fn meet_starter(init: &mut Init) {
    if init.held
        && let Ok(connection) = socket::accept(init.fd(Slot::GATE))
    {
        init.set(Slot::SYNC, connection);
    }
}
