//! `exec --cgroup [CONTROLLER,...:]PATH`.

use runtime_core::{Error, ErrorKind, Result};

/// Checks the options against each other; the result is what the library takes.
pub(crate) fn check<'a>(options: impl Iterator<Item = &'a str>) -> Result<Option<String>> {
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
    match options.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).to_owned())),
        _ => Err(Error::new(ErrorKind::Unsupported, "several --cgroup options")
            .hint("name all controllers that share a path in one, such as cpu,memory:path")),
    }
}

fn bad(option: &str, reason: &'static str) -> Error {
    Error::invalid(format!("invalid --cgroup argument {option:?}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        assert_eq!(check(["a/b"].into_iter()).expect("v2").as_deref(), Some("a/b"));
        assert_eq!(check(["cpu,cpuacct:x"].into_iter()).expect("v1").as_deref(), Some("cpu,cpuacct:x"));
        assert_eq!(check([].into_iter()).expect("none"), None);
        for bad in [["a", "b"].as_slice(), &[":x"], &["cpu,:x"], &["cpu:x", "cpu:y"]] {
            let error = check(bad.iter().copied()).expect_err("bad");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
    }
}
