//! How `state` and `list` show a container.

use std::collections::BTreeMap;

use serde::Serialize;

/// The state of a container in the specification's words, with the fields that runc adds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateView {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    /// 0 for a stopped container.
    pub(crate) pid: u32,
    pub(crate) status: String,
    pub(crate) bundle: String,
    pub(crate) rootfs: String,
    /// RFC 3339.
    pub(crate) created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner: String,
}

impl StateView {
    /// The line of `list`.
    pub(crate) fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.pid.to_string(),
            self.status.clone(),
            self.bundle.clone(),
            self.created.clone(),
            self.owner.clone(),
        ]
    }
}

/// The head of `list`.
pub(crate) fn head() -> Vec<String> {
    ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
        .map(String::from)
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_runcs_order() {
        let view = StateView {
            oci_version: "1.3.0".into(),
            id: "a".into(),
            pid: 1,
            status: "running".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: "2026-11-21T04:14:12.5Z".into(),
            annotations: BTreeMap::new(),
            owner: "root".into(),
        };
        assert_eq!(
            serde_json::to_string(&view).expect("JSON"),
            r#"{"ociVersion":"1.3.0","id":"a","pid":1,"status":"running","bundle":"/b","rootfs":"/b/rootfs","created":"2026-11-21T04:14:12.5Z","owner":"root"}"#
        );
        assert_eq!(view.row().len(), head().len());
    }
}
