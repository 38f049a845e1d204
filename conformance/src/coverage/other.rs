//! The words of the short documents: bundle.md, features.md, features-linux.md, spec.md and glossary.md.

use super::Section;

pub(super) const WORDS: &[Section] = &[
    (
        "bundle.md#container-format",
        &[
            ("REQUIRED", "bundle-config-json"),
            ("MUST", "bundle-config-place"),
            ("MUST", "bundle-config-name"),
            ("MUST", "bundle-one-directory"),
        ],
    ),
    (
        "features.md#features-structure",
        &[("SHOULD", "features-compile-time"), ("MUST NOT", "features-no-null")],
    ),
    (
        "features.md#specification-version",
        &[
            ("REQUIRED", "features-version-min"),
            ("MUST", "features-min-accepted"),
            ("REQUIRED", "features-version-max"),
            ("MUST", "features-max-accepted"),
            ("MUST NOT", "features-versions"),
            ("MUST NOT", "features-known-properties"),
        ],
    ),
    ("features.md#hooks", &[("MUST", "features-hooks")]),
    (
        "features.md#mount-options",
        &[("MUST", "features-mount-options"), ("SHOULD NOT", "features-no-data-options")],
    ),
    ("features.md#annotations", &[("MUST", "features-annotations")]),
    ("features-linux.md#namespaces", &[("MUST", "features-namespaces")]),
    ("features-linux.md#capabilities", &[("MUST", "features-capabilities")]),
    (
        "features-linux.md#seccomp",
        &[
            ("MUST", "features-seccomp-actions"),
            ("MUST", "features-seccomp-operators"),
            ("MUST", "features-seccomp-archs"),
            ("MUST", "features-seccomp-known-flags"),
            ("MUST", "features-seccomp-flags"),
        ],
    ),
    (
        "features-linux.md#memorypolicy",
        &[("MUST", "features-memory-modes"), ("MUST", "features-memory-flags")],
    ),
    ("features-linux.md#mountextensions", &[("MUST", "features-idmap")]),
    (
        "spec.md#notational-conventions",
        &[
            ("MUST", "!notation"),
            ("MUST NOT", "!notation"),
            ("REQUIRED", "!notation"),
            ("SHALL", "!notation"),
            ("SHALL NOT", "!notation"),
            ("SHOULD", "!notation"),
            ("SHOULD NOT", "!notation"),
            ("MUST", "!notation"),
            ("REQUIRED", "!notation"),
            ("SHALL", "!notation"),
            ("MUST", "!notation"),
            ("REQUIRED", "!notation"),
            ("SHALL", "!notation"),
        ],
    ),
    ("glossary.md#json", &[("MUST", "json-utf8"), ("MUST NOT", "!author")]),
];
