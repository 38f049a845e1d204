//! `linux.resources.unified`: control files of v2 by name.

use std::collections::HashMap;

use super::super::hierarchy::{Mode, Version};
use super::super::plan::Compiler;
use crate::error::{Error, ErrorKind};

/// Core files that would move or end processes instead of limiting the container.
const NOT_LIMITS: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.kill"];

pub(super) fn compile(compiler: &mut Compiler<'_>, entries: &HashMap<String, String>) {
    let idle = entries.get("cpu.idle").is_some_and(|value| value.trim() == "1");
    // An idle cgroup has the least weight there is, and the kernel refuses to set another.
    let mut entries: Vec<_> = entries.iter().filter(|(key, _)| !idle || *key != "cpu.weight").collect();
    entries.sort_unstable();
    for (key, value) in entries {
        let origin = format!("linux.resources.unified[{key:?}]");
        match check_key(key) {
            Err(reason) => compiler.invalid(origin, reason),
            Ok(controller) => entry(compiler, controller, key, value, origin),
        }
    }
}

fn entry(compiler: &mut Compiler<'_>, controller: &str, key: &str, value: &str, origin: String) {
    let core = matches!(controller, "cgroup") && compiler.view.unified().is_some();
    if core || compiler.view.version_of(controller) == Some(Version::V2) {
        // Files such as io.max take one line in a write.
        for line in value.split('\n').filter(|line| !line.is_empty()) {
            compiler.write(controller.to_owned(), key.to_owned(), line, origin.clone());
        }
        return;
    }
    let error = if compiler.view.mode == Mode::Unified {
        Error::new(ErrorKind::Unsupported, format!("unified resource {key:?} can't be set"))
            .reason(format!("controller {controller:?} not available"))
    } else {
        Error::new(ErrorKind::Unsupported, "invalid configuration").reason(format!(
            "cannot use unified resource {key:?} in the {} cgroup view",
            compiler.view.mode.as_str()
        ))
    };
    compiler.errors.push(error.origin(origin));
}

/// The controller of a key; the key becomes a file name, so its form is strict.
fn check_key(key: &str) -> Result<&str, String> {
    let sane = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if key.contains('/') {
        return Err("must be a file name (no slashes)".to_owned());
    }
    match key.split_once('.') {
        Some((controller, parameter))
            if !controller.is_empty()
                && !parameter.is_empty()
                && key.len() < 128
                && key.chars().all(sane) =>
        {
            if NOT_LIMITS.contains(&key) {
                Err("is not a limit".to_owned())
            } else {
                Ok(controller)
            }
        }
        _ => Err("must be in the form CONTROLLER.PARAMETER".to_owned()),
    }
}
