//! features.md and features-linux.md: the structure of the document.

use super::features::features;
use super::{Statement, must};
use crate::case::Case;
use crate::verdict::{Outcome, holds};
use serde_json::Value;

const STRUCTURE: &str = "features.md#features-structure";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must(
        "features-no-null",
        STRUCTURE,
        "what is not known is left out or null, never an empty value of another type",
        types,
    ),
    must(
        "features-known-properties",
        "features.md#specification-version",
        "the document has properties of the specification only",
        known,
    ),
    must(
        "features-version-min",
        "features.md#specification-version",
        "ociVersionMin is there and is a version",
        |case| version(case, "ociVersionMin"),
    ),
    must(
        "features-version-max",
        "features.md#specification-version",
        "ociVersionMax is there and is a version",
        |case| version(case, "ociVersionMax"),
    ),
];

/// What a property is.
enum Form {
    Object,
    Truth,
    Text,
    /// An object of strings.
    Map,
    /// An array of strings.
    Texts,
}

/// Every property, by JSON pointer; all but the versions may be missing or null.
const SCHEMA: &[(&str, Form)] = &[
    ("", Form::Object),
    ("/ociVersionMin", Form::Text),
    ("/ociVersionMax", Form::Text),
    ("/hooks", Form::Texts),
    ("/mountOptions", Form::Texts),
    ("/annotations", Form::Map),
    ("/potentiallyUnsafeConfigAnnotations", Form::Texts),
    ("/linux", Form::Object),
    ("/linux/namespaces", Form::Texts),
    ("/linux/capabilities", Form::Texts),
    ("/linux/cgroup", Form::Object),
    ("/linux/cgroup/v1", Form::Truth),
    ("/linux/cgroup/v2", Form::Truth),
    ("/linux/cgroup/systemd", Form::Truth),
    ("/linux/cgroup/systemdUser", Form::Truth),
    ("/linux/cgroup/rdma", Form::Truth),
    ("/linux/seccomp", Form::Object),
    ("/linux/seccomp/enabled", Form::Truth),
    ("/linux/seccomp/actions", Form::Texts),
    ("/linux/seccomp/operators", Form::Texts),
    ("/linux/seccomp/archs", Form::Texts),
    ("/linux/seccomp/knownFlags", Form::Texts),
    ("/linux/seccomp/supportedFlags", Form::Texts),
    ("/linux/apparmor", Form::Object),
    ("/linux/apparmor/enabled", Form::Truth),
    ("/linux/selinux", Form::Object),
    ("/linux/selinux/enabled", Form::Truth),
    ("/linux/intelRdt", Form::Object),
    ("/linux/intelRdt/enabled", Form::Truth),
    ("/linux/intelRdt/schemata", Form::Truth),
    ("/linux/intelRdt/monitoring", Form::Truth),
    ("/linux/memoryPolicy", Form::Object),
    ("/linux/memoryPolicy/modes", Form::Texts),
    ("/linux/memoryPolicy/flags", Form::Texts),
    ("/linux/mountExtensions", Form::Object),
    ("/linux/mountExtensions/idmap", Form::Object),
    ("/linux/mountExtensions/idmap/enabled", Form::Truth),
    ("/linux/netDevices", Form::Object),
    ("/linux/netDevices/enabled", Form::Truth),
];

impl Form {
    /// Whether a value is of this type, whatever words it has.
    fn has_type(&self, value: &Value) -> bool {
        let texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        match self {
            Form::Object => value.is_object(),
            Form::Truth => value.is_boolean(),
            Form::Text => value.is_string(),
            Form::Map => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
            Form::Texts => texts(value),
        }
    }
}

fn types(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let wrong = SCHEMA.iter().filter(|(pointer, form)| {
        page.pointer(pointer).is_some_and(|value| !value.is_null() && !form.has_type(value))
    });
    let wrong: Vec<&str> = wrong.map(|(pointer, _)| *pointer).collect();
    holds(wrong.is_empty(), "every property has its type", format!("of another type: {wrong:?}"))
}

/// Keys of objects that the table knows; those of maps are free.
fn known(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let objects = SCHEMA.iter().filter(|(_, form)| matches!(form, Form::Object));
    let keys = objects.flat_map(|(pointer, _)| {
        let object = page.pointer(pointer).and_then(Value::as_object);
        object.into_iter().flat_map(|map| map.keys()).map(move |key| format!("{pointer}/{key}"))
    });
    let strange: Vec<String> = keys.filter(|key| !SCHEMA.iter().any(|(pointer, _)| pointer == key)).collect();
    holds(strange.is_empty(), "known properties", format!("not in the specification: {strange:?}"))
}

fn version(case: &mut Case, key: &str) -> Outcome {
    let text = features(case)?[key].clone();
    let core =
        text.as_str().unwrap_or("").split(['-', '+']).next().unwrap_or("").split('.').map(str::parse::<u32>);
    let right = core.clone().count() == 3 && core.clone().all(|part| part.is_ok());
    holds(right, &format!("{key} is a version"), text.to_string())
}
