//! Stage 0 between clone3 and execveat: it shares the caller's memory, so it makes raw system
//! calls and nothing else. No allocation, no lock, no libc (its errno is the caller's thread's).
//!
//! It is in the caller's cgroup and namespaces, and the caller's thread waits for its execveat (CLONE_VFORK).

use runtime_init::abi::{CLOSE_RANGE_UNSHARE, FD_CLOEXEC, O_DIRECTORY, PROC_SUPER_MAGIC, errno};
use runtime_init::ops::Slot;
use runtime_init::parse::dirents::Names;
use runtime_init::parse::number::decimal;
use runtime_init::report::Detail;
use runtime_init::sys::file::{filesystem, getdents, openat};
use runtime_init::sys::{self, Fd, Owned, process, signal};

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
        signal::exit_group(1);
    }
}

type Step<T = ()> = Result<T, (i32, Detail)>;

fn at(detail: Detail) -> impl Fn(i32) -> (i32, Detail) {
    move |errno| (errno, detail)
}

fn follow(orders: &Orders) -> Step {
    // The slots after these two are filled later, and only as far as they are needed: a caller may have few numbers left.
    let above = Slot::LANES.number(orders.base);
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
        if sys::descriptor_flags(Fd::numbered(number)).is_ok_and(|flags| flags & FD_CLOEXEC != 0) {
            close_between(number, number).map_err(at(Detail::Dup))?;
        }
    }
    if orders.kept < orders.base {
        close_between(orders.kept, orders.base.saturating_sub(1)).map_err(at(Detail::CloseRange))?;
    }
    for give in &*gives {
        sys::dup_onto(Fd::numbered(give.held), give.to, 0).map_err(at(Detail::Dup))?;
    }
    close_from(above).map_err(at(Detail::CloseRange))?;
    let image = Fd::numbered(Slot::IMAGE.number(orders.base));
    // SAFETY: the caller's side has made both arrays, of texts with a NUL and a null, and keeps them until the program is
    // executed.
    unsafe { process::execveat(image, orders.argv.as_ptr(), orders.envp.as_ptr()) }
        .map_err(at(Detail::Execve))
}

/// From a copy of the caller's table: what is given, above all numbers that are wanted; the rest is closed.
fn hold(orders: &Orders, above: i32, gives: &mut [Give]) -> Step {
    for give in gives {
        give.held = moved(Fd::numbered(give.from), above)?;
    }
    close_between(orders.base, above.saturating_sub(1)).map_err(at(Detail::CloseRange))
}

/// A duplicate from number `above` on, which lasts until all of them are closed together.
fn moved(fd: Fd<'_>, above: i32) -> Step<i32> {
    sys::dup_above(fd, above).map(Owned::into_number).map_err(at(Detail::Dup))
}

/// From the caller's own table: a new one with the numbers below `base` alone, into which the others are fetched. So it
/// does not matter how many descriptors the caller has.
fn take(orders: &Orders, above: i32, gives: &mut [Give]) -> Step {
    sys::close_range(orders.base as u32, u32::MAX, CLOSE_RANGE_UNSHARE).map_err(at(Detail::CloseRange))?;
    let caller = sys::pidfd_open(process::parent()).map_err(at(Detail::Getfd))?;
    let high = sys::dup_above(caller.fd(), above).map_err(at(Detail::Dup))?;
    drop(caller);
    for give in gives {
        give.held = if give.from < orders.base {
            moved(Fd::numbered(give.from), above)?
        } else {
            let fetched = sys::pidfd_getfd(high.fd(), give.from).map_err(at(Detail::Getfd))?;
            moved(fetched.fd(), above)?
        };
    }
    Ok(())
}

/// Closes the few descriptors between two numbers.
fn close_between(first: i32, last: i32) -> Result<(), i32> {
    match sys::close_range(first as u32, last as u32, 0) {
        Err(errno::ENOSYS | errno::EPERM) => {}
        other => return other,
    }
    (first..=last).for_each(close);
    Ok(())
}

/// Closes a descriptor of the table that this process has inherited; it need not be open.
fn close(number: i32) {
    // SAFETY: the table is this process's own by now, and nothing of it is used under this number.
    drop(unsafe { Owned::from_number(number) });
}

/// Closes all descriptors from a number on. Where a filter denies close_range(2), procfs says which
/// there are: a limit would not, as it may have been higher when they were opened.
fn close_from(first: i32) -> Result<(), i32> {
    match sys::close_range(first as u32, u32::MAX, 0) {
        Err(errno::ENOSYS | errno::EPERM) => {}
        other => return other,
    }
    let list = openat(Fd::WORKING_DIRECTORY, c"/proc/self/fd", O_DIRECTORY)?;
    if filesystem(list.fd())? != PROC_SUPER_MAGIC {
        return Err(errno::ENOSYS);
    }
    let mut buffer = [0u64; 128];
    loop {
        let filled = getdents(list.fd(), &mut buffer)?;
        if filled.is_empty() {
            return Ok(());
        }
        let numbers = Names::new(filled).filter_map(|name| decimal(name.to_bytes()));
        numbers
            .map(|number| number as i32)
            .filter(|number| *number >= first && *number != list.number())
            .for_each(close);
    }
}
