//! The child between clone3 and execveat: it shares the caller's memory, so it makes raw system
//! calls and nothing else. No allocation, no lock, no libc (its errno is the caller's thread's).

use crate::call;
use crate::child::report::{Detail, REPORT_BYTES, Report, STEP_CLONE};
use crate::child::syscall::{common, nr};

const F_DUPFD_CLOEXEC: usize = 1030;
const F_GETFD: usize = 1;
const FD_CLOEXEC: usize = 1;
const O_CLOEXEC: usize = 0o2000000;
const O_DIRECTORY_CLOEXEC: usize = libc::O_DIRECTORY as usize | O_CLOEXEC;
const AT_FDCWD: i32 = -100;
const PROC_SUPER_MAGIC: usize = 0x9fa0;
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
const AT_EMPTY_PATH: usize = 0x1000;
const MSG_NOSIGNAL: usize = 0x4000;

/// How many descriptors the child can be given: standard streams and inherited slots.
pub(super) const DESCRIPTORS: usize = 24;

/// One descriptor of the caller and the number that it gets in the child.
#[derive(Debug, Clone, Copy)]
pub(super) struct Give {
    /// Number in the caller.
    pub(super) from: i32,
    /// Number in the child.
    pub(super) to: i32,
}

/// All that the child needs; it lives in the caller's memory until the child has left it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Orders {
    /// Descriptors to give, `given` of them.
    pub(super) gives: [Give; DESCRIPTORS],
    /// How many.
    pub(super) given: usize,
    /// First number above the standard streams and the preserved descriptors.
    pub(super) base: i32,
    /// First number above everything that the child keeps: the program goes here.
    pub(super) top: i32,
    /// The init's memory file, in the caller.
    pub(super) program: i32,
    /// The socket to the caller, as number in the child.
    pub(super) socket: i32,
    /// Wait for a byte on the socket (the id maps), then become root of the user namespace.
    pub(super) await_id_maps: bool,
    /// argv and envp of the init.
    pub(super) argv: [*const libc::c_char; 3],
    /// Empty.
    pub(super) envp: [*const libc::c_char; 1],
}

/// Follows the orders; comes back never.
///
/// # Safety
/// `orders` must stay valid until the child has executed the init or ended; the caller's thread
/// has blocked all signals.
pub(super) unsafe extern "C" fn kid(orders: *const Orders) -> ! {
    // SAFETY: valid by the contract; nobody writes to it.
    let orders = unsafe { &*orders };
    let mut socket = -1;
    let (errno, detail) = match follow(orders, &mut socket) {
        Ok(()) => (0, Detail::Execve),
        Err(failure) => failure,
    };
    let report = Report { step: STEP_CLONE, errno, detail: detail as u32 }.to_bytes();
    send(socket, &report);
    loop {
        call!(nr::EXIT_GROUP, 1).ok();
    }
}

type Step<T = ()> = Result<T, (i32, Detail)>;

/// `socket` is where a failure can be told at each moment: its number in the caller, the one above all
/// that are wanted, and at last its own. Any of them means something else before or after.
fn follow(orders: &Orders, socket: &mut i32) -> Step {
    let at = |detail: Detail| move |errno: i32| (errno, detail);
    // Away from the numbers that are wanted first: a source may have the number of another's target.
    let above = orders.top as usize + 1;
    let mut held = [-1i32; DESCRIPTORS];
    for give in orders.gives.iter().take(orders.given).filter(|give| give.to == orders.socket) {
        *socket = give.from;
    }
    for (place, give) in held.iter_mut().zip(&orders.gives).take(orders.given) {
        *place = call!(nr::FCNTL, give.from, F_DUPFD_CLOEXEC, above).map_err(at(Detail::Dup))? as i32;
        if give.to == orders.socket {
            *socket = *place;
        }
    }
    let program = call!(nr::FCNTL, orders.program, F_DUPFD_CLOEXEC, above).map_err(at(Detail::Dup))?;
    call!(nr::DUP3, program, orders.top, O_CLOEXEC).map_err(at(Detail::Dup))?;
    close_between(orders.base, orders.top - 1).map_err(at(Detail::CloseRange))?;
    // Preserved descriptors keep their numbers. Between them may be closed ones, and the caller's own.
    for number in 3..orders.base {
        if call!(nr::FCNTL, number, F_GETFD).is_ok_and(|flags| flags & FD_CLOEXEC != 0) {
            call!(nr::CLOSE, number).map_err(at(Detail::Dup))?;
        }
    }
    for (from, give) in held.iter().zip(&orders.gives).take(orders.given) {
        call!(nr::DUP3, *from, give.to, 0).map_err(at(Detail::Dup))?;
    }
    *socket = orders.socket;
    close_from(above as i32).map_err(at(Detail::CloseRange))?;
    if orders.await_id_maps {
        await_id_maps(orders.socket)?;
    }
    call!(nr::EXECVEAT, orders.top, c"".as_ptr(), orders.argv.as_ptr(), orders.envp.as_ptr(), AT_EMPTY_PATH)
        .map_err(at(Detail::Execve))
        .map(drop)
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
        close_listed(buffer.get(..len).unwrap_or(&[]), first, list);
    }
    call!(nr::CLOSE, list).map(drop)
}

/// Records of getdents64(2): inode (8), offset (8), length (2), type (1), name.
fn close_listed(mut records: &[u8], first: i32, list: i32) {
    const HEADER: usize = 19;
    while let Some([low, high]) = records.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([*low, *high]));
        let name = records.get(HEADER..length).unwrap_or(&[]);
        let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
        let number =
            digits.fold(0i32, |number, digit| number.wrapping_mul(10).wrapping_add(i32::from(digit - b'0')));
        if number >= first && number != list {
            call!(nr::CLOSE, number).ok();
        }
        let Some(rest) = records.get(length.max(HEADER)..) else { return };
        records = rest;
    }
}

/// Without the maps an exec would lose all capabilities in the new user namespace.
fn await_id_maps(socket: i32) -> Step {
    let mut byte = 0u8;
    match call!(nr::READ, socket, &raw mut byte, 1) {
        Ok(1) => {}
        // The caller gave up and closed its end.
        Ok(_) => loop {
            call!(nr::EXIT_GROUP, 1).ok();
        },
        Err(errno) => return Err((errno, Detail::Read)),
    }
    call!(nr::SETRESGID, 0, 0, 0).map_err(|errno| (errno, Detail::Setgid))?;
    call!(nr::SETRESUID, 0, 0, 0).map_err(|errno| (errno, Detail::Setuid))?;
    Ok(())
}

/// sendmsg(2) without control data, on a socket that may be closed at the other end.
fn send(socket: i32, bytes: &[u8; REPORT_BYTES]) {
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // `struct msghdr` without libc's constructors: seven words.
    let message = [0usize, 0, &raw mut vector as usize, 1, 0, 0, 0];
    call!(nr::SENDMSG, socket, message.as_ptr(), MSG_NOSIGNAL).ok();
}
