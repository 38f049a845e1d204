//! The descriptors of the caller that a process of a container gets, and their numbers there.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;

use super::Inputs;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::process;
use runtime_init::ops::Slot;

/// Numbers that stage 0 needs above those of the container: its slots, and as many again while it sorts them.
const ROOM: i32 = 2 * Slot::INHERITED as i32;

/// The descriptors that stage 0 has from the caller. All numbers are the caller's, but for those in `passed`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// The standard streams; -1 is none.
    pub(super) stdio: [i32; 3],
    /// Others: number in the caller, number in the container.
    pub(super) passed: Vec<(i32, i32)>,
    /// The first number above the preserved descriptors, which have the same number on both sides.
    pub(super) kept: i32,
    /// The first number above all that the container gets: that of the first slot.
    pub(super) base: i32,
}

impl Descriptors {
    /// No descriptors.
    pub(super) const NONE: Self = Self { stdio: [-1; 3], passed: Vec::new(), kept: 0, base: 0 };

    /// Those of a launch; `null` stands for streams that the caller has not.
    pub(super) fn new(inputs: &Inputs<'_>, null: Option<&OwnedFd>) -> Result<Self> {
        let kept = end_of_preserved(inputs.preserved)?;
        let highest = inputs.passed.iter().map(|(_, number)| *number).max();
        let base = highest.map_or(kept, |number| kept.max(number.saturating_add(1)));
        if let Some(number) = highest.filter(|number| *number >= kept) {
            check_limit(number)?;
        }
        let passed = inputs.passed.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
        Ok(Self { stdio: streams(inputs, null), passed, kept, base })
    }

    /// Whether a process that has these may be used where `other` is wanted.
    pub(super) fn fit(&self, inputs: &Inputs<'_>) -> bool {
        let given = inputs.stdio.iter().any(Option::is_some) || !inputs.passed.is_empty();
        !given && end_of_preserved(inputs.preserved).is_ok_and(|kept| kept == self.base)
    }
}

/// The numbers of the standard streams to give; -1 for one that there is not.
fn streams(inputs: &Inputs<'_>, null: Option<&OwnedFd>) -> [i32; 3] {
    let stream = |number: usize| {
        let own = is_inheritable(number as i32).then_some(number as i32);
        let given = inputs.stdio.get(number).copied().flatten().map(|fd| fd.as_raw_fd());
        given.or(own).or(null.map(AsRawFd::as_raw_fd)).unwrap_or(-1)
    };
    [stream(0), stream(1), stream(2)]
}

/// Whether the caller has this descriptor to give: it is open, and not close-on-exec. The library's
/// own are all close-on-exec, and may have taken the number that a caller left free: a container
/// must not find the state directory as its standard input.
fn is_inheritable(fd: i32) -> bool {
    // SAFETY: the borrow ends with the call, which only asks about the number.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let closed_on_exec = FdFlag::FD_CLOEXEC.bits();
    fcntl(fd, FcntlArg::F_GETFD).is_ok_and(|flags| flags & closed_on_exec == 0)
}

/// The first number above the preserved descriptors. Numbers that are closed stay closed, as with runc and crun:
/// Podman passes `--preserve-fds 3` for number 5 alone.
fn end_of_preserved(preserved: u32) -> Result<i32> {
    if preserved == 0 {
        return Ok(3);
    }
    let end = i32::try_from(preserved).ok().and_then(|count| count.checked_add(3)).unwrap_or(i32::MAX);
    let open =
        process::open_descriptors().map_err(|error| Error::io("list \"/proc/thread-self/fd\"", &error))?;
    let last = open.into_iter().filter(|fd| (3..end).contains(fd) && is_inheritable(*fd)).max();
    Ok(last.map_or(3, |last| last.saturating_add(1)))
}

/// Stage 0 has the caller's limit, and needs some numbers above those of the container.
fn check_limit(number: i32) -> Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|errno| Error::system("getrlimit RLIMIT_NOFILE", errno))?;
    let end = i64::from(number).saturating_add(i64::from(ROOM));
    if u64::try_from(end).is_ok_and(|end| end < limit) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("pass a descriptor as number {number}"))
        .reason(format!("with the caller's limit of {limit} descriptors (RLIMIT_NOFILE) it has to be lower"))
        .with_hint(format!("the launch needs {ROOM} numbers above it")))
}

/// /dev/null, when a standard stream of the caller is needed and closed.
pub(super) fn missing_stdio(inputs: &Inputs<'_>) -> Result<Option<OwnedFd>> {
    let missing =
        inputs.stdio.iter().zip(0..).any(|(given, stream)| given.is_none() && !is_inheritable(stream));
    if missing { null().map(Some) } else { Ok(None) }
}

/// The host's /dev/null. A container gets its own in the place of it (`Op::OwnStreams`).
pub(crate) fn null() -> Result<OwnedFd> {
    open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| Error::system("open \"/dev/null\"", errno))
}
