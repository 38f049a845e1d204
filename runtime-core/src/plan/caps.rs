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
///
/// `told`, for an exec, are the sets that the container's own process asked for: what they lack was logged when the
/// container was created, and is not logged again.
pub(super) fn grant(
    lanes: &mut Lanes,
    asked: CapabilitySets,
    told: Option<CapabilitySets>,
    own: OwnCapabilities,
    origin: &str,
) -> Granted {
    let sets = possible(asked, own);
    let known = told.map(|told| lost(told, own)).unwrap_or_default();
    let news = without(lost(asked, own), known);
    lanes.warnings.extend(warnings(news, origin));
    let can_drop = own.permitted & SETPCAP != 0;
    let stays_wide = |sets: CapabilitySets| !can_drop && own.bounding & !sets.bounding != 0;
    if stays_wide(sets) && !told.is_some_and(stays_wide) {
        lanes.warnings.push(format!("{origin}capabilities.bounding: cannot be reduced without CAP_SETPCAP"));
    }
    // Those that a newer kernel has and this library does not know are not asked for either.
    Granted { sets, drop_bounding: if can_drop { !sets.bounding } else { 0 } }
}

/// What the kernel will accept of the sets.
fn possible(asked: CapabilitySets, own: OwnCapabilities) -> CapabilitySets {
    let bounding = asked.bounding & own.bounding;
    let permitted = asked.permitted & own.permitted;
    let effective = asked.effective & permitted;
    // capabilities(7): what is added to the inheritable set has to be in the bounding set.
    let inheritable = asked.inheritable & (bounding | own.inheritable);
    let ambient = asked.ambient & permitted & inheritable;
    CapabilitySets { bounding, effective, permitted, inheritable, ambient }
}

fn lost(asked: CapabilitySets, own: OwnCapabilities) -> CapabilitySets {
    without(asked, possible(asked, own))
}

fn without(all: CapabilitySets, taken: CapabilitySets) -> CapabilitySets {
    CapabilitySets {
        bounding: all.bounding & !taken.bounding,
        effective: all.effective & !taken.effective,
        permitted: all.permitted & !taken.permitted,
        inheritable: all.inheritable & !taken.inheritable,
        ambient: all.ambient & !taken.ambient,
    }
}

fn warnings(lost: CapabilitySets, origin: &str) -> Vec<String> {
    let CapabilitySets { bounding, effective, permitted, inheritable, ambient } = lost;
    let sets = [
        ("bounding", bounding),
        ("permitted", permitted),
        ("effective", effective),
        ("inheritable", inheritable),
    ];
    // Engines ask for the same in several sets: that is one line.
    let left_out = |(at, (_, lost)): (usize, &(&str, u64))| {
        let lost = *lost;
        if lost == 0 || sets.iter().take(at).any(|(_, earlier)| *earlier == lost) {
            return None;
        }
        let verb = if lost.count_ones() == 1 { "is" } else { "are" };
        let text = format!("{} cannot be granted and {verb} left out", names(lost));
        let names: Vec<&str> = sets.iter().filter(|(_, other)| *other == lost).map(|(set, _)| *set).collect();
        Some(match names.as_slice() {
            [one] => format!("{origin}capabilities.{one}: {text}"),
            several => format!("{origin}capabilities: {text} of {}", several.join(", ")),
        })
    };
    // runc's words, one line each: its users look for them.
    let not_raised = each_name(ambient).map(|name| {
        format!("can't raise ambient capability {name}: operation not permitted: it has to be in the permitted and the inheritable set ({origin}capabilities.ambient)")
    });
    sets.iter().enumerate().filter_map(left_out).chain(not_raised).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: OwnCapabilities = OwnCapabilities { permitted: !0b10, bounding: !0b10, inheritable: 0 };

    fn warned(asked: CapabilitySets, told: Option<CapabilitySets>) -> Vec<String> {
        let mut lanes = Lanes::default();
        grant(&mut lanes, asked, told, OWN, "");
        lanes.warnings
    }

    #[test]
    fn what_the_containers_own_process_lacks_is_told_once() {
        let asked = CapabilitySets { bounding: 0b10, permitted: 0b10, ambient: 0b1, ..Default::default() };
        let first = warned(asked, None);
        assert_eq!(first.len(), 2, "{first:?}");
        let both = "capabilities: CAP_DAC_OVERRIDE cannot be granted and is left out of bounding, permitted";
        assert_eq!(first[0], both);
        assert_eq!(warned(asked, Some(asked)), [""; 0]);
        // One more capability, and one more set.
        let more = CapabilitySets { ambient: 0b101, effective: 0b10, ..asked };
        let news = warned(more, Some(asked));
        assert_eq!(news.len(), 2, "{news:?}");
        assert!(
            news[0].starts_with("capabilities.effective: CAP_DAC_OVERRIDE cannot be granted"),
            "{news:?}"
        );
        assert!(news[1].starts_with("can't raise ambient capability CAP_DAC_READ_SEARCH: "), "{news:?}");
        // The container's process has it: only this one does not get it.
        let granted = CapabilitySets { permitted: 0b1, effective: 0b1, ..Default::default() };
        let alone = CapabilitySets { effective: 0b1, ..Default::default() };
        assert_eq!(warned(alone, Some(granted)).len(), 1);
    }
}
