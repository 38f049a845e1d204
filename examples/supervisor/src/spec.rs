//! The file that describes a pod.

use std::path::Path;
use std::time::Duration;

use runtime_core::Exit;
use serde::Deserialize;

use crate::Result;

/// A pod.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// Its name, and that of the host that its containers are.
    pub(crate) name: String,
    /// Its containers.
    pub(crate) containers: Vec<Service>,
}

/// A container of a pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// Its name in the pod.
    pub(crate) name: String,
    /// The program and its arguments.
    pub(crate) args: Vec<String>,
    /// When it is started again.
    #[serde(default)]
    pub(crate) restart: Restart,
    /// The most memory, in bytes.
    pub(crate) memory: Option<u64>,
}

/// When a container is started again, after it has ended.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    /// Never.
    #[default]
    Never,
    /// When its status was not 0, so often.
    OnFailure(u32),
    /// Always.
    Always,
}

impl Restart {
    /// Whether a container that has ended so is started again, after `times` restarts.
    pub(crate) fn applies(self, exit: Exit, times: u32) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure(limit) => !exit.success() && times < limit,
            Self::Always => true,
        }
    }
}

/// How long the next start has to wait: longer each time, so that a container that fails at once does not fill a processor.
pub(crate) fn back_off(times: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(30);
    FIRST.saturating_mul(1 << times.min(16)).min(MOST)
}

/// Reads the file.
pub(crate) fn read(path: &Path) -> Result<Spec> {
    let text = std::fs::read(path).map_err(|error| format!("read {path:?}: {error}"))?;
    Ok(serde_json::from_slice(&text).map_err(|error| format!("{path:?}: {error}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_and_waits() {
        let failed = Exit::Code(1);
        assert!(!Restart::Never.applies(failed, 0));
        assert!(Restart::OnFailure(2).applies(failed, 1) && !Restart::OnFailure(2).applies(failed, 2));
        assert!(
            !Restart::OnFailure(2).applies(Exit::Code(0), 0)
                && Restart::OnFailure(1).applies(Exit::Signal(runtime_core::Signal::KILL), 0)
        );
        assert!(Restart::Always.applies(Exit::Code(0), 1000));
        assert_eq!(back_off(0), Duration::from_millis(100));
        assert_eq!(back_off(3), Duration::from_millis(800));
        assert_eq!(back_off(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn a_file_is_read() {
        let text =
            r#"{"name": "p", "containers": [{"name": "a", "args": ["true"], "restart": {"on-failure": 3}}]}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        assert!(matches!(spec.containers[0].restart, Restart::OnFailure(3)));
        assert!(serde_json::from_str::<Spec>(r#"{"name": "p", "containers": [], "x": 1}"#).is_err());
    }
}
