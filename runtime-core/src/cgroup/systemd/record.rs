//! What the state of a container has of its unit; a build without the systemd driver reads it too.

use serde::{Deserialize, Serialize};

/// A unit that is or was made, as the state file keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Its name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) manager: Manager,
    /// Its description, by which one that systemd may have made is known to be the container's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
}

/// Which service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Manager {
    /// The one of the machine.
    System,
    /// The one of the calling user.
    User,
}
