//! `exec --cgroup [CONTROLLER,...:]PATH`.

use crate::error::{Error, Result};

/// Checks the options against each other; the result is what the library takes.
pub(crate) fn check<'a>(options: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let options: Vec<_> = options.collect();
    let mut seen: Vec<&str> = Vec::new();
    for option in &options {
        let Some((controllers, _)) = option.split_once(':') else {
            if options.len() != 1 {
                return Err(bad(option, "missing <controller>: prefix"));
            }
            continue;
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(bad(option, "empty <controller> prefix"));
            }
            if seen.contains(&controller) {
                return Err(bad(option, "controller specified multiple times"));
            }
            seen.push(controller);
        }
    }
    Ok(options.into_iter().map(str::to_owned).collect())
}

fn bad(option: &str, reason: &'static str) -> Error {
    Error::invalid(format!("invalid --cgroup argument {option:?}"), reason)
}

#[cfg(test)]
mod tests {
    use runtime_core::ErrorKind;

    use super::*;

    #[test]
    fn both_forms() {
        for good in [["a/b"].as_slice(), &["cpu,cpuacct:x"], &["cpu:x", "memory,pids:y"], &[]] {
            assert_eq!(check(good.iter().copied()).expect("cgroups"), good);
        }
        for bad in [["a", "b"].as_slice(), &[":x"], &["cpu,:x"], &["cpu:x", "cpu:y"]] {
            let error = check(bad.iter().copied()).expect_err("bad");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
    }
}
