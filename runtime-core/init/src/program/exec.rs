//! The last steps: from the init to the user's program.

use core::ffi::{CStr, c_char};

use crate::ops::{Slice, Str};
use crate::program::file::{self, AT_FDCWD, O_CLOEXEC};
use crate::program::hold;
use crate::program::home::{HOME_BYTES, Home};
use crate::program::{At, Failure, Init, Step, call, errno, refused};
use crate::report::Detail;
use crate::syscall::{common, nr};

const SIGNALS: usize = 64;
const SIGKILL: usize = 9;
const SIGSTOP: usize = 19;
const SIGNAL_SET_BYTES: usize = 8;

/// All dispositions to default and an empty mask: a caller's ignored SIGPIPE is not the container's.
pub(crate) fn reset_signals() -> Step {
    // `struct sigaction` of the kernel, all zero: SIG_DFL, no flags, empty mask.
    let default = [0u64; 4];
    for signal in (1..=SIGNALS).filter(|signal| *signal != SIGKILL && *signal != SIGSTOP) {
        call!(nr::RT_SIGACTION, signal, default.as_ptr(), 0, SIGNAL_SET_BYTES).at(Detail::Whole)?;
    }
    const SIG_SETMASK: usize = 2;
    let empty = 0u64;
    call!(nr::RT_SIGPROCMASK, SIG_SETMASK, &raw const empty, 0, SIGNAL_SET_BYTES).at(Detail::Whole).map(drop)
}

/// Lets the signals that ask a program to end do so while the container waits for its start: the first
/// process of a pid namespace gets none that it has no handler for (pid_namespaces(7)).
pub(crate) fn end_on_request() -> Step {
    /// `struct sigaction` of the kernel.
    #[repr(C)]
    struct Action {
        handler: usize,
        flags: usize,
        #[cfg(target_arch = "x86_64")]
        restorer: usize,
        mask: u64,
    }
    /// There is no way back from the handler, but x86 wants to know it.
    const SA_RESTORER: usize = if cfg!(target_arch = "x86_64") { 0x0400_0000 } else { 0 };
    extern "C" fn end(signal: i32) {
        crate::program::exit(128 + signal as usize);
    }
    let handler = end as extern "C" fn(i32) as usize;
    let action = Action {
        handler,
        flags: SA_RESTORER,
        #[cfg(target_arch = "x86_64")]
        restorer: handler,
        mask: 0,
    };
    // SIGHUP, SIGINT, SIGQUIT, SIGTERM.
    for signal in [1, 2, 3, 15] {
        call!(nr::RT_SIGACTION, signal, &raw const action, 0, SIGNAL_SET_BYTES).at(Detail::Whole)?;
    }
    Ok(())
}

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
    Err(Failure { errno: problem, detail: Detail::Whole as u32 })
}

fn is_telling(errno: i32) -> bool {
    matches!(errno, errno::EACCES | errno::EPERM | errno::ENOSYS)
}

/// Whether the user may execute `path`.
fn executable(path: &CStr) -> Result<(), i32> {
    const X_OK: usize = 1;
    const AT_EACCESS: usize = 0x200;
    let file = call!(nr::OPENAT, AT_FDCWD, path.as_ptr(), file::O_PATH | O_CLOEXEC)? as i32;
    let stat = file::stat(file, c"");
    file::close(file);
    match stat?.kind() {
        file::S_IFREG => match call!(common::FACCESSAT2, AT_FDCWD, path.as_ptr(), X_OK, AT_EACCESS) {
            // A filter older than the call. That for the real ids says the same here, where they are the
            // effective ones; and execve(2) has the last word.
            Err(errno::ENOSYS | errno::EPERM) => call!(nr::FACCESSAT, AT_FDCWD, path.as_ptr(), X_OK),
            other => other,
        }
        .map(drop),
        file::S_IFDIR => Err(errno::EISDIR),
        _ => Err(errno::EACCES),
    }
}

/// `CloseDescriptors`: every descriptor from `base` on is gone with the next execve(2).
pub(crate) fn close_on_exec(base: i32) -> Step {
    mark_from(base, base).at(Detail::CloseRange)
}

/// Marks all descriptors from a number on as close-on-exec; from `base` on they are the init's own.
pub(crate) fn mark_from(first: i32, base: i32) -> Result<(), i32> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    const F_SETFD: usize = 2;
    const FD_CLOEXEC: usize = 1;
    /// The init began with few descriptors, and the kernel gives out the lowest free number: it never
    /// has one that is so far above.
    const FAR: i32 = 1024;
    match call!(common::CLOSE_RANGE, first, u32::MAX, CLOSE_RANGE_CLOEXEC) {
        Err(errno::ENOSYS | errno::EPERM) => {}
        other => return other.map(drop),
    }
    for number in first..base.saturating_add(FAR) {
        // Most of them are not open.
        call!(nr::FCNTL, number, F_SETFD, FD_CLOEXEC).ok();
    }
    Ok(())
}

/// Pointers for execve(2), in memory of their own.
pub(crate) struct Pointers {
    start: *mut *const c_char,
    len: usize,
}

impl Pointers {
    /// Room for `count` pointers and the final null.
    fn new(count: usize) -> Step<Self> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
        let bytes = (count + 1) * size_of::<usize>();
        let start = call!(nr::MMAP, 0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, usize::MAX, 0)
            .at(Detail::Memory)?;
        Ok(Self { start: start as *mut *const c_char, len: 0 })
    }

    /// Those of an array of strings, with room for `more`.
    pub(crate) fn of(init: &Init, strings: Slice, more: usize) -> Step<Self> {
        let strings = init.plan.numbers(strings);
        let mut pointers = Self::new(strings.len() + more)?;
        strings.iter().for_each(|text| pointers.push(init.plan.text(Str(*text)).as_ptr()));
        Ok(pointers)
    }

    /// An environment, with the HOME of `uid` unless that is `u32::MAX`.
    pub(crate) fn environment(init: &Init, env: Slice, uid: u32) -> Step<Self> {
        let mut pointers = Self::of(init, env, 1 + HOME_BYTES / size_of::<usize>())?;
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
        self.start
    }

    /// Adds one; the caller adds at most as many as it asked room for.
    fn push(&mut self, text: *const c_char) {
        // SAFETY: in bounds by the contract above; the mapping is writable and zeroed.
        unsafe { self.start.add(self.len).write(text) };
        self.len += 1;
    }

    /// Adds one whose text is kept behind the final null, where the caller asked for that room too.
    fn push_text(&mut self, text: &[u8; HOME_BYTES]) {
        // SAFETY: as in `push`; behind this pointer and the null are HOME_BYTES of the mapping.
        let place = unsafe { self.start.add(self.len + 2).cast::<[u8; HOME_BYTES]>() };
        // SAFETY: as above; bytes need no alignment.
        unsafe { place.write(*text) };
        self.push(place.cast());
    }
}

/// `PrepareProgram`.
pub(crate) fn prepare(init: &mut Init, args: Slice, env: Slice, home_uid: u32) -> Step {
    let argv = Pointers::of(init, args, 0)?;
    let envp = Pointers::environment(init, env, home_uid)?;
    init.vectors = Some((argv, envp));
    call!(nr::UMASK, init.umask).at(Detail::Prctl).map(drop)
}

/// `Execute`.
pub(crate) fn execute(init: &mut Init, exits: bool) -> Step {
    let Some((argv, envp)) = &init.vectors else {
        return Err(Failure { errno: errno::EINVAL, detail: Detail::Execve as u32 });
    };
    let program = init.plan.text(Str(init.program));
    match call!(nr::EXECVE, program.as_ptr(), argv.start(), envp.start()) {
        Err(errno) if exits => refused::end(program, errno),
        other => {
            hold::meet_starter(init);
            other.at(Detail::Execve).map(drop)
        }
    }
}
