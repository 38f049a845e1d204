//! `linux.resources` on its own, as `update` reads it.

use oci_spec::runtime::LinuxResources;
use serde::Deserialize;

use super::findings::Findings;
use super::parse;
use crate::error::Result;

/// Parses `linux.resources` from JSON; `file` names the text in errors. Fields that may be missing may
/// be missing here too. What was passed over comes back as warnings.
///
/// # Errors
///
/// Everything that has a wrong type, each with its JSON path.
pub fn parse_resources(bytes: &[u8], file: &'static str) -> Result<(LinuxResources, Vec<String>)> {
    let (mut resources, parsed) = parse::parse::<LinuxResources>(bytes, file)?;
    let mut findings = Findings::default();
    parsed.warn(&mut findings);
    let warnings = findings.finish(file, parsed.errors)?;
    if !has_pids_limit(bytes) {
        resources.set_pids(None);
    }
    Ok((resources, warnings))
}

/// `oci_spec` reads an absent limit as 0, which is a limit (runtime-spec 1.3, "PIDs").
fn has_pids_limit(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Limit {
        limit: Option<i64>,
    }
    #[derive(Deserialize)]
    struct Resources {
        pids: Option<Limit>,
    }
    serde_json::from_slice::<Resources>(bytes)
        .is_ok_and(|resources| resources.pids.is_some_and(|pids| pids.limit.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_limit_is_none() {
        let pids = |text: &str| parse_resources(text.as_bytes(), "resources").map(|parsed| *parsed.0.pids());
        assert_eq!(pids(r#"{"pids": {}}"#).expect("resources"), None);
        assert_eq!(pids(r#"{"pids": null}"#).expect("resources"), None);
        assert_eq!(pids(r#"{"pids": {"limit": 0}}"#).expect("resources").map(|pids| pids.limit()), Some(0));
    }

    #[test]
    fn wrong_types_are_told_with_their_place() {
        let error = parse_resources(br#"{"memory": {"limit": "x"}}"#, "resources").expect_err("wrong");
        assert!(error.to_string().contains("memory.limit"), "{error}");
        assert!(parse_resources(b"{", "resources").is_err());
    }
}
