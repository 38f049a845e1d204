//! Every MUST, MUST NOT, SHOULD, SHOULD NOT, REQUIRED, SHALL and MAY NOT of the specification, in its order: which
//! statements stand for it, or why it is none of a Linux runtime. Nothing of the text itself is here.

/// The version of the specification that was counted.
pub(crate) const VERSION: &str = "1.3.0";

/// Why a word has no statement: a mark, and what it stands for.
pub(crate) const REASONS: &[(&str, &str)] = &[
    ("!author", "binds who writes the configuration, not the runtime"),
    ("!defines", "says how to read the table that follows, whose rows have statements"),
    ("!image", "binds who converts an image; a runtime passes annotations on"),
    ("!mechanism", "recommends or rules out a way of doing it, which nobody sees from outside"),
    ("!notation", "says how the words are to be read"),
    ("!other", "another platform than those with a section of their own"),
    ("!reserved", "binds later versions of the specification"),
    ("!solaris", "Solaris"),
    ("!windows", "Windows"),
];

/// A section and its words, each with the ids of its statements or a mark of `REASONS`.
pub(crate) type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// How often each section has such a word, counted apart from `WORDS`.
#[cfg(test)]
pub(crate) const COUNTS: &[(&str, usize)] = &[
    ("config.md#specification-version", 2),
    ("config.md#root", 9),
    ("config.md#mounts", 9),
    ("config.md#linux-mount-options", 75),
    ("config.md#posix-platform-mounts", 6),
    ("config.md#process", 8),
    ("config.md#posix-process", 8),
    ("config.md#linux-process", 8),
    ("config.md#posix-platform-user", 2),
    ("config.md#platform-specific-configuration", 1),
    ("config.md#posix-platform-hooks", 20),
    ("config.md#prestart", 4),
    ("config.md#createruntime-hooks", 3),
    ("config.md#createcontainer-hooks", 4),
    ("config.md#startcontainer-hooks", 3),
    ("config.md#poststart", 3),
    ("config.md#poststop", 3),
    ("config.md#annotations", 25),
    ("config.md#extensibility", 1),
    ("config.md#valid-values", 1),
    ("config-linux.md#default-filesystems", 1),
    ("config-linux.md#namespaces", 8),
    ("config-linux.md#user-namespace-mappings", 4),
    ("config-linux.md#devices", 7),
    ("config-linux.md#default-devices", 1),
    ("config-linux.md#network-devices", 6),
    ("config-linux.md#namespace-lifecycle-and-container-termination", 2),
    ("config-linux.md#control-groups", 1),
    ("config-linux.md#cgroups-path", 4),
    ("config-linux.md#cgroup-ownership", 9),
    ("config-linux.md#allowed-device-list", 2),
    ("config-linux.md#memory", 1),
    ("config-linux.md#cpu", 2),
    ("config-linux.md#block-io", 6),
    ("config-linux.md#huge-page-limits", 2),
    ("config-linux.md#network", 2),
    ("config-linux.md#pids", 1),
    ("config-linux.md#rdma", 1),
    ("config-linux.md#unified", 3),
    ("config-linux.md#example", 1),
    ("config-linux.md#intelrdt", 26),
    ("config-linux.md#memory-policy", 1),
    ("config-linux.md#seccomp", 16),
    ("config-linux.md#the-container-process-state", 6),
    ("config-linux.md#masked-paths", 1),
    ("config-linux.md#readonly-paths", 1),
    ("config-linux.md#personality", 1),
    ("runtime.md#scope-of-a-container", 1),
    ("runtime.md#state", 8),
    ("runtime.md#lifecycle", 19),
    ("runtime.md#errors", 1),
    ("runtime.md#warnings", 1),
    ("runtime.md#operations", 1),
    ("runtime.md#query-state", 3),
    ("runtime.md#create", 8),
    ("runtime.md#start", 5),
    ("runtime.md#kill", 4),
    ("runtime.md#delete", 5),
    ("runtime-linux.md#dev-symbolic-links", 1),
    ("bundle.md#container-format", 4),
    ("features.md#features-structure", 2),
    ("features.md#specification-version", 6),
    ("features.md#hooks", 1),
    ("features.md#mount-options", 2),
    ("features.md#annotations", 1),
    ("features-linux.md#namespaces", 1),
    ("features-linux.md#capabilities", 1),
    ("features-linux.md#seccomp", 5),
    ("features-linux.md#memorypolicy", 2),
    ("features-linux.md#mountextensions", 1),
    ("spec.md#notational-conventions", 13),
    ("glossary.md#json", 2),
];

/// Every word.
pub(crate) const WORDS: &[Section] = &[
    ("config.md#specification-version", &[("REQUIRED", "required-oci-version"), ("MUST", "version-semver")]),
    (
        "config.md#root",
        &[
            ("REQUIRED", "!windows"),
            ("MUST NOT", "!windows"),
            ("REQUIRED", "required-root"),
            ("REQUIRED", "required-root-path"),
            ("MUST", "!windows"),
            ("SHOULD", "!author"),
            ("MUST", "root-exists root-file"),
            ("MUST", "root-readonly root-writable"),
            ("MUST", "!windows"),
        ],
    ),
    (
        "config.md#mounts",
        &[
            ("MUST", "mount-order"),
            ("REQUIRED", "required-destination"),
            ("SHOULD", "!author"),
            ("MUST", "mount-relative"),
            ("MUST", "!windows"),
            ("MUST NOT", "!windows"),
            ("MUST", "!solaris"),
            ("MUST", "!other"),
            ("MUST", "!windows"),
        ],
    ),
    (
        "config.md#linux-mount-options",
        &[
            ("MUST", "!defines"),
            ("SHOULD", "!defines"),
            ("MUST", "mount-async"),
            ("MUST", "mount-atime"),
            ("MUST", "mount-bind mount-bind-ro"),
            ("MUST", "mount-defaults"),
            ("MUST", "mount-dev"),
            ("MUST", "mount-diratime"),
            ("MUST", "mount-dirsync"),
            ("MUST", "mount-exec"),
            ("MUST", "mount-iversion"),
            ("MUST", "mount-lazytime"),
            ("MUST", "mount-loud"),
            ("MUST", "mount-noatime"),
            ("MUST", "mount-nodev"),
            ("MUST", "mount-nodiratime"),
            ("MUST", "mount-noexec"),
            ("MUST", "mount-iversion"),
            ("MUST", "mount-nolazytime"),
            ("MUST", "mount-norelatime"),
            ("MUST", "mount-nostrictatime"),
            ("MUST", "mount-nosuid"),
            ("SHOULD", "mount-nosymfollow"),
            ("MUST", "mount-private"),
            ("SHOULD", "mount-ratime"),
            ("MUST", "mount-rbind"),
            ("SHOULD", "mount-rdev"),
            ("SHOULD", "mount-rdiratime"),
            ("MUST", "mount-relatime"),
            ("MUST", "mount-remount"),
            ("SHOULD", "mount-rexec"),
            ("SHOULD", "mount-rnoatime"),
            ("SHOULD", "mount-rnodiratime"),
            ("SHOULD", "mount-rnoexec"),
            ("SHOULD", "mount-rnorelatime"),
            ("SHOULD", "mount-rnostrictatime"),
            ("SHOULD", "mount-rnosuid"),
            ("SHOULD", "mount-rnosymfollow"),
            ("MUST", "mount-ro mount-bind-ro"),
            ("MUST", "mount-rprivate"),
            ("SHOULD", "mount-rrelatime"),
            ("SHOULD", "mount-rro"),
            ("SHOULD", "mount-rrw"),
            ("MUST", "mount-rshared"),
            ("MUST", "mount-rslave"),
            ("SHOULD", "mount-rstrictatime"),
            ("SHOULD", "mount-rsuid"),
            ("SHOULD", "mount-rsymfollow"),
            ("MUST", "mount-runbindable"),
            ("MUST", "mount-rw-after-ro"),
            ("MUST", "mount-shared"),
            ("MUST", "mount-silent"),
            ("MUST", "mount-slave"),
            ("MUST", "mount-strictatime"),
            ("MUST", "mount-suid"),
            ("SHOULD", "mount-symfollow"),
            ("MUST", "mount-sync"),
            ("MUST", "mount-unbindable"),
            ("SHOULD", "mount-idmap"),
            ("MUST", "mount-idmap"),
            ("SHOULD NOT", "!mechanism"),
            ("MUST", "mount-idmap mount-idmap-own"),
            ("MUST", "mount-idmap-nothing"),
            ("MUST", "mount-idmap-nothing"),
            ("SHOULD", "!mechanism"),
            ("SHOULD", "mount-ridmap"),
            ("MUST", "mount-ridmap"),
            ("SHOULD NOT", "!mechanism"),
            ("MUST", "mount-ridmap"),
            ("MUST", "mount-ridmap-nothing"),
            ("MUST", "mount-ridmap-nothing"),
            ("SHOULD", "!mechanism"),
            ("MUST", "!defines"),
            ("SHOULD", "mount-sync mount-dirsync"),
            ("SHOULD", "mount-data value-mount-data"),
        ],
    ),
    (
        "config.md#posix-platform-mounts",
        &[
            ("SHOULD", "!mechanism"),
            ("SHOULD", "!author"),
            ("MUST", "mount-idmap-half"),
            ("SHOULD", "!mechanism"),
            ("SHOULD", "!author"),
            ("MUST", "mount-idmap-half-gid"),
        ],
    ),
    (
        "config.md#process",
        &[
            ("REQUIRED", "start-needs-process"),
            ("MUST", "process-console-size"),
            ("REQUIRED", "required-console-height"),
            ("REQUIRED", "required-console-width"),
            ("REQUIRED", "required-cwd"),
            ("MUST", "process-cwd-absolute"),
            ("REQUIRED", "required-args required-args-entry"),
            ("REQUIRED", "!windows"),
        ],
    ),
    (
        "config.md#posix-process",
        &[
            ("REQUIRED", "required-rlimit-type"),
            ("MUST", "rlimit-unknown"),
            ("MUST", "rlimit-every-type"),
            ("REQUIRED", "required-rlimit-soft"),
            ("MUST", "rlimit-soft"),
            ("REQUIRED", "required-rlimit-hard"),
            ("MUST", "rlimit-hard"),
            ("MUST", "rlimit-duplicate"),
        ],
    ),
    (
        "config.md#linux-process",
        &[
            ("MUST", "cap-warning"),
            ("SHOULD NOT", "cap-unknown"),
            ("MUST", "oom-set"),
            ("MUST NOT", "oom-unset"),
            ("REQUIRED", "required-scheduler-policy"),
            ("REQUIRED", "required-io-class"),
            ("REQUIRED", "required-io-priority"),
            ("SHOULD NOT", "cpu-affinity-unset cpu-affinity-final"),
        ],
    ),
    ("config.md#posix-platform-user", &[("REQUIRED", "required-uid"), ("REQUIRED", "required-gid")]),
    ("config.md#platform-specific-configuration", &[("MUST", "!windows")]),
    (
        "config.md#posix-platform-hooks",
        &[
            ("REQUIRED", "required-hook-path"),
            ("MUST", "hook-prestart-absolute"),
            ("MUST", "hook-timeout-positive"),
            ("MUST", "hook-prestart-resolve"),
            ("MUST", "hook-prestart-namespace"),
            ("REQUIRED", "required-hook-path"),
            ("MUST", "hooks-path-absolute"),
            ("MUST", "hook-timeout-positive"),
            ("MUST", "hook-createruntime-resolve"),
            ("MUST", "hook-createruntime-namespace"),
            ("MUST", "hook-createcontainer-resolve"),
            ("MUST", "hook-createcontainer-namespace"),
            ("MUST", "hook-startcontainer-resolve"),
            ("MUST", "hook-startcontainer-namespace"),
            ("MUST", "hook-poststart-resolve"),
            ("MUST", "hook-poststart-namespace"),
            ("MUST", "hook-poststop-resolve"),
            ("MUST", "hook-poststop-namespace"),
            ("MUST", "hooks-listed-order"),
            (
                "MUST",
                "hooks-state hook-prestart-state hook-createruntime-state hook-createcontainer-state hook-startcontainer-state hook-poststart-state hook-poststop-state",
            ),
        ],
    ),
    (
        "config.md#prestart",
        &[
            ("MUST", "hook-prestart-step"),
            ("MUST", "hook-prestart-first"),
            ("MUST", "hook-prestart-resolve"),
            ("MUST", "hook-prestart-namespace"),
        ],
    ),
    (
        "config.md#createruntime-hooks",
        &[
            ("MUST", "hook-createruntime-step hook-createruntime-environment"),
            ("MUST", "hook-createruntime-resolve"),
            ("MUST", "hook-createruntime-namespace"),
        ],
    ),
    (
        "config.md#createcontainer-hooks",
        &[
            ("MUST", "hook-createcontainer-step hook-createcontainer-pivot"),
            ("MUST", "hook-createcontainer-after"),
            ("MUST", "hook-createcontainer-resolve"),
            ("MUST", "hook-createcontainer-namespace"),
        ],
    ),
    (
        "config.md#startcontainer-hooks",
        &[
            ("MUST", "hook-startcontainer-step"),
            ("MUST", "hook-startcontainer-resolve"),
            ("MUST", "hook-startcontainer-namespace hook-startcontainer-pivot"),
        ],
    ),
    (
        "config.md#poststart",
        &[
            ("MUST", "hook-poststart-step"),
            ("MUST", "hook-poststart-resolve"),
            ("MUST", "hook-poststart-namespace"),
        ],
    ),
    (
        "config.md#poststop",
        &[
            ("MUST", "hook-poststop-step"),
            ("MUST", "hook-poststop-resolve"),
            ("MUST", "hook-poststop-namespace"),
        ],
    ),
    (
        "config.md#annotations",
        &[
            ("MUST", "type-annotations"),
            ("MUST", "type-annotations"),
            ("MUST NOT", "annotation-empty-key"),
            ("SHOULD", "!author"),
            ("MUST", "!author"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("SHOULD", "!image"),
            ("MUST", "!image"),
            ("SHOULD", "!image"),
            ("MUST NOT", "!reserved"),
            ("MUST", "unknown-annotation"),
            ("MUST", "annotation-value"),
        ],
    ),
    ("config.md#extensibility", &[("MUST", "unknown-property")]),
    (
        "config.md#valid-values",
        &[(
            "MUST",
            "invalid-value required-control type-mounts type-hostname type-terminal type-env type-oom type-uid",
        )],
    ),
    ("config-linux.md#default-filesystems", &[("SHOULD", "fs-proc fs-sysfs fs-devpts fs-shm")]),
    (
        "config-linux.md#namespaces",
        &[
            ("REQUIRED", "required-namespace-type"),
            (
                "SHOULD",
                "ns-new-pid ns-new-network ns-new-mount ns-new-ipc ns-new-uts ns-new-user ns-new-cgroup ns-new-time",
            ),
            ("MUST", "ns-path-relative"),
            (
                "MUST",
                "ns-path ns-path-ipc ns-path-network ns-path-pid ns-path-cgroup ns-path-time ns-path-user",
            ),
            (
                "MUST",
                "ns-path-type ns-type-network ns-type-pid ns-type-uts ns-type-cgroup ns-type-user ns-type-mount ns-type-file",
            ),
            (
                "MUST",
                "ns-new-pid ns-new-network ns-new-mount ns-new-ipc ns-new-uts ns-new-user ns-new-cgroup ns-new-time",
            ),
            (
                "MUST",
                "ns-inherit-ipc ns-inherit-uts ns-inherit-network ns-inherit-pid ns-inherit-cgroup ns-inherit-user ns-inherit-time",
            ),
            ("MUST", "ns-duplicate"),
        ],
    ),
    (
        "config-linux.md#user-namespace-mappings",
        &[
            ("REQUIRED", "required-map-container"),
            ("REQUIRED", "required-map-host"),
            ("REQUIRED", "required-map-size"),
            ("SHOULD NOT", "user-rootfs-owner"),
        ],
    ),
    (
        "config-linux.md#devices",
        &[
            ("MUST", "dev-node dev-fifo dev-block dev-unbuffered"),
            ("REQUIRED", "required-device-type"),
            ("REQUIRED", "required-device-path"),
            ("MUST", "dev-mismatch dev-mismatch-number"),
            ("REQUIRED", "required-device-major required-device-minor"),
            ("SHOULD NOT", "!author"),
            ("MAY NOT", "cgroup-devices-unlisted"),
        ],
    ),
    (
        "config-linux.md#default-devices",
        &[("MUST", "dev-null dev-zero dev-full dev-random dev-urandom dev-tty dev-console dev-ptmx")],
    ),
    (
        "config-linux.md#network-devices",
        &[
            ("MUST", "net-devices"),
            ("MUST", "net-device-conflict"),
            ("MUST", "net-device-conflict"),
            ("MUST", "net-device-template"),
            ("MUST", "net-device-attributes net-device-address4 net-device-address6"),
            ("MUST", "net-device-up"),
        ],
    ),
    (
        "config-linux.md#namespace-lifecycle-and-container-termination",
        &[("MUST NOT", "net-device-untouched"), ("MUST NOT", "net-device-stays")],
    ),
    ("config-linux.md#control-groups", &[("MUST", "cgroup-check")]),
    (
        "config-linux.md#cgroups-path",
        &[
            ("MUST", "cgroup-path cgroup-path-relative"),
            ("MUST", "cgroup-path"),
            ("MUST", "cgroup-path-same"),
            ("MUST", "cgroup-path-relative"),
        ],
    ),
    (
        "config-linux.md#cgroup-ownership",
        &[
            ("SHOULD NOT", "cgroup-owner-v1"),
            ("SHOULD NOT", "cgroup-owner-namespace"),
            ("SHOULD", "cgroup-owner"),
            ("SHOULD NOT", "cgroup-owner-readonly cgroup-owner-unmounted"),
            ("SHOULD", "cgroup-owner-files"),
            ("MUST NOT", "cgroup-owner"),
            ("SHOULD", "cgroup-owner"),
            ("MUST", "cgroup-owner-fallback"),
            ("SHOULD NOT", "cgroup-owner-files"),
        ],
    ),
    (
        "config-linux.md#allowed-device-list",
        &[("MUST", "cgroup-devices-order"), ("REQUIRED", "required-device-allow")],
    ),
    ("config-linux.md#memory", &[("MUST", "cgroup-memory-check")]),
    ("config-linux.md#cpu", &[("MUST", "!author"), ("MUST", "!author")]),
    (
        "config-linux.md#block-io",
        &[
            ("REQUIRED", "required-weight-major required-weight-minor"),
            ("MUST", "!author"),
            ("REQUIRED", "required-bps-major"),
            ("REQUIRED", "required-bps-rate"),
            ("REQUIRED", "required-iops-major"),
            ("REQUIRED", "required-iops-rate"),
        ],
    ),
    (
        "config-linux.md#huge-page-limits",
        &[("REQUIRED", "required-page-size"), ("REQUIRED", "required-page-limit")],
    ),
    ("config-linux.md#network", &[("REQUIRED", "required-net-name"), ("REQUIRED", "required-net-priority")]),
    ("config-linux.md#pids", &[("SHOULD", "cgroup-pids-zero")]),
    ("config-linux.md#rdma", &[("MUST", "cgroup-rdma")]),
    (
        "config-linux.md#unified",
        &[
            ("MUST", "cgroup-unified-written"),
            ("MUST", "cgroup-unified-written"),
            ("MUST", "cgroup-unified-missing"),
        ],
    ),
    ("config-linux.md#example", &[("MUST", "cgroup-unified-convert")]),
    (
        "config-linux.md#intelrdt",
        &[
            ("MUST", "rdt-tasks"),
            ("MUST", "rdt-missing"),
            ("MUST NOT", "rdt-unset"),
            ("MUST", "rdt-root"),
            ("SHOULD", "!author"),
            ("SHOULD NOT", "!author"),
            ("MUST", "rdt-syntax"),
            ("MUST NOT", "rdt-syntax"),
            ("MUST NOT", "rdt-syntax"),
            ("MUST", "rdt-schemata"),
            ("MUST", "rdt-schemata"),
            ("MUST", "rdt-schemata"),
            ("MUST", "rdt-schemata"),
            ("MUST", "rdt-schemata"),
            ("MUST NOT", "rdt-unset"),
            ("MUST", "rdt-own"),
            ("MUST", "rdt-make"),
            ("MUST", "rdt-compare"),
            ("MUST", "rdt-preset"),
            ("MUST", "rdt-preset"),
            ("MUST", "rdt-remove"),
            ("MUST NOT", "rdt-keep"),
            ("MUST", "rdt-monitor"),
            ("MUST", "rdt-monitor"),
            ("MUST", "rdt-monitor"),
            ("MUST", "rdt-monitor"),
        ],
    ),
    ("config-linux.md#memory-policy", &[("REQUIRED", "required-memory-mode")]),
    (
        "config-linux.md#seccomp",
        &[
            ("REQUIRED", "required-default-action"),
            ("MUST", "seccomp-default-errno-unsupported"),
            ("MUST", "seccomp-listener"),
            ("MUST", "seccomp-listener-once"),
            ("MUST NOT", "seccomp-listener-once"),
            ("MUST", "seccomp-listener-once"),
            ("MUST", "seccomp-listener-fails"),
            ("REQUIRED", "seccomp-listener-fd"),
            ("MUST NOT", "seccomp-listener-metadata"),
            ("REQUIRED", "required-rule-names"),
            ("MUST", "seccomp-names"),
            ("REQUIRED", "required-rule-action"),
            ("MUST", "seccomp-errno-unsupported"),
            ("REQUIRED", "required-argument-index"),
            ("REQUIRED", "required-argument-value"),
            ("REQUIRED", "required-argument-op"),
        ],
    ),
    (
        "config-linux.md#the-container-process-state",
        &[
            ("MUST", "seccomp-listener"),
            ("MUST", "seccomp-listener-fd"),
            ("MUST", "seccomp-listener-fd"),
            ("REQUIRED", "seccomp-listener-version"),
            ("REQUIRED", "seccomp-listener-pid"),
            ("REQUIRED", "seccomp-listener"),
        ],
    ),
    ("config-linux.md#masked-paths", &[("MUST", "masked-paths-absolute")]),
    ("config-linux.md#readonly-paths", &[("MUST", "readonly-paths-absolute")]),
    ("config-linux.md#personality", &[("REQUIRED", "required-domain")]),
    ("runtime.md#scope-of-a-container", &[("MUST", "scope-operations")]),
    (
        "runtime.md#state",
        &[
            ("REQUIRED", "state-oci-version"),
            ("REQUIRED", "state-id"),
            ("MUST", "state-unique-host"),
            ("REQUIRED", "state-created state-running state-stopped"),
            ("MUST", "state-new-values"),
            ("REQUIRED", "state-pid state-pid-created"),
            ("REQUIRED", "state-bundle"),
            ("MUST", "state-schema"),
        ],
    ),
    (
        "runtime.md#lifecycle",
        &[
            ("MUST", "lifecycle-environment lifecycle-mounts"),
            ("MUST", "create-refuses-whole"),
            ("MUST", "create-waits"),
            ("MUST NOT", "create-waits"),
            ("MUST NOT", "create-fixes-config lifecycle-config"),
            ("MUST", "hooks-order"),
            ("MUST", "hook-prestart-failure hook-prestart-unwinds"),
            ("MUST", "hooks-order"),
            ("MUST", "hook-createruntime-failure hook-createruntime-unwinds"),
            ("MUST", "hooks-order"),
            ("MUST", "hook-createcontainer-failure hook-createcontainer-unwinds"),
            ("MUST", "hooks-order"),
            ("MUST", "hook-startcontainer-failure hook-startcontainer-stops"),
            ("MUST", "start-runs-program"),
            ("MUST", "hooks-order"),
            ("MUST", "hook-poststart-failure"),
            ("MUST", "lifecycle-undone delete-cgroups"),
            ("MUST", "hooks-order"),
            ("MUST", "hook-poststop-failure"),
        ],
    ),
    ("runtime.md#errors", &[("MUST", "errors-mounts errors-cgroups errors-processes errors-id")]),
    ("runtime.md#warnings", &[("MUST", "warnings-go-on")]),
    ("runtime.md#operations", &[("MUST", "operations-all")]),
    (
        "runtime.md#query-state",
        &[
            ("MUST", "state-needs-id"),
            ("MUST", "state-unknown-id state-after-delete"),
            ("MUST", "state-query"),
        ],
    ),
    (
        "runtime.md#create",
        &[
            ("MUST", "create-needs-bundle create-needs-id"),
            ("MUST", "create-unique-id create-invalid-id create-empty-id create-slash-id"),
            ("MUST NOT", "create-unique-id errors-id"),
            ("MUST", "create-two"),
            ("MUST", "lifecycle-environment lifecycle-mounts create-limits"),
            ("MUST NOT", "create-waits"),
            ("MUST", "create-refuses-whole"),
            ("MUST NOT", "create-refuses-whole errors-id"),
        ],
    ),
    (
        "runtime.md#start",
        &[
            ("MUST", "start-needs-id"),
            ("MUST", "start-running start-stopped start-deleted"),
            ("MUST", "start-running start-unknown-id"),
            ("MUST", "start-runs-program"),
            ("MUST", "start-needs-process"),
        ],
    ),
    (
        "runtime.md#kill",
        &[
            ("MUST", "kill-needs-id"),
            ("MUST", "kill-stopped-unharmed"),
            ("MUST", "kill-stopped kill-unknown-id"),
            ("MUST", "kill-sends-signal kill-number kill-created"),
        ],
    ),
    (
        "runtime.md#delete",
        &[
            ("MUST", "delete-needs-id"),
            ("MUST", "delete-running delete-created"),
            ("MUST", "delete-running delete-created delete-unknown-id"),
            ("MUST", "delete-stopped delete-cgroups delete-processes"),
            ("MUST NOT", "delete-keeps-foreign"),
        ],
    ),
    (
        "runtime-linux.md#dev-symbolic-links",
        &[("MUST", "dev-fd dev-stdin dev-stdout dev-stderr dev-links-source")],
    ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::all;
    use std::collections::BTreeSet;

    #[test]
    fn every_word_has_statements_or_a_reason() {
        let known: BTreeSet<&str> = all().map(|row| row.id).collect();
        for (section, words) in WORDS {
            for (number, (word, proof)) in words.iter().enumerate() {
                let reason = REASONS.iter().any(|(mark, _)| mark == proof);
                let ids = !proof.is_empty() && proof.split(' ').all(|id| known.contains(id));
                assert!(reason || ids, "{section}, word {} ({word}): {proof:?}", number + 1);
            }
        }
    }

    #[test]
    fn every_section_has_as_many_words_as_the_specification() {
        let listed: Vec<_> = WORDS.iter().map(|(section, words)| (*section, words.len())).collect();
        assert_eq!(listed, COUNTS);
    }

    /// With RUNTIME_SPEC, the directory of the specification, the table is compared with its text.
    #[test]
    fn the_table_is_that_of_the_text() {
        let Some(directory) = std::env::var_os("RUNTIME_SPEC") else { return };
        for (section, words) in WORDS {
            let (document, anchor) = section.split_once('#').unwrap();
            let text = std::fs::read_to_string(std::path::Path::new(&directory).join(document)).unwrap();
            let listed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            assert_eq!(words_of(&text, anchor), listed, "{section}");
        }
    }

    /// The words below all headings with that anchor.
    fn words_of(text: &str, anchor: &str) -> Vec<String> {
        let (mut code, mut here, mut found) = (false, false, Vec::new());
        for line in text.lines() {
            code ^= line.trim().starts_with("```");
            if line.starts_with('#') && !code {
                here = slug(line) == anchor;
                continue;
            }
            let words: Vec<&str> =
                line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
            for (index, word) in words.iter().enumerate().filter(|_| here) {
                let not = words.get(index + 1) == Some(&"NOT");
                match *word {
                    "MUST" | "SHOULD" | "SHALL" | "MAY" if not => found.push(format!("{word} NOT")),
                    "MUST" | "SHOULD" | "SHALL" | "REQUIRED" => found.push((*word).to_owned()),
                    _ => {}
                }
            }
        }
        found
    }

    /// A heading's anchor: without HTML, in lower case, with hyphens.
    fn slug(heading: &str) -> String {
        let text = heading.trim_start_matches('#').rsplit("/>").next().unwrap_or("").trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    }
}
