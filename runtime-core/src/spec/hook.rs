//! `hooks`.

use std::collections::BTreeMap;

use oci_spec::runtime as oci;

use super::findings::Findings;
use crate::origin::Origin;

/// The hooks of all six kinds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hooks {
    /// Deprecated: run with `create_runtime`, before it.
    pub(crate) prestart: Vec<Hook>,
    /// In the runtime's namespaces, after the container's are made.
    pub(crate) create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root changes.
    pub(crate) create_container: Vec<Hook>,
    /// In the container, before the program.
    pub(crate) start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the program began.
    pub(crate) poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container is deleted.
    pub(crate) poststop: Vec<Hook>,
}

/// A program to run at a point of the life cycle, with the container's state as its input.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    /// Absolute path.
    pub(crate) path: String,
    /// Arguments, with the program's name.
    pub(crate) args: Vec<String>,
    /// Environment; none where the field is missing.
    pub(crate) env: Option<Vec<String>>,
    /// Limit in seconds.
    pub(crate) timeout: Option<u32>,
    /// JSON path.
    pub(crate) origin: Origin,
}

/// The annotations that name files for what hooks print, relative to the bundle: the standard output, and
/// the standard error output. The names are crun's.
pub(crate) const OUTPUTS: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];

/// The file that an annotation names, if any.
pub(crate) fn output<'a>(annotations: &'a BTreeMap<String, String>, annotation: &str) -> Option<&'a str> {
    annotations.get(annotation).map(String::as_str).filter(|path| !path.is_empty())
}

/// The names of the kinds in `config.json`, in the order in which they run.
pub(super) const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

pub(super) fn hooks(hooks: Option<&oci::Hooks>, findings: &mut Findings) -> Hooks {
    let Some(hooks) = hooks else {
        return Hooks::default();
    };
    #[allow(deprecated, reason = "prestart hooks are run as long as engines have them")]
    let prestart = hooks.prestart();
    let [first, create_runtime, create_container, start_container, poststart, poststop] = KINDS;
    Hooks {
        prestart: convert(first, prestart, findings),
        create_runtime: convert(create_runtime, hooks.create_runtime(), findings),
        create_container: convert(create_container, hooks.create_container(), findings),
        start_container: convert(start_container, hooks.start_container(), findings),
        poststart: convert(poststart, hooks.poststart(), findings),
        poststop: convert(poststop, hooks.poststop(), findings),
    }
}

fn convert(kind: &'static str, hooks: &Option<Vec<oci::Hook>>, findings: &mut Findings) -> Vec<Hook> {
    let hooks = hooks.iter().flatten().enumerate();
    hooks.map(|(index, hook)| one(Origin::Hook { kind, index }, hook, findings)).collect()
}

fn one(origin: Origin, hook: &oci::Hook, findings: &mut Findings) -> Hook {
    let path = hook.path().to_string_lossy().into_owned();
    findings.absolute(format_args!("{origin}.path"), &path);
    for text in hook.args().iter().flatten() {
        findings.text(format_args!("{origin}.args"), text);
    }
    for text in hook.env().iter().flatten() {
        findings.text(format_args!("{origin}.env"), text);
    }
    let timeout = hook.timeout().map(|seconds| match u32::try_from(seconds) {
        Ok(seconds) if seconds > 0 && seconds <= u32::MAX / 1000 => seconds,
        _ => {
            findings.error(
                format_args!("{origin}.timeout"),
                format!("{seconds} is not a number of seconds above 0"),
            );
            1
        }
    });
    let args = hook.args().clone().filter(|args| !args.is_empty());
    Hook { args: args.unwrap_or_else(|| vec![path.clone()]), env: hook.env().clone(), path, timeout, origin }
}
