//! Hooks in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, OpenHow, ResolveFlag, fcntl, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::failure::{hook_operation, killed_by, printed};
use super::sealed;
use crate::children::{Stop, Tracked};
use crate::deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::exits::{Exit, ExitSource};
use crate::spec::{Hook, hook};
use crate::state::State;
use crate::sys::memfd::{self, Purpose};
use crate::sys::{process, socket};
use runtime_init::sys::{self, Fd};

/// The state as a memory file: every hook reads it as its standard input, and none can block us by
/// not reading.
fn state_file(state: &State) -> Result<OwnedFd> {
    let bytes = serde_json::to_vec(state).map_err(|error| Error::json("write the state for hooks", error))?;
    sealed(&bytes, Purpose::Data)
}

/// What hooks of the child lane get: the state, and the files for what they print, if there are any.
pub(crate) fn hook_files(state: &State) -> Result<Vec<OwnedFd>> {
    let outputs = Outputs::open(state)?;
    let outputs = outputs.stdout.into_iter().chain(outputs.stderr).map(OwnedFd::from);
    Ok(std::iter::once(state_file(state)?).chain(outputs).collect())
}

/// Runs hooks in order; the first failure ends the sequence.
pub(crate) fn run_hooks(hooks: &[Hook], state: &State, exits: Option<&ExitSource>) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let outputs = Outputs::open(state)?;
    let place = Place::of(state)?;
    let state = File::from(state_file(state)?);
    hooks.iter().try_for_each(|hook| run(hook, &state, &outputs, &place, exits))
}

/// Runs the poststop hooks: all of them, whatever becomes of each (runtime.md, "Lifecycle", step 13).
///
/// # Errors
///
/// All that failed.
pub(crate) fn run_poststop(hooks: &[Hook], state: &State, exits: Option<&ExitSource>) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let input = File::from(state_file(state)?);
    let place = Place::of(state)?;
    let mut errors = Vec::new();
    // The container is gone: no other call could run them later.
    let outputs = Outputs::open(state).unwrap_or_else(|error| {
        errors.push(error.kind_of(ErrorKind::Hook));
        Outputs { stdout: None, stderr: None }
    });
    errors.extend(hooks.iter().filter_map(|hook| run(hook, &input, &outputs, &place, exits).err()));
    if errors.is_empty() { Ok(()) } else { Err(Error::all(errors)) }
}

/// The files that annotations name for what hooks print.
struct Outputs {
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Outputs {
    fn open(state: &State) -> Result<Self> {
        let open = |annotation: &str| {
            let Some(path) = hook::output(&state.annotations, annotation) else { return Ok(None) };
            let path = Path::new(&state.bundle).join(path);
            output_file(&path).map(Some).map_err(|errno| {
                let error = Error::system(format!("open {path:?} for the output of hooks"), errno)
                    .origin(format!("annotations.{annotation}"));
                match errno {
                    Errno::ELOOP => error.with_hint("name the file by a path without symbolic links"),
                    Errno::ENOTSUP | Errno::ENXIO => error.with_hint("name a regular file"),
                    _ => error,
                }
            })
        };
        let [stdout, stderr] = hook::OUTPUTS;
        Ok(Self { stdout: open(stdout)?, stderr: open(stderr)? })
    }
}

/// Opens or makes a regular file to append to. The path may lie where a container can write: no link is
/// followed, and nothing that could block a hook is taken.
fn output_file(path: &Path) -> std::result::Result<File, Errno> {
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    let how = OpenHow::new()
        .flags(flags)
        .mode(Mode::S_IRUSR | Mode::S_IWUSR)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = loop {
        match openat2(AT_FDCWD, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => break other?,
        }
    };
    if SFlag::from_bits_truncate(fstat(&file)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Errno::ENOTSUP);
    }
    // The hooks get the file as they expect it.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file.into())
}

/// Where a hook begins, and which of the caller's descriptors have to be kept from it.
struct Place {
    directory: PathBuf,
    highest: RawFd,
}

impl Place {
    fn of(state: &State) -> Result<Self> {
        let bundle = Path::new(&state.bundle);
        // An engine may have removed the bundle before it deletes the container: hooks are to run all the same.
        let directory = if bundle.is_dir() { bundle } else { Path::new("/") };
        Ok(Self { directory: directory.to_owned(), highest: highest_descriptor()? })
    }

    /// Makes the hook begin here, with descriptors 0 to 2 alone and with no signal blocked or ignored.
    ///
    /// The caller may have left descriptors open on purpose, such as those for the container, may wait for
    /// its signals with all of them blocked, and may have been started with some of them ignored.
    fn put(&self, command: &mut Command) {
        let highest = self.highest;
        command.current_dir(&self.directory);
        // SAFETY: between fork and execve the closure makes system calls only.
        unsafe { command.pre_exec(move || close_at_exec(highest).and_then(|()| reset_signals())) };
    }
}

/// The highest descriptor of this process where close_range(2) is denied, else 0.
fn highest_descriptor() -> Result<RawFd> {
    const NONE: u32 = i32::MAX as u32;
    if sys::close_range(NONE, NONE, libc::CLOSE_RANGE_CLOEXEC).is_ok() {
        return Ok(0);
    }
    let open =
        process::open_descriptors().map_err(|error| Error::io("list \"/proc/thread-self/fd\"", &error))?;
    Ok(open.into_iter().max().unwrap_or(0))
}

/// Marks descriptors 3 and up. They are not closed: std tells over one of them why execve failed.
fn close_at_exec(highest: RawFd) -> std::io::Result<()> {
    match sys::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) {
        // Linux 5.9 and 5.10 have the call without the flag.
        Err(libc::ENOSYS | libc::EPERM | libc::EINVAL) => {}
        other => return other.map_err(std::io::Error::from_raw_os_error),
    }
    for number in 3..=highest {
        // Some of them are not open.
        sys::set_descriptor_flags(Fd::numbered(number), libc::FD_CLOEXEC as u32).ok();
    }
    Ok(())
}

fn reset_signals() -> std::io::Result<()> {
    let reset = sys::signal::set_all_default().and_then(|()| sys::signal::unblock_all());
    reset.map_err(std::io::Error::from_raw_os_error)
}

fn run(
    hook: &Hook,
    state: &File,
    outputs: &Outputs,
    place: &Place,
    exits: Option<&ExitSource>,
) -> Result<()> {
    let call = || hook_operation(&hook.origin, &format!("hook {:?}", hook.path));
    let failed = |error: std::io::Error| {
        Error::io(call(), &error).kind_of(ErrorKind::Hook).origin(hook.origin.clone())
    };
    let mut input = state.try_clone().map_err(failed)?;
    input.seek(SeekFrom::Start(0)).map_err(failed)?;
    let output = memfd::create(Purpose::Data).map(File::from).map_err(|errno| failed(errno.into()))?;

    let mut command = Command::new(&hook.path);
    command
        .args(hook.args.iter().skip(1))
        .stdin(input)
        .stdout(outputs.stdout.as_ref().unwrap_or(&output).try_clone().map_err(failed)?)
        .stderr(outputs.stderr.as_ref().unwrap_or(&output).try_clone().map_err(failed)?);
    place.put(&mut command);
    if let Some(name) = hook.args.first() {
        command.arg0(name);
    }
    if let Some(env) = &hook.env {
        command.env_clear().envs(env.iter().filter_map(|variable| variable.split_once('=')));
    }
    let (ours, theirs) = socket::pair(false).map_err(|errno| failed(errno.into()))?;
    send_pidfd(&mut command, &theirs);
    let _under_way = exits.map(ExitSource::begin);
    let mut child = command.spawn().map_err(failed)?;
    drop(theirs);
    let ended = end(&mut child, &ours, hook.timeout, exits).map_err(|stop| match stop {
        Stop::Errno(errno) => failed(errno.into()),
        Stop::Caller(error) => error.context(call()),
    });
    let reason = match ended? {
        Some(Exit::Code(0)) => return Ok(()),
        Some(Exit::Code(code)) => format!("exit status {code}"),
        Some(Exit::Signal(signal)) => killed_by(signal.number().unsigned_abs()),
        Some(Exit::Unknown) => {
            "something else in this program has reaped it, so its status is not known".to_owned()
        }
        None => format!("it ran past its timeout of {} s and was killed", hook.timeout.unwrap_or_default()),
    };
    let text = printed(output.into());
    let reason = if text.is_empty() { reason } else { format!("{reason}: {text}") };
    Err(Error::new(ErrorKind::Hook, call()).reason(reason).origin(hook.origin.clone()))
}

/// Has the process send its pidfd before it becomes the hook. A reaper of the program that embeds the library may take its
/// status first; what is known by a pidfd then, the pid alone does not tell.
fn send_pidfd(command: &mut Command, socket: &OwnedFd) {
    let socket = socket.as_raw_fd();
    // A process that has none to send is waited for by its pid.
    let send = move || {
        process::send_own_pidfd(socket).ok();
        Ok(())
    };
    // SAFETY: between fork and execve the closure makes system calls only; the descriptor is open until the process has
    // been made.
    unsafe { command.pre_exec(send) };
}

/// How it ended, or `None` when the time is over and the hook was killed.
fn end(
    child: &mut Child,
    socket: &OwnedFd,
    timeout: Option<u32>,
    exits: Option<&ExitSource>,
) -> std::result::Result<Option<Exit>, Stop> {
    // It was sent before the hook was executed, which is over.
    let pidfd = match socket::receive(socket.as_fd(), &mut [0; 1])?.fds.pop() {
        Some(pidfd) => pidfd,
        None => process::pidfd_open(child.id() as i32)?,
    };
    let hook = Tracked::hook(child.id() as i32, pidfd, exits);
    let limit = timeout.map(|seconds| deadline::after(Duration::from_secs(u64::from(seconds))));
    match hook.wait_in_call(limit) {
        over @ (Ok(None) | Err(Stop::Caller(_))) => {
            process::pidfd_send_signal(hook.pidfd(), libc::SIGKILL)?;
            hook.wait(None)?;
            over
        }
        ended => ended,
    }
}
