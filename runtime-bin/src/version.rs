//! The text of `--version`.
//!
//! Docker takes the first word as the name and the word after `version` as the version.

/// The program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that the program was built from, or "unknown".
pub(crate) const COMMIT: &str = env!("RUNTIME_COMMIT");

/// The newest version of the runtime specification that the program knows.
pub(crate) const SPEC: &str = "1.3.0";

/// The three lines of `--version`.
pub(crate) fn text() -> String {
    format!("{} version {VERSION}\ncommit: {COMMIT}\nspec: {SPEC}\n", crate::name::program())
}

#[cfg(test)]
mod tests {
    #[test]
    fn three_lines() {
        let text = super::text();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with(&format!(" version {}", super::VERSION)));
        assert!(lines[1].starts_with("commit: "));
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}
