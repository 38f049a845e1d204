//! The configuration that `spec` writes: a shell in a root file system beside it, as runc has it.

use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Mount, Spec,
};

use serde::Serialize;

use crate::error::{Error, Result};

/// The default configuration, without namespaces that depend on the host.
const TEXT: &str = include_str!("default.json");

/// The configuration that `runtime spec` prints.
///
/// With `rootless` it is for a user without privileges (`uid` and `gid` become root of a user
/// namespace, the network is the host's). A cgroup namespace is asked for if `unified`: where the
/// host has only cgroup v2.
///
/// Serialize it with `serde_json`; the order of capability names is not fixed.
pub fn default_spec(rootless: Option<(u32, u32)>, unified: bool) -> Result<Spec> {
    // As everywhere from bytes: a parser for texts would be another third of a megabyte.
    let mut spec: Spec =
        serde_json::from_slice(TEXT.as_bytes()).map_err(|error| Error::json("default.json", error))?;
    if unified {
        add_namespace(&mut spec, LinuxNamespaceType::Cgroup);
    }
    if let Some((uid, gid)) = rootless {
        make_rootless(&mut spec, uid, gid)?;
    }
    Ok(spec)
}

fn add_namespace(spec: &mut Spec, kind: LinuxNamespaceType) {
    if let Some(linux) = spec.linux_mut() {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        linux.namespaces_mut().get_or_insert_default().push(namespace);
    }
}

fn make_rootless(spec: &mut Spec, uid: u32, gid: u32) -> Result<()> {
    if let Some(linux) = spec.linux_mut() {
        let namespaces = linux.namespaces_mut().get_or_insert_default();
        namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
        linux.set_uid_mappings(Some(vec![single(uid)?]));
        linux.set_gid_mappings(Some(vec![single(gid)?]));
        linux.set_resources(None);
    }
    add_namespace(spec, LinuxNamespaceType::User);
    spec.mounts_mut().iter_mut().flatten().for_each(without_privileges);
    Ok(())
}

fn single(id: u32) -> Result<LinuxIdMapping> {
    let line = LinuxIdMappingBuilder::default().container_id(0u32).host_id(id).size(1u32);
    line.build().map_err(|error| Error::invalid("default.json", error.to_string()))
}

/// A sysfs needs a network namespace of one's own, so the host's is bound; ids other than the one
/// that is mapped cannot own a file system.
fn without_privileges(mount: &mut Mount) {
    if mount.destination().as_os_str() == "/sys" {
        let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
        mount.set_typ(Some("none".to_owned()));
        mount.set_source(Some("/sys".into()));
        mount.set_options(Some(options.map(str::to_owned).to_vec()));
    }
    if let Some(options) = mount.options_mut() {
        options.retain(|option| !option.starts_with("gid=") && !option.starts_with("uid="));
    }
}

/// The default configuration as JSON, to be changed.
pub(crate) fn default_value() -> serde_json::Value {
    // The text is part of this file, and a test reads it.
    serde_json::from_slice(TEXT.as_bytes()).unwrap_or_default()
}

/// [`default_spec`] as text: indented with tabs as runc has it, and the same each time.
pub fn default_config(rootless: Option<(u32, u32)>, unified: bool) -> Result<String> {
    let failed = |reason: String| Error::invalid("default.json", reason);
    let mut bytes = Vec::with_capacity(TEXT.len());
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    default_spec(rootless, unified)?.serialize(&mut serializer).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
    Ok(with_sorted_capabilities(&text))
}

/// The sets of `oci_spec` have no order: sorts each run of lines with capabilities.
fn with_sorted_capabilities(text: &str) -> String {
    let is_capability = |line: &&str| line.trim_start().starts_with("\"CAP_");
    let mut lines = text.lines().peekable();
    let mut sorted: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        if !is_capability(&line) {
            sorted.push(line.to_owned());
            continue;
        }
        let mut run = vec![line.trim_end_matches(',')];
        while let Some(line) = lines.next_if(is_capability) {
            run.push(line.trim_end_matches(','));
        }
        run.sort_unstable();
        sorted.push(run.join(",\n"));
    }
    sorted.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_each_time() {
        let text = default_config(None, false).unwrap();
        for _ in 0..8 {
            assert_eq!(default_config(None, false).unwrap(), text);
        }
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(default_value(), value);
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(TEXT).unwrap());
    }
}
