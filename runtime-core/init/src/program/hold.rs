//! The wait for `start` behind a filter that has a listener.
//!
//! The agent gets the listener while the container is created, so the filter is loaded before the wait, and from then on
//! each system call may be denied, or wait for the agent. This wait makes none: it reads a page that is missing, and
//! userfaultfd(2) lets it sleep until `start` fills that page. A signal or a freezer interrupts the sleep as it
//! interrupts any other; the read is made again then.

use crate::hold::{PAGE, PAGE_BYTES};
use crate::ops::Slot;
use crate::program::file::{self, O_CLOEXEC};
use crate::program::{At, Init, Step, call, exec, sync};
use crate::report::Detail;
use crate::syscall::nr;

/// The page is for reads of this program alone, not for those that the kernel makes for it.
const UFFD_USER_MODE_ONLY: usize = 1;
const UFFD_API: u64 = 0xaa;
const UFFDIO_API: usize = 0xc018_aa3f;
const UFFDIO_REGISTER: usize = 0xc020_aa00;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// `PrepareHold`.
pub(crate) fn prepare(init: &mut Init) -> Step {
    exec::end_on_request()?;
    sync::close_all_but(init, &[Slot::SYNC, Slot::GATE]);
    map_page()?;
    let fd = call!(nr::USERFAULTFD, O_CLOEXEC | UFFD_USER_MODE_ONLY).at(Detail::Userfault)? as i32;
    let mut api = Api { api: UFFD_API, features: 0, ioctls: 0 };
    call!(nr::IOCTL, fd, UFFDIO_API, &raw mut api).at(Detail::Userfault)?;
    let mut register = Register {
        start: PAGE as u64,
        len: PAGE_BYTES as u64,
        mode: UFFDIO_REGISTER_MODE_MISSING,
        ioctls: 0,
    };
    call!(nr::IOCTL, fd, UFFDIO_REGISTER, &raw mut register).at(Detail::Userfault)?;
    let number = init.plan.base + i32::from(Slot::HOLD.0);
    call!(nr::DUP3, fd, number, O_CLOEXEC).at(Detail::Dup)?;
    file::close(fd);
    init.set(Slot::HOLD, number);
    Ok(())
}

fn map_page() -> Step {
    const PROT_READ: usize = 1;
    const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
    const MAP_FIXED_NOREPLACE: usize = 0x10_0000;
    let flags = MAP_PRIVATE_ANONYMOUS | MAP_FIXED_NOREPLACE;
    call!(nr::MMAP, PAGE, PAGE_BYTES, PROT_READ, flags, usize::MAX, 0).at(Detail::Memory).map(drop)
}

/// `Hold`.
pub(crate) fn wait(init: &mut Init) {
    // SAFETY: `prepare` has mapped the page, readable, at this address, and nothing unmaps it.
    unsafe { (PAGE as *const u8).read_volatile() };
    init.held = true;
}

/// Takes the connection of `start`, which has been made before the page was filled, so that a failure can be told.
pub(crate) fn meet_starter(init: &mut Init) {
    if let (true, Ok(connection)) = (init.held, call!(nr::ACCEPT4, init.fd(Slot::GATE), 0, 0, O_CLOEXEC)) {
        init.set(Slot::SYNC, connection as i32);
    }
}
