//! clone3(2) of stage 0, with the caller's memory and a stack of its own; clone(2) where a filter denies it.
//!
//! The process stays in the caller's cgroup and namespaces and executes its program at once; the calling thread waits for
//! that (CLONE_VFORK), so what the process reads lives on the caller's side until then, and it runs without delay.

use std::arch::asm;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use super::descriptors::Descriptors;
use super::failure::{NO_REAPER, NO_ROOM};
use super::kid::{Give, Orders, kid};
use crate::error::{Call, Error, Result};
use crate::sys::process;
use runtime_init::abi::CloneArgs;
use runtime_init::ops::Slot;
use runtime_init::report::Detail;

/// The stack between clone3 and execveat. The code there needs less than two kilobytes.
const STACK_BYTES: usize = 16 * 1024;

/// What a clone needs.
pub(super) struct Request<'a> {
    /// The program's memory file.
    pub(super) program: BorrowedFd<'a>,
    /// The socket to the caller.
    pub(super) control: BorrowedFd<'a>,
    /// What it gets of the caller's descriptors.
    pub(super) descriptors: &'a Descriptors,
    /// It makes a network namespace at once.
    pub(super) network: bool,
}

/// A cloned process.
#[derive(Debug)]
pub(super) struct Cloned {
    pub(super) pidfd: OwnedFd,
}

/// Set when this process was refused its own descriptors by pidfd_getfd(2): Yama, a seccomp filter or an undumpable
/// caller. Then the table is copied, however long it is.
static COPIES_TABLE: AtomicBool = AtomicBool::new(false);

/// Clones stage 0; when it returns, stage 0 has executed its program.
pub(super) fn clone(request: &Request<'_>) -> Result<Cloned> {
    if !COPIES_TABLE.load(Ordering::Relaxed) && process::shares_descriptors() {
        match clone_with(request, true)? {
            Ok(cloned) => return Ok(cloned),
            Err((_, detail)) if detail == Detail::Getfd as u32 || detail == Detail::CloseRange as u32 => {
                COPIES_TABLE.store(true, Ordering::Relaxed);
            }
            Err(failure) => return Err(explain_failure(failure)),
        }
    }
    clone_with(request, false)?.map_err(explain_failure)
}

/// A failure between clone3 and execveat: errno and [`Detail`].
type Failure = (i32, u32);

fn explain_failure((errno, detail): Failure) -> Error {
    Error::system("hand over to the container's init", Errno::from_raw(errno)).reason(Detail::text(detail))
}

fn clone_with(request: &Request<'_>, shares_table: bool) -> Result<std::result::Result<Cloned, Failure>> {
    let base = CString::new(request.descriptors.base.to_string()).unwrap_or_default();
    let mode = if request.network { c"n" } else { c"s" };
    let mut failure = (0i32, 0u32);
    let mut gives = gives(request);
    let orders = Orders {
        gives: gives.as_mut_ptr(),
        count: gives.len(),
        kept: request.descriptors.kept,
        base: request.descriptors.base,
        shares_table,
        argv: [c"runtime-init".as_ptr(), base.as_ptr(), mode.as_ptr(), std::ptr::null()],
        envp: [std::ptr::null()],
        failure: &raw mut failure,
    };
    let mut stack = vec![0u128; const { STACK_BYTES / size_of::<u128>() }];
    let mut pidfd = -1i32;
    let table = if shares_table { libc::CLONE_FILES } else { 0 };
    let args = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | table) as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: STACK_BYTES as u64,
        ..CloneArgs::default()
    };
    process::with_signals_blocked(|| match clone3(&args, &orders) {
        // A filter that cannot look into the arguments: the older call does as well.
        Err(Errno::ENOSYS | Errno::EPERM) => clone2(&args, &orders),
        other => other,
    })
    .map_err(explain)?;
    // SAFETY: CLONE_PIDFD has put a new descriptor there.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: the process has executed its program or ended, so nobody else writes it any more.
    let failure = unsafe { (&raw const failure).read_volatile() };
    if failure.0 == 0 {
        return Ok(Ok(Cloned { pidfd }));
    }
    process::reap(&pidfd);
    Ok(Err(failure))
}

fn gives(request: &Request<'_>) -> Vec<Give> {
    let Descriptors { stdio, passed, kept: _, base } = request.descriptors;
    let slot = |slot: Slot| slot.number(*base);
    let streams = stdio.iter().copied().zip(0..);
    let own = [
        (request.control.as_raw_fd(), slot(Slot::CONTROL)),
        (request.program.as_raw_fd(), slot(Slot::IMAGE)),
    ];
    let given = streams.filter(|(from, _)| *from >= 0).chain(passed.iter().copied()).chain(own);
    given.map(|(from, to)| Give { from, to, held: -1 }).collect()
}

/// The reasons that the clone of stage 0 has for its refusals.
fn explain(errno: Errno) -> Error {
    let error = Error::system("clone3 of the init's first stage", errno).call(Call::Clone);
    match errno {
        Errno::EAGAIN => error.with_hint(NO_ROOM),
        // That namespace has lost its init, the first process that was made in it.
        Errno::ENOMEM => error.with_hint(UNSHARED_PIDS),
        Errno::ENOSYS | Errno::EPERM => {
            error.with_hint("a seccomp filter around the runtime denies clone3 and clone")
        }
        _ => error,
    }
}

fn clone3(args: &CloneArgs, orders: &Orders) -> Result<i32, Errno> {
    let call = [std::ptr::from_ref(args) as usize, size_of::<CloneArgs>(), 0, 0, 0];
    start(libc::SYS_clone3, call, orders)
}

/// clone(2) with the same arguments, where a filter denies clone3. Its flags have the signal in them, it
/// takes the top of the stack, and the pidfd comes where the parent's copy of the thread id would.
fn clone2(args: &CloneArgs, orders: &Orders) -> Result<i32, Errno> {
    let flags = args.flags | args.exit_signal;
    let top = args.stack.wrapping_add(args.stack_size);
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
    if result < 0 { Err(Errno::from_raw(result.wrapping_neg() as i32)) } else { Ok(result as i32) }
}

/// Why a new process is the first one of its PID namespace, which may not make a sibling (CLONE_PARENT, clone(2)), or cannot
/// be made any more.
const UNSHARED_PIDS: &str = "the calling process may have unshared its PID namespace, or joined one that has ended: it must fork, and \
     its child make containers";

/// What ENOENT means for a move into a cgroup that is there (cgroup-v2.rst, "Delegation containment").
const NAMESPACE_BOUNDARY: &str = "cgroup2 is mounted with nsdelegate, and the cgroup is outside of the cgroup namespace that the runtime \
     runs in: mount cgroup2 anew inside of that namespace, or start the runtime outside";

/// The reasons that the clone of a container's init, into the namespaces (CLONE_NEW*) and the cgroup of its plan, has for its
/// refusals.
pub(super) fn explain_init(error: Error, errno: Errno, namespaces: u64) -> Error {
    let user = namespaces & libc::CLONE_NEWUSER as u64 != 0;
    match errno {
        Errno::EPERM if user => error.with_hint(
            "unprivileged user namespaces may be off (sysctl kernel.unprivileged_userns_clone or \
             kernel.apparmor_restrict_unprivileged_userns), or this process is in a chroot, where nobody may make one",
        ),
        Errno::EPERM => {
            error.with_hint("making namespaces needs CAP_SYS_ADMIN, or a user namespace in the configuration")
        }
        Errno::ENOSPC => error
            .with_hint("a limit of /proc/sys/user/max_*_namespaces or of 32 nested namespaces is reached"),
        Errno::ENOSYS => error.with_hint("a seccomp filter around the runtime denies clone3"),
        Errno::EBUSY => error.with_hint(
            "the cgroup has controllers enabled for its children and cannot hold processes itself",
        ),
        Errno::EACCES => error.with_hint(
            "who moves a process must own cgroup.procs of the cgroup that is above both its old and its new \
             place: start the runtime inside the tree that was delegated to this user, \
             such as by systemd-run --user --scope",
        ),
        Errno::ENOENT => error.with_hint(NAMESPACE_BOUNDARY),
        Errno::EOPNOTSUPP => {
            error.with_hint("the cgroup is threaded, or below one that is: it takes threads only")
        }
        Errno::EAGAIN => error.with_hint(NO_ROOM),
        Errno::EINVAL => error.with_hint(UNSHARED_PIDS),
        // The PID namespace that it was to be in has ended, or is ending.
        Errno::ENOMEM if namespaces & libc::CLONE_NEWPID as u64 == 0 => error.with_hint(NO_REAPER),
        _ => error,
    }
}
