//! The master of a container's terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::error::{Error, Result};
use crate::sys::streams;

/// The master of the terminal (pty(7)) of a container's process, which was made in the container's own devpts.
///
/// What is written to it, the program reads; what is read from it, the program has written. Once the last process that has
/// the terminal has closed it, reads fail with EIO.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> Self {
        Self(File::from(master))
    }

    /// Sets the size in characters (TIOCSWINSZ); the foreground process group of the terminal gets SIGWINCH.
    ///
    /// # Errors
    ///
    /// That of ioctl(2).
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        streams::set_size(self.0.as_fd(), rows, columns)
            .map_err(|errno| Error::system(format!("ioctl TIOCSWINSZ {rows} {columns}"), errno))
    }

    /// Another handle for the same terminal, such as one for a thread that reads.
    ///
    /// # Errors
    ///
    /// That of fcntl(2), F_DUPFD_CLOEXEC.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl Read for Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Read for &Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for &Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.0).flush()
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Terminal {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Terminal> for OwnedFd {
    fn from(terminal: Terminal) -> Self {
        terminal.0.into()
    }
}
