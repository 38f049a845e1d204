//! `linux.resources` on its own, as `update` reads it.

use oci_spec::runtime::LinuxResources;
use serde::Deserialize;

use super::findings::Findings;
use super::names::Canonical;
use super::parse;
use crate::error::Result;

/// Parses `linux.resources` from JSON; `file` names the text in errors. Fields that may be missing may
/// be missing here too. What was passed over comes back as warnings.
///
/// # Errors
///
/// Everything that has a wrong type, each with its JSON path.
pub fn parse_resources(bytes: &[u8], file: &'static str) -> Result<(LinuxResources, Vec<String>)> {
    let text = Canonical::of::<LinuxResources>(bytes);
    let (mut resources, parsed) = parse::parse::<LinuxResources>(&text, file)?;
    let mut findings = Findings::default();
    parsed.warn(&mut findings);
    let warnings = findings.finish(file, parsed.errors)?;
    unset_pids(&mut resources, &text.bytes);
    Ok((resources, warnings))
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<i64>,
}

#[derive(Deserialize)]
struct Resources {
    pids: Option<Limit>,
}

impl Resources {
    fn has_limit(&self) -> bool {
        self.pids.as_ref().is_some_and(|pids| pids.limit.is_some())
    }

    /// Of `bytes` that are the resources or a whole configuration.
    fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Linux {
            resources: Option<Resources>,
        }
        #[derive(Deserialize)]
        struct Config {
            linux: Option<Linux>,
        }
        let config: Option<Config> = serde_json::from_slice(bytes).ok();
        let in_config = config.and_then(|config| config.linux?.resources);
        in_config.or_else(|| serde_json::from_slice(bytes).ok())
    }
}

/// `oci_spec` reads an absent limit as 0, which is a limit (runtime-spec 1.3, "PIDs"): takes it out
/// again if `bytes`, the resources or a whole configuration, do not say it.
pub(super) fn unset_pids(resources: &mut LinuxResources, bytes: &[u8]) {
    if resources.pids().is_none_or(|pids| pids.limit() != 0) {
        return;
    }
    if !Resources::parse(bytes).is_some_and(|said| said.has_limit()) {
        resources.set_pids(None);
    }
}

/// From this minor version on a limit of zero processes is one (config-linux.md, "PIDs").
const ZERO_PIDS_SINCE: u32 = 3;

/// Before, the text was silent. Engines wrote 0 where they meant no limit, such as Podman 4 for its documented
/// `--pids-limit -1`, and runtimes took it so: it changes nothing, and needs no controller.
pub(crate) fn forget_zero_pids(minor: u32, resources: &mut LinuxResources) {
    if minor < ZERO_PIDS_SINCE && resources.pids().is_some_and(|pids| pids.limit() == 0) {
        resources.set_pids(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_size_by_its_other_name() {
        for (text, size) in [
            (r#"{"hugepageLimits": [{"pagesize": "2MB", "limit": 1}]}"#, "2MB"),
            (r#"{"hugepageLimits": [{"pageSize": "1GB", "pagesize": "2MB", "limit": 1}]}"#, "1GB"),
            (r#"{"hugepageLimits": [{"limit": 1}]}"#, ""),
        ] {
            let mut config: serde_json::Value =
                serde_json::to_value(crate::spec::default_spec(None, true).expect("a spec")).expect("JSON");
            config["linux"]["resources"] = serde_json::from_str(text).expect("JSON");
            let spec = crate::spec::ValidSpec::parse(config.to_string().as_bytes()).expect("valid");
            let alone = parse_resources(text.as_bytes(), "resources").expect("resources").0;
            for resources in [alone, spec.resources.expect("resources")] {
                let limits = resources.hugepage_limits().clone().expect("limits");
                assert_eq!(limits[0].page_size(), size, "{text}");
            }
        }
    }

    #[test]
    fn an_absent_limit_is_none() {
        let pids = |text: &str| parse_resources(text.as_bytes(), "resources").map(|parsed| *parsed.0.pids());
        assert_eq!(pids(r#"{"pids": {}}"#).expect("resources"), None);
        assert_eq!(pids(r#"{"pids": null}"#).expect("resources"), None);
        assert_eq!(pids(r#"{"pids": {"limit": 0}}"#).expect("resources").map(|pids| pids.limit()), Some(0));
    }

    #[test]
    fn an_absent_limit_of_a_configuration_is_none() {
        let pids = |text: &str| {
            let mut config: serde_json::Value =
                serde_json::to_value(crate::spec::default_spec(None, true).expect("a spec")).expect("JSON");
            config["linux"]["resources"]["pids"] = serde_json::from_str(text).expect("JSON");
            let spec = crate::spec::ValidSpec::parse(config.to_string().as_bytes()).expect("valid");
            spec.resources.and_then(|resources| *resources.pids()).map(|pids| pids.limit())
        };
        assert_eq!((pids("{}"), pids("null")), (None, None));
        assert_eq!((pids(r#"{"limit": 0}"#), pids(r#"{"limit": -1}"#)), (Some(0), Some(-1)));
    }

    #[test]
    fn no_processes_are_no_limit_before_1_3() {
        let limit = |version: &str, limit: i64| {
            let mut config: serde_json::Value =
                serde_json::to_value(crate::spec::default_spec(None, true).expect("a spec")).expect("JSON");
            config["ociVersion"] = version.into();
            config["linux"]["resources"]["pids"] = serde_json::json!({"limit": limit});
            let spec = crate::spec::ValidSpec::parse(config.to_string().as_bytes()).expect("valid");
            spec.resources.and_then(|resources| *resources.pids()).map(|pids| pids.limit())
        };
        for old in ["1.0.0", "1.0.2-dev", "1.1", "1.2.1+dev"] {
            assert_eq!((limit(old, 0), limit(old, -1), limit(old, 7)), (None, Some(-1), Some(7)), "{old}");
        }
        for new in ["1.3.0", "1.3.0-rc.1", "1.4", "1.10.0"] {
            assert_eq!((limit(new, 0), limit(new, -1)), (Some(0), Some(-1)), "{new}");
        }
    }

    #[test]
    fn wrong_types_are_told_with_their_place() {
        let error = parse_resources(br#"{"memory": {"limit": "x"}}"#, "resources").expect_err("wrong");
        assert!(error.to_string().contains("memory.limit"), "{error}");
        assert!(parse_resources(b"{", "resources").is_err());
    }
}
