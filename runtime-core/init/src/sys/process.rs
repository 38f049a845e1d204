//! The process: how it is made, what it executes, whose rights it has.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicI32, Ordering};

use super::{Fd, Owned, Result, call};
use crate::abi::{self, CapabilityHalf, CloneArgs, nr};

/// One of the two processes that a clone comes back in.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The one that has made it.
    Parent {
        /// The pid of the new process.
        pid: u32,
        /// Its pidfd, where the call gives one.
        pidfd: Option<Owned>,
    },
}

/// What must not be shared: the new process goes on with this one's stack.
const OWN: u64 = !(abi::CLONE_VM | abi::CLONE_SETTLS);

/// Where a pid goes, with its page there: the kernel writes the pid when the process has been made, and leaves it out, in
/// silence, if it would have to fetch the page then for a process that has been killed meanwhile.
fn touched(pid: &'static AtomicI32) -> *mut i32 {
    pid.store(0, Ordering::Relaxed);
    pid.as_ptr()
}

/// clone3(2) of a process with a copy of the memory. Its pid also goes to `pid`, and it begins in the cgroup of `place`.
pub fn clone3(flags: u64, pid: Option<&'static AtomicI32>, place: Option<Fd<'_>>) -> Result<Cloned> {
    let mut pidfd = -1i32;
    let mut args = CloneArgs {
        flags: flags & OWN | abi::CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        ..CloneArgs::default()
    };
    if let Some(pid) = pid {
        args.flags |= abi::CLONE_PARENT_SETTID;
        args.parent_tid = touched(pid) as u64;
    }
    if let Some(place) = place {
        args.flags |= abi::CLONE_INTO_CGROUP;
        args.cgroup = place.number() as u64;
    }
    // SAFETY: the kernel reads `args`, which has the size that is passed, and writes the two numbers; the new process has
    // memory and a stack of its own.
    let new = unsafe { call!(nr::CLONE3, &raw const args, size_of::<CloneArgs>()) }?;
    Ok(match new {
        0 => Cloned::Child,
        // SAFETY: CLONE_PIDFD has made a new descriptor.
        new => Cloned::Parent { pid: new as u32, pidfd: Some(unsafe { Owned::from_number(pidfd) }) },
    })
}

/// clone(2) of a process with a copy of the memory; `flags` have the signal in them. The pid also goes to `pid`.
pub fn clone(flags: u64, pid: Option<&'static AtomicI32>) -> Result<Cloned> {
    let (set, place) = match pid {
        Some(pid) => (abi::CLONE_PARENT_SETTID, touched(pid)),
        None => (0, core::ptr::null_mut()),
    };
    // SAFETY: the new process has memory of its own and, as no stack is given, a copy of this one's; the kernel writes to
    // `pid` alone.
    match unsafe { call!(nr::CLONE, flags & OWN & !abi::CLONE_PIDFD | set, 0, place, 0, 0) }? {
        0 => Ok(Cloned::Child),
        new => Ok(Cloned::Parent { pid: new as u32, pidfd: None }),
    }
}

/// clone(2) as above, with a pidfd in the place of the pid.
pub fn clone_with_pidfd(flags: u64) -> Result<Cloned> {
    let mut pidfd = -1i32;
    let flags = flags & OWN & !abi::CLONE_PARENT_SETTID | abi::CLONE_PIDFD;
    // SAFETY: as above; the kernel writes to `pidfd` alone.
    match unsafe { call!(nr::CLONE, flags, 0, &raw mut pidfd, 0, 0) }? {
        0 => Ok(Cloned::Child),
        // SAFETY: CLONE_PIDFD has made a new descriptor.
        new => Ok(Cloned::Parent { pid: new as u32, pidfd: Some(unsafe { Owned::from_number(pidfd) }) }),
    }
}

/// execve(2): it comes back only with an error.
///
/// # Safety
/// `argv` and `envp` must be arrays of pointers to texts with a NUL at their end, with a null pointer at the end.
pub unsafe fn execve(path: &CStr, argv: *const *const c_char, envp: *const *const c_char) -> Result {
    // SAFETY: the caller vouches for the arrays; the kernel reads `path` up to its NUL.
    unsafe { call!(nr::EXECVE, path.as_ptr(), argv, envp) }.map(drop)
}

/// execveat(2) of an open file: it comes back only with an error.
///
/// # Safety
/// As [`execve`].
pub unsafe fn execveat(file: Fd<'_>, argv: *const *const c_char, envp: *const *const c_char) -> Result {
    // SAFETY: the caller vouches for the arrays; the path is a static empty text.
    unsafe { call!(nr::EXECVEAT, file.number(), c"".as_ptr(), argv, envp, abi::AT_EMPTY_PATH) }.map(drop)
}

/// getppid(2).
pub fn parent() -> u32 {
    // SAFETY: no pointer is passed. The call cannot fail, but for a filter: then 0, which is no process.
    unsafe { call!(nr::GETPPID) }.unwrap_or(0) as u32
}

/// unshare(2).
pub fn unshare(flags: u64) -> Result {
    // SAFETY: no pointer is passed, and memory cannot be unshared.
    unsafe { call!(nr::UNSHARE, flags) }.map(drop)
}

/// setns(2).
pub fn setns(namespace: Fd<'_>, flags: u64) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::SETNS, namespace.number(), flags) }.map(drop)
}

/// setsid(2).
pub fn setsid() -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::SETSID) }.map(drop)
}

/// umask(2): the one before.
pub fn umask(mask: u32) -> Result<u32> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::UMASK, mask) }.map(|mask| mask as u32)
}

/// setresuid(2) of all three ids.
pub fn set_uid(uid: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::SETRESUID, uid, uid, uid) }.map(drop)
}

/// setresgid(2) of all three ids.
pub fn set_gid(gid: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::SETRESGID, gid, gid, gid) }.map(drop)
}

/// getresuid(2): real, effective and saved.
pub fn uids() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0u32; 3];
    // SAFETY: the kernel writes one number to each.
    unsafe { call!(nr::GETRESUID, &raw mut real, &raw mut effective, &raw mut saved) }?;
    Ok([real, effective, saved])
}

/// getresgid(2): real, effective and saved.
pub fn gids() -> Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0u32; 3];
    // SAFETY: the kernel writes one number to each.
    unsafe { call!(nr::GETRESGID, &raw mut real, &raw mut effective, &raw mut saved) }?;
    Ok([real, effective, saved])
}

/// setgroups(2).
pub fn setgroups(groups: &[u32]) -> Result {
    // SAFETY: the kernel reads as many numbers as `groups` has, during the call alone.
    unsafe { call!(nr::SETGROUPS, groups.len(), groups.as_ptr()) }.map(drop)
}

/// getgroups(2): how many there are.
pub fn group_count() -> Result<usize> {
    // SAFETY: with a size of 0 nothing is written.
    unsafe { call!(nr::GETGROUPS, 0, 0) }
}

/// `struct __user_cap_header_struct` of this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

const OF_THIS_PROCESS: CapabilityHeader =
    CapabilityHeader { version: abi::LINUX_CAPABILITY_VERSION_3, pid: 0 };

/// capset(2).
pub fn capset(halves: &[CapabilityHalf; 2]) -> Result {
    let header = OF_THIS_PROCESS;
    // SAFETY: the kernel reads the header and, for version 3, two halves, during the call alone.
    unsafe { call!(nr::CAPSET, &raw const header, halves.as_ptr()) }.map(drop)
}

/// capget(2).
pub fn capget() -> Result<[CapabilityHalf; 2]> {
    let header = OF_THIS_PROCESS;
    let mut halves = [CapabilityHalf::default(); 2];
    // SAFETY: the kernel reads the header and, for version 3, writes two halves.
    unsafe { call!(nr::CAPGET, &raw const header, halves.as_mut_ptr()) }?;
    Ok(halves)
}

/// prctl(2) with PR_SET_DUMPABLE.
pub fn set_dumpable(dumpable: bool) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PRCTL, abi::PR_SET_DUMPABLE, dumpable) }.map(drop)
}

/// prctl(2) with PR_SET_KEEPCAPS.
pub fn keep_capabilities() -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PRCTL, abi::PR_SET_KEEPCAPS, 1) }.map(drop)
}

/// prctl(2) with PR_SET_NO_NEW_PRIVS.
pub fn no_new_privileges() -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PRCTL, abi::PR_SET_NO_NEW_PRIVS, 1) }.map(drop)
}

/// prctl(2) with PR_CAPBSET_DROP.
pub fn drop_bounding(capability: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PRCTL, abi::PR_CAPBSET_DROP, capability, 0, 0, 0) }.map(drop)
}

/// prctl(2) with PR_CAP_AMBIENT_CLEAR_ALL.
pub fn clear_ambient() -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PRCTL, abi::PR_CAP_AMBIENT, abi::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) }.map(drop)
}

/// prctl(2) with PR_CAP_AMBIENT_RAISE.
pub fn raise_ambient(capability: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PRCTL, abi::PR_CAP_AMBIENT, abi::PR_CAP_AMBIENT_RAISE, capability, 0, 0) }.map(drop)
}

/// personality(2).
pub fn personality(persona: u64) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::PERSONALITY, persona) }.map(drop)
}

/// ioprio_set(2) of this process.
pub fn set_io_priority(value: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::IOPRIO_SET, abi::IOPRIO_WHO_PROCESS, 0, value) }.map(drop)
}

/// prlimit(2) of this process.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> Result {
    let limit = [soft, hard];
    // SAFETY: the kernel reads `struct rlimit64`, two numbers, during the call alone; the old one is not asked for.
    unsafe { call!(nr::PRLIMIT64, 0, resource, limit.as_ptr(), 0) }.map(drop)
}

/// sched_setattr(2) of this process with a `struct sched_attr`, whose first word is its size.
pub fn set_scheduler(attributes: &[u8]) -> Result {
    match attributes.first_chunk() {
        Some(size) if u32::from_ne_bytes(*size) as usize <= attributes.len() => {}
        _ => return Err(abi::errno::EINVAL),
    }
    // SAFETY: the kernel reads as much as the structure says, which `attributes` has, by the check above.
    unsafe { call!(nr::SCHED_SETATTR, 0, attributes.as_ptr(), 0) }.map(drop)
}

/// sched_setaffinity(2) of this process.
pub fn set_affinity(mask: &[u8]) -> Result {
    // SAFETY: the kernel reads as many bytes as `mask` has, during the call alone.
    unsafe { call!(nr::SCHED_SETAFFINITY, 0, mask.len(), mask.as_ptr()) }.map(drop)
}

/// set_mempolicy(2); the kernel looks at one bit less of `nodes` than `max_node` says. No nodes are null.
pub fn set_memory_policy(mode: i32, nodes: &[u8], max_node: u64) -> Result {
    if max_node.saturating_sub(1) > (nodes.len() as u64).saturating_mul(8) {
        return Err(abi::errno::EINVAL);
    }
    let mask = if nodes.is_empty() { core::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the kernel reads the bits of `max_node`, which `nodes` has, by the check above.
    unsafe { call!(nr::SET_MEMPOLICY, mode, mask, max_node) }.map(drop)
}

/// seccomp(2) with SECCOMP_SET_MODE_FILTER; an instruction has 8 bytes. The result is the listener, if `flags` ask for one,
/// as a number: it belongs to whoever gets it from here.
pub fn set_filter(flags: u32, instructions: &[u8]) -> Result<usize> {
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        len: u16,
        instructions: *const u8,
    }
    let program = Program { len: (instructions.len() / 8) as u16, instructions: instructions.as_ptr() };
    // SAFETY: the kernel reads the structure and `len` instructions, which are there, during the call alone.
    unsafe { call!(nr::SECCOMP, abi::SECCOMP_SET_MODE_FILTER, flags, &raw const program) }
}

/// keyctl(2) with KEYCTL_JOIN_SESSION_KEYRING: the keyring.
pub fn join_session_keyring(name: &CStr) -> Result<usize> {
    // SAFETY: the kernel reads `name` up to its NUL, during the call alone.
    unsafe { call!(nr::KEYCTL, abi::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) }
}

/// keyctl(2) with KEYCTL_DESCRIBE: the length of the text, which may be more than `room` has; then nothing is written.
pub fn describe_key(key: usize, room: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the length of `room`, which is borrowed alone.
    unsafe { call!(nr::KEYCTL, abi::KEYCTL_DESCRIBE, key, room.as_mut_ptr(), room.len()) }
}

/// keyctl(2) with KEYCTL_SETPERM.
pub fn set_key_permissions(key: usize, permissions: u32) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::KEYCTL, abi::KEYCTL_SETPERM, key, permissions) }.map(drop)
}

/// add_key(2) without a type and a description, which it refuses: what it says is whether it is there.
pub fn try_add_key() -> Result {
    // SAFETY: all pointers are null, which the kernel looks at before anything else.
    unsafe { call!(nr::ADD_KEY, 0, 0, 0, 0, 0) }.map(drop)
}

/// request_key(2), likewise.
pub fn try_request_key() -> Result {
    // SAFETY: as above.
    unsafe { call!(nr::REQUEST_KEY, 0, 0, 0, 0) }.map(drop)
}

/// sethostname(2).
pub fn set_host_name(name: &CStr) -> Result {
    // SAFETY: the kernel reads as many bytes as `name` has, during the call alone.
    unsafe { call!(nr::SETHOSTNAME, name.as_ptr(), name.count_bytes()) }.map(drop)
}

/// setdomainname(2).
pub fn set_domain_name(name: &CStr) -> Result {
    // SAFETY: the kernel reads as many bytes as `name` has, during the call alone.
    unsafe { call!(nr::SETDOMAINNAME, name.as_ptr(), name.count_bytes()) }.map(drop)
}

/// sched_yield(2). It has no argument, but a filter's listener sees `word`.
pub fn sched_yield(word: u64) -> Result {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::SCHED_YIELD, word) }.map(drop)
}

/// clock_gettime(2) of CLOCK_MONOTONIC, in nanoseconds; 0 where a filter denies it.
pub fn monotonic() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: the kernel writes a timespec, two words.
    unsafe { call!(nr::CLOCK_GETTIME, abi::CLOCK_MONOTONIC, time.as_mut_ptr()) }.ok();
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::errno;

    #[test]
    fn a_structure_that_is_shorter_than_it_says_is_not_read() {
        let mut attributes = [0u8; 48];
        attributes[..4].copy_from_slice(&49u32.to_ne_bytes());
        assert_eq!(set_scheduler(&attributes), Err(errno::EINVAL));
        assert_eq!(set_scheduler(&[48, 0, 0]), Err(errno::EINVAL));
    }

    #[test]
    fn a_mask_that_is_shorter_than_it_says_is_not_read() {
        assert_eq!(set_memory_policy(0, &[0; 8], 66), Err(errno::EINVAL));
        assert_eq!(set_memory_policy(0, &[], 2), Err(errno::EINVAL));
    }

    #[test]
    fn ids_are_those_of_the_process() {
        let uids = uids().unwrap();
        assert_eq!(uids, [uids[0]; 3]);
        assert_eq!(parent(), std::os::unix::process::parent_id());
    }
}
