//! What the caller gets of a new process: its terminal, its pidfd and its id; and which of the
//! caller's descriptors the process gets.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use runtime_core::Process;

use crate::args::{Values, options};
use crate::error::{Error, Result};
use crate::fd_socket::{self, FdSocket};
use crate::pid_file;

/// crun's annotation for the path of a socket that the pidfd of a container's first process is sent to.
pub(crate) const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// Where the caller wants what.
pub(crate) struct Handover {
    console: Option<FdSocket>,
    pidfd: Option<FdSocket>,
    pid_file: Option<PathBuf>,
}

impl Handover {
    /// Connects the sockets: the first thing that a command does. Whoever waits at one sees the end of the connection
    /// then, whatever fails.
    pub(crate) fn connect(options: &Values) -> Result<Self> {
        // With --dry-run there is nothing to hand over.
        let dry = options.flag(&options::DRY_RUN);
        let connect = |option, name| {
            options.path(option).filter(|_| !dry).map(|path| FdSocket::connect(&path, name)).transpose()
        };
        Ok(Self {
            console: connect(&options::CONSOLE_SOCKET, "--console-socket")?,
            pidfd: connect(&options::PIDFD_SOCKET, "--pidfd-socket")?,
            pid_file: options.path(&options::PID_FILE),
        })
    }

    /// Sends the pidfd to the socket at `path`, unless an option names another one.
    pub(crate) fn with_receiver(mut self, path: Option<&str>) -> Result<Self> {
        if let (None, Some(path)) = (&self.pidfd, path.filter(|path| !path.is_empty())) {
            self.pidfd = Some(FdSocket::connect(Path::new(path), "annotations.run.oci.pidfd_receiver")?);
        }
        Ok(self)
    }

    /// Checks the options against each other, before anything is made.
    pub(crate) fn check(&self, terminal: bool, detach: bool) -> Result<()> {
        let refused = |reason| Err(Error::invalid("--console-socket", reason));
        match (detach && terminal, &self.console) {
            (true, None) => {
                refused("cannot allocate tty if runtime will detach without setting console socket")
            }
            (false, Some(_)) => {
                refused("cannot use console socket if runtime will not detach or allocate tty")
            }
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// Gives the caller the terminal.
    pub(crate) fn give_console(&self, console: OwnedFd) -> Result<()> {
        self.console.as_ref().map_or(Ok(()), |socket| socket.send(fd_socket::CONSOLE, console))
    }

    /// Gives the caller the rest of what it asked for.
    pub(crate) fn give(&self, process: &Process, kind: &str) -> Result<()> {
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
