//! What the caller gets of a new process: its terminal, its pidfd and its id; and which of the
//! caller's descriptors the process gets.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use runtime_core::{Error, Process, Result};

use crate::args::{Values, options};
use crate::fd_socket::{self, FdSocket};
use crate::pid_file;

/// Where the caller wants what.
pub(crate) struct Handover {
    console: Option<FdSocket>,
    pidfd: Option<FdSocket>,
    pid_file: Option<PathBuf>,
}

impl Handover {
    /// Checks the options against each other and connects the sockets; done before anything is
    /// made.
    pub(crate) fn prepare(options: &Values, terminal: bool, detach: bool) -> Result<Self> {
        let console = options.path(&options::CONSOLE_SOCKET);
        let refused = |reason| Err(Error::invalid("--console-socket", reason));
        if detach && terminal && console.is_none() {
            return refused("cannot allocate tty if runtime will detach without setting console socket");
        }
        if !(detach && terminal) && console.is_some() {
            return refused("cannot use console socket if runtime will not detach or allocate tty");
        }
        let connect =
            |path: Option<PathBuf>, option| path.map(|path| FdSocket::connect(&path, option)).transpose();
        Ok(Self {
            console: connect(console, "--console-socket")?,
            pidfd: connect(options.path(&options::PIDFD_SOCKET), "--pidfd-socket")?,
            pid_file: options.path(&options::PID_FILE),
        })
    }

    /// Gives the caller what it asked for.
    pub(crate) fn give(&self, process: &Process, console: Option<OwnedFd>, kind: &str) -> Result<()> {
        if let (Some(socket), Some(console)) = (&self.console, console) {
            socket.send(fd_socket::CONSOLE, console)?;
        }
        if let Some(socket) = &self.pidfd {
            socket.send(kind, process)?;
        }
        // Last: an engine that sees the file may go on.
        self.pid_file.as_ref().map_or(Ok(()), |path| pid_file::write(path, process.pid()))
    }
}

/// The number of descriptors that `--preserve-fds` passes on, after those of the service manager. Some of
/// them may be closed.
pub(crate) fn preserved(options: &Values) -> Result<u32> {
    let number = options.number(&options::PRESERVE_FDS).unwrap_or(0);
    u32::try_from(number)
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or_else(|| Error::invalid("--preserve-fds", format!("{number} is not a number of descriptors")))
}

/// More descriptors than any process may have open (fs.nr_open's default).
const MOST: u32 = 1 << 20;

/// The number of sockets that a service manager has opened for this very process
/// (sd_listen_fds(3)).
pub(crate) fn listening() -> Option<u32> {
    let variable = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let meant = variable("LISTEN_PID") == Some(std::process::id());
    variable("LISTEN_FDS").filter(|count| meant && *count > 0)
}
