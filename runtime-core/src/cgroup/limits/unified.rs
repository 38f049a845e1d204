//! `linux.resources.unified`: control files of v2 by name.

use std::collections::BTreeMap;

use super::super::hierarchy::{Mode, Version};
use super::super::plan::Compiler;
use super::super::resources::ControlFile;
use crate::error::{Error, ErrorKind};

pub(super) fn compile(compiler: &mut Compiler<'_>, entries: &BTreeMap<ControlFile, String>) {
    let idle = entries.iter().any(|(file, value)| file.as_str() == "cpu.idle" && value.trim() == "1");
    for (file, value) in entries {
        // An idle cgroup has the least weight there is, and the kernel refuses to set another.
        if idle && file.as_str() == "cpu.weight" {
            continue;
        }
        entry(
            compiler,
            file.controller(),
            file.as_str(),
            value,
            format!("linux.resources.unified[{:?}]", file.as_str()),
        );
    }
}

fn entry(compiler: &mut Compiler<'_>, controller: &str, key: &str, value: &str, origin: String) {
    // The kernel takes a value up to its first NUL.
    if value.contains('\0') {
        compiler.errors.push(Error::invalid(origin, "contains a NUL byte"));
        return;
    }
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
