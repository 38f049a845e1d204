//! The features document of the runtime specification.

use runtime_core::spec::{known_mount_options, supported};
use serde_json::{Value, json};

use crate::version;

/// What this build does.
const CHECKPOINT: bool = true;
const INTEL_RDT: bool = true;
const NET_DEVICES: bool = true;

/// The document.
pub(crate) fn document() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": version::SPEC,
        "hooks": supported::hooks().collect::<Vec<_>>(),
        "mountOptions": known_mount_options().collect::<Vec<_>>(),
        "linux": {
            "namespaces": supported::namespaces().collect::<Vec<_>>(),
            "capabilities": supported::capabilities(),
            "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": seccomp(),
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": INTEL_RDT, "schemata": INTEL_RDT, "monitoring": INTEL_RDT},
            "memoryPolicy": {
                "modes": supported::memory_policy_modes(),
                "flags": supported::memory_policy_flags(),
            },
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": NET_DEVICES},
        },
        "annotations": {
            "runtime.version": version::VERSION,
            "runtime.commit": version::COMMIT,
            "runtime.checkpoint.enabled": CHECKPOINT.to_string(),
        },
        "potentiallyUnsafeConfigAnnotations": [
            "bundle", "org.systemd.property.", "org.criu.config",
            "org.runtime.delegate-cgroup", "run.oci.delegate-cgroup", "run.oci.hooks.",
            "run.oci.keep_original_groups", "run.oci.mount_context_type", "run.oci.pidfd_receiver",
            "run.oci.seccomp.receiver",
        ],
    })
}

fn seccomp() -> Value {
    json!({
        "enabled": true,
        "actions": supported::seccomp_actions(),
        "operators": supported::seccomp_operators(),
        "archs": supported::seccomp_architectures(),
        "knownFlags": supported::seccomp_flags(),
        "supportedFlags": supported::seccomp_flags(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_engines_look_for() {
        let document = super::document();
        let options = document["mountOptions"].as_array().expect("options");
        assert!(options.iter().any(|option| option == "rro"));
        let namespaces = document["linux"]["namespaces"].as_array().expect("namespaces");
        assert!(namespaces.iter().any(|namespace| namespace == "user"));
        assert_eq!(document["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(document["linux"]["capabilities"].as_array().map(Vec::len), Some(41));
    }
}
