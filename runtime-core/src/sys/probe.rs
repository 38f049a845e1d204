//! Calls that change nothing, to see whether a seccomp filter around this process denies them.
//!
//! Each has arguments that the kernel refuses, with another errno than a filter gives: EPERM or ENOSYS
//! is then the filter's answer.

use nix::errno::Errno;

/// What comes before the kernel looks at the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Nothing.
    Arguments,
    /// CAP_SYS_ADMIN in the user namespace of the mounts: EPERM may be the kernel's.
    Privilege,
}

/// A call with arguments that are no good.
struct Probe {
    name: &'static str,
    number: libc::c_long,
    arguments: [libc::c_long; 5],
    first: First,
}

const NONE: libc::c_long = 0;
const BAD: libc::c_long = -1;

const fn probe(name: &'static str, number: libc::c_long, arguments: [libc::c_long; 5]) -> Probe {
    Probe { name, number, arguments, first: First::Arguments }
}

const fn privileged(name: &'static str, number: libc::c_long, arguments: [libc::c_long; 5]) -> Probe {
    Probe { name, number, arguments, first: First::Privilege }
}

/// CLONE_PARENT: nothing that unshare(2) takes.
const NOT_A_NAMESPACE: libc::c_long = 0x8000;
/// personality(2) tells, and changes nothing.
const ASK: libc::c_long = 0xffff_ffff;

/// The calls of a launch that filters have been seen to deny.
const PROBES: &[Probe] = &[
    probe("clone3", libc::SYS_clone3, [NONE; 5]),
    probe("close_range", libc::SYS_close_range, [1, 0, BAD, NONE, NONE]),
    probe("execveat", libc::SYS_execveat, [BAD, NONE, NONE, NONE, BAD]),
    probe("faccessat2", libc::SYS_faccessat2, [BAD, NONE, BAD, BAD, NONE]),
    probe("fsconfig", libc::SYS_fsconfig, [BAD, NONE, NONE, NONE, NONE]),
    probe("ioprio_set", libc::SYS_ioprio_set, [99, NONE, NONE, NONE, NONE]),
    probe("keyctl", libc::SYS_keyctl, [BAD, NONE, NONE, NONE, NONE]),
    probe("memfd_create", libc::SYS_memfd_create, [NONE, BAD, NONE, NONE, NONE]),
    probe("mount", libc::SYS_mount, [NONE; 5]),
    probe("mount_setattr", libc::SYS_mount_setattr, [BAD, NONE, BAD, NONE, NONE]),
    probe("open_tree", libc::SYS_open_tree, [BAD, NONE, BAD, NONE, NONE]),
    probe("openat2", libc::SYS_openat2, [BAD, NONE, NONE, NONE, NONE]),
    probe("personality", libc::SYS_personality, [ASK, NONE, NONE, NONE, NONE]),
    probe("pidfd_getfd", libc::SYS_pidfd_getfd, [BAD, BAD, BAD, NONE, NONE]),
    probe("pidfd_open", libc::SYS_pidfd_open, [BAD, BAD, NONE, NONE, NONE]),
    probe("pidfd_send_signal", libc::SYS_pidfd_send_signal, [BAD, NONE, NONE, BAD, NONE]),
    probe("sched_setattr", libc::SYS_sched_setattr, [NONE, NONE, BAD, NONE, NONE]),
    probe("seccomp", libc::SYS_seccomp, [BAD, NONE, NONE, NONE, NONE]),
    probe("set_mempolicy", libc::SYS_set_mempolicy, [99, NONE, NONE, NONE, NONE]),
    probe("setns", libc::SYS_setns, [BAD, NONE, NONE, NONE, NONE]),
    probe("statx", libc::SYS_statx, [BAD, NONE, BAD, BAD, NONE]),
    probe("umount2", libc::SYS_umount2, [NONE, BAD, NONE, NONE, NONE]),
    probe("unshare", libc::SYS_unshare, [NOT_A_NAMESPACE, NONE, NONE, NONE, NONE]),
    privileged("bpf", libc::SYS_bpf, [9999, NONE, NONE, NONE, NONE]),
    privileged("fsmount", libc::SYS_fsmount, [BAD, BAD, NONE, NONE, NONE]),
    privileged("fsopen", libc::SYS_fsopen, [NONE, BAD, NONE, NONE, NONE]),
    privileged("move_mount", libc::SYS_move_mount, [BAD, NONE, BAD, NONE, BAD]),
    privileged("pivot_root", libc::SYS_pivot_root, [NONE; 5]),
    privileged("sethostname", libc::SYS_sethostname, [NONE, BAD, NONE, NONE, NONE]),
];

impl Probe {
    fn ask(&self) -> Errno {
        let [a, b, c, d, e] = self.arguments;
        // SAFETY: every pointer among the arguments is null, every descriptor -1, and flags or commands
        // are none that the kernel knows: it refuses the call before it does anything.
        let result = unsafe { libc::syscall(self.number, a, b, c, d, e, 0) };
        if result == -1 { Errno::last() } else { Errno::UnknownErrno }
    }
}

/// The calls that are denied, with how sure that is.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    /// By a filter.
    pub(crate) surely: Vec<&'static str>,
    /// By a filter, or because the caller may not mount at all.
    pub(crate) perhaps: Vec<&'static str>,
}

/// Whether a filter is around this thread.
fn filtered() -> bool {
    const SECCOMP_MODE_FILTER: libc::c_int = 2;
    // SAFETY: a plain number.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    // A filter may deny that, too.
    mode == SECCOMP_MODE_FILTER || mode == -1
}

/// Whether clone3(2) is there: filters answer ENOSYS to it, as they cannot look into its arguments.
pub(crate) fn has_clone3() -> bool {
    let denied = |probe: &Probe| matches!(probe.ask(), Errno::EPERM | Errno::ENOSYS);
    !PROBES.iter().filter(|probe| probe.name == "clone3").any(denied)
}

/// Asks for all calls.
pub(crate) fn denied() -> Denied {
    let mut denied = Denied::default();
    if !filtered() {
        return denied;
    }
    let mut refused = Vec::new();
    let mut privilege = false;
    for probe in PROBES {
        match (probe.ask(), probe.first) {
            (Errno::ENOSYS, _) | (Errno::EPERM, First::Arguments) => denied.surely.push(probe.name),
            (Errno::EPERM, First::Privilege) => refused.push(probe.name),
            (_, First::Privilege) => privilege = true,
            (_, First::Arguments) => {}
        }
    }
    match privilege {
        true => denied.surely.extend(refused),
        false => denied.perhaps = refused,
    }
    denied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_filter_each_call_is_refused_for_its_arguments() {
        if filtered() {
            return;
        }
        for probe in PROBES.iter().filter(|probe| probe.first == First::Arguments) {
            let errno = probe.ask();
            assert!(!matches!(errno, Errno::EPERM | Errno::ENOSYS), "{}: {errno}", probe.name);
        }
        assert!(has_clone3());
        assert!(denied().surely.is_empty());
    }
}
