//! bpf(2), as far as device programs of cgroup v2 need it.
//!
//! RLIMIT_MEMLOCK is left alone: since Linux 5.11 the memory of a program is charged to the cgroup of
//! the caller, and older kernels are not supported.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::error::{Error, Result};

// enum bpf_cmd, enum bpf_prog_type, enum bpf_attach_type and flags of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;
const REPLACE: u32 = 1 << 2;

/// The most programs that one cgroup can have (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// The kernel may interrupt the verifier (EAGAIN); libbpf tries five times too.
const LOAD_ATTEMPTS: usize = 5;

const LOG_BYTES: usize = 64 << 10;

/// The part of `union bpf_attr` for PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

/// For PROG_ATTACH and PROG_DETACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// For PROG_QUERY.
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// For PROG_GET_FD_BY_ID.
#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// # Safety
///
/// `attributes` must be the member of `union bpf_attr` that `command` reads, and its pointers must be
/// valid for as many bytes as its counts say.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> Result<RawFd, Errno> {
    // SAFETY: the pointer and the size are those of a live, exclusively borrowed value; for what it
    // points to the caller answers.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    Errno::result(result).map(|value| value as RawFd)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Loads a device program.
pub(crate) fn load_device_program(program: &[u64]) -> Result<OwnedFd> {
    let operation =
        || format!("bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE, {} instructions)", program.len());
    // Without a log first: the verifier writes it, and the kernel copies it, for every program.
    let errno = match load(program, &mut []) {
        Ok(fd) => return Ok(fd),
        Err(errno) => errno,
    };
    let error = Error::system(operation(), errno);
    if errno == Errno::EPERM {
        return Err(
            error.with_hint("loading a device program needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN")
        );
    }
    let mut log = vec![0; LOG_BYTES];
    match load(program, &mut log) {
        Ok(fd) => Ok(fd),
        Err(_) => Err(error.reason(last_lines(&log))),
    }
}

/// The end of the verifier's log, where it says what it refuses.
fn last_lines(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default());
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("processed ")).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("; ")
}

fn load(program: &[u64], log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let mut attributes = Load {
        kind: TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        expected_attach_type: ATTACH_CGROUP_DEVICE,
        ..Load::default()
    };
    attributes.name[..7].copy_from_slice(b"devices");
    if !log.is_empty() {
        attributes.log_level = 1;
        attributes.log_size = log.len() as u32;
        attributes.log_buffer = log.as_mut_ptr() as u64;
    }
    let mut attempt = 1usize;
    loop {
        // SAFETY: `Load` is what PROG_LOAD reads; program, license and log are borrowed for longer than the
        // call, and the counts are theirs.
        match unsafe { call(PROG_LOAD, &mut attributes) } {
            // SAFETY: the kernel made this descriptor just now (close-on-exec), and nobody else knows it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(Errno::EAGAIN) if attempt < LOAD_ATTEMPTS => attempt = attempt.saturating_add(1),
            Err(errno) => return Err(errno),
        }
    }
}

/// Attaches a program to a cgroup beside those that are there.
pub(crate) fn attach_device_program(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> Result<()> {
    attach(cgroup, program, None)
        .map_err(|errno| Error::system("bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)", errno))
}

fn attach(cgroup: BorrowedFd<'_>, program: &OwnedFd, replaced: Option<&OwnedFd>) -> Result<(), Errno> {
    let mut attributes = Attach {
        target: raw(cgroup),
        program: raw(program.as_fd()),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI | if replaced.is_some() { REPLACE } else { 0 },
        replaced: replaced.map_or(0, |fd| raw(fd.as_fd())),
    };
    // SAFETY: `Attach` is what PROG_ATTACH reads; it has no pointers.
    unsafe { call(PROG_ATTACH, &mut attributes) }.map(drop)
}

/// Puts a program in the place of all device programs of a cgroup. All of them must allow an
/// access, so the new one is there before the old ones go.
pub(crate) fn replace_device_programs(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> Result<()> {
    let old = device_programs(cgroup)?;
    if let [old] = &old[..] {
        return attach(cgroup, program, Some(old)).map_err(|errno| {
            Error::system("bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI | BPF_F_REPLACE)", errno)
        });
    }
    attach_device_program(cgroup, program)?;
    for old in &old {
        let mut attributes = Attach {
            target: raw(cgroup),
            program: raw(old.as_fd()),
            kind: ATTACH_CGROUP_DEVICE,
            flags: 0,
            replaced: 0,
        };
        // SAFETY: `Attach` is what PROG_DETACH reads; it has no pointers.
        unsafe { call(PROG_DETACH, &mut attributes) }
            .map_err(|errno| Error::system("bpf(BPF_PROG_DETACH, BPF_CGROUP_DEVICE)", errno))?;
    }
    Ok(())
}

/// The device programs attached to this very cgroup.
fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attributes = Query {
        target: raw(cgroup),
        kind: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: `Query` is what PROG_QUERY reads and writes; `ids` has `count` elements and outlives the call.
    unsafe { call(PROG_QUERY, &mut attributes) }
        .map_err(|errno| Error::system("bpf(BPF_PROG_QUERY, BPF_CGROUP_DEVICE)", errno))?;
    ids.iter().take(attributes.count as usize).map(|id| program_by_id(*id)).collect()
}

fn program_by_id(id: u32) -> Result<OwnedFd> {
    let mut attributes = ById { id, next_id: 0, open_flags: 0 };
    // SAFETY: `ById` is what PROG_GET_FD_BY_ID reads; it has no pointers.
    let fd = unsafe { call(PROG_GET_FD_BY_ID, &mut attributes) }
        .map_err(|errno| Error::system(format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})"), errno))?;
    // SAFETY: the kernel made this descriptor just now (close-on-exec), and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
