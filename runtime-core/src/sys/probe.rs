//! Calls that change nothing, to see whether a seccomp filter around this process denies them.
//!
//! Each has arguments that the kernel refuses, with another errno than a filter gives: EPERM or ENOSYS
//! is then the filter's answer. A filter may kill as well: children ask, one until it ends.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::{process, retry};

/// What comes before the kernel looks at the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Nothing.
    Arguments,
    /// CAP_SYS_ADMIN in the user namespace of the mounts: EPERM may be the kernel's.
    Privilege,
    /// The same in another user namespace, perhaps: of the host name, or the first.
    Other,
}

/// What a launch does where the kernel does not know the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// It fails, and a newer kernel is what helps.
    NewerKernel,
    /// It goes another way; or every kernel has the call that is built with that part.
    AnotherWay,
}

/// A call with arguments that are no good.
struct Probe {
    name: &'static str,
    number: libc::c_long,
    arguments: [libc::c_long; 5],
    first: First,
    without: Without,
}

const NONE: libc::c_long = 0;
const BAD: libc::c_long = -1;

const fn probe(name: &'static str, number: libc::c_long, arguments: [libc::c_long; 5]) -> Probe {
    Probe { name, number, arguments, first: First::Arguments, without: Without::AnotherWay }
}

const fn privileged(name: &'static str, number: libc::c_long, arguments: [libc::c_long; 5]) -> Probe {
    Probe { name, number, arguments, first: First::Privilege, without: Without::AnotherWay }
}

const fn other(name: &'static str, number: libc::c_long, arguments: [libc::c_long; 5]) -> Probe {
    Probe { name, number, arguments, first: First::Other, without: Without::AnotherWay }
}

/// A call that came with a later kernel, and for which there is no substitute.
const fn needed(probe: Probe) -> Probe {
    Probe { without: Without::NewerKernel, ..probe }
}

/// CLONE_PARENT: nothing that unshare(2) takes.
const NOT_A_NAMESPACE: libc::c_long = 0x8000;
/// personality(2) tells, and changes nothing.
const ASK: libc::c_long = 0xffff_ffff;

/// The calls of a launch that filters have been seen to deny.
const PROBES: &[Probe] = &[
    probe("clone3", libc::SYS_clone3, [NONE; 5]),
    probe("close_range", libc::SYS_close_range, [1, 0, BAD, NONE, NONE]),
    needed(probe("execveat", libc::SYS_execveat, [BAD, NONE, NONE, NONE, BAD])),
    probe("faccessat2", libc::SYS_faccessat2, [BAD, NONE, BAD, BAD, NONE]),
    needed(probe("fsconfig", libc::SYS_fsconfig, [BAD, NONE, NONE, NONE, NONE])),
    probe("ioprio_set", libc::SYS_ioprio_set, [99, NONE, NONE, NONE, NONE]),
    probe("keyctl", libc::SYS_keyctl, [BAD, NONE, NONE, NONE, NONE]),
    needed(probe("memfd_create", libc::SYS_memfd_create, [NONE, BAD, NONE, NONE, NONE])),
    probe("mount", libc::SYS_mount, [NONE; 5]),
    needed(probe("mount_setattr", libc::SYS_mount_setattr, [BAD, NONE, BAD, NONE, NONE])),
    needed(probe("open_tree", libc::SYS_open_tree, [BAD, NONE, BAD, NONE, NONE])),
    needed(probe("openat2", libc::SYS_openat2, [BAD, NONE, NONE, NONE, NONE])),
    probe("personality", libc::SYS_personality, [ASK, NONE, NONE, NONE, NONE]),
    probe("pidfd_getfd", libc::SYS_pidfd_getfd, [BAD, BAD, BAD, NONE, NONE]),
    needed(probe("pidfd_open", libc::SYS_pidfd_open, [BAD, BAD, NONE, NONE, NONE])),
    needed(probe("pidfd_send_signal", libc::SYS_pidfd_send_signal, [BAD, NONE, NONE, BAD, NONE])),
    probe("sched_setattr", libc::SYS_sched_setattr, [NONE, NONE, BAD, NONE, NONE]),
    probe("seccomp", libc::SYS_seccomp, [BAD, NONE, NONE, NONE, NONE]),
    probe("set_mempolicy", libc::SYS_set_mempolicy, [99, NONE, NONE, NONE, NONE]),
    probe("setns", libc::SYS_setns, [BAD, NONE, NONE, NONE, NONE]),
    needed(probe("statx", libc::SYS_statx, [BAD, NONE, BAD, BAD, NONE])),
    probe("umount2", libc::SYS_umount2, [NONE, BAD, NONE, NONE, NONE]),
    probe("unshare", libc::SYS_unshare, [NOT_A_NAMESPACE, NONE, NONE, NONE, NONE]),
    other("bpf", libc::SYS_bpf, [9999, NONE, NONE, NONE, NONE]),
    needed(privileged("fsmount", libc::SYS_fsmount, [BAD, BAD, NONE, NONE, NONE])),
    needed(privileged("fsopen", libc::SYS_fsopen, [NONE, BAD, NONE, NONE, NONE])),
    needed(privileged("move_mount", libc::SYS_move_mount, [BAD, NONE, BAD, NONE, BAD])),
    privileged("pivot_root", libc::SYS_pivot_root, [NONE; 5]),
    other("setdomainname", libc::SYS_setdomainname, [NONE, BAD, NONE, NONE, NONE]),
    other("sethostname", libc::SYS_sethostname, [NONE, BAD, NONE, NONE, NONE]),
];

impl Probe {
    fn ask(&self) -> Errno {
        Errno::from_raw(self.number_of_refusal())
    }

    /// The errno, or 0. Nothing but system calls is made.
    fn number_of_refusal(&self) -> i32 {
        let [a, b, c, d, e] = self.arguments;
        // SAFETY: every pointer among the arguments is null, every descriptor -1, and flags or commands
        // are none that the kernel knows: it refuses the call before it does anything.
        let result = unsafe { libc::syscall(self.number, a, b, c, d, e, 0) };
        if result == -1 { Errno::last_raw() } else { 0 }
    }
}

/// What came of a probe in a child: an errno, or one of these.
type Answer = AtomicI32;
const NOT_ASKED: i32 = -1;
/// Asked, and no answer.
const ASKED: i32 = -2;

/// Memory for answers that a child shares with its parent.
struct Answers(*mut libc::c_void);

impl Answers {
    const BYTES: usize = size_of::<[Answer; PROBES.len()]>();

    fn new() -> Result<Self, Errno> {
        // SAFETY: a new mapping, which nothing else knows of.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Self::BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let answers = Self(memory);
        answers.all().iter().for_each(|answer| answer.store(NOT_ASKED, Ordering::Relaxed));
        Ok(answers)
    }

    fn all(&self) -> &[Answer; PROBES.len()] {
        // SAFETY: the mapping is as large, aligned to a page and lives as long as `self`; any bytes are
        // atomic integers, which the child, too, changes as such.
        unsafe { &*self.0.cast() }
    }

    fn of(&self, index: usize) -> i32 {
        self.all().get(index).map_or(NOT_ASKED, |answer| answer.load(Ordering::Relaxed))
    }

    /// All probes in children. A filter kills a child for one probe; the next one goes on behind that.
    fn ask(&self) -> Result<(), Errno> {
        let mut next = 0;
        while self.of(next) == NOT_ASKED && next < PROBES.len() {
            ask_in_child(self.all(), next)?;
            let end = (next..PROBES.len()).find(|index| self.of(*index) == NOT_ASKED).unwrap_or(PROBES.len());
            if end == next {
                // It ended before its first one.
                return Err(Errno::ECHILD);
            }
            next = end;
        }
        Ok(())
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nobody uses any more.
        unsafe { libc::munmap(self.0, Self::BYTES) };
    }
}

/// How long a child may take: there are filters that ask a supervisor.
const CHILD_LIMIT: u16 = 5000;

/// A child that asks from the probe `first` on. A copy of this process, as a core that is dumped for a
/// signal ends all who share memory with who got it, up to Linux 5.15. It has no signal for its end, so that
/// nobody hears of it or waits for it but this function, and runs none of the caller's handlers.
fn ask_in_child(answers: &[Answer], first: usize) -> Result<(), Errno> {
    let mut pidfd = -1i32;
    process::with_signals_blocked(|| {
        // SAFETY: as fork(2): the child has a copy of everything. It makes system calls, writes to the
        // shared memory and ends; it takes no lock and allocates nothing.
        let pid = unsafe {
            libc::syscall(libc::SYS_clone, libc::CLONE_PIDFD, 0usize, &raw mut pidfd, 0usize, 0usize)
        };
        if pid == 0 {
            answer(answers, first);
        }
        Errno::result(pid)
    })?;
    // SAFETY: CLONE_PIDFD has put a new descriptor there.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if !matches!(retry(|| poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], CHILD_LIMIT)), Ok(1)) {
        process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL)?;
    }
    process::wait(pidfd.as_fd(), true).map(drop)
}

/// The child.
fn answer(answers: &[Answer], first: usize) -> ! {
    // SAFETY: numbers; no core of the caller's memory is to be left somewhere.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
    for (answer, probe) in answers.iter().zip(PROBES).skip(first) {
        answer.store(ASKED, Ordering::Relaxed);
        answer.store(probe.number_of_refusal(), Ordering::Relaxed);
    }
    // SAFETY: it ends the process, which runs nothing on the way.
    unsafe { libc::_exit(0) }
}

/// The calls that are denied, with how sure that is.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    /// By a filter.
    pub(crate) surely: Vec<&'static str>,
    /// By a filter, or because the caller may not mount at all.
    pub(crate) perhaps: Vec<&'static str>,
    /// A filter kills who makes them.
    pub(crate) deadly: Vec<&'static str>,
}

/// Whether a filter is around this thread.
fn filtered() -> bool {
    const SECCOMP_MODE_FILTER: libc::c_int = 2;
    // SAFETY: a plain number.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    // A filter may deny that, too.
    mode == SECCOMP_MODE_FILTER || mode == -1
}

/// Whether clone3(2) is there: filters answer ENOSYS to it, as they cannot look into its arguments. Asked
/// here, not in a child: a launch makes this very call next.
pub(crate) fn has_clone3() -> bool {
    let denied = |probe: &Probe| matches!(probe.ask(), Errno::EPERM | Errno::ENOSYS);
    !PROBES.iter().filter(|probe| probe.name == "clone3").any(denied)
}

/// The calls without a substitute that the kernel does not know, or a filter says so.
pub(crate) fn missing() -> Vec<&'static str> {
    let of = |answer: &dyn Fn(usize) -> i32| {
        let needed = PROBES.iter().enumerate().filter(|(_, probe)| probe.without == Without::NewerKernel);
        needed.filter(|(index, _)| answer(*index) == libc::ENOSYS).map(|(_, probe)| probe.name).collect()
    };
    if !filtered() {
        return of(&|index| PROBES.get(index).map_or(NOT_ASKED, Probe::number_of_refusal));
    }
    // A filter may kill who asks.
    match Answers::new() {
        Ok(answers) if answers.ask().is_ok() => of(&|index| answers.of(index)),
        _ => Vec::new(),
    }
}

/// Asks for all calls. Where no child can be made nothing is known.
pub(crate) fn denied() -> Denied {
    if !filtered() {
        return Denied::default();
    }
    match Answers::new() {
        Ok(answers) if answers.ask().is_ok() => judge(|index| answers.of(index)),
        _ => Denied::default(),
    }
}

fn judge(answer: impl Fn(usize) -> i32) -> Denied {
    let mut denied = Denied::default();
    let mut refused = Vec::new();
    let mut privilege = false;
    for (index, probe) in PROBES.iter().enumerate() {
        match (answer(index), probe.first) {
            (ASKED, _) => denied.deadly.push(probe.name),
            (libc::ENOSYS, _) | (libc::EPERM, First::Arguments) => denied.surely.push(probe.name),
            (libc::EPERM, First::Privilege) => refused.push(probe.name),
            (libc::EPERM, First::Other) => denied.perhaps.push(probe.name),
            (_, First::Privilege) => privilege = true,
            (_, First::Arguments | First::Other) => {}
        }
    }
    match privilege {
        true => denied.surely.extend(refused),
        false => denied.perhaps.extend(refused),
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

    #[test]
    fn a_child_asks_what_this_process_would() {
        let answers = Answers::new().unwrap();
        answers.ask().unwrap();
        for (index, probe) in PROBES.iter().enumerate() {
            assert_eq!(answers.of(index), probe.ask() as i32, "{}", probe.name);
        }
    }

    #[test]
    fn what_kills_is_told_from_what_denies() {
        let answer = |index: usize| match PROBES.get(index).map(|probe| probe.name) {
            Some("bpf") => ASKED,
            Some("clone3") => libc::ENOSYS,
            Some("fsopen") => libc::EPERM,
            _ => libc::EINVAL,
        };
        let denied = judge(answer);
        assert_eq!((denied.deadly, denied.perhaps), (vec!["bpf"], vec![]));
        assert_eq!(denied.surely, ["clone3", "fsopen"]);
    }
}
