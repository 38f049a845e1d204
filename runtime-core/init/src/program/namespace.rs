//! Namespaces: joining, and what a new one needs.

use crate::ops::{Slice, Slot, Str};
use crate::program::file::{
    self, AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_WRONLY, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
};
use crate::program::{At, Failure, Init, Step, call, errno, process, sync};
use crate::report::{Detail, Report};
use crate::syscall::{common, nr};

pub(crate) const PROC_SUPER_MAGIC: usize = 0x9fa0;
const PROC_ROOT_INODE: u64 = 1;
const CLONE_PARENT: usize = 0x8000;
const CLONE_PARENT_SETTID: usize = 0x10_0000;
const CLONE_NEWTIME: usize = 0x80;
const SIGCHLD: usize = 17;

/// `OpenProc`: the host's procfs, before any mount of the container can be in the way.
pub(crate) fn open_host_proc(init: &mut Init) -> Step {
    let proc = call!(nr::OPENAT, AT_FDCWD, c"/proc".as_ptr(), O_PATH | O_DIRECTORY | O_CLOEXEC)
        .at(Detail::Open)? as i32;
    if is_proc_root(proc) {
        init.set(Slot::PROC, proc);
        return Ok(());
    }
    file::close(proc);
    let private = private_proc(true)?;
    init.set(Slot::PROC, private);
    Ok(())
}

/// Whether a descriptor is the root of a procfs.
pub(crate) fn is_proc_root(fd: i32) -> bool {
    file::filesystem(fd) == Ok(PROC_SUPER_MAGIC)
        && file::stat(fd, c"").is_ok_and(|stat| stat.inode == PROC_ROOT_INODE)
}

/// A procfs that is mounted nowhere; `whole` has more than the processes.
pub(crate) fn private_proc(whole: bool) -> Step<i32> {
    let context = call!(common::FSOPEN, c"proc".as_ptr(), 1).at(Detail::Fsopen)? as i32;
    if !whole {
        call!(common::FSCONFIG, context, 1, c"subset".as_ptr(), c"pid".as_ptr(), 0).at(Detail::Fsconfig)?;
    }
    let made = call!(common::FSCONFIG, context, 6, 0, 0, 0)
        .at(Detail::FsconfigCreate)
        .and_then(|_| call!(common::FSMOUNT, context, 1, 0).at(Detail::Fsmount));
    file::close(context);
    made.map(|fd| fd as i32)
}

/// Opens a file of this process in a procfs that is known to be one.
pub(crate) fn open_own(init: &mut Init, path: &core::ffi::CStr, flags: usize) -> Step<i32> {
    if init.fd(Slot::PROC) < 0 {
        let private = private_proc(false)?;
        init.set(Slot::PROC, private);
    }
    let proc = init.fd(Slot::PROC);
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    let own = file::open(proc, c"self", O_PATH | O_DIRECTORY, 0, resolve).at(Detail::NotProcfs)?;
    let opened = file::open(own, path, flags, 0, resolve).at(Detail::Open);
    file::close(own);
    opened
}

/// `JoinNamespaces`.
pub(crate) fn join(init: &mut Init, slot: Slot, flags: u32) -> Step {
    call!(nr::SETNS, init.fd(slot), flags).at(Detail::Setns)?;
    init.set(slot, -1);
    Ok(())
}

/// `BecomeRoot`.
pub(crate) fn become_root() -> Step {
    call!(nr::SETRESGID, 0, 0, 0).at(Detail::Setgid)?;
    call!(nr::SETRESUID, 0, 0, 0).at(Detail::Setuid)?;
    process::not_dumpable()
}

/// `TimeNamespace`: offsets can be set only while no process is in the namespace, so it is made for
/// children first and then entered.
pub(crate) fn time(init: &mut Init, offsets: Slice) -> Step {
    call!(nr::UNSHARE, CLONE_NEWTIME).at(Detail::Unshare)?;
    let text = init.plan.bytes(offsets);
    if !text.is_empty() {
        let file = open_own(init, c"timens_offsets", O_WRONLY)?;
        let written = file::write_once(file, text);
        file::close(file);
        written?;
    }
    let namespace = open_namespace(init, c"time_for_children")?;
    let joined = call!(nr::SETNS, namespace, CLONE_NEWTIME).at(Detail::Setns);
    file::close(namespace);
    joined.map(drop)
}

/// The mount namespace of this process.
pub(crate) fn open_mount_namespace(init: &mut Init) -> Step<i32> {
    open_namespace(init, c"mnt")
}

/// Opens a namespace of this process: an nsfs file is reached by a magic link, of a directory that is verified
/// to be procfs.
fn open_namespace(init: &mut Init, name: &core::ffi::CStr) -> Step<i32> {
    let directory = open_own(init, c"ns", O_PATH | O_DIRECTORY)?;
    let namespace = call!(nr::OPENAT, directory, name.as_ptr(), O_CLOEXEC).at(Detail::Open);
    file::close(directory);
    namespace.map(|fd| fd as i32)
}

/// `ForkIntoPidNamespace`: the child goes on, with the same parent; this process ends.
///
/// From here on processes of the container can see the init, and one that may trace it could take
/// its descriptors (CVE-2016-9962): what leads to the host is closed first.
pub(crate) fn fork_into_pid_namespace(init: &mut Init) -> Step {
    for slot in [Slot::PROC, Slot::TARGET, Slot::SHARED, Slot::PLAN] {
        init.set(slot, -1);
    }
    // Of each type of namespaces one.
    for slot in Slot::JOIN.0..Slot::SHARED.0 {
        init.set(Slot(slot), -1);
    }
    const FLAGS: usize = CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD;
    init.shared.keep_from_fork()?;
    if call!(nr::CLONE, FLAGS, 0, init.shared.forked(), 0, 0).at(Detail::Fork)? != 0 {
        crate::program::exit(0);
    }
    init.shared.forget();
    // Descriptors and the mapping are shared with or copied from the process that ended; only
    // "dumpable" is worth a second word: it is inherited by fork.
    sync::send(init.fd(Slot::SYNC), Report { step: init.step, errno: 0, detail: 0 }, -1)
}

/// The network namespace that this process is in.
pub(crate) fn own_network() -> Step<i32> {
    const SIOCGSKNS: usize = 0x894c;
    let socket = inet_socket()?;
    let network = call!(nr::IOCTL, socket, SIOCGSKNS, 0).at(Detail::OpenNetwork);
    file::close(socket);
    network.map(|fd| fd as i32)
}

/// An internet socket: the handle for what concerns the network namespace.
fn inet_socket() -> Step<i32> {
    const AF_INET: usize = 2;
    const SOCK_DGRAM_CLOEXEC: usize = 2 | O_CLOEXEC;
    call!(nr::SOCKET, AF_INET, SOCK_DGRAM_CLOEXEC, 0).at(Detail::Socket).map(|fd| fd as i32)
}

/// `LoopbackUp`.
pub(crate) fn loopback_up() -> Step {
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP: u8 = 1;
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = IFF_UP;
    let socket = inet_socket()?;
    let up = call!(nr::IOCTL, socket, SIOCSIFFLAGS, request.as_mut_ptr()).at(Detail::Ioctl);
    file::close(socket);
    up.map(drop)
}

/// `HostName` and `DomainName`.
pub(crate) fn host_name(init: &Init, name: Str, call: usize) -> Step {
    let name = init.plan.text(name);
    if name.count_bytes() > 64 {
        return Err(Failure { errno: errno::EINVAL, detail: Detail::Whole as u32 });
    }
    let detail = if call == nr::SETHOSTNAME { Detail::Sethostname } else { Detail::Setdomainname };
    call!(call, name.as_ptr(), name.count_bytes()).at(detail).map(drop)
}
