//! Capability sets, as capabilities(7) has them.

use crate::program::{At, Failure, Step, call, errno};
use crate::report::Detail;
use crate::syscall::nr;

const VERSION_3: u32 = 0x2008_0522;
const PR_CAPBSET_DROP: usize = 24;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_RAISE: usize = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The set bits of a mask.
fn bits(mask: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| mask >> bit & 1 == 1)
}

/// The last capability that every supported kernel has (CAP_CHECKPOINT_RESTORE).
const LAST_COMMON: u32 = 40;

/// `DropBounding`. The mask goes beyond what the kernel has: its end is where it knows no more.
pub(crate) fn drop_bounding(mask: u64) -> Step {
    for capability in bits(mask) {
        match call!(nr::PRCTL, PR_CAPBSET_DROP, capability, 0, 0, 0) {
            Err(errno::EINVAL) if capability > LAST_COMMON => break,
            other => other.at(Detail::Prctl)?,
        };
    }
    Ok(())
}

/// `SetCapabilities`, read back.
pub(crate) fn set(effective: u64, permitted: u64, inheritable: u64) -> Step {
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let wanted = [half(0), half(32)];
    let header = Header { version: VERSION_3, pid: 0 };
    call!(nr::CAPSET, &raw const header, wanted.as_ptr()).at(Detail::Capset)?;
    let mut got = [Data { effective: 0, permitted: 0, inheritable: 0 }; 2];
    call!(nr::CAPGET, &raw const header, got.as_mut_ptr()).at(Detail::Capget)?;
    match got == wanted {
        true => Ok(()),
        false => Err(Failure { errno: errno::EPERM, detail: Detail::ReadBack as u32 }),
    }
}

/// `SetAmbient`.
pub(crate) fn set_ambient(mask: u64) -> Step {
    call!(nr::PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0).at(Detail::Prctl)?;
    for capability in bits(mask) {
        call!(nr::PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0).at(Detail::Prctl)?;
    }
    Ok(())
}
