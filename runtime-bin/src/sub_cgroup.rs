//! `exec --cgroup [CONTROLLER,...:]PATH`.

use runtime_core::{Error, Result};

/// A cgroup below the container's, for one version 1 controller or, without one, for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubCgroup {
    /// The version 1 controller; `None` on version 2.
    pub(crate) controller: Option<String>,
    /// The path below the container's cgroup.
    pub(crate) path: String,
}

/// Reads all `--cgroup` options.
pub(crate) fn parse<'a>(options: impl Iterator<Item = &'a str>) -> Result<Vec<SubCgroup>> {
    let options: Vec<_> = options.collect();
    let mut cgroups: Vec<SubCgroup> = Vec::new();
    for option in &options {
        let Some((controllers, path)) = option.split_once(':') else {
            if options.len() != 1 {
                return Err(bad(option, "missing <controller>: prefix"));
            }
            return Ok(vec![SubCgroup {
                controller: None,
                path: (*option).to_owned(),
            }]);
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(bad(option, "empty <controller> prefix"));
            }
            if cgroups
                .iter()
                .any(|known| known.controller.as_deref() == Some(controller))
            {
                return Err(bad(option, "controller specified multiple times"));
            }
            cgroups.push(SubCgroup {
                controller: Some(controller.to_owned()),
                path: path.to_owned(),
            });
        }
    }
    Ok(cgroups)
}

fn bad(option: &str, reason: &'static str) -> Error {
    Error::invalid(format!("invalid --cgroup argument {option:?}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        assert_eq!(
            parse(["a/b"].into_iter()).expect("v2"),
            [SubCgroup {
                controller: None,
                path: "a/b".into()
            }]
        );
        let v1 = parse(["cpu,cpuacct:x", "memory:y"].into_iter()).expect("v1");
        let names: Vec<_> = v1
            .iter()
            .filter_map(|cgroup| cgroup.controller.as_deref())
            .collect();
        assert_eq!(names, ["cpu", "cpuacct", "memory"]);
        for bad in [["a", "b"].as_slice(), &[":x"], &["cpu,:x"], &["cpu:x", "cpu:y"]] {
            assert!(parse(bad.iter().copied()).is_err(), "{bad:?}");
        }
    }
}
