//! The last steps: from the init to the user's program.

use core::ffi::{CStr, c_char};

use crate::abi::{AT_EACCESS, CLOSE_RANGE_CLOEXEC, FD_CLOEXEC, O_PATH, S_IFDIR, S_IFREG, X_OK, errno};
use crate::ops::{Slice, Slot, Str};
use crate::program::hold;
use crate::program::home::{HOME_BYTES, Home};
use crate::program::{At, Failure, Init, Step, refused};
use crate::report::Detail;
use crate::sys::file::{faccessat, faccessat2, openat, stat};
use crate::sys::memory::Mapping;
use crate::sys::process::{execve, execveat, umask};
use crate::sys::{Fd, close_range, set_descriptor_flags};

/// `FindProgram`: the first candidate that is a regular file and may be executed.
pub(crate) fn find_program(init: &mut Init, candidates: Slice) -> Step {
    let candidates = init.plan.numbers(candidates);
    let mut problem = errno::ENOENT;
    for candidate in candidates {
        match executable(init.plan.text(Str(*candidate))) {
            Ok(()) => {
                init.program = *candidate;
                return Ok(());
            }
            // With a search path only a program that may not be run is worth telling, and a filter that
            // denies the question.
            Err(errno) if candidates.len() == 1 || is_telling(errno) => problem = errno,
            Err(_) => {}
        }
    }
    Err(Failure::new(problem, Detail::Whole))
}

fn is_telling(errno: i32) -> bool {
    matches!(errno, errno::EACCES | errno::EPERM | errno::ENOSYS)
}

/// Whether the user may execute `path`.
fn executable(path: &CStr) -> Result<(), i32> {
    let file = openat(Fd::WORKING_DIRECTORY, path, O_PATH)?;
    match stat(file.fd(), c"")?.kind() {
        S_IFREG => match faccessat2(path, X_OK, AT_EACCESS) {
            // A filter older than the call. That for the real ids says the same here, where they are the
            // effective ones; and execve(2) has the last word.
            Err(errno::ENOSYS | errno::EPERM) => faccessat(path, X_OK),
            other => other,
        },
        S_IFDIR => Err(errno::EISDIR),
        _ => Err(errno::EACCES),
    }
}

/// `CloseDescriptors`: every descriptor from `base` on is gone with the next execve(2).
pub(crate) fn close_on_exec(base: i32) -> Step {
    mark_from(base, base).at(Detail::CloseRange)
}

/// Marks all descriptors from a number on as close-on-exec; from `base` on they are the init's own.
pub(crate) fn mark_from(first: i32, base: i32) -> Result<(), i32> {
    /// The init began with few descriptors, and the kernel gives out the lowest free number: it never
    /// has one that is so far above.
    const FAR: i32 = 1024;
    match close_range(first as u32, u32::MAX, CLOSE_RANGE_CLOEXEC) {
        // Linux 5.9 and 5.10 have the call without the flag.
        Err(errno::ENOSYS | errno::EPERM | errno::EINVAL) => {}
        other => return other,
    }
    for number in first..base.saturating_add(FAR) {
        // Most of them are not open.
        set_descriptor_flags(Fd::numbered(number), FD_CLOEXEC).ok();
    }
    Ok(())
}

/// Pointers for execve(2), in memory of their own: texts of the plan, which stay, and one that is kept here.
pub(crate) struct Pointers {
    memory: Mapping,
    len: usize,
}

impl Pointers {
    const SIZE: usize = size_of::<*const c_char>();

    /// Those of an array of strings, with room for `more` pointers.
    pub(crate) fn of(init: &Init, strings: Slice, more: usize) -> Step<Self> {
        let strings = init.plan.numbers(strings);
        let bytes = strings.len().saturating_add(more).saturating_add(1).saturating_mul(Self::SIZE);
        let mut pointers = Self { memory: Mapping::anonymous(bytes).at(Detail::Memory)?, len: 0 };
        strings.iter().for_each(|text| pointers.push(init.plan.text(Str(*text)).as_ptr()));
        Ok(pointers)
    }

    /// An environment, with the HOME of `uid` unless that is `u32::MAX`.
    pub(crate) fn environment(init: &Init, env: Slice, uid: u32) -> Step<Self> {
        let mut pointers = Self::of(init, env, 1 + HOME_BYTES / Self::SIZE)?;
        match &init.home {
            _ if uid == u32::MAX => {}
            Some(home) => pointers.push_text(&home.bytes),
            // What root could not read, the user may (NFS, FUSE).
            None => pointers.push_text(&Home::of(uid).unwrap_or_default().bytes),
        }
        Ok(pointers)
    }

    /// The first; a null follows the last.
    pub(crate) fn start(&self) -> *const *const c_char {
        self.memory.start().cast_const().cast()
    }

    /// Adds one. What there is no room for is left out: a null stays behind the last.
    fn push(&mut self, text: *const c_char) {
        let mut places = self.memory.bytes_mut().chunks_exact_mut(Self::SIZE).skip(self.len);
        if let (Some(place), Some(_null)) = (places.next(), places.next()) {
            place.copy_from_slice(&(text as usize).to_ne_bytes());
            self.len = self.len.saturating_add(1);
        }
    }

    /// Adds one whose text is kept behind the final null, where the caller asked for that room too.
    fn push_text(&mut self, text: &[u8; HOME_BYTES]) {
        let at = self.len.saturating_add(2).saturating_mul(Self::SIZE);
        if let Some(place) =
            self.memory.bytes_mut().get_mut(at..).and_then(<[u8]>::first_chunk_mut::<HOME_BYTES>)
        {
            place.copy_from_slice(text);
            let text = place.as_ptr().cast();
            self.push(text);
        }
    }
}

/// `PrepareProgram`.
pub(crate) fn prepare(init: &mut Init, args: Slice, env: Slice, home_uid: u32) -> Step {
    let argv = Pointers::of(init, args, 0)?;
    let envp = Pointers::environment(init, env, home_uid)?;
    init.vectors = Some((argv, envp));
    umask(init.umask).at(Detail::Prctl).map(drop)
}

/// `Execute`.
pub(crate) fn execute(init: &mut Init, exits: bool) -> Step {
    let program = Str(init.program);
    execute_by(init, program, exits, |program, argv, envp| {
        // SAFETY: the arrays are those of `execute_by`.
        unsafe { execve(program, argv, envp) }
    })
}

/// `ExecuteHandler`.
pub(crate) fn execute_handler(init: &mut Init, name: Str, exits: bool) -> Step {
    let handler = init.fd(Slot::HANDLER).number();
    execute_by(init, name, exits, |_, argv, envp| {
        // SAFETY: the arrays are those of `execute_by`; the slot stays filled until the end of this process.
        unsafe { execveat(Fd::numbered(handler), argv, envp) }
    })
}

type Pointer = *const *const c_char;

/// `call` with the program and with pointers to texts with a NUL, of the plan or behind the pointers, and a null after them.
fn execute_by(
    init: &mut Init,
    program: Str,
    exits: bool,
    call: impl FnOnce(&CStr, Pointer, Pointer) -> Result<(), i32>,
) -> Step {
    let Some((argv, envp)) = &init.vectors else {
        return Err(Failure::new(errno::EINVAL, Detail::Execve));
    };
    let program = init.plan.text(program);
    match call(program, argv.start(), envp.start()) {
        Err(errno) if exits => refused::end(program, errno),
        other => {
            hold::meet_starter(init);
            other.at(Detail::Execve)
        }
    }
}
