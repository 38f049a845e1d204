//! What this version supports, by the names of `config.json`: what a features document lists
//! (features.md, features-linux.md).
//!
//! The names come from the types that parse them and from the tables that give them a meaning.

use oci_spec::runtime::{
    Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator, MemoryPolicyFlagType,
    MemoryPolicyModeType,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::hook::KINDS;
use super::namespace::Kind;
use crate::seccomp::Architecture;

/// The features document of the runtime specification, as engines ask for it; annotations are the program's that prints it.
#[must_use]
pub fn features() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": crate::OCI_VERSION,
        "hooks": hooks().collect::<Vec<_>>(),
        "mountOptions": super::known_mount_options().collect::<Vec<_>>(),
        "linux": {
            "namespaces": namespaces().collect::<Vec<_>>(),
            "capabilities": capabilities(),
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": seccomp_actions(),
                "operators": seccomp_operators(),
                "archs": seccomp_architectures(),
                "knownFlags": seccomp_flags(),
                "supportedFlags": seccomp_flags(),
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {"modes": memory_policy_modes(), "flags": memory_policy_flags()},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}

/// Annotations, or beginnings of their names, that change what a container may do.
const UNSAFE_ANNOTATIONS: [&str; 10] = [
    "bundle",
    "org.systemd.property.",
    "org.criu.config",
    "org.runtime.delegate-cgroup",
    "run.oci.delegate-cgroup",
    "run.oci.hooks.",
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
    "run.oci.pidfd_receiver",
    "run.oci.seccomp.receiver",
];

/// The kinds of hooks, in the order in which they run.
pub fn hooks() -> impl Iterator<Item = &'static str> {
    KINDS.into_iter()
}

/// The kinds of namespaces.
pub fn namespaces() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().map(Kind::name)
}

/// The capabilities, by their numbers (capabilities(7)).
pub fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(|capability| capability.index());
    all.iter().map(ToString::to_string).collect()
}

/// The actions of a seccomp profile.
pub fn seccomp_actions() -> Vec<String> {
    use LinuxSeccompAction::*;
    names(&[
        ScmpActAllow,
        ScmpActErrno,
        ScmpActKill,
        ScmpActKillProcess,
        ScmpActKillThread,
        ScmpActLog,
        ScmpActNotify,
        ScmpActTrace,
        ScmpActTrap,
    ])
}

/// The comparisons of a seccomp profile.
pub fn seccomp_operators() -> Vec<String> {
    use LinuxSeccompOperator::*;
    names(&[ScmpCmpEq, ScmpCmpGe, ScmpCmpGt, ScmpCmpLe, ScmpCmpLt, ScmpCmpMaskedEq, ScmpCmpNe])
}

/// The architectures whose calls a seccomp profile can name.
pub fn seccomp_architectures() -> Vec<String> {
    names(&Architecture::ALL.map(Arch::from))
}

/// The flags of a seccomp filter.
pub fn seccomp_flags() -> Vec<String> {
    use LinuxSeccompFilterFlag::*;
    names(&[
        SeccompFilterFlagTsync,
        SeccompFilterFlagSpecAllow,
        SeccompFilterFlagLog,
        SeccompFilterFlagWaitKillableRecv,
    ])
}

/// The modes of `linux.memoryPolicy`.
pub fn memory_policy_modes() -> Vec<String> {
    use MemoryPolicyModeType::*;
    names(&[
        MpolBind,
        MpolDefault,
        MpolInterleave,
        MpolLocal,
        MpolPreferred,
        MpolPreferredMany,
        MpolWeightedInterleave,
    ])
}

/// The flags of `linux.memoryPolicy`.
pub fn memory_policy_flags() -> Vec<String> {
    use MemoryPolicyFlagType::*;
    names(&[MpolFNumaBalancing, MpolFRelativeNodes, MpolFStaticNodes])
}

/// The names that values have in `config.json`.
fn names<T: Serialize>(values: &[T]) -> Vec<String> {
    let name = |value| serde_json::to_value(value).ok()?.as_str().map(str::to_owned);
    values.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::Filter;

    fn compiles(architecture: &str, rule: &str, flags: &[String]) {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["{architecture}"], "flags": {flags:?},
                "listenerPath": "/agent", "syscalls": [{{"names": ["kill"], {rule}}}]}}"#,
        );
        let profile = crate::spec::parse_profile(text.as_bytes(), "profile").unwrap();
        let filter = Filter::from_profile(&profile).unwrap();
        assert!(filter.warnings().is_empty(), "{text}: {:?}", filter.warnings());
    }

    #[test]
    fn what_is_listed_compiles() {
        for architecture in seccomp_architectures() {
            for action in seccomp_actions() {
                for operator in seccomp_operators() {
                    let argument = format!(r#"{{"index": 0, "value": 1, "op": "{operator}"}}"#);
                    compiles(&architecture, &format!(r#""action": "{action}", "args": [{argument}]"#), &[]);
                }
            }
            compiles(&architecture, r#""action": "SCMP_ACT_NOTIFY""#, &seccomp_flags());
        }
    }

    #[test]
    fn every_list_has_all_its_names() {
        assert_eq!(capabilities().len(), 41);
        assert_eq!(capabilities()[40], "CAP_CHECKPOINT_RESTORE");
        assert_eq!((hooks().count(), namespaces().count()), (6, 8));
        let lists = [
            seccomp_actions(),
            seccomp_operators(),
            seccomp_architectures(),
            seccomp_flags(),
            memory_policy_modes(),
            memory_policy_flags(),
        ];
        assert_eq!(lists.map(|list| list.len()), [9, 7, 6, 4, 7, 3]);
    }
}
