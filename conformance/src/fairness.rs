//! What keeps a verdict fair: the version that a property needs, the values that a runtime may
//! leave out, what else a check accepts, and where the suite reads more than the text says.
//!
//! The tables name statements by id; a `*` at the end stands for all ids that begin so.

/// The version of the specification that has the property or the sentence first; 1.0 has the rest.
const SINCE: &[(&str, &str)] = &[
    (
        "1.1",
        "domainname scheduler-* io-priority* required-scheduler-policy required-io-* value-scheduler-flag \
         value-io-* time-offset* ns-*-time value-time-clock cap-unknown cap-not-granted \
         cgroup-cpu-burst cgroup-cpu-idle cgroup-unified-* cgroup-owner* cgroup-check cgroup-pids-unlimited \
         seccomp-errno-ret seccomp-errno-unsupported seccomp-default-errno* seccomp-kill-process \
         seccomp-kill-thread seccomp-listener* mount-idmap mount-idmap-half mount-idmap-half-gid \
         mount-idmap-own mount-defaults mount-loud mount-silent mount-lazytime mount-nolazytime mount-norelatime \
         mount-nostrictatime mount-nosymfollow mount-symfollow mount-rno* mount-rro mount-rrw mount-rsuid \
         mount-rdev mount-rexec mount-ratime mount-rdiratime mount-rrelatime mount-rstrictatime \
         mount-rsymfollow features-*",
    ),
    ("1.2", "mount-idmap-nothing mount-idmap-container mount-idmap-flat mount-ridmap* mount-relative"),
    ("1.2.1", "cpu-affinity-*"),
    (
        "1.3",
        "memory-policy* required-memory-mode value-memory-* net-device* value-net-device cgroup-pids-zero",
    ),
];

/// Valid values that no sentence requires a runtime to support: an error is an answer
/// (config.md#valid-values), and then there is nothing to judge.
const CHOICE: &[&str] = &[
    "scheduler-*",
    "io-priority*",
    "personality*",
    "memory-policy memory-policy-default memory-policy-interleave memory-policy-preferred memory-policy-local \
     memory-policy-many memory-policy-flags memory-policy-relative memory-policy-balancing memory-policy-weighted",
    "seccomp-kill* seccomp-trap seccomp-log seccomp-trace seccomp-op-* seccomp-flag-* seccomp-architecture \
     seccomp-default-errno seccomp-errno-ret",
    "seccomp-listener seccomp-listener-once seccomp-listener-fd seccomp-listener-version seccomp-listener-pid \
     seccomp-listener-data",
    "time-offset*",
    "ns-new-*",
    "cgroup-pids* cgroup-memory* cgroup-cpu* cgroup-hugepages cgroup-block-* cgroup-net-* cgroup-unified-written",
    "cgroup-owner*",
    "dev-unbuffered dev-fifo dev-block",
    "mount-idmap mount-idmap-own mount-idmap-flat mount-ridmap",
    "rlimit-every-type",
    "propagation-shared propagation-slave propagation-private propagation-unbindable",
];

/// What else a check accepts, beside what its statement says.
const ACCEPTS: &[(&str, &str)] = &[
    ("cgroup-owner cgroup-owner-files", "a runtime that never changes owners, which is a MAY, is not judged"),
    ("cgroup-path-relative", "an error: which relative paths are valid is the runtime's choice"),
    ("cgroup-pids-zero", "1, which means the same where the init process is counted"),
    ("cgroup-cpu-shares", "on cgroup v2 any weight but the default: the conversion is not specified"),
    ("cgroup-memory-reservation", "on cgroup v2 memory.low or memory.high: the conversion is not specified"),
    ("cgroup-hugepages", "the file of reservations or that of page faults"),
    ("cgroup-check", "a container in the same cgroup, which may be taken or refused"),
    ("cgroup-cpu-realtime", "an error where the kernel has no such file"),
    ("create-slash-id create-invalid-id", "a container of that id whose files stay in the state directory"),
    ("dev-ptmx", "a link or a bind mount"),
    ("features-*", "no features command, or a document without the property: all of it is optional"),
    ("hook-*-absolute", "the error may come from any operation that meets the hook"),
    ("hook-*-state", "a status of the runtime's own, but none of the four whose definition does not fit"),
    ("hook-createruntime-environment", "no pid while the status is `creating`"),
    ("hook-startcontainer-stops", "a container that is destroyed already, as lifecycle step 12 has it"),
    ("kill-number", "a command line that takes no numbers is not judged: the specification has none"),
    ("kill-sends-signal", "an end that another process has reaped: the signal is not seen then"),
    ("mount-slave mount-rslave", "a mount without a master: the host's mount may have been private"),
    ("process-exec-missing", "the error may come from create or from start"),
    ("propagation-slave", "a peer group of the container's own beside the master"),
    ("seccomp-name-unknown", "an error, or a rule that holds for its other names"),
    ("seccomp-default-errno", "a runtime that does not get through this filter itself is not judged"),
    ("start-needs-process", "an error of create already, as runc has it"),
    ("state-bundle", "any absolute path to the same directory"),
    (
        "masked-paths-absolute readonly-paths-absolute",
        "a path that is taken from the container's root, as runc has it",
    ),
    ("required-uid required-gid", "0, as runc has it"),
    ("delete-created", "a container that is ended and removed, as runc has it"),
];

/// Where the suite reads more than a sentence says, and why.
const READINGS: &[(&str, &str)] = &[
    (
        "required-*",
        "a REQUIRED member that is missing makes the value around it invalid: no sentence says so, and the \
         operation of validation is a MAY, but a runtime that goes on has to make a value up",
    ),
    (
        "version-semver ns-path-relative hook-*-absolute hook-timeout-positive hooks-path-absolute \
         annotation-empty-key json-utf8 process-cwd-absolute seccomp-listener-metadata seccomp-names \
         mount-idmap-half mount-idmap-half-gid",
        "what a value MUST or MUST NOT be makes another one invalid, and config.md#valid-values asks for an error",
    ),
    (
        "hook-directory hook-descriptors stream-* mount-rnodev features-net-devices",
        "no sentence asks for it: a runtime that does otherwise is not wrong, but unlike the others",
    ),
    (
        "cgroup-devices-unlisted",
        "the text says MAY NOT, which RFC 2119 does not define: it is judged as a recommendation",
    ),
    (
        "state-annotations",
        "the property is optional, but may be left out only where there are no annotations",
    ),
    (
        "descriptors descriptors-of-caller",
        "the sentence has no MUST; a runtime may pass on what its caller asks for, and nothing is asked",
    ),
    (
        "mount-listed-order mount-root-first",
        "mountinfo lists mounts in the order in which the kernel made them",
    ),
    (
        "mount-rw-after-ro mount-suid mount-exec mount-dev mount-async mount-atime mount-diratime mount-nolazytime \
      mount-nostrictatime mount-symfollow",
        "mount(8): of conflicting options the last one wins",
    ),
    ("kill-unknown-signal", "a signal that does not exist cannot be sent, so the operation has to fail"),
    ("rlimit-every-type", "getrlimit(2) of the process must give the configured values"),
    ("create-empty-id", "an empty id is none"),
];

/// Whether `list`, ids separated by spaces, has `id`.
pub(crate) fn lists(list: &str, id: &str) -> bool {
    list.split_whitespace().any(|name| matches(name, id))
}

/// One name of a list; `*` stands for any text, once.
pub(crate) fn matches(name: &str, id: &str) -> bool {
    match name.split_once('*') {
        None => name == id,
        Some((head, tail)) => {
            id.len() >= head.len() + tail.len() && id.starts_with(head) && id.ends_with(tail)
        }
    }
}

/// The version that a statement is of.
pub(crate) fn since(id: &str) -> &'static str {
    SINCE.iter().find(|(_, ids)| lists(ids, id)).map_or("1.0", |(version, _)| version)
}

/// Whether a refusal is an answer that cannot be judged.
pub(crate) fn is_choice(id: &str) -> bool {
    CHOICE.iter().any(|ids| lists(ids, id))
}

/// What else is accepted.
pub(crate) fn accepts(id: &str) -> Vec<&'static str> {
    let mut found = texts(ACCEPTS, id);
    if is_choice(id) {
        found.push("an error, which is not judged: a runtime may choose which valid values it supports");
    }
    found
}

/// The suite's readings that a check rests on.
pub(crate) fn readings(id: &str) -> Vec<&'static str> {
    texts(READINGS, id)
}

fn texts(table: &'static [(&str, &str)], id: &str) -> Vec<&'static str> {
    table.iter().filter(|(ids, _)| lists(ids, id)).map(|(_, text)| *text).collect()
}

/// A version's numbers, without what follows `-` or `+`.
pub(crate) fn numbers(version: &str) -> Vec<u32> {
    let plain = version.split(['-', '+']).next().unwrap_or("");
    plain.split('.').map_while(|number| number.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::all;

    #[test]
    fn every_name_stands_for_a_statement() {
        let tables = [SINCE.iter().map(|(_, ids)| *ids).collect::<Vec<_>>(), CHOICE.to_vec()];
        let texts = [ACCEPTS, READINGS].into_iter().flatten().map(|(ids, _)| *ids);
        for name in tables.into_iter().flatten().chain(texts).flat_map(str::split_whitespace) {
            assert!(all().any(|row| matches(name, row.id)), "{name}");
        }
    }

    #[test]
    fn versions_compare() {
        assert!(numbers("1.0.2-dev") < numbers("1.1"));
        assert!(numbers("1.3.0") >= numbers("1.3"));
        assert!(numbers("1.2.1") > numbers("1.2.0"));
    }
}
