//! Collects everything that is wrong with a configuration, so that one run shows all of it.

use std::fmt::Display;

use crate::error::{Error, ErrorKind, Finding, Result};

/// Errors and warnings found so far, each with the JSON path of its field.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl Findings {
    /// Notes that the field `origin` cannot be used.
    pub(super) fn error(&mut self, origin: impl Display, reason: impl Into<String>) {
        self.errors.push((origin.to_string(), one_line(reason.into())));
    }

    /// Notes an error that another module found about a field.
    pub(super) fn add(&mut self, error: &Error) {
        self.error("", error.to_string());
    }

    /// Whether an error is about the field, a part of it or what it is a part of.
    pub(super) fn mention(&self, field: &str) -> bool {
        self.errors.iter().any(|(origin, _)| related(origin, field))
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Notes that a part of the field `origin` is left out or used in another way than written.
    pub(super) fn warning(&mut self, origin: impl Display, reason: impl Display) {
        self.warnings.push(one_line(format!("{origin}: {reason}")));
    }

    /// Notes an error if `text` has a NUL, which no string of the kernel can carry.
    pub(super) fn text(&mut self, origin: impl Display, text: &str) {
        if text.contains('\0') {
            self.error(origin, "contains a NUL byte");
        }
    }

    /// Notes an error if `path` is not an absolute path, or has a NUL.
    pub(super) fn absolute(&mut self, origin: impl Display, path: &str) {
        if !path.starts_with('/') {
            self.error(&origin, format!("{path:?} is not an absolute path"));
        }
        self.text(origin, path);
    }

    /// Forgets findings about fields at, above or below one of `origins`: their values were
    /// refused already, so what follows from that is no news.
    pub(super) fn forget(&mut self, origins: &[String]) {
        self.errors.retain(|(origin, _)| !origins.iter().any(|other| related(origin, other)));
    }

    /// The warnings, or one error with all errors, which begin with `earlier`.
    pub(super) fn finish(self, file: &'static str, earlier: Vec<(String, String)>) -> Result<Vec<String>> {
        if earlier.is_empty() && self.errors.is_empty() {
            return Ok(self.warnings);
        }
        let all: Vec<String> = earlier
            .iter()
            .chain(&self.errors)
            .map(
                |(origin, reason)| {
                    if origin.is_empty() { reason.clone() } else { format!("{origin}: {reason}") }
                },
            )
            // Keys of a configuration are parts of paths.
            .map(one_line)
            .collect();
        let found = earlier.into_iter().chain(self.errors);
        let found = found.map(|(path, reason)| Finding::new(path, reason)).collect();
        Err(Error::new(ErrorKind::InvalidInput, file).reason(all.join("; ")).with_findings(found))
    }
}

/// True if one path is the other or contains it.
fn related(one: &str, other: &str) -> bool {
    let below = |path: &str, parent: &str| {
        path.strip_prefix(parent)
            .is_some_and(|rest| rest.is_empty() || parent.is_empty() || rest.starts_with(['.', '[']))
    };
    below(one, other) || below(other, one)
}

/// Log lines are one line each: what came from the input must not end one.
pub(super) fn one_line(text: String) -> String {
    if text.contains(|c: char| c.is_control()) {
        text.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    /// What an image brings ends no line of a log, and moves no cursor. Control: other texts stay as they are.
    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[2J\0".to_owned()), "a\\nb\\u{1b}[2J\\u{0}");
        assert_eq!(one_line("\"\u{e9}\" is a text".to_owned()), "\"\u{e9}\" is a text");
    }
}
