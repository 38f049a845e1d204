//! clone3(2) of the init, with the caller's memory and a stack of its own; clone(2) where a filter denies it.

use std::arch::asm;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::failure::NO_ROOM;
use super::kid::{DESCRIPTORS, Give, Orders, kid};
use crate::child::ops::Slot;
use crate::error::{Error, Result};
use crate::sys::process;

/// The stack between clone3 and execveat. The code there needs less than two kilobytes.
const STACK_BYTES: usize = 16 * 1024;

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a clone needs beside the plan.
pub(super) struct Request<'a> {
    /// CLONE_NEW* of the namespaces to make.
    pub(super) namespaces: u64,
    /// Directory of the cgroup (v2) to start in.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
    /// The init's memory file.
    pub(super) program: BorrowedFd<'a>,
    /// Descriptors to give to the child; [`Slot::SYNC`] is among them.
    pub(super) gives: &'a [Give],
    /// First inherited slot.
    pub(super) base: i32,
    /// A user namespace is made: wait for its id maps.
    pub(super) await_id_maps: bool,
}

/// Memory that the child uses until it has executed the init: orders, stack and arguments. Dropped
/// only after the child's first message, its program's execution or its end.
#[derive(Debug)]
#[expect(dead_code, reason = "owned for the child, which reads it")]
pub(super) struct ChildMemory {
    orders: Box<Orders>,
    stack: Vec<u128>,
    base: CString,
}

// SAFETY: the raw pointers of the orders point into the same value and to static strings; nothing
// is shared with another thread.
unsafe impl Send for ChildMemory {}

/// A cloned child.
#[derive(Debug)]
pub(super) struct Cloned {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) memory: ChildMemory,
}

/// `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Clones the child. Without CLONE_VFORK: the caller goes on at once, to write id maps and to make
/// what the parent lane makes.
pub(super) fn clone(request: &Request<'_>) -> Result<Cloned> {
    let mut memory = prepare(request)?;
    let mut pidfd = -1i32;
    let mut args = CloneArgs {
        flags: request.namespaces | (libc::CLONE_VM | libc::CLONE_PIDFD) as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: memory.stack.as_mut_ptr() as u64,
        stack_size: STACK_BYTES as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = request.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let pid = process::with_signals_blocked(|| match clone3(&args, &memory.orders) {
        // A filter that cannot look into the arguments: the call without CLONE_INTO_CGROUP is as good
        // where the plan has the parent put the child into its cgroup.
        Err(Errno::ENOSYS | Errno::EPERM) if request.cgroup.is_none() => clone2(&args, &memory.orders),
        other => other,
    })
    .map_err(|errno| explain(errno, request))?;
    // SAFETY: CLONE_PIDFD has put a new descriptor there.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned { pid, pidfd, memory })
}

fn prepare(request: &Request<'_>) -> Result<ChildMemory> {
    let mut gives = [Give { from: -1, to: -1 }; DESCRIPTORS];
    let given = request.gives.len();
    let Some(places) = gives.get_mut(..given) else {
        return Err(Error::system("give descriptors to the init", Errno::E2BIG));
    };
    places.copy_from_slice(request.gives);
    let base = CString::new(request.base.to_string()).unwrap_or_default();
    let orders = Box::new(Orders {
        gives,
        given,
        base: request.base,
        top: request.base + Slot::INHERITED as i32,
        program: request.program.as_raw_fd(),
        socket: request.base + Slot::SYNC.0 as i32,
        await_id_maps: request.await_id_maps,
        argv: [c"runtime-init".as_ptr(), base.as_ptr(), std::ptr::null()],
        envp: [std::ptr::null()],
    });
    Ok(ChildMemory { orders, stack: vec![0; STACK_BYTES / size_of::<u128>()], base })
}

fn clone3(args: &CloneArgs, orders: &Orders) -> Result<i32, Errno> {
    let call = [std::ptr::from_ref(args) as usize, size_of::<CloneArgs>(), 0, 0, 0];
    start(libc::SYS_clone3, call, orders)
}

/// clone(2) with the same arguments, where a filter denies clone3. Its flags have the signal in them, it
/// takes the top of the stack, and the pidfd comes where the parent's copy of the thread id would.
fn clone2(args: &CloneArgs, orders: &Orders) -> Result<i32, Errno> {
    let flags = args.flags | args.exit_signal;
    let top = args.stack + args.stack_size;
    start(libc::SYS_clone, [flags as usize, top as usize, args.pidfd as usize, 0, 0], orders)
}

/// The system call, one of the two above. The child's stack is empty, so it cannot return: it calls
/// [`kid`].
fn start(number: libc::c_long, args: [usize; 5], orders: &Orders) -> Result<i32, Errno> {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: in the parent this is one system call. In the child the stack pointer is at the top of
    // the new stack, which is aligned as its start and size are; it calls `kid`, which never returns and
    // uses only `orders`, kept alive in `ChildMemory`. The child has its own copy of the registers.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call {kid}",
            "ud2",
            "2:",
            kid = sym kid,
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            in("r12") orders,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, #0",
            "mov x0, x20",
            "bl {kid}",
            "brk #1",
            "2:",
            kid = sym kid,
            in("x8") number, inlateout("x0") args[0] as isize => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x20") orders,
            lateout("x30") _,
        );
    }
    if result < 0 { Err(Errno::from_raw(-result as i32)) } else { Ok(result as i32) }
}

/// What ENOENT means for a move into a cgroup that is there (cgroup-v2.rst, "Delegation containment").
const NAMESPACE_BOUNDARY: &str = "cgroup2 is mounted with nsdelegate, and the cgroup is outside of the cgroup namespace that the runtime \
     runs in: mount cgroup2 anew inside of that namespace, or start the runtime outside";

/// The reasons that clone3 has for its refusals.
fn explain(errno: Errno, request: &Request<'_>) -> Error {
    let error = Error::system("clone3 of the container's init", errno);
    let user = request.namespaces & libc::CLONE_NEWUSER as u64 != 0;
    match errno {
        Errno::EPERM if user => error.hint(
            "unprivileged user namespaces may be off: see sysctl kernel.unprivileged_userns_clone or \
             kernel.apparmor_restrict_unprivileged_userns",
        ),
        Errno::EPERM => {
            error.hint("making namespaces needs CAP_SYS_ADMIN, or a user namespace in the configuration")
        }
        Errno::ENOSPC => {
            error.hint("a limit of /proc/sys/user/max_*_namespaces or of 32 nested namespaces is reached")
        }
        Errno::ENOSYS => error.hint("a seccomp filter around the runtime denies clone3"),
        Errno::EBUSY if request.cgroup.is_some() => {
            error.hint("the cgroup has controllers enabled for its children and cannot hold processes itself")
        }
        Errno::EACCES if request.cgroup.is_some() => error.hint(
            "who moves a process must own cgroup.procs of the cgroup that is above both its old and its new \
             place: start the runtime inside the tree that was delegated to this user, \
             such as by systemd-run --user --scope",
        ),
        Errno::ENOENT if request.cgroup.is_some() => error.hint(NAMESPACE_BOUNDARY),
        Errno::EOPNOTSUPP if request.cgroup.is_some() => {
            error.hint("the cgroup is threaded, or below one that is: it takes threads only")
        }
        Errno::EAGAIN => error.hint(NO_ROOM),
        // cgroup-v2.rst, "Threads": a cgroup below one that has both processes and controllers of threads.
        Errno::EOPNOTSUPP => {
            error.hint("the cgroup is below one with processes of its own: nobody can enter it")
        }
        _ => error,
    }
}

/// The pidfd.
impl AsFd for Cloned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A child that only holds a new user namespace, and others (CLONE_NEW*) of that, until it is killed.
pub(super) fn pause_in_user_namespace(more: i32) -> Result<Cloned> {
    let program =
        std::fs::File::open("/dev/null").map_err(|error| Error::io("open \"/dev/null\"", &error))?;
    let (ours, theirs) =
        crate::sys::socket::pair(false).map_err(|errno| Error::system("socketpair", errno))?;
    // It waits for id maps that it is never told of: the socket stays open in itself.
    let gives = [&ours, &theirs]
        .into_iter()
        .enumerate()
        .map(|(at, fd)| Give { from: fd.as_raw_fd(), to: 3 + at as i32 })
        .collect::<Vec<_>>();
    clone(&Request {
        namespaces: (libc::CLONE_NEWUSER | more) as u64,
        cgroup: None,
        program: program.as_fd(),
        gives: &gives,
        base: 3,
        await_id_maps: true,
    })
}
