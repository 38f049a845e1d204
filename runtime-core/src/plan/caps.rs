//! Capabilities: what was asked for, less what cannot be granted.

use super::lanes::Lanes;
use crate::host::OwnCapabilities;
use crate::spec::CapabilitySets;

/// All capabilities that this library knows by name.
pub(super) const ALL: u64 = (1 << 41) - 1;
/// CAP_SYS_ADMIN, which seccomp(2) asks for without no_new_privs.
pub(super) const SYS_ADMIN: u64 = 1 << 21;
/// CAP_SETPCAP, which dropping from the bounding set asks for.
const SETPCAP: u64 = 1 << 8;

/// Sets that the kernel will accept, and what has to leave the bounding set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) sets: CapabilitySets,
    pub(super) drop_bounding: u64,
}

/// Computes the sets; `own` is what the process has that will set them.
///
/// config.md: "Any value which cannot be mapped … or cannot be granted otherwise, MUST be logged as a
/// warning": the result is never wider than what was asked for. A missing `capabilities` is five
/// empty sets.
pub(super) fn grant(lanes: &mut Lanes, asked: CapabilitySets, own: OwnCapabilities, origin: &str) -> Granted {
    let mut keep = |set: &str, asked: u64, possible: u64| {
        let lost = asked & !possible;
        if lost != 0 && set == "ambient" {
            // runc's words, one line each: its users look for them.
            lanes.warnings.extend(each_name(lost).map(|name| {
                format!("can't raise ambient capability {name}: operation not permitted: it has to be in the permitted and the inheritable set ({origin}capabilities.ambient)")
            }));
        } else if lost != 0 {
            lanes.warnings.push(format!(
                "{origin}capabilities.{set}: {} cannot be granted and {} left out",
                names(lost),
                if lost.count_ones() == 1 { "is" } else { "are" }
            ));
        }
        asked & possible
    };
    let bounding = keep("bounding", asked.bounding, own.bounding);
    let permitted = keep("permitted", asked.permitted, own.permitted);
    let effective = keep("effective", asked.effective, permitted);
    // capabilities(7): what is added to the inheritable set has to be in the bounding set.
    let inheritable = keep("inheritable", asked.inheritable, bounding | own.inheritable);
    let ambient = keep("ambient", asked.ambient, permitted & inheritable);
    let can_drop = own.permitted & SETPCAP != 0;
    if !can_drop && own.bounding & !bounding != 0 {
        lanes.warnings.push(format!("{origin}capabilities.bounding: cannot be reduced without CAP_SETPCAP"));
    }
    Granted {
        sets: CapabilitySets { bounding, effective, permitted, inheritable, ambient },
        // Those that a newer kernel has and this library does not know are not asked for either.
        drop_bounding: if can_drop { !bounding } else { 0 },
    }
}

/// What a process has after it entered a user namespace: all.
pub(super) const IN_USER_NAMESPACE: OwnCapabilities =
    OwnCapabilities { permitted: ALL, bounding: ALL, inheritable: 0 };

/// Names of the capabilities in `mask`, for people.
pub(super) fn names(mask: u64) -> String {
    let names: Vec<String> = each_name(mask).collect();
    names.join(" ")
}

fn each_name(mask: u64) -> impl Iterator<Item = String> {
    let mut names: Vec<String> = caps::all()
        .into_iter()
        .filter(|capability| capability.bitmask() & mask != 0)
        .map(|capability| capability.to_string())
        .collect();
    names.sort();
    names.into_iter()
}
