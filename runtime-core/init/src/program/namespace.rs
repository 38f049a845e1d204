//! Namespaces: joining, and what a new one needs.

use core::ffi::CStr;

use crate::abi::{
    AF_INET, CLONE_NEWTIME, CLONE_PARENT, O_DIRECTORY, O_PATH, O_WRONLY, PROC_SUPER_MAGIC, RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV, SIGCHLD, SOCK_DGRAM, errno,
};
use crate::ops::{Slice, Slot, Str};
use crate::program::{At, Failure, Init, Step, file, process, sync};
use crate::report::{Detail, Report};
use crate::sys::file::{filesystem, openat, stat};
use crate::sys::process::Cloned;
use crate::sys::{self, Fd, Owned, mount, socket, terminal};

const PROC_ROOT_INODE: u64 = 1;

/// `OpenProc`: the host's procfs, before any mount of the container can be in the way.
pub(crate) fn open_host_proc(init: &mut Init) -> Step {
    let proc = file::open_directory(c"/proc")?;
    let proc = match is_proc_root(proc.fd()) {
        true => proc,
        false => private_proc(true)?,
    };
    init.set(Slot::PROC, proc);
    Ok(())
}

/// Whether a descriptor is the root of a procfs.
pub(crate) fn is_proc_root(fd: Fd<'_>) -> bool {
    filesystem(fd) == Ok(PROC_SUPER_MAGIC) && stat(fd, c"").is_ok_and(|stat| stat.inode == PROC_ROOT_INODE)
}

/// A procfs that is mounted nowhere; `whole` has more than the processes.
pub(crate) fn private_proc(whole: bool) -> Step<Owned> {
    let context = mount::fsopen(c"proc").at(Detail::Fsopen)?;
    if !whole {
        mount::fsconfig_string(context.fd(), c"subset", c"pid").at(Detail::Fsconfig)?;
    }
    mount::fsconfig_create(context.fd()).at(Detail::FsconfigCreate)?;
    mount::fsmount(context.fd(), 0).at(Detail::Fsmount)
}

/// Opens a file of this process in a procfs that is known to be one.
pub(crate) fn open_own(init: &mut Init, path: &CStr, flags: u32) -> Step<Owned> {
    if !init.has(Slot::PROC) {
        // Whole, for sysctls. Where a part of the host's procfs is covered, a user namespace may have the processes alone.
        let private = private_proc(true).or_else(|_| private_proc(false))?;
        init.set(Slot::PROC, private);
    }
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    let proc = init.fd(Slot::PROC);
    let own = file::open(proc, c"self", O_PATH | O_DIRECTORY, 0, resolve).at(Detail::NotProcfs)?;
    file::open(own.fd(), path, flags, 0, resolve).at(Detail::Open)
}

/// `JoinNamespaces`.
pub(crate) fn join(init: &mut Init, slot: Slot, flags: u32) -> Step {
    sys::process::setns(init.fd(slot), u64::from(flags)).at(Detail::Setns)?;
    init.clear(slot);
    Ok(())
}

/// `BecomeRoot`.
pub(crate) fn become_root() -> Step {
    sys::process::set_gid(0).at(Detail::Setgid)?;
    sys::process::set_uid(0).at(Detail::Setuid)?;
    process::not_dumpable()
}

/// `TimeNamespace`: offsets can be set only while no process is in the namespace, so it is made for
/// children first and then entered.
pub(crate) fn time(init: &mut Init, offsets: Slice) -> Step {
    sys::process::unshare(CLONE_NEWTIME).at(Detail::Unshare)?;
    let text = init.plan.bytes(offsets);
    if !text.is_empty() {
        let file = open_own(init, c"timens_offsets", O_WRONLY)?;
        file::write_once(file.fd(), text)?;
    }
    let namespace = open_namespace(init, c"time_for_children")?;
    sys::process::setns(namespace.fd(), CLONE_NEWTIME).at(Detail::Setns)
}

/// The mount namespace of this process.
pub(crate) fn open_mount_namespace(init: &mut Init) -> Step<Owned> {
    open_namespace(init, c"mnt")
}

/// Opens a namespace of this process: an nsfs file is reached by a magic link, of a directory that is verified
/// to be procfs.
fn open_namespace(init: &mut Init, name: &CStr) -> Step<Owned> {
    let directory = open_own(init, c"ns", O_PATH | O_DIRECTORY)?;
    openat(directory.fd(), name, 0).at(Detail::Open)
}

/// `ForkIntoPidNamespace`: the child goes on, with the same parent; this process ends.
///
/// From here on processes of the container can see the init, and one that may trace it could take
/// its descriptors (CVE-2016-9962): what leads to the host is closed first.
pub(crate) fn fork_into_pid_namespace(init: &mut Init) -> Step {
    for slot in [Slot::PROC, Slot::TARGET, Slot::SHARED, Slot::PLAN] {
        init.clear(slot);
    }
    // Of each type of namespaces one.
    for slot in Slot::JOIN.0..Slot::SHARED.0 {
        init.clear(Slot(slot));
    }
    init.shared.keep_from_fork()?;
    match sys::process::clone(CLONE_PARENT | u64::from(SIGCHLD), Some(init.shared.forked()))
        .at(Detail::Fork)?
    {
        Cloned::Parent { .. } => crate::program::exit(0),
        Cloned::Child => init.shared.forget(),
    }
    // Descriptors and the mapping are shared with or copied from the process that ended; only
    // "dumpable" is worth a second word: it is inherited by fork.
    sync::send(init.fd(Slot::SYNC), Report { step: init.step, errno: 0, detail: 0 }, None)
}

/// The network namespace that this process is in.
pub(crate) fn own_network() -> Step<Owned> {
    let socket = inet_socket()?;
    terminal::network_of(socket.fd()).at(Detail::OpenNetwork)
}

/// An internet socket: the handle for what concerns the network namespace.
fn inet_socket() -> Step<Owned> {
    socket::socket(AF_INET, SOCK_DGRAM, 0).at(Detail::Socket)
}

/// `LoopbackUp`.
pub(crate) fn loopback_up() -> Step {
    let socket = inet_socket()?;
    terminal::loopback_up(socket.fd()).at(Detail::Ioctl)
}

/// The longest name of a machine and of a domain, in bytes.
const NAME_LIMIT: usize = 64;

/// `HostName`.
pub(crate) fn host_name(init: &Init, name: Str) -> Step {
    sys::process::set_host_name(short(init, name)?).at(Detail::Sethostname)
}

/// `DomainName`.
pub(crate) fn domain_name(init: &Init, name: Str) -> Step {
    sys::process::set_domain_name(short(init, name)?).at(Detail::Setdomainname)
}

fn short(init: &Init, name: Str) -> Step<&'static CStr> {
    match init.plan.text(name) {
        name if name.count_bytes() > NAME_LIMIT => Err(Failure::new(errno::EINVAL, Detail::Whole)),
        name => Ok(name),
    }
}
