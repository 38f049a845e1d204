//! Container ids.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// A valid container id: what can be the name of one directory, and of a cgroup.
///
/// Letters, digits and `_`, `+`, `-`, `.`; neither "." nor ".."; at most 255 bytes.
///
/// ```
/// use runtime_core::ContainerId;
///
/// assert_eq!(ContainerId::new("web-1")?.as_str(), "web-1");
/// assert!(ContainerId::new("../web").is_err());
/// # Ok::<(), runtime_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// The longest file name.
const LIMIT: usize = 255;

impl ContainerId {
    /// Checks an id.
    pub fn new(id: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        let reason = match id {
            "" => return Err(Error::new(ErrorKind::InvalidInput, "container id cannot be empty")),
            "." | ".." => "it is a directory of its own",
            long if long.len() > LIMIT => "it is longer than 255 bytes",
            other if !other.bytes().all(allowed) => "only letters, digits and \"_+-.\" are allowed",
            _ => return Ok(Self(id.to_owned())),
        };
        Err(Error::invalid(format!("invalid container ID format: {id:?}"), reason))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_directory_only() {
        for good in ["a", "web-1", "A_b+c.d", "..."] {
            assert!(ContainerId::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(256);
        for bad in ["", ".", "..", "a/b", "a b", "a\nb", "a\0b", "é", "\\x2d", "a:b", long.as_str()] {
            assert!(ContainerId::new(bad).is_err(), "{bad}");
        }
    }
}
