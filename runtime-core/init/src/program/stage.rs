//! Stage 0: the process between the caller and the container's init.
//!
//! The caller clones it in its own cgroup and namespaces, and it executes this program at once: from then on nothing
//! of the caller's memory and none of its descriptors are near a container. It takes its plan over its socket, clones the
//! init as a child of the caller, and then makes what needs the host's namespaces, beside the init's own work.

use crate::ops::{Maps, Slice, Slot, Str};
use crate::parse::number::Digits;
use crate::parse::path::relative;
use crate::program::file::{self, AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_WRONLY};
use crate::program::{At, Failure, Init, Lane, PR_SET_DUMPABLE, Step, call, errno, mount, namespace, sync};
use crate::report::{Detail, Report};
use crate::syscall::{CloneArgs, common, nr};

const CLONE_PARENT: u64 = 0x8000;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_NEWNS: u64 = 0x2_0000;
const CLONE_NEWNET: usize = 0x4000_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const SIGKILL: usize = 9;
const P_PIDFD: usize = 3;
const WEXITED: usize = 4;
const WALL: usize = 0x4000_0000;

/// `CloneInit`. Both processes come back; the one that is the init goes on with the init's operations.
pub(crate) fn clone_init(init: &mut Init, flags: u64, maps: Maps) -> Step {
    let (own, other) = sync::pair()?;
    init.set(Slot::LANES, own);
    if maps == Maps::ByUser {
        call!(nr::PRCTL, PR_SET_DUMPABLE, 1).at(Detail::Prctl)?;
    }
    let (pid, pidfd) = clone(init, flags)?;
    if pid == 0 {
        init.set(Slot::LANES, other);
        return become_init(init, maps);
    }
    file::close(other);
    call!(nr::PRCTL, PR_SET_DUMPABLE, 0).at(Detail::Prctl)?;
    init.init_pid = pid as u32;
    // The end of the init's socket has to show as soon as the init has ended.
    for slot in [Slot::SYNC, Slot::GATE, Slot::PLACE] {
        init.set(slot, -1);
    }
    for slot in 0..Slot::TASKS_COUNT {
        init.set(Slot(Slot::TASKS.0 + slot), -1);
    }
    let told =
        sync::send(init.fd(Slot::CONTROL), Report { step: init.step, errno: 0, detail: pid as u32 }, pidfd);
    if pidfd >= 0 {
        file::close(pidfd);
    }
    told
}

/// clone3(2), or clone(2) where a filter denies that and the init need not be cloned into a cgroup.
fn clone(init: &Init, flags: u64) -> Step<(usize, i32)> {
    let mut pidfd = -1i32;
    let place = init.fd(Slot::PLACE);
    let mut args = CloneArgs {
        flags: flags | CLONE_PARENT | CLONE_PIDFD | CLONE_PARENT_SETTID,
        pidfd: &raw mut pidfd as u64,
        parent_tid: init.shared.pid() as u64,
        ..CloneArgs::default()
    };
    if place >= 0 {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = place as u64;
    }
    match call!(common::CLONE3, &raw const args, size_of::<CloneArgs>()) {
        // clone(2) has one pointer for the pidfd and the pid: the caller opens the pidfd by the pid.
        Err(errno::ENOSYS | errno::EPERM) if place < 0 => {
            let flags = flags | CLONE_PARENT | CLONE_PARENT_SETTID;
            call!(nr::CLONE, flags, 0, init.shared.pid(), 0, 0).map(|pid| (pid, -1))
        }
        cloned => cloned.map(|pid| (pid, pidfd)),
    }
    .at(Detail::Clone)
}

/// In the init. In a new user namespace it waits for the id maps, becomes root there, and executes this program
/// again: its memory would belong to the namespace of the caller else, and be closed to one without CAP_SYS_PTRACE.
fn become_init(init: &mut Init, maps: Maps) -> Step {
    init.set(Slot::CONTROL, -1);
    init.set(Slot::PLACE, -1);
    crate::program::exec::reset_signals()?;
    if maps == Maps::None {
        init.set(Slot::IMAGE, -1);
        init.go_on_as(Lane::Init);
        return Ok(());
    }
    init.lane = Lane::Init;
    sync::word(init)?;
    namespace::become_root()?;
    execute_again(init)
}

/// execveat(2) of this program, with the same descriptors.
fn execute_again(init: &Init) -> Step {
    const F_SETFD: usize = 2;
    let inherited = init.plan.inherited | Slot::LANES.bit();
    for slot in (0..Slot::INHERITED as u16).map(Slot).filter(|slot| inherited & slot.bit() != 0) {
        let number = init.plan.base + slot.0 as i32;
        match init.fd(slot) {
            -1 => {}
            same if same == number => call!(nr::FCNTL, number, F_SETFD, 0).at(Detail::Dup).map(drop)?,
            // Slot LANES is where the kernel has put it.
            other => call!(nr::DUP3, other, number, 0).at(Detail::Dup).map(drop)?,
        }
    }
    let base = Digits::new(init.plan.base as u32);
    let argv = [c"runtime-init".as_ptr(), base.text().as_ptr(), c"i".as_ptr(), core::ptr::null()];
    let envp = [core::ptr::null::<core::ffi::c_char>()];
    call!(nr::EXECVEAT, init.fd(Slot::IMAGE), c"".as_ptr(), argv.as_ptr(), envp.as_ptr(), AT_EMPTY_PATH)
        .at(Detail::Execve)
        .map(drop)
}

/// `MakeNetwork`; one that has been made early is as good.
pub(crate) fn make_network(init: &mut Init, sysfs: bool) -> Step {
    if init.fd(Slot::NETWORK) < 0 {
        call!(nr::UNSHARE, CLONE_NEWNET).at(Detail::Unshare)?;
        let network = namespace::own_network()?;
        init.set(Slot::NETWORK, network);
    }
    if sysfs && init.fd(Slot::SYSFS) < 0 {
        let context = mount::sysfs_context()?;
        init.set(Slot::SYSFS, context);
    }
    Ok(())
}

/// Enters a new network namespace: it and the context of its sysfs, at numbers above all slots that are filled from outside.
/// What fails here is made, or fails, at its turn.
pub(crate) fn network_early(base: i32) -> Option<(i32, i32)> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    let above = |fd: i32| {
        let moved = call!(nr::FCNTL, fd, F_DUPFD_CLOEXEC, base as usize + Slot::INHERITED);
        file::close(fd);
        moved.ok().map(|fd| fd as i32)
    };
    call!(nr::UNSHARE, CLONE_NEWNET).ok()?;
    let network = above(namespace::own_network().ok()?)?;
    match mount::sysfs_context().ok().and_then(above) {
        Some(sysfs) => Some((network, sysfs)),
        None => {
            file::close(network);
            None
        }
    }
}

/// `AwaitInit`; without the init there is nothing more to do.
pub(crate) fn await_init(init: &Init) -> Step {
    sync::await_word(init.fd(Slot::LANES), 0)
}

/// `HandOver`; likewise.
pub(crate) fn hand_over(init: &mut Init, first: Slot, count: u32) -> Step {
    let mut fds = [-1; sync::DESCRIPTORS];
    for (at, fd) in fds.iter_mut().enumerate().take(count as usize) {
        *fd = init.fd(Slot(first.0 + at as u16));
    }
    match sync::send_word(init.fd(Slot::LANES), fds.get(..count as usize).unwrap_or(&[])) {
        // The init has ended, and has told the caller why.
        Err(Failure { errno: errno::EPIPE | errno::ECONNRESET, .. }) => {
            crate::program::exit(crate::program::EXIT_FAILED)
        }
        other => other?,
    }
    for at in 0..count as u16 {
        init.set(Slot(first.0 + at), -1);
    }
    Ok(())
}

/// `Deliver`.
pub(crate) fn deliver(init: &mut Init, slot: Slot) -> Step {
    sync::send(init.fd(Slot::CONTROL), Report { step: init.step, errno: 0, detail: 0 }, init.fd(slot))?;
    init.set(slot, -1);
    Ok(())
}

/// `CloneTreeOfInit`.
pub(crate) fn clone_tree_of_init(init: &mut Init, path: Str, recursive: bool, nofollow: bool) -> Step {
    let namespace = open_namespace(init, pid_of_init(init), c"mnt")?;
    in_mounts_of(init, namespace, |init| mount::clone_tree(init, path, recursive, nofollow))
}

/// The pid of the process that goes on as the init: one that it has forked, if it has.
fn pid_of_init(init: &Init) -> u32 {
    match init.shared.forked_pid() {
        0 => init.init_pid,
        forked => forked,
    }
}

/// `CloneLockedTree`.
pub(crate) fn clone_locked_tree(init: &mut Init, path: Str, recursive: bool, nofollow: bool) -> Step {
    let namespace = hold(init, CLONE_NEWUSER | CLONE_NEWNS, |init, pid| open_namespace(init, pid, c"mnt"))?;
    in_mounts_of(init, namespace, |init| mount::clone_tree(init, path, recursive, nofollow))
}

/// Does something in another mount namespace, whose descriptor it closes, and comes back to the same root.
fn in_mounts_of(init: &mut Init, namespace: i32, act: impl FnOnce(&mut Init) -> Step) -> Step {
    let root = open_directory(c"/")?;
    let directory = open_directory(c".")?;
    let own = namespace::open_own(init, c"ns", O_PATH | O_DIRECTORY)?;
    // An nsfs file is reached by a magic link, of a directory that is verified to be procfs.
    let mounts = call!(nr::OPENAT, own, c"mnt".as_ptr(), O_CLOEXEC).at(Detail::Open)? as i32;
    call!(nr::SETNS, namespace, CLONE_NEWNS).at(Detail::Setns)?;
    let done = act(init);
    call!(nr::SETNS, mounts, CLONE_NEWNS).at(Detail::Setns)?;
    // setns(2) leads to the root of the namespace, which need not be the caller's.
    call!(nr::FCHDIR, root).at(Detail::Fchdir)?;
    call!(nr::CHROOT, c".".as_ptr()).at(Detail::Chroot)?;
    call!(nr::FCHDIR, directory).at(Detail::Fchdir)?;
    [root, directory, own, mounts, namespace].into_iter().for_each(file::close);
    done
}

fn open_directory(path: &core::ffi::CStr) -> Step<i32> {
    call!(nr::OPENAT, AT_FDCWD, path.as_ptr(), O_PATH | O_DIRECTORY | O_CLOEXEC)
        .at(Detail::Open)
        .map(|fd| fd as i32)
}

/// `OpenUserNamespace`.
pub(crate) fn open_user_namespace(init: &mut Init) -> Step {
    let user = open_namespace(init, pid_of_init(init), c"user")?;
    init.set(Slot::USER, user);
    Ok(())
}

/// `MakeUserNamespace`.
pub(crate) fn make_user_namespace(init: &mut Init, uid: Slice, gid: Slice) -> Step {
    let (uid, gid) = (init.plan.bytes(uid), init.plan.bytes(gid));
    let user = hold(init, CLONE_NEWUSER, |init, pid| {
        write_map(init, pid, c"uid_map", uid)?;
        write_map(init, pid, c"gid_map", gid)?;
        open_namespace(init, pid, c"user")
    })?;
    init.set(Slot::USER, user);
    Ok(())
}

/// `MapIds`.
pub(crate) fn map_ids(init: &mut Init, recursive: bool) -> Step {
    mount::id_map(init.fd(Slot::MOUNT), init.fd(Slot::USER), recursive)?;
    init.set(Slot::USER, -1);
    Ok(())
}

/// `OpenNetlink`.
pub(crate) fn open_netlink(init: &mut Init) -> Step {
    const AF_NETLINK: usize = 16;
    const SOCK_RAW_CLOEXEC: usize = 3 | O_CLOEXEC;
    const NETLINK_ROUTE: usize = 0;
    let socket = call!(nr::SOCKET, AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE).at(Detail::Socket)?;
    init.set(Slot::NETWORK, socket as i32);
    Ok(())
}

/// `OpenInRoot`.
pub(crate) fn open_in_root(init: &mut Init, path: Str) -> Step {
    let path = relative(init.plan.text(path));
    let found = file::in_root(init.fd(Slot::ROOT), path, 0).at(Detail::Open)?;
    init.set(Slot::MOUNT, found);
    Ok(())
}

/// `TakeGiven`.
pub(crate) fn take_given(init: &mut Init, destination: Str) -> Step {
    file::refuse_dangling(init.fd(Slot::ROOT), relative(init.plan.text(destination)).to_bytes())?;
    let given = init.take(Slot::GIVEN);
    init.set(Slot::MOUNT, given);
    Ok(())
}

/// `UnmountGiven`. umount2(2) takes a path: the name of the descriptor in this process's own directory of them, which the
/// host's procfs has. The container's has no say in what is unmounted.
pub(crate) fn unmount_given(init: &mut Init) -> Step {
    const MNT_DETACH: usize = 2;
    namespace::open_host_proc(init)?;
    let descriptors = namespace::open_own(init, c"fd", O_PATH | O_DIRECTORY)?;
    call!(nr::SETNS, init.fd(Slot::TARGET), CLONE_NEWNS).at(Detail::Setns)?;
    call!(nr::FCHDIR, descriptors).at(Detail::Fchdir)?;
    let name = Digits::new(init.fd(Slot::GIVEN) as u32);
    call!(nr::UMOUNT2, name.text().as_ptr(), MNT_DETACH).at(Detail::Umount).map(drop)
}

/// `Tell`.
pub(crate) fn tell(init: &Init) -> Step {
    sync::send(init.fd(Slot::CONTROL), Report { step: init.step, errno: 0, detail: 0 }, -1)
}

/// What `take` gets of a process in new namespaces, which does nothing and ends then.
fn hold(init: &mut Init, flags: u64, take: impl FnOnce(&mut Init, u32) -> Step<i32>) -> Step<i32> {
    let mut pidfd = -1i32;
    let args = CloneArgs { flags: flags | CLONE_PIDFD, pidfd: &raw mut pidfd as u64, ..CloneArgs::default() };
    let pid = match call!(common::CLONE3, &raw const args, size_of::<CloneArgs>()) {
        // clone(2) puts the pidfd where the pid would go.
        Err(errno::ENOSYS | errno::EPERM) => call!(nr::CLONE, args.flags, 0, &raw mut pidfd, 0, 0),
        other => other,
    }
    .at(Detail::Clone)?;
    if pid == 0 {
        loop {
            call!(nr::PPOLL, 0, 0, 0, 0, 0).ok();
        }
    }
    let taken = take(init, pid as u32);
    call!(common::PIDFD_SEND_SIGNAL, pidfd, SIGKILL, 0, 0).at(Detail::Wait)?;
    call!(nr::WAITID, P_PIDFD, pidfd, 0, WEXITED | WALL, 0).at(Detail::Wait)?;
    file::close(pidfd);
    taken
}

/// Opens a namespace of a process by its pid, which is that of a child of this process or of the caller: not reaped,
/// so that nobody else has it.
fn open_namespace(init: &mut Init, pid: u32, kind: &core::ffi::CStr) -> Step<i32> {
    let directory = open_process(init, pid, c"ns")?;
    let namespace = call!(nr::OPENAT, directory, kind.as_ptr(), O_CLOEXEC).at(Detail::Open);
    file::close(directory);
    namespace.map(|fd| fd as i32)
}

/// Opens a directory of a process in a procfs that is verified to be one.
fn open_process(init: &mut Init, pid: u32, name: &core::ffi::CStr) -> Step<i32> {
    let process = process_directory(init, pid)?;
    let opened =
        file::open(process, name, O_PATH | O_DIRECTORY, 0, file::RESOLVE_BENEATH | file::RESOLVE_NO_SYMLINKS);
    file::close(process);
    opened.at(Detail::Open)
}

fn process_directory(init: &mut Init, pid: u32) -> Step<i32> {
    if init.fd(Slot::PROC) < 0 {
        namespace::open_host_proc(init)?;
    }
    let name = Digits::new(pid);
    file::open(
        init.fd(Slot::PROC),
        name.text(),
        O_PATH | O_DIRECTORY,
        0,
        file::RESOLVE_BENEATH | file::RESOLVE_NO_SYMLINKS,
    )
    .at(Detail::NotProcfs)
}

/// The kernel takes a map in one write only.
fn write_map(init: &mut Init, pid: u32, name: &core::ffi::CStr, text: &[u8]) -> Step {
    let process = process_directory(init, pid)?;
    let file = file::open(process, name, O_WRONLY, 0, file::RESOLVE_BENEATH | file::RESOLVE_NO_SYMLINKS);
    file::close(process);
    let file = file.at(Detail::Open)?;
    let written = file::write_once(file, text);
    file::close(file);
    written
}

/// Takes the first message of the caller: the slots that it fills, and their descriptors. `None` if the caller has none.
pub(crate) fn receive_slots(socket: i32, base: i32) -> Step<Option<u64>> {
    let mut fds = [-1; Slot::INHERITED];
    let Some((bits, count)) = sync::receive_many(socket, &mut fds)? else { return Ok(None) };
    if bits.count_ones() as usize != count {
        return Err(Failure { errno: errno::EPROTO, detail: Detail::Receive as u32 });
    }
    // The kernel has taken the lowest free numbers, in this order, so each is at most its slot's: from the last on none
    // is in the way of another.
    let mut rest = count;
    for slot in (0..Slot::INHERITED as u16).rev().map(Slot).filter(|slot| bits & slot.bit() != 0) {
        rest -= 1;
        let (from, to) = (fds[rest], base + slot.0 as i32);
        if from != to {
            call!(nr::DUP3, from, to, O_CLOEXEC).at(Detail::Dup)?;
            file::close(from);
        }
    }
    Ok(Some(bits))
}
