//! Properties of the process itself.

use crate::abi::{
    O_DIRECTORY, O_PATH, O_WRONLY, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV, errno,
};
use crate::ops::{HANDOVER, SetGroups, Slice, Slot, Str};
use crate::parse::keyring;
use crate::program::{At, Failure, Init, Step, file, namespace};
use crate::report::Detail;
use crate::sys::file::{KEEP, chdir, fchown, getcwd, stat};
use crate::sys::{Fd, Owned, process};

/// `Sysctl`: below a verified procfs and without leaving it, so that nothing mounted over a part of
/// /proc can take the write (CVE-2025-52881).
pub(crate) fn sysctl(init: &mut Init, path: Str, value: Slice) -> Step {
    let (path, value) = (init.plan.text(path), init.plan.bytes(value));
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    let sys = |proc: Fd<'_>| -> Result<Owned, i32> {
        let sys = file::open(proc, c"sys", O_PATH | O_DIRECTORY, 0, resolve);
        // A procfs of processes alone has none.
        let sys = sys.map_err(|errno| if errno == errno::ENOENT { errno::EXDEV } else { errno })?;
        file::open(sys.fd(), path, O_WRONLY, 0, resolve)
    };
    let opened = match init.has(Slot::PROC) {
        true => sys(init.fd(Slot::PROC)),
        false => Err(errno::EXDEV),
    };
    let file = match opened {
        // A part of the host's procfs is covered or read-only: as it is inside another container.
        Err(errno::EXDEV | errno::EROFS) => sys(namespace::private_proc(true)?.fd()),
        other => other,
    };
    file::write_once(file.at(Detail::Open)?.fd(), value)
}

/// `JoinCgroups`. The kernel asks for the rights of who has opened the files, and a process that moves itself need
/// not wait for others.
pub(crate) fn join_cgroups(init: &mut Init) -> Step {
    for slot in Slot::tasks() {
        if init.has(slot) {
            file::write_once(init.fd(slot), b"0")?;
            init.clear(slot);
        }
    }
    Ok(())
}

/// `Rlimit`.
pub(crate) fn rlimit(resource: u32, soft: u64, hard: u64) -> Step {
    process::set_limit(resource, soft, hard).at(Detail::Whole)
}

/// `OomScoreAdj`.
pub(crate) fn oom_score_adj(init: &mut Init, value: Slice) -> Step {
    let value = init.plan.bytes(value);
    let file = namespace::open_own(init, c"oom_score_adj", O_WRONLY)?;
    file::write_once(file.fd(), value)
}

/// `Label`.
pub(crate) fn label(init: &mut Init, path: Str, value: Slice) -> Step {
    let (path, value) = (init.plan.text(path), init.plan.bytes(value));
    let file = namespace::open_own(init, path, O_WRONLY)?;
    file::write_once(file.fd(), value)
}

/// `Scheduler`. From here on the init waits without looking: for a deadline task a yield is the end of its period.
pub(crate) fn scheduler(init: &mut Init, attributes: Slice) -> Step {
    init.looks = 0;
    process::set_scheduler(init.plan.bytes(attributes)).at(Detail::Whole)
}

/// `CpuAffinity`.
pub(crate) fn affinity(init: &Init, mask: Slice) -> Step {
    let mask = init.plan.bytes(mask);
    if mask.is_empty() {
        // The kernel takes no more bits than it has CPUs, and intersects them with the cpuset.
        process::set_affinity(&[u8::MAX; 1024]).ok();
        return Ok(());
    }
    process::set_affinity(mask).at(Detail::Whole)
}

/// `MemoryPolicy`.
pub(crate) fn memory_policy(init: &Init, mode: i32, nodes: Slice, max_node: u64) -> Step {
    process::set_memory_policy(mode, init.plan.bytes(nodes), max_node).at(Detail::Whole)
}

/// `SessionKeyring`: as keyctl_join_session_keyring(3), then the owner may search it.
pub(crate) fn session_keyring(init: &Init, name: Str, optional: bool) -> Step {
    /// KEY_USR_SEARCH, in the field of the uid.
    const OWNER_SEARCH: u32 = 0x0008_0000;
    let name = init.plan.text(name);
    let key = match process::join_session_keyring(name) {
        // A kernel without keyrings, or a filter that keeps all of them from the container, too.
        Err(errno::ENOSYS | errno::EPERM) if optional && !has_keys() => return Ok(()),
        other => other.at(Detail::Whole)?,
    };
    // The name has an id in it, which has up to 255 bytes as the name of a directory.
    let mut text = [0u8; 512];
    let len = process::describe_key(key, &mut text).at(Detail::Read)?;
    let permissions = keyring::permissions(text.get(..len).unwrap_or(&text))
        .ok_or(Failure::new(errno::EINVAL, Detail::Read))?;
    process::set_key_permissions(key, permissions | OWNER_SEARCH).at(Detail::Whole)
}

/// Whether keys can be made or found. Both calls are made with arguments that they refuse.
fn has_keys() -> bool {
    [process::try_add_key(), process::try_request_key()]
        .iter()
        .any(|refusal| !matches!(refusal, Err(errno::ENOSYS | errno::EPERM)))
}

/// `StdioOwner`: the user may reopen its standard streams (/dev/stdout); terminals and pipes of its
/// own, not /dev/null and not what the host refuses to give away.
pub(crate) fn stdio_owner(uid: u32) -> Step {
    for stream in (0..3).map(Fd::numbered) {
        let Ok(stat) = stat(stream, c"") else { continue };
        if stat.is_character_device(1, 3) || stat.uid == uid {
            continue;
        }
        match fchown(stream, uid, KEEP) {
            // A user namespace that does not map the owner, a read-only file system, a socket.
            Ok(()) | Err(errno::EPERM | errno::EINVAL | errno::ENOSYS | errno::EROFS) => {}
            Err(errno) => return Err(Failure::new(errno, Detail::Chown)),
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
            match process::setgroups(groups) {
                // The process keeps those that it has, as everyone in such a user namespace.
                Err(errno::EPERM) if set_groups == SetGroups::IfAllowed && groups.is_empty() => false,
                result => result.at(Detail::Setgroups).map(|()| true)?,
            }
        }
    };
    let differs = Failure::new(errno::EPERM, Detail::ReadBack);
    if set && process::group_count().at(Detail::ReadBack)? != groups.len() {
        return Err(differs);
    }
    process::set_gid(gid).at(Detail::Setgid)?;
    process::set_uid(uid).at(Detail::Setuid)?;
    let (gids, uids) = (process::gids().at(Detail::ReadBack)?, process::uids().at(Detail::ReadBack)?);
    if (gids, uids) != ([gid; 3], [uid; 3]) {
        return Err(differs);
    }
    not_dumpable()
}

/// A change of user makes a process what the sysctl fs.suid_dumpable says: with 1 its descriptors would
/// be open to every process of that user.
pub(crate) fn not_dumpable() -> Step {
    process::set_dumpable(false).at(Detail::Prctl)
}

/// `ChangeDirectory`. A directory that the kernel cannot name from the root is outside of it
/// (CVE-2024-21626).
pub(crate) fn change_directory(init: &mut Init, path: Str, first: bool) -> Step {
    if init.in_directory {
        return Ok(());
    }
    // The one directory of the host that is still open: no name such as /proc/self/fd/N may lead there.
    init.clear(Slot::PROC);
    match chdir(init.plan.text(path)) {
        Err(errno::EPERM | errno::EACCES) if first => return Ok(()),
        other => other.at(Detail::Chdir)?,
    }
    init.in_directory = true;
    let mut name = [0u8; 4096];
    match getcwd(&mut name) {
        Ok(_) if name[0] == b'/' => Ok(()),
        // The name is longer than a page: it begins at the root, or getcwd had not tried to copy.
        Err(errno) => Err(Failure::new(errno, Detail::NotInRoot)),
        Ok(_) => Err(Failure::new(errno::ENOENT, Detail::NotInRoot)),
    }
}

/// `Seccomp`. A listener keeps the number that was announced, and is not closed here.
pub(crate) fn seccomp(init: &Init, flags: u32, program: Slice) -> Step {
    process::set_filter(flags, init.plan.words(program)).at(Detail::Whole).map(drop)
}

/// `AwaitHandover`. Whoever answered the call has the listener: what the answer says does not matter.
pub(crate) fn await_handover() {
    process::sched_yield(HANDOVER).ok();
}
