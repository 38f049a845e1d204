//! The options that were given, in their order.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::Opt;

/// The values of given options; the last one of an option wins unless it is read by `all`.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<(&'static str, OsString)>);

impl Values {
    pub(super) fn push(&mut self, option: &Opt, value: OsString) {
        self.0.push((option.name, value));
    }

    /// The option's last value, if it was given.
    pub(crate) fn get(&self, option: &Opt) -> Option<&OsStr> {
        self.0.iter().rev().find(|(name, _)| *name == option.name).map(|(_, value)| value.as_os_str())
    }

    /// Whether the flag is set; `None` if it was not given.
    pub(crate) fn given_flag(&self, option: &Opt) -> Option<bool> {
        self.get(option).map(|value| value == "true")
    }

    /// Whether the flag is set.
    pub(crate) fn flag(&self, option: &Opt) -> bool {
        self.given_flag(option).unwrap_or(false)
    }

    /// The option's value as a path; an empty value counts as not given.
    pub(crate) fn path(&self, option: &Opt) -> Option<PathBuf> {
        self.get(option).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The option's value as text; an empty value counts as not given. The parser has checked
    /// that every value which is not a path is UTF-8.
    pub(crate) fn text(&self, option: &Opt) -> Option<&str> {
        self.get(option).and_then(OsStr::to_str).filter(|value| !value.is_empty())
    }

    /// The option's number; the parser has checked it.
    pub(crate) fn number(&self, option: &Opt) -> Option<i64> {
        self.text(option).and_then(|text| text.parse().ok())
    }

    /// Every value of a repeatable option.
    pub(crate) fn all<'a>(&'a self, option: &Opt) -> impl Iterator<Item = &'a str> {
        let wanted = option.name;
        self.0.iter().filter(move |(name, _)| *name == wanted).filter_map(|(_, value)| value.to_str())
    }
}
