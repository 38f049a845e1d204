//! Which field of `config.json` asked for something.

use std::borrow::Cow;
use std::fmt;

/// A place in `config.json`; as text it is a JSON path. Those that other code reacts to are values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `mounts[INDEX]`.
    Mount(usize),
    /// `process.rlimits[INDEX]`.
    Rlimit(usize),
    /// `hooks.KIND[INDEX]`.
    Hook {
        /// The kind, as the specification names it.
        kind: &'static str,
        /// The place in the list of its kind.
        index: usize,
    },
    /// Any other field, by its path.
    Field(Box<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Mount(index) => write!(f, "mounts[{index}]"),
            Origin::Rlimit(index) => write!(f, "process.rlimits[{index}]"),
            Origin::Hook { kind, index } => write!(f, "hooks.{kind}[{index}]"),
            Origin::Field(path) => f.write_str(path),
        }
    }
}

impl From<&str> for Origin {
    fn from(path: &str) -> Self {
        Origin::Field(path.into())
    }
}

impl From<&String> for Origin {
    fn from(path: &String) -> Self {
        Origin::Field(path.as_str().into())
    }
}

impl From<String> for Origin {
    fn from(path: String) -> Self {
        Origin::Field(path.into())
    }
}

impl From<&Origin> for Origin {
    fn from(origin: &Origin) -> Self {
        origin.clone()
    }
}

impl From<Origin> for Cow<'static, str> {
    fn from(origin: Origin) -> Self {
        origin.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_path_of_the_configuration() {
        assert_eq!(Origin::Mount(3).to_string(), "mounts[3]");
        assert_eq!(Origin::Rlimit(0).to_string(), "process.rlimits[0]");
        assert_eq!(Origin::Hook { kind: "poststop", index: 1 }.to_string(), "hooks.poststop[1]");
        assert_eq!(Origin::from("root.path").to_string(), "root.path");
    }
}
