//! `spec`.

use std::fs::File;
use std::io::{ErrorKind, Write as _};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};
use runtime_core::spec::default_spec;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use crate::args::options;
use crate::error::{Error, Result};

/// The name that the specification gives the configuration.
const CONFIG: &str = "config.json";

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let options = context.options();
    let cgroup2 = statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let rootless = options.flag(&options::SPEC_ROOTLESS).then(|| (geteuid().as_raw(), getegid().as_raw()));
    let text = text(&default_spec(rootless, cgroup2)?)?;
    let name = options.path(&options::SPEC_FILE).unwrap_or_else(|| CONFIG.into());
    let path = options.path(&options::BUNDLE).unwrap_or_default().join(name);
    let mut file = File::options().write(true).create_new(true).open(&path).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return Error::new(
                runtime_core::ErrorKind::AlreadyExists,
                format!("File {} exists. Remove it first", path.display()),
            );
        }
        Error::io(format!("create {path:?}"), &error)
    })?;
    file.write_all(&text).map_err(|error| Error::io(format!("write {path:?}"), &error))
}

/// The top level of a configuration in the order in which people read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ordered {
    oci_version: Value,
    process: Value,
    root: Value,
    hostname: Value,
    mounts: Value,
    linux: Value,
}

/// The configuration as JSON, indented by tabs.
fn text(spec: &impl Serialize) -> Result<Vec<u8>> {
    let failed = |error: serde_json::Error| Error::invalid(CONFIG, error.to_string());
    let mut spec = serde_json::to_value(spec).map_err(failed)?;
    // The library keeps capabilities as sets, whose order changes from run to run.
    let sets = spec.pointer_mut("/process/capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
        if let Some(names) = set.as_array_mut() {
            names.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
    }
    let mut take = |name: &str| spec.get_mut(name).map(Value::take).unwrap_or_default();
    let ordered = Ordered {
        oci_version: take("ociVersion"),
        process: take("process"),
        root: take("root"),
        hostname: take("hostname"),
        mounts: take("mounts"),
        linux: take("linux"),
    };
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    ordered.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter)).map_err(failed)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_a_valid_configuration() {
        for rootless in [None, Some((1000, 1000))] {
            let spec = default_spec(rootless, true).expect("a configuration");
            let bytes = text(&spec).expect("JSON");
            runtime_core::spec::ValidSpec::parse(&bytes).expect("valid");
            assert_eq!(bytes, text(&spec).expect("JSON"), "the same each time");
        }
    }
}
