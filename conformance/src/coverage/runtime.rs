//! The words of runtime.md and runtime-linux.md.

use super::Section;

pub(super) const WORDS: &[Section] = &[
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
            ("MUST", "hooks-order hooks-create-step"),
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
    (
        "runtime.md#errors",
        &[("MUST", "errors-mounts errors-cgroups errors-processes errors-id net-device-errors")],
    ),
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
            (
                "MUST",
                "lifecycle-environment lifecycle-mounts create-limits hostname domainname root-relative \
                 root-absolute mount-type-source fs-mqueue masked-file masked-directory readonly-path sysctl \
                 propagation-shared propagation-slave propagation-private propagation-unbindable personality* \
                 time-offset* user-mappings user-gid-mappings dev-deep seccomp-errno seccomp-errno-ret \
                 seccomp-mode seccomp-argument seccomp-kill* seccomp-trap seccomp-log seccomp-trace \
                 seccomp-default-errno seccomp-op-* seccomp-flag-* seccomp-architecture cgroup-pids \
                 cgroup-pids-unlimited cgroup-memory cgroup-memory-reservation cgroup-memory-sw* \
                 cgroup-memory-oom cgroup-cpu* cgroup-hugepages cgroup-block-* cgroup-net-* \
                 cgroup-devices-deny cgroup-devices-read memory-policy*",
            ),
            ("MUST NOT", "create-waits"),
            ("MUST", "create-refuses-whole sysctl-unknown value-mount-* seccomp-name-unknown"),
            ("MUST NOT", "create-refuses-whole errors-id"),
        ],
    ),
    (
        "runtime.md#start",
        &[
            ("MUST", "start-needs-id"),
            ("MUST", "start-running start-stopped start-deleted"),
            ("MUST", "start-running start-unknown-id"),
            (
                "MUST",
                "start-runs-program process-args process-env process-cwd process-exec-missing process-terminal* \
                 user-uid user-gid user-additional-gids user-umask cap-bounding cap-effective cap-permitted \
                 cap-inheritable cap-ambient no-new-privileges new-privileges scheduler-* io-priority*",
            ),
            ("MUST", "start-needs-process"),
        ],
    ),
    (
        "runtime.md#kill",
        &[
            ("MUST", "kill-needs-id"),
            ("MUST", "kill-stopped-unharmed"),
            ("MUST", "kill-stopped kill-unknown-id"),
            ("MUST", "kill-sends-signal kill-number kill-created kill-unknown-signal"),
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
];
