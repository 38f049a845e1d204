//! `linux.intelRdt`.

use super::findings::Findings;
use super::linux::Parts;

/// What the container wants of resctrl.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IntelRdt {
    /// `closID`: a directory of resctrl, `/` for its root; the container's id if not given.
    pub(crate) clos: Option<String>,
    /// Lines for `schemata`, in the order in which they are written: `l3CacheSchema`, `memBwSchema`,
    /// `schemata`.
    pub(crate) lines: Vec<String>,
    /// How many of the lines an existing directory must have: those that are not of `schemata`.
    pub(crate) compared: usize,
    /// `enableMonitoring`.
    pub(crate) monitoring: bool,
}

pub(super) fn intel_rdt(linux: &Parts<'_>, findings: &mut Findings) -> Option<IntelRdt> {
    let wanted = linux.get(|linux| linux.intel_rdt().as_ref())?;
    let clos = wanted.clos_id().clone().filter(|clos| !clos.is_empty());
    if let Some(clos) = clos.as_deref().filter(|clos| *clos != "/") {
        let reserved = ["info", "mon_groups", "mon_data", ".", ".."];
        if clos.contains(['/', '\0', '\n']) || reserved.contains(&clos) {
            findings.error("linux.intelRdt.closID", format!("{clos:?} is no name of a class of service"));
        }
    }
    let mut lines = Vec::new();
    let fields =
        [("l3CacheSchema", wanted.l3_cache_schema(), "L3:"), ("memBwSchema", wanted.mem_bw_schema(), "MB:")];
    for (field, value, start) in fields {
        let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else { continue };
        // The level of L3 may have variants (L3CODE), so that is a recommendation only.
        if field == "memBwSchema" && !value.starts_with(start) {
            findings.error(format!("linux.intelRdt.{field}"), format!("must begin with {start:?}"));
        }
        lines.push((format!("linux.intelRdt.{field}"), value.clone()));
    }
    let compared = lines.len();
    for (index, value) in wanted.schemata().iter().flatten().enumerate() {
        lines.push((format!("linux.intelRdt.schemata[{index}]"), value.clone()));
    }
    for (origin, value) in &lines {
        if value.contains('\n') {
            findings.error(origin.clone(), "must not contain a newline");
        }
    }
    let lines = lines.into_iter().map(|(_, value)| value).collect();
    Some(IntelRdt { clos, lines, compared, monitoring: wanted.enable_monitoring().unwrap_or(false) })
}
