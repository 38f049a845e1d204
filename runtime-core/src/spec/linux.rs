//! The remaining fields of `linux`.

use oci_spec::runtime as oci;
use oci_spec::runtime::{
    LinuxDevice, LinuxIdMapping, LinuxNamespace, LinuxPersonalityDomain, MemoryPolicyFlagType,
    MemoryPolicyModeType,
};

use super::findings::Findings;
use super::mount_options;
use super::namespace::{Kind, Namespaces};
use super::non_empty;

/// `linux`, or what a missing one means.
pub(super) struct Parts<'a>(Option<&'a oci::Linux>);

impl<'a> Parts<'a> {
    pub(super) fn new(linux: Option<&'a oci::Linux>) -> Self {
        Self(linux)
    }

    /// An optional field.
    pub(super) fn get<T>(&self, field: impl FnOnce(&'a oci::Linux) -> Option<T>) -> Option<T> {
        self.0.and_then(field)
    }

    fn list<T>(&self, field: impl FnOnce(&'a oci::Linux) -> &'a Option<Vec<T>>) -> &'a [T] {
        self.0.and_then(|linux| field(linux).as_deref()).unwrap_or_default()
    }

    pub(super) fn namespaces(&self) -> &'a [LinuxNamespace] {
        self.list(|linux| linux.namespaces())
    }

    pub(super) fn uid_mappings(&self) -> &'a [LinuxIdMapping] {
        self.list(|linux| linux.uid_mappings())
    }

    pub(super) fn gid_mappings(&self) -> &'a [LinuxIdMapping] {
        self.list(|linux| linux.gid_mappings())
    }

    pub(super) fn devices(&self) -> &'a [LinuxDevice] {
        self.list(|linux| linux.devices())
    }

    pub(super) fn resources(&self) -> Option<&'a oci::LinuxResources> {
        self.get(|linux| linux.resources().as_ref())
    }

    pub(super) fn seccomp(&self) -> Option<&'a oci::LinuxSeccomp> {
        self.get(|linux| linux.seccomp().as_ref())
    }

    pub(super) fn masked_paths(&self) -> &'a [String] {
        self.list(|linux| linux.masked_paths())
    }

    pub(super) fn readonly_paths(&self) -> &'a [String] {
        self.list(|linux| linux.readonly_paths())
    }
}

/// `linux.memoryPolicy` as set_mempolicy(2) takes it.
#[derive(Debug, Clone)]
pub(crate) struct MemoryPolicy {
    /// MPOL_* with MPOL_F_*.
    pub(crate) mode: i32,
    /// Mask of nodes; empty for none.
    pub(crate) nodes: Vec<u8>,
}

/// `maskedPaths` and `readonlyPaths`.
pub(super) fn paths(
    field: &str,
    paths: &[String],
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<String> {
    if !paths.is_empty() && !namespaces.has(Kind::Mount) {
        findings.error(field, "unable to restrict sys entries without a private MNT namespace");
    }
    for (index, path) in paths.iter().enumerate() {
        findings.absolute(format_args!("{field}[{index}]"), path);
    }
    paths.iter().map(|path| super::mount::clean(path)).collect()
}

/// `maskedPaths`: the root cannot be covered, since a container without any file runs nothing.
pub(super) fn masked_paths(
    linux: &Parts<'_>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<String> {
    for (index, path) in linux.masked_paths().iter().enumerate() {
        if path.starts_with('/') && super::mount::clean(path) == "/" {
            findings.error(format_args!("linux.maskedPaths[{index}]"), "is the root of the container");
        }
    }
    paths("linux.maskedPaths", linux.masked_paths(), namespaces, findings)
}

pub(super) fn root_propagation(linux: &Parts<'_>, findings: &mut Findings) -> Option<u64> {
    let text = non_empty(linux.get(|linux| linux.rootfs_propagation().as_ref()))?;
    let flags = mount_options::propagation(&text);
    if flags.is_none() {
        findings.error("linux.rootfsPropagation", format!("rootfsPropagation={text} is not supported"));
    }
    flags
}

pub(super) fn cgroups_path(linux: &Parts<'_>, findings: &mut Findings) -> Option<String> {
    let path = linux.get(|linux| linux.cgroups_path().as_ref())?.to_string_lossy().into_owned();
    findings.text("linux.cgroupsPath", &path);
    Some(path).filter(|path| !path.is_empty())
}

pub(super) fn mount_label(linux: &Parts<'_>, findings: &mut Findings) -> Option<String> {
    let label = non_empty(linux.get(|linux| linux.mount_label().as_ref()))?;
    findings.text("linux.mountLabel", &label);
    Some(label)
}

pub(super) fn personality(linux: &Parts<'_>, findings: &mut Findings) -> Option<u64> {
    let personality = linux.get(|linux| linux.personality().as_ref())?;
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        findings.warning("linux.personality.flags", "no flag of a personality is supported: ignored");
    }
    Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

pub(super) fn memory_policy(linux: &Parts<'_>, findings: &mut Findings) -> Option<MemoryPolicy> {
    let policy = linux.get(|linux| linux.memory_policy().as_ref())?;
    let text = policy.nodes().as_deref().unwrap_or_default();
    let nodes = bit_mask(text, 1024).unwrap_or_else(|reason| {
        findings.error("linux.memoryPolicy.nodes", format!("invalid memory policy node: {reason}"));
        Vec::new()
    });
    let (mode, takes_nodes) = mode(policy.mode());
    match takes_nodes {
        Some(false) if !nodes.is_empty() => {
            let count: u32 = nodes.iter().map(|byte| byte.count_ones()).sum();
            findings.error(
                "linux.memoryPolicy.nodes",
                format!("memory policy mode requires 0 nodes but got {count}"),
            );
        }
        Some(true) if nodes.is_empty() => {
            findings
                .error("linux.memoryPolicy.nodes", "memory policy mode requires at least one node but got 0");
        }
        _ => {}
    }
    let flags = policy.flags().iter().flatten().fold(0, |all, flag| all | mode_flag(*flag));
    Some(MemoryPolicy { mode: mode | flags, nodes })
}

/// The number of a mode, and whether it needs nodes (`Some(true)`) or refuses them.
fn mode(mode: MemoryPolicyModeType) -> (i32, Option<bool>) {
    // Two modes are newer than libc's list.
    const MPOL_PREFERRED_MANY: i32 = 5;
    const MPOL_WEIGHTED_INTERLEAVE: i32 = 6;
    match mode {
        MemoryPolicyModeType::MpolDefault => (libc::MPOL_DEFAULT, Some(false)),
        MemoryPolicyModeType::MpolLocal => (libc::MPOL_LOCAL, Some(false)),
        MemoryPolicyModeType::MpolBind => (libc::MPOL_BIND, Some(true)),
        MemoryPolicyModeType::MpolInterleave => (libc::MPOL_INTERLEAVE, Some(true)),
        MemoryPolicyModeType::MpolWeightedInterleave => (MPOL_WEIGHTED_INTERLEAVE, Some(true)),
        MemoryPolicyModeType::MpolPreferredMany => (MPOL_PREFERRED_MANY, Some(true)),
        MemoryPolicyModeType::MpolPreferred => (libc::MPOL_PREFERRED, None),
    }
}

fn mode_flag(flag: MemoryPolicyFlagType) -> i32 {
    match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => libc::MPOL_F_NUMA_BALANCING,
        MemoryPolicyFlagType::MpolFRelativeNodes => libc::MPOL_F_RELATIVE_NODES,
        MemoryPolicyFlagType::MpolFStaticNodes => libc::MPOL_F_STATIC_NODES,
    }
}

/// A list such as `0-3,7` as a bit mask of whole 8-byte words; empty for the empty list.
pub(super) fn bit_mask(text: &str, limit: usize) -> Result<Vec<u8>, String> {
    let mut mask: Vec<u8> = Vec::new();
    let number = |part: &str| match part.trim().parse::<usize>() {
        Ok(number) if number < limit => Ok(number),
        _ => Err(format!("{text:?} is not a list such as \"0-3,7\" of numbers below {limit}")),
    };
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{part:?} is a range from high to low"));
        }
        if mask.len() <= last / 8 {
            mask.resize((last / 8).saturating_add(1).next_multiple_of(8), 0);
        }
        for bit in first..=last {
            if let Some(byte) = mask.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::bit_mask;

    #[test]
    fn lists_become_masks_of_whole_words() {
        assert!(bit_mask("", 64).unwrap().is_empty());
        assert_eq!(bit_mask("0-3,7", 64).unwrap(), [0x8f, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bit_mask("64", 128).unwrap().len(), 16);
        assert!(bit_mask("3-1", 64).is_err() && bit_mask("64", 64).is_err() && bit_mask("a", 64).is_err());
    }
}
