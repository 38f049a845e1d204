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
    must("features-words", STRUCTURE, "every listed word is one that the specification has", words),
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
    /// An array of these.
    Words(&'static [&'static str]),
}

/// Every property, by JSON pointer; all but the versions may be missing or null.
const SCHEMA: &[(&str, Form)] = &[
    ("", Form::Object),
    ("/ociVersionMin", Form::Text),
    ("/ociVersionMax", Form::Text),
    (
        "/hooks",
        Form::Words(&[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ]),
    ),
    ("/mountOptions", Form::Texts),
    ("/annotations", Form::Map),
    ("/potentiallyUnsafeConfigAnnotations", Form::Texts),
    ("/linux", Form::Object),
    ("/linux/namespaces", Form::Words(&["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"])),
    ("/linux/capabilities", Form::Texts),
    ("/linux/cgroup", Form::Object),
    ("/linux/cgroup/v1", Form::Truth),
    ("/linux/cgroup/v2", Form::Truth),
    ("/linux/cgroup/systemd", Form::Truth),
    ("/linux/cgroup/systemdUser", Form::Truth),
    ("/linux/cgroup/rdma", Form::Truth),
    ("/linux/seccomp", Form::Object),
    ("/linux/seccomp/enabled", Form::Truth),
    (
        "/linux/seccomp/actions",
        Form::Words(&[
            "SCMP_ACT_KILL",
            "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD",
            "SCMP_ACT_TRAP",
            "SCMP_ACT_ERRNO",
            "SCMP_ACT_TRACE",
            "SCMP_ACT_ALLOW",
            "SCMP_ACT_LOG",
            "SCMP_ACT_NOTIFY",
        ]),
    ),
    (
        "/linux/seccomp/operators",
        Form::Words(&[
            "SCMP_CMP_NE",
            "SCMP_CMP_LT",
            "SCMP_CMP_LE",
            "SCMP_CMP_EQ",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_MASKED_EQ",
        ]),
    ),
    (
        "/linux/seccomp/archs",
        Form::Words(&[
            "SCMP_ARCH_X86",
            "SCMP_ARCH_X86_64",
            "SCMP_ARCH_X32",
            "SCMP_ARCH_ARM",
            "SCMP_ARCH_AARCH64",
            "SCMP_ARCH_LOONGARCH64",
            "SCMP_ARCH_M68K",
            "SCMP_ARCH_MIPS",
            "SCMP_ARCH_MIPS64",
            "SCMP_ARCH_MIPS64N32",
            "SCMP_ARCH_MIPSEL",
            "SCMP_ARCH_MIPSEL64",
            "SCMP_ARCH_MIPSEL64N32",
            "SCMP_ARCH_PPC",
            "SCMP_ARCH_PPC64",
            "SCMP_ARCH_PPC64LE",
            "SCMP_ARCH_S390",
            "SCMP_ARCH_S390X",
            "SCMP_ARCH_SH",
            "SCMP_ARCH_SHEB",
            "SCMP_ARCH_PARISC",
            "SCMP_ARCH_PARISC64",
            "SCMP_ARCH_RISCV64",
        ]),
    ),
    ("/linux/seccomp/knownFlags", FLAGS),
    ("/linux/seccomp/supportedFlags", FLAGS),
    ("/linux/apparmor", Form::Object),
    ("/linux/apparmor/enabled", Form::Truth),
    ("/linux/selinux", Form::Object),
    ("/linux/selinux/enabled", Form::Truth),
    ("/linux/intelRdt", Form::Object),
    ("/linux/intelRdt/enabled", Form::Truth),
    ("/linux/intelRdt/schemata", Form::Truth),
    ("/linux/intelRdt/monitoring", Form::Truth),
    ("/linux/memoryPolicy", Form::Object),
    (
        "/linux/memoryPolicy/modes",
        Form::Words(&[
            "MPOL_DEFAULT",
            "MPOL_BIND",
            "MPOL_INTERLEAVE",
            "MPOL_WEIGHTED_INTERLEAVE",
            "MPOL_PREFERRED",
            "MPOL_PREFERRED_MANY",
            "MPOL_LOCAL",
        ]),
    ),
    (
        "/linux/memoryPolicy/flags",
        Form::Words(&["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]),
    ),
    ("/linux/mountExtensions", Form::Object),
    ("/linux/mountExtensions/idmap", Form::Object),
    ("/linux/mountExtensions/idmap/enabled", Form::Truth),
    ("/linux/netDevices", Form::Object),
    ("/linux/netDevices/enabled", Form::Truth),
];

const FLAGS: Form = Form::Words(&[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]);

impl Form {
    /// Whether a value is of this type, whatever words it has.
    fn has_type(&self, value: &Value) -> bool {
        let texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        match self {
            Form::Object => value.is_object(),
            Form::Truth => value.is_boolean(),
            Form::Text => value.is_string(),
            Form::Map => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
            Form::Texts | Form::Words(_) => texts(value),
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

fn words(case: &mut Case) -> Outcome {
    let page = features(case)?;
    let list = |pointer: &str| page.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let mut strange: Vec<String> = Vec::new();
    for (pointer, form) in SCHEMA {
        if let Form::Words(known) = form {
            let other = list(pointer).filter(|word| !word.as_str().is_some_and(|word| known.contains(&word)));
            strange.extend(other.map(|word| format!("{pointer}: {word}")));
        }
    }
    let capability = |word: &str| {
        let letters = word.strip_prefix("CAP_").unwrap_or_default();
        !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let other = list("/linux/capabilities").filter(|word| !word.as_str().is_some_and(capability));
    strange.extend(other.map(|word| format!("/linux/capabilities: {word}")));
    holds(strange.is_empty(), "words of the specification", format!("others: {strange:?}"))
}

fn version(case: &mut Case, key: &str) -> Outcome {
    let text = features(case)?[key].clone();
    let core =
        text.as_str().unwrap_or("").split(['-', '+']).next().unwrap_or("").split('.').map(str::parse::<u32>);
    let right = core.clone().count() == 3 && core.clone().all(|part| part.is_ok());
    holds(right, &format!("{key} is a version"), text.to_string())
}
