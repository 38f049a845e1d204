//! Stage 0: the process between the caller and the container's init.
//!
//! The caller clones it in its own cgroup and namespaces, and it executes this program at once: from then on nothing
//! of the caller's memory and none of its descriptors are near a container. It takes its plan over its socket, clones the
//! init as a child of the caller, and then makes what needs the host's namespaces, beside the init's own work.

use core::ffi::CStr;

use crate::abi::{
    AF_NETLINK, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, CLONE_PARENT, MNT_DETACH, NETLINK_ROUTE, O_CLOEXEC,
    O_DIRECTORY, O_PATH, O_WRONLY, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, SIGKILL, SOCK_RAW, errno,
};
use crate::ops::{Maps, NamespaceOp, Op, Slice, Slot, StageOp, Str};
use crate::parse::number::Digits;
use crate::parse::path::relative;
use crate::program::file::{self, open_directory};
use crate::program::{At, Failure, Init, Lane, Step, mount, namespace, signals, sync};
use crate::report::{Detail, Report};
use crate::sys::file::{chroot, fchdir, openat};
use crate::sys::mount::umount;
use crate::sys::process::{self, Cloned, set_dumpable, setns, unshare};
use crate::sys::{Fd, Owned, dup_above, dup_onto, set_descriptor_flags, signal, socket};

/// `CloneInit`. Both processes come back; the one that is the init goes on with the init's operations.
pub(crate) fn clone_init(init: &mut Init, flags: u64, maps: Maps) -> Step {
    let (own, other) = socket::pair().at(Detail::Socket)?;
    init.set(Slot::LANES, own);
    if maps == Maps::ByUser {
        set_dumpable(true).at(Detail::Prctl)?;
    }
    let (pid, pidfd) = match clone(init, flags)? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            init.set(Slot::LANES, other);
            return become_init(init, maps);
        }
    };
    drop(other);
    set_dumpable(false).at(Detail::Prctl)?;
    init.init_pid = pid;
    // The end of the init's socket has to show as soon as the init has ended.
    for slot in [Slot::SYNC, Slot::GATE, Slot::PLACE] {
        init.clear(slot);
    }
    for slot in Slot::tasks() {
        init.clear(slot);
    }
    init.news = Some(News { report: Report { step: init.step, errno: 0, detail: pid }, pidfd });
    // A user namespace waits for the caller, who writes its id maps.
    if maps == Maps::None { Ok(()) } else { tell_of_init(init) }
}

/// What the caller is to know of the init: a report with its pid, and its pidfd.
pub(crate) struct News {
    report: Report,
    pidfd: Option<Owned>,
}

/// Tells the caller of the init, if that has not been done.
pub(crate) fn tell_of_init(init: &mut Init) -> Step {
    let Some(News { report, pidfd }) = init.news.take() else { return Ok(()) };
    sync::send(init.fd(Slot::CONTROL), report, pidfd.as_ref().map(Owned::fd))
}

/// Whether the caller is told of the init only after this operation. The message wakes the caller, which then takes a processor
/// from the init or from stage 0.
pub(crate) fn is_quick(init: &Init, op: &Op) -> bool {
    match op {
        Op::Stage(StageOp::MakeNetwork { sysfs }) => {
            init.has(Slot::NETWORK) && (!sysfs || init.has(Slot::SYSFS))
        }
        Op::Stage(StageOp::HandOver { .. }) | Op::Namespace(NamespaceOp::LoopbackUp) => true,
        Op::Stage(_) | Op::Namespace(_) => false,
        Op::Wait(_) | Op::Mount(_) | Op::File(_) | Op::Process(_) | Op::Program(_) => false,
    }
}

/// clone3(2), or clone(2) where a filter denies that and the init need not be cloned into a cgroup.
fn clone(init: &Init, flags: u64) -> Step<Cloned> {
    let flags = flags | CLONE_PARENT;
    let place = init.has(Slot::PLACE).then(|| init.fd(Slot::PLACE));
    match process::clone3(flags, Some(init.shared.pid()), place) {
        // clone(2) has one pointer for the pidfd and the pid: the caller opens the pidfd by the pid.
        Err(errno::ENOSYS | errno::EPERM) if place.is_none() => {
            process::clone(flags, Some(init.shared.pid()))
        }
        cloned => cloned,
    }
    .at(Detail::Clone)
}

/// In the init. In a new user namespace it waits for the id maps, becomes root there, and executes this program
/// again: its memory would belong to the namespace of the caller else, and be closed to one without CAP_SYS_PTRACE.
fn become_init(init: &mut Init, maps: Maps) -> Step {
    init.clear(Slot::CONTROL);
    init.clear(Slot::PLACE);
    signals::unblock()?;
    if maps == Maps::None {
        init.clear(Slot::IMAGE);
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
    let inherited = init.plan.inherited | Slot::LANES.bit();
    for slot in (0..Slot::INHERITED as u16).map(Slot).filter(|slot| inherited & slot.bit() != 0) {
        let number = slot.number(init.plan.base);
        match init.fd(slot) {
            fd if fd.number() == Fd::NONE.number() => {}
            fd if fd.number() == number => set_descriptor_flags(fd, 0).at(Detail::Dup)?,
            // Slot LANES is where the kernel has put it.
            fd => dup_onto(fd, number, 0).at(Detail::Dup)?,
        }
    }
    let base = Digits::new(init.plan.base as u32);
    let argv = [c"runtime-init".as_ptr(), base.text().as_ptr(), c"i".as_ptr(), core::ptr::null()];
    let envp = [core::ptr::null()];
    // SAFETY: texts with a NUL, which outlive the call, and a null after them.
    unsafe { process::execveat(init.fd(Slot::IMAGE), argv.as_ptr(), envp.as_ptr()) }.at(Detail::Execve)
}

/// `MakeNetwork`; one that has been made early is as good.
pub(crate) fn make_network(init: &mut Init, sysfs: bool) -> Step {
    if !init.has(Slot::NETWORK) {
        unshare(CLONE_NEWNET).at(Detail::Unshare)?;
        init.set(Slot::NETWORK, namespace::own_network()?);
    }
    if sysfs && !init.has(Slot::SYSFS) {
        init.set(Slot::SYSFS, mount::sysfs_context()?);
    }
    Ok(())
}

/// Enters a new network namespace: it and the context of its sysfs, at numbers above all slots that are filled from outside.
/// What fails here is made, or fails, at its turn.
pub(crate) fn network_early(base: i32) -> Option<(Owned, Owned)> {
    let above = |fd: Owned| dup_above(fd.fd(), base.saturating_add(Slot::INHERITED as i32)).ok();
    unshare(CLONE_NEWNET).ok()?;
    let network = above(namespace::own_network().ok()?)?;
    let sysfs = mount::sysfs_context().ok().and_then(above)?;
    Some((network, sysfs))
}

/// `AwaitInit`; without the init there is nothing more to do.
pub(crate) fn await_init(init: &Init) -> Step {
    sync::await_word(init.fd(Slot::LANES), 0)
}

/// `HandOver`; likewise.
pub(crate) fn hand_over(init: &mut Init, first: Slot, count: u32) -> Step {
    let mut fds = [Fd::NONE; sync::DESCRIPTORS];
    for (slot, fd) in (first.0..).map(Slot).zip(fds.iter_mut().take(count as usize)) {
        *fd = init.fd(slot);
    }
    match sync::send_word(init.fd(Slot::LANES), fds.get(..count as usize).unwrap_or(&[])) {
        // The init has ended, and has told the caller why.
        Err(Failure { errno: errno::EPIPE | errno::ECONNRESET, .. }) => {
            tell_of_init(init)?;
            crate::program::exit(crate::program::EXIT_FAILED)
        }
        other => other?,
    }
    for slot in (first.0..).map(Slot).take(count as usize) {
        init.clear(slot);
    }
    Ok(())
}

/// `Deliver`.
pub(crate) fn deliver(init: &mut Init, slot: Slot) -> Step {
    let report = Report { step: init.step, errno: 0, detail: 0 };
    sync::send(init.fd(Slot::CONTROL), report, Some(init.fd(slot)))?;
    init.clear(slot);
    Ok(())
}

/// `CloneTreeOfInit`.
pub(crate) fn clone_tree_of_init(init: &mut Init, path: Str, recursive: bool, nofollow: bool) -> Step {
    let namespace = open_namespace(init, pid_of_init(init), c"mnt")?;
    in_mounts_of(init, namespace.fd(), |init| mount::clone_tree(init, path, recursive, nofollow))
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
    in_mounts_of(init, namespace.fd(), |init| mount::clone_tree(init, path, recursive, nofollow))
}

/// Does something in another mount namespace, and comes back to the same root.
fn in_mounts_of(init: &mut Init, namespace: Fd<'_>, act: impl FnOnce(&mut Init) -> Step) -> Step {
    let root = open_directory(c"/")?;
    let directory = open_directory(c".")?;
    let mounts = namespace::open_mount_namespace(init)?;
    setns(namespace, CLONE_NEWNS).at(Detail::Setns)?;
    let done = act(init);
    setns(mounts.fd(), CLONE_NEWNS).at(Detail::Setns)?;
    // setns(2) leads to the root of the namespace, which need not be the caller's.
    fchdir(root.fd()).at(Detail::Fchdir)?;
    chroot(c".").at(Detail::Chroot)?;
    fchdir(directory.fd()).at(Detail::Fchdir)?;
    done
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
    init.clear(Slot::USER);
    Ok(())
}

/// `OpenNetlink`.
pub(crate) fn open_netlink(init: &mut Init) -> Step {
    let socket = socket::socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).at(Detail::Socket)?;
    init.set(Slot::NETWORK, socket);
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
    if let Some(given) = init.take(Slot::GIVEN) {
        init.set(Slot::MOUNT, given);
    }
    Ok(())
}

/// `UnmountGiven`. umount2(2) takes a path: the name of the descriptor in this process's own directory of them, which the
/// host's procfs has. The container's has no say in what is unmounted.
pub(crate) fn unmount_given(init: &mut Init) -> Step {
    namespace::open_host_proc(init)?;
    let descriptors = namespace::open_own(init, c"fd", O_PATH | O_DIRECTORY)?;
    setns(init.fd(Slot::TARGET), CLONE_NEWNS).at(Detail::Setns)?;
    fchdir(descriptors.fd()).at(Detail::Fchdir)?;
    let name = Digits::new(init.fd(Slot::GIVEN).number() as u32);
    umount(name.text(), MNT_DETACH).at(Detail::Umount)
}

/// `Tell`.
pub(crate) fn tell(init: &Init) -> Step {
    sync::send(init.fd(Slot::CONTROL), Report { step: init.step, errno: 0, detail: 0 }, None)
}

/// What `take` gets of a process in new namespaces, which does nothing and ends then.
fn hold(init: &mut Init, flags: u64, take: impl FnOnce(&mut Init, u32) -> Step<Owned>) -> Step<Owned> {
    let cloned = match process::clone3(flags, None, None) {
        Err(errno::ENOSYS | errno::EPERM) => process::clone_with_pidfd(flags),
        other => other,
    }
    .at(Detail::Clone)?;
    let (pid, pidfd) = match cloned {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => loop {
            signal::pause().ok();
        },
    };
    let taken = take(init, pid);
    let pidfd = pidfd.as_ref().map_or(Fd::NONE, Owned::fd);
    signal::send(pidfd, SIGKILL).at(Detail::Wait)?;
    signal::wait_pidfd(pidfd).at(Detail::Wait)?;
    taken
}

/// Opens a namespace of a process by its pid, which is that of a child of this process or of the caller: not reaped,
/// so that nobody else has it.
fn open_namespace(init: &mut Init, pid: u32, kind: &CStr) -> Step<Owned> {
    let process = process_directory(init, pid)?;
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    let directory = file::open(process.fd(), c"ns", O_PATH | O_DIRECTORY, 0, resolve).at(Detail::Open)?;
    openat(directory.fd(), kind, 0).at(Detail::Open)
}

/// The directory of a process in a procfs that is verified to be one.
fn process_directory(init: &mut Init, pid: u32) -> Step<Owned> {
    if !init.has(Slot::PROC) {
        namespace::open_host_proc(init)?;
    }
    let name = Digits::new(pid);
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    file::open(init.fd(Slot::PROC), name.text(), O_PATH | O_DIRECTORY, 0, resolve).at(Detail::NotProcfs)
}

/// The kernel takes a map in one write only.
fn write_map(init: &mut Init, pid: u32, name: &CStr, text: &[u8]) -> Step {
    let process = process_directory(init, pid)?;
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    let file = file::open(process.fd(), name, O_WRONLY, 0, resolve).at(Detail::Open)?;
    file::write_once(file.fd(), text)
}

/// Takes the first message of the caller: the slots that it fills, and their descriptors. `None` if the caller has none.
pub(crate) fn receive_slots(socket: Fd<'_>, base: i32) -> Step<Option<u64>> {
    let Some((bits, mut message)) = sync::receive_many(socket)? else { return Ok(None) };
    if bits.count_ones() as usize != message.count {
        return Err(Failure::new(errno::EPROTO, Detail::Receive));
    }
    // The kernel has taken the lowest free numbers, in this order, so each is at most its slot's: from the last on none
    // is in the way of another.
    let slots = (0..Slot::INHERITED as u16).rev().map(Slot).filter(|slot| bits & slot.bit() != 0);
    let fds = message.fds.iter_mut().rev().filter_map(Option::take);
    for (slot, fd) in slots.zip(fds) {
        let number = slot.number(base);
        if fd.number() == number {
            // It stays open, in its slot.
            fd.into_number();
        } else {
            dup_onto(fd.fd(), number, O_CLOEXEC).at(Detail::Dup)?;
        }
    }
    Ok(Some(bits))
}
