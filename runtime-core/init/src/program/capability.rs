//! Capability sets, as capabilities(7) has them.

use crate::abi::{CapabilityHalf, errno};
use crate::program::{At, Failure, Step};
use crate::report::Detail;
use crate::sys::process::{self, capget, capset, clear_ambient, raise_ambient};

/// The set bits of a mask.
fn bits(mask: u64) -> impl Iterator<Item = u32> {
    (0..64).filter(move |bit| mask >> bit & 1 == 1)
}

/// The last capability that every supported kernel has (CAP_CHECKPOINT_RESTORE).
const LAST_COMMON: u32 = 40;

/// `DropBounding`. The mask goes beyond what the kernel has: its end is where it knows no more.
pub(crate) fn drop_bounding(mask: u64) -> Step {
    for capability in bits(mask) {
        match process::drop_bounding(capability) {
            Err(errno::EINVAL) if capability > LAST_COMMON => break,
            other => other.at(Detail::Prctl)?,
        }
    }
    Ok(())
}

/// `SetCapabilities`, read back.
pub(crate) fn set(effective: u64, permitted: u64, inheritable: u64) -> Step {
    let half = |shift: u32| CapabilityHalf {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let wanted = [half(0), half(32)];
    capset(&wanted).at(Detail::Capset)?;
    match capget().at(Detail::Capget)? == wanted {
        true => Ok(()),
        false => Err(Failure::new(errno::EPERM, Detail::ReadBack)),
    }
}

/// `SetAmbient`.
pub(crate) fn set_ambient(mask: u64) -> Step {
    clear_ambient().at(Detail::Prctl)?;
    bits(mask).try_for_each(|capability| raise_ambient(capability).at(Detail::Prctl))
}
