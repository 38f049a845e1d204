//! Id maps: `uidMappings` and `gidMappings` of the container and of mounts.

use oci_spec::runtime::LinuxIdMapping;

use super::findings::Findings;
use super::{Kind, ValidProcess, ValidSpec};
use crate::plan::IdRange;

/// Extents that a map holds at most: `UID_GID_MAP_MAX_EXTENTS` of the kernel, since 4.15.
const EXTENTS: usize = 340;
/// The kernel takes a map in one write of less than a page.
const BYTES: usize = 4096;

/// Checks the lines of a map and merges those that continue each other.
pub(super) fn convert(origin: &str, lines: &[LinuxIdMapping], findings: &mut Findings) -> Vec<IdRange> {
    let of = |line: &LinuxIdMapping| IdRange {
        container: line.container_id(),
        host: line.host_id(),
        size: line.size(),
    };
    extents(origin, lines.iter().map(of), findings)
}

/// The same with extents of whatever origin.
pub(super) fn extents(
    origin: &str,
    lines: impl ExactSizeIterator<Item = IdRange>,
    findings: &mut Findings,
) -> Vec<IdRange> {
    let mut ranges: Vec<IdRange> = Vec::with_capacity(lines.len());
    for (index, range) in lines.enumerate() {
        if let Some(reason) = fault(range) {
            findings.error(format!("{origin}[{index}]"), reason);
            continue;
        }
        match ranges.last_mut() {
            Some(last) if continues(*last, range) => last.size = last.size.saturating_add(range.size),
            _ => ranges.push(range),
        }
    }
    overlaps(origin, &ranges, findings);
    limits(origin, &ranges, findings);
    ranges
}

/// The id 4294967295 is "no id" and cannot be mapped, so an extent ends below it.
fn fault(range: IdRange) -> Option<&'static str> {
    let fits = |first: u32| first.checked_add(range.size).is_some();
    match () {
        () if range.size == 0 => Some("size is 0"),
        () if !fits(range.container) => Some("containerID and size go beyond the last id"),
        () if !fits(range.host) => Some("hostID and size go beyond the last id"),
        () => None,
    }
}

fn continues(last: IdRange, next: IdRange) -> bool {
    last.container.checked_add(last.size) == Some(next.container)
        && last.host.checked_add(last.size) == Some(next.host)
        && last.size.checked_add(next.size).is_some()
}

fn overlaps(origin: &str, ranges: &[IdRange], findings: &mut Findings) {
    for (field, first) in
        [("containerID", (|range| range.container) as fn(&IdRange) -> u32), ("hostID", |range| range.host)]
    {
        let mut sorted: Vec<&IdRange> = ranges.iter().collect();
        sorted.sort_by_key(|range| first(range));
        let overlap = sorted.iter().zip(sorted.iter().skip(1));
        let mut overlap = overlap.filter(|(one, next)| first(one).saturating_add(one.size) > first(next));
        if let Some((_, twice)) = overlap.next() {
            findings.error(origin, format!("{field} {} is mapped twice", first(twice)));
        }
    }
}

fn limits(origin: &str, ranges: &[IdRange], findings: &mut Findings) {
    if ranges.len() > EXTENTS {
        findings.error(origin, format!("has {} extents, the kernel takes {EXTENTS}", ranges.len()));
    }
    let bytes = text(ranges).len();
    if bytes >= BYTES {
        findings.error(origin, format!("is a text of {bytes} bytes, the kernel takes less than {BYTES}"));
    }
}

/// The map as the kernel reads it.
pub(crate) fn text(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.container, range.host, range.size)).collect()
}

/// What a new user namespace must map: root, and the user of the process.
pub(super) fn check(spec: &ValidSpec, findings: &mut Findings) {
    let given = !spec.uid_map.is_empty() && !spec.gid_map.is_empty();
    // From a map with faults nothing follows.
    let faults = findings.mention("linux.uidMappings") || findings.mention("linux.gidMappings");
    if !spec.namespaces.makes(Kind::User) || !given || faults {
        return;
    }
    for (origin, map) in [("linux.uidMappings", &spec.uid_map), ("linux.gidMappings", &spec.gid_map)] {
        if !is_mapped(map, 0) {
            findings.error(origin, "id 0 of the container is not mapped");
        }
    }
    let Some(process) = &spec.process else { return };
    // Whether groups can be set at all is known to the plan, which checks them.
    if let Some((field, reason)) = unmapped_id(process, &[], &spec.uid_map, &spec.gid_map) {
        findings.error(field, reason);
    }
}

/// The first id of the process that the maps do not have: JSON path of its field, and the reason.
pub(crate) fn unmapped_id(
    process: &ValidProcess,
    groups: &[u32],
    uid_map: &[IdRange],
    gid_map: &[IdRange],
) -> Option<(String, String)> {
    let groups = groups.iter().map(|gid| ("additionalGids", gid_map, *gid));
    let ids = [("uid", uid_map, process.uid), ("gid", gid_map, process.gid)];
    let (field, _, id) = ids.into_iter().chain(groups).find(|(_, map, id)| !is_mapped(map, *id))?;
    Some((format!("{}user.{field}", process.origin), format!("{id} is not mapped in the user namespace")))
}

pub(super) fn is_mapped(map: &[IdRange], id: u32) -> bool {
    map.iter().any(|range| (range.container..range.container.saturating_add(range.size)).contains(&id))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxIdMappingBuilder;

    use super::*;

    fn line(container: u32, host: u32, size: u32) -> LinuxIdMapping {
        let line = LinuxIdMappingBuilder::default().container_id(container).host_id(host);
        line.size(size).build().unwrap()
    }

    fn errors(lines: &[LinuxIdMapping]) -> String {
        let mut findings = Findings::default();
        convert("m", lines, &mut findings);
        findings.finish("f", Vec::new()).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn lines_that_continue_each_other_are_merged() {
        let mut findings = Findings::default();
        let lines = [line(0, 1000, 1), line(1, 1001, 10), line(11, 5000, 5)];
        let ranges = convert("m", &lines, &mut findings);
        assert_eq!(text(&ranges), "0 1000 11\n11 5000 5\n");
    }

    #[test]
    fn at_most_340_extents_and_one_page() {
        let scattered = |count: u32| -> Vec<_> { (0..count).map(|i| line(i * 2, i * 3, 1)).collect() };
        assert_eq!(errors(&scattered(340)), "");
        assert!(errors(&scattered(341)).contains("has 341 extents"));
        let long: Vec<_> = (0..340).map(|i| line(1_000_000 + i * 2, 1_000_000 + i * 3, 1)).collect();
        assert!(errors(&long).contains("bytes"));
        // A thousand adjacent lines are one extent.
        let adjacent: Vec<_> = (0..1000).map(|i| line(i, 1000 + i, 1)).collect();
        assert_eq!(errors(&adjacent), "");
    }

    #[test]
    fn sizes_and_overlaps() {
        assert!(errors(&[line(0, 0, 0)]).contains("m[0]: size is 0"));
        assert!(errors(&[line(1, 0, u32::MAX)]).contains("containerID and size"));
        assert_eq!(errors(&[line(0, 0, u32::MAX)]), "");
        assert!(errors(&[line(0, 0, 5), line(4, 10, 5)]).contains("containerID 4 is mapped twice"));
        assert!(errors(&[line(0, 0, 5), line(5, 4, 5)]).contains("hostID 4 is mapped twice"));
    }
}
