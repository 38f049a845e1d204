//! What the shim itself reads of a configuration; everything else is the library's.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::fault::Fault;

/// Annotations that name the shim of several containers: the runc shim's own, and the pod of Kubernetes.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// Parts of `config.json`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
    #[serde(default)]
    cgroups_path: String,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

impl Config {
    /// Reads the configuration of a bundle.
    pub(crate) fn read(bundle: &Path) -> Result<Self, Fault> {
        let path = bundle.join("config.json");
        let bytes = std::fs::read(&path).map_err(|error| Fault::system(format!("read {path:?}"), error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Fault::invalid(format!("understand {path:?}: {error}")))
    }

    /// The name that containers of one shim share.
    pub(crate) fn group(&self) -> Option<&str> {
        GROUPS.iter().find_map(|name| self.annotations.get(*name)).map(String::as_str)
    }

    /// Whether the end of the init leaves no other process: then it has a PID namespace of its own.
    pub(crate) fn ends_with_its_init(&self) -> bool {
        self.linux.namespaces.iter().any(|namespace| namespace.kind == "pid" && namespace.path.is_empty())
    }

    /// Whether the cgroup's path is a unit of systemd: `slice:prefix:name`. Engines write that where systemd makes cgroups, and
    /// their options reach a shim other than the runc shim only by a file.
    pub(crate) fn names_a_unit(&self) -> bool {
        let parts: Vec<_> = self.linux.cgroups_path.split(':').collect();
        matches!(parts[..], [slice, _, _] if slice.ends_with(".slice"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn groups() {
        assert_eq!(config("{}").group(), None);
        let pod = r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "pod"}}"#;
        assert_eq!(config(pod).group(), Some("pod"));
    }

    #[test]
    fn pid_namespaces_and_units() {
        assert!(!config("{}").ends_with_its_init());
        assert!(config(r#"{"linux": {"namespaces": [{"type": "pid"}]}}"#).ends_with_its_init());
        let joined = r#"{"linux": {"namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}]}}"#;
        assert!(!config(joined).ends_with_its_init());
        assert!(config(r#"{"linux": {"cgroupsPath": "a.slice:cri:id"}}"#).names_a_unit());
        assert!(!config(r#"{"linux": {"cgroupsPath": "/a/b:c:d"}}"#).names_a_unit());
    }
}
