//! Properties of the process itself.

use crate::ops::{HANDOVER, SetGroups, Slice, Slot, Str};
use crate::parse::keyring;
use crate::program::file::{
    self, O_WRONLY, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
};
use crate::program::{At, Failure, Init, Step, call, errno, namespace};
use crate::report::Detail;
use crate::syscall::nr;

/// `Sysctl`: below a verified procfs and without leaving it, so that nothing mounted over a part of
/// /proc can take the write (CVE-2025-52881).
pub(crate) fn sysctl(init: &mut Init, path: Str, value: Slice) -> Step {
    let (path, value) = (init.plan.text(path), init.plan.bytes(value));
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    let sys = |proc: i32| -> Result<i32, i32> {
        let sys = file::open(proc, c"sys", file::O_PATH | file::O_DIRECTORY, 0, resolve)?;
        let file = file::open(sys, path, O_WRONLY, 0, resolve);
        file::close(sys);
        file
    };
    let opened = match init.fd(Slot::PROC) {
        -1 => Err(errno::EXDEV),
        proc => sys(proc),
    };
    let file = match opened {
        // A part of the host's procfs is covered or read-only: as it is inside another container.
        Err(errno::EXDEV | errno::EROFS) => {
            let private = namespace::private_proc(true)?;
            let file = sys(private);
            file::close(private);
            file.at(Detail::Open)?
        }
        other => other.at(Detail::Open)?,
    };
    let written = file::write_once(file, value);
    file::close(file);
    written
}

/// `JoinCgroups`. The kernel asks for the rights of who has opened the files, and a process that moves itself need
/// not wait for others.
pub(crate) fn join_cgroups(init: &mut Init) -> Step {
    for slot in (0..Slot::TASKS_COUNT).map(|at| Slot(Slot::TASKS.0 + at)) {
        if init.fd(slot) >= 0 {
            file::write_once(init.fd(slot), b"0")?;
            init.set(slot, -1);
        }
    }
    Ok(())
}

/// `Rlimit`.
pub(crate) fn rlimit(resource: u32, soft: u64, hard: u64) -> Step {
    let limit = [soft, hard];
    call!(nr::PRLIMIT64, 0, resource, limit.as_ptr(), 0).at(Detail::Whole).map(drop)
}

/// `OomScoreAdj`.
pub(crate) fn oom_score_adj(init: &mut Init, value: Slice) -> Step {
    let value = init.plan.bytes(value);
    let file = namespace::open_own(init, c"oom_score_adj", O_WRONLY)?;
    let written = file::write_once(file, value);
    file::close(file);
    written
}

/// `Label`.
pub(crate) fn label(init: &mut Init, path: Str, value: Slice) -> Step {
    let (path, value) = (init.plan.text(path), init.plan.bytes(value));
    let file = namespace::open_own(init, path, O_WRONLY)?;
    let written = file::write_once(file, value);
    file::close(file);
    written
}

/// `Scheduler`. From here on the init waits without looking: for a deadline task a yield is the end of its period.
pub(crate) fn scheduler(init: &mut Init, attributes: Slice) -> Step {
    init.looks = 0;
    call!(nr::SCHED_SETATTR, 0, init.plan.bytes(attributes).as_ptr(), 0).at(Detail::Whole).map(drop)
}

/// `CpuAffinity`.
pub(crate) fn affinity(init: &Init, mask: Slice) -> Step {
    let mask = init.plan.bytes(mask);
    if mask.is_empty() {
        // The kernel takes no more bits than it has CPUs, and intersects them with the cpuset.
        let all = [u64::MAX; 128];
        call!(nr::SCHED_SETAFFINITY, 0, size_of_val(&all), all.as_ptr()).ok();
        return Ok(());
    }
    call!(nr::SCHED_SETAFFINITY, 0, mask.len(), mask.as_ptr()).at(Detail::Whole).map(drop)
}

/// `MemoryPolicy`.
pub(crate) fn memory_policy(init: &Init, mode: i32, nodes: Slice, max_node: u64) -> Step {
    let nodes = init.plan.bytes(nodes);
    let mask = if nodes.is_empty() { core::ptr::null() } else { nodes.as_ptr() };
    call!(nr::SET_MEMPOLICY, mode, mask, max_node).at(Detail::Whole).map(drop)
}

/// `SessionKeyring`: as keyctl_join_session_keyring(3), then the owner may search it.
pub(crate) fn session_keyring(init: &Init, name: Str, optional: bool) -> Step {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    const KEYCTL_SETPERM: usize = 5;
    const KEYCTL_DESCRIBE: usize = 6;
    /// KEY_USR_SEARCH, in the field of the uid.
    const OWNER_SEARCH: u32 = 0x0008_0000;
    let name = init.plan.text(name);
    let key = match call!(nr::KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) {
        // A kernel without keyrings, or a filter that keeps all of them from the container, too.
        Err(errno::ENOSYS | errno::EPERM) if optional && !has_keys() => return Ok(()),
        other => other.at(Detail::Whole)?,
    };
    let mut text = [0u8; 256];
    let len = call!(nr::KEYCTL, KEYCTL_DESCRIBE, key, text.as_mut_ptr(), text.len()).at(Detail::Read)?;
    let Some(permissions) = keyring::permissions(text.get(..len).unwrap_or(&text)) else {
        return Err(Failure { errno: errno::EINVAL, detail: Detail::Read as u32 });
    };
    call!(nr::KEYCTL, KEYCTL_SETPERM, key, permissions | OWNER_SEARCH).at(Detail::Whole).map(drop)
}

/// Whether keys can be made or found. Both calls are made with arguments that they refuse.
fn has_keys() -> bool {
    [nr::ADD_KEY, nr::REQUEST_KEY]
        .into_iter()
        .any(|number| !matches!(call!(number, 0, 0, 0, 0, 0), Err(errno::ENOSYS | errno::EPERM)))
}

/// `StdioOwner`: the user may reopen its standard streams (/dev/stdout); terminals and pipes of its
/// own, not /dev/null and not what the host refuses to give away.
pub(crate) fn stdio_owner(uid: u32) -> Step {
    const KEEP_GID: u32 = u32::MAX;
    for fd in 0..3 {
        let Ok(stat) = file::stat(fd, c"") else { continue };
        let null = stat.kind() == file::S_IFCHR && (stat.device_major, stat.device_minor) == (1, 3);
        if null || stat.uid == uid {
            continue;
        }
        match call!(nr::FCHOWN, fd, uid, KEEP_GID) {
            // A user namespace that does not map the owner, a read-only file system, a socket.
            Ok(_) | Err(errno::EPERM | errno::EINVAL | errno::ENOSYS | errno::EROFS) => {}
            Err(errno) => return Err(errno).at(Detail::Chown),
        }
    }
    Ok(())
}

/// `SetUser`, each step read back.
pub(crate) fn set_user(init: &Init, uid: u32, gid: u32, groups: Slice, set_groups: SetGroups) -> Step {
    let groups = init.plan.numbers(groups);
    let set = match set_groups {
        SetGroups::Never => false,
        SetGroups::IfAllowed | SetGroups::Always => {
            match call!(nr::SETGROUPS, groups.len(), groups.as_ptr()) {
                // The process keeps those that it has, as everyone in such a user namespace.
                Err(errno::EPERM) if set_groups == SetGroups::IfAllowed && groups.is_empty() => false,
                result => result.at(Detail::Setgroups).map(|_| true)?,
            }
        }
    };
    if set && call!(nr::GETGROUPS, 0, 0).at(Detail::ReadBack)? != groups.len() {
        return Err(Failure { errno: errno::EPERM, detail: Detail::ReadBack as u32 });
    }
    call!(nr::SETRESGID, gid, gid, gid).at(Detail::Setgid)?;
    call!(nr::SETRESUID, uid, uid, uid).at(Detail::Setuid)?;
    let (mut real, mut effective, mut saved) = (0u32, 0u32, 0u32);
    for (call, wanted) in [(nr::GETRESGID, gid), (nr::GETRESUID, uid)] {
        call!(call, &raw mut real, &raw mut effective, &raw mut saved).at(Detail::ReadBack)?;
        if [real, effective, saved] != [wanted; 3] {
            return Err(Failure { errno: errno::EPERM, detail: Detail::ReadBack as u32 });
        }
    }
    not_dumpable()
}

/// A change of user makes a process what the sysctl fs.suid_dumpable says: with 1 its descriptors would
/// be open to every process of that user.
pub(crate) fn not_dumpable() -> Step {
    call!(nr::PRCTL, crate::program::PR_SET_DUMPABLE, 0).at(Detail::Prctl).map(drop)
}

/// `ChangeDirectory`. A directory that the kernel cannot name from the root is outside of it
/// (CVE-2024-21626).
pub(crate) fn change_directory(init: &mut Init, path: Str, first: bool) -> Step {
    if init.in_directory {
        return Ok(());
    }
    // The one directory of the host that is still open: no name such as /proc/self/fd/N may lead there.
    init.set(Slot::PROC, -1);
    match call!(nr::CHDIR, init.plan.text(path).as_ptr()) {
        Err(errno::EPERM | errno::EACCES) if first => return Ok(()),
        other => other.at(Detail::Chdir)?,
    };
    init.in_directory = true;
    let mut name = [0u8; 4096];
    match call!(nr::GETCWD, name.as_mut_ptr(), name.len()) {
        Ok(_) if name[0] == b'/' => Ok(()),
        // The name is longer than a page: it begins at the root, or getcwd had not tried to copy.
        Err(errno) => Err(Failure { errno, detail: Detail::NotInRoot as u32 }),
        Ok(_) => Err(Failure { errno: errno::ENOENT, detail: Detail::NotInRoot as u32 }),
    }
}

/// `Seccomp`.
pub(crate) fn seccomp(init: &Init, flags: u32, program: Slice) -> Step {
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        len: u16,
        instructions: *const u8,
    }
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    let instructions = init.plan.words(program);
    let program = Program { len: (instructions.len() / 8) as u16, instructions: instructions.as_ptr() };
    call!(nr::SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const program).at(Detail::Whole).map(drop)
}

/// `AwaitHandover`. Whoever answered the call has the listener: what the answer says does not matter.
pub(crate) fn await_handover() {
    call!(nr::SCHED_YIELD, HANDOVER).ok();
}
