//! Stage 0 between clone3 and execveat: it shares the caller's memory, so it makes raw system
//! calls and nothing else. No allocation, no lock, no libc (its errno is the caller's thread's).
//!
//! It is in the caller's cgroup and namespaces, and the caller's thread waits for its execveat (CLONE_VFORK).

use runtime_init::call;
use runtime_init::ops::Slot;
use runtime_init::parse::dirents::Names;
use runtime_init::parse::number::decimal;
use runtime_init::report::Detail;
use runtime_init::syscall::{common, nr};

const F_DUPFD_CLOEXEC: usize = 1030;
const F_GETFD: usize = 1;
const FD_CLOEXEC: usize = 1;
const O_CLOEXEC: usize = 0o2000000;
const O_DIRECTORY_CLOEXEC: usize = libc::O_DIRECTORY as usize | O_CLOEXEC;
const CLOSE_RANGE_UNSHARE: usize = 2;
const AT_FDCWD: i32 = -100;
const PROC_SUPER_MAGIC: usize = 0x9fa0;
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
const AT_EMPTY_PATH: usize = 0x1000;

/// One descriptor of the caller and the number that it gets in stage 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Give {
    /// Number in the caller.
    pub(super) from: i32,
    /// Number in stage 0.
    pub(super) to: i32,
    /// Number meanwhile, away from those that are wanted; -1 at first.
    pub(super) held: i32,
}

/// All that stage 0 needs until its execveat; the caller's thread, whose stack it is on, waits for that.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Orders {
    /// Descriptors to give.
    pub(super) gives: *mut Give,
    /// Number of them.
    pub(super) count: usize,
    /// First number above the preserved descriptors.
    pub(super) kept: i32,
    /// First number above all that the container gets.
    pub(super) base: i32,
    /// The descriptor table is the caller's own (CLONE_FILES), not a copy.
    pub(super) shares_table: bool,
    /// argv and envp of the program.
    pub(super) argv: [*const libc::c_char; 4],
    /// Empty.
    pub(super) envp: [*const libc::c_char; 1],
    /// Where a failure is told: errno and [`Detail`]; errno 0 means none.
    pub(super) failure: *mut (i32, u32),
}

/// Follows the orders; comes back never.
///
/// # Safety
/// `orders` must stay valid until the process has executed its program or ended, and nobody else may read or
/// write `gives` and `failure` meanwhile: the caller's thread waits, and has blocked all signals.
pub(super) unsafe extern "C" fn kid(orders: *const Orders) -> ! {
    // SAFETY: valid by the contract; nobody writes to it.
    let orders = unsafe { &*orders };
    if let Err((errno, detail)) = follow(orders) {
        // SAFETY: by the contract nobody else touches it now.
        unsafe { *orders.failure = (errno, detail as u32) };
    }
    loop {
        call!(nr::EXIT_GROUP, 1).ok();
    }
}

type Step<T = ()> = Result<T, (i32, Detail)>;

fn at(detail: Detail) -> impl Fn(i32) -> (i32, Detail) {
    move |errno| (errno, detail)
}

fn follow(orders: &Orders) -> Step {
    // The slots after these two are filled later, and only as far as they are needed: a caller may have few numbers left.
    let above = orders.base + Slot::LANES.0 as i32;
    // SAFETY: by the contract of `kid` they are valid, and nobody else touches them now.
    let gives = unsafe { core::slice::from_raw_parts_mut(orders.gives, orders.count) };
    // Away from the numbers that are wanted first: a source may have the number of another's target.
    if orders.shares_table {
        take(orders, above, gives)?;
    } else {
        hold(orders, above, gives)?;
    }
    // Preserved descriptors keep their numbers. Between them may be closed ones, and the caller's own.
    for number in 3..orders.kept {
        if call!(nr::FCNTL, number, F_GETFD).is_ok_and(|flags| flags & FD_CLOEXEC != 0) {
            call!(nr::CLOSE, number).map_err(at(Detail::Dup))?;
        }
    }
    if orders.kept < orders.base {
        close_between(orders.kept, orders.base - 1).map_err(at(Detail::CloseRange))?;
    }
    for give in &*gives {
        call!(nr::DUP3, give.held, give.to, 0).map_err(at(Detail::Dup))?;
    }
    close_from(above).map_err(at(Detail::CloseRange))?;
    let image = orders.base + Slot::IMAGE.0 as i32;
    call!(nr::EXECVEAT, image, c"".as_ptr(), orders.argv.as_ptr(), orders.envp.as_ptr(), AT_EMPTY_PATH)
        .map_err(at(Detail::Execve))
        .map(drop)
}

/// From a copy of the caller's table: what is given, above all numbers that are wanted; the rest is closed.
fn hold(orders: &Orders, above: i32, gives: &mut [Give]) -> Step {
    for give in gives {
        give.held = call!(nr::FCNTL, give.from, F_DUPFD_CLOEXEC, above).map_err(at(Detail::Dup))? as i32;
    }
    close_between(orders.base, above - 1).map_err(at(Detail::CloseRange))
}

/// From the caller's own table: a new one with the numbers below `base` alone, into which the others are fetched. So it
/// does not matter how many descriptors the caller has.
fn take(orders: &Orders, above: i32, gives: &mut [Give]) -> Step {
    call!(common::CLOSE_RANGE, orders.base, u32::MAX, CLOSE_RANGE_UNSHARE).map_err(at(Detail::CloseRange))?;
    let caller = call!(nr::GETPPID).map_err(at(Detail::Getfd))?;
    let caller = call!(common::PIDFD_OPEN, caller, 0).map_err(at(Detail::Getfd))? as i32;
    let high = call!(nr::FCNTL, caller, F_DUPFD_CLOEXEC, above).map_err(at(Detail::Dup))? as i32;
    call!(nr::CLOSE, caller).ok();
    for give in gives {
        give.held = if give.from < orders.base {
            call!(nr::FCNTL, give.from, F_DUPFD_CLOEXEC, above).map_err(at(Detail::Dup))? as i32
        } else {
            let fetched = call!(common::PIDFD_GETFD, high, give.from, 0).map_err(at(Detail::Getfd))? as i32;
            let moved = call!(nr::FCNTL, fetched, F_DUPFD_CLOEXEC, above).map_err(at(Detail::Dup))? as i32;
            call!(nr::CLOSE, fetched).ok();
            moved
        };
    }
    Ok(())
}

/// Closes the few descriptors between two numbers.
fn close_between(first: i32, last: i32) -> Result<(), i32> {
    match call!(common::CLOSE_RANGE, first, last, 0) {
        Err(ENOSYS | EPERM) => {}
        other => return other.map(drop),
    }
    for number in first..=last {
        // Most of them are not open.
        call!(nr::CLOSE, number).ok();
    }
    Ok(())
}

/// Closes all descriptors from a number on. Where a filter denies close_range(2), procfs says which
/// there are: a limit would not, as it may have been higher when they were opened.
fn close_from(first: i32) -> Result<(), i32> {
    match call!(common::CLOSE_RANGE, first, u32::MAX, 0) {
        Err(ENOSYS | EPERM) => {}
        other => return other.map(drop),
    }
    let list = call!(nr::OPENAT, AT_FDCWD, c"/proc/self/fd".as_ptr(), O_DIRECTORY_CLOEXEC)? as i32;
    let mut magic = [0usize; 16];
    call!(nr::FSTATFS, list, magic.as_mut_ptr())?;
    if magic[0] != PROC_SUPER_MAGIC {
        return Err(ENOSYS);
    }
    let mut buffer = [0u8; 1024];
    loop {
        let len = call!(nr::GETDENTS64, list, buffer.as_mut_ptr(), buffer.len())?;
        if len == 0 {
            break;
        }
        let names = Names::new(buffer.get(..len).unwrap_or(&[]));
        let numbers = names.filter_map(|name| decimal(name.to_bytes())).map(|number| number as i32);
        for number in numbers.filter(|number| *number >= first && *number != list) {
            call!(nr::CLOSE, number).ok();
        }
    }
    call!(nr::CLOSE, list).map(drop)
}
