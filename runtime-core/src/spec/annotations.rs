//! `annotations`, and those of crun that mean something here (ARCHITECTURE.md, "What crun has").

use std::collections::BTreeMap;

use oci_spec::runtime::Spec;

use super::findings::Findings;

const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";
const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
const SYSTEMD_SUBGROUP: &str = "run.oci.systemd.subgroup";

/// The mount options that take a label of SELinux (mount(8)).
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

pub(super) fn annotations(spec: &Spec, findings: &mut Findings) -> BTreeMap<String, String> {
    let annotations = spec.annotations().iter().flatten();
    if annotations.clone().any(|(key, _)| key.is_empty()) {
        findings.error("annotations", "a key is empty");
    }
    if get(spec, SYSTEMD_SUBGROUP).is_some_and(|name| !name.is_empty()) {
        findings.warning(
            format_args!("annotations.{SYSTEMD_SUBGROUP}"),
            "the scope itself is the cgroup of the container: no cgroup is made below it",
        );
    }
    annotations.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn get<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}

/// The mount option for `linux.mountLabel`.
pub(super) fn mount_context(spec: &Spec, findings: &mut Findings) -> &'static str {
    let [default, ..] = CONTEXTS;
    let Some(asked) = get(spec, MOUNT_CONTEXT) else { return default };
    CONTEXTS.into_iter().find(|known| *known == asked).unwrap_or_else(|| {
        let reason = format!("{asked:?} is not one of {}", CONTEXTS.join(", "));
        findings.error(format_args!("annotations.{MOUNT_CONTEXT}"), reason);
        default
    })
}

/// The socket for the listener of a profile that names none itself.
pub(super) fn seccomp_receiver<'a>(spec: &'a Spec, findings: &mut Findings) -> Option<&'a str> {
    let path = get(spec, SECCOMP_RECEIVER).filter(|path| !path.is_empty())?;
    findings.absolute(format_args!("annotations.{SECCOMP_RECEIVER}"), path);
    Some(path)
}
