//! The caller's terminal in front of a container's: raw mode, size and the bytes in between.
//!
//! Nothing here waits: the loop in [`crate::foreground`] polls the descriptors that the relay
//! names and lets it move what is ready.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize,
    tcsetattr, tcsetwinsize,
};

use crate::error::{Error, Result};

/// The bytes moved at once: PIPE_BUF, which a pipe that polls as writable takes without blocking.
const CHUNK: usize = 4096;

/// The size of the caller's terminal in rows and columns, if it has one and that has a size.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(HostTerminal::find()?).ok()?;
    (size.ws_row != 0 && size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

/// The caller's terminal in raw mode; dropping it restores the former mode.
struct HostTerminal {
    tty: OwnedFd,
    original: Termios,
}

impl HostTerminal {
    /// The terminal among the standard descriptors, or else the controlling one; `None` if the
    /// caller has none.
    fn find() -> Option<OwnedFd> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let standard = [stderr.as_fd(), stdout.as_fd(), stdin.as_fd()];
        match standard.into_iter().find(|descriptor| isatty(descriptor)) {
            Some(tty) => tty.try_clone_to_owned().ok(),
            None => File::open("/dev/tty").ok().map(OwnedFd::from),
        }
    }

    fn raw(tty: OwnedFd) -> io::Result<Self> {
        let original = tcgetattr(&tty)?;
        let mut raw = original.clone();
        raw.make_raw();
        // The container's terminal leaves newlines alone (see Relay::new), so this one goes on
        // to translate them, also for what the program itself prints.
        raw.output_modes |= OutputModes::OPOST;
        tcsetattr(&tty, OptionalActions::Drain, &raw)?;
        Ok(Self { tty, original })
    }
}

impl Drop for HostTerminal {
    fn drop(&mut self) {
        // It fails only for a terminal that is gone, whose mode no longer matters.
        if tcsetattr(&self.tty, OptionalActions::Drain, &self.original).is_err() {}
    }
}

/// Bytes on their way in one direction.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    start: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The first `count` bytes have arrived.
    fn took(&mut self, count: usize) {
        self.start = self.start.saturating_add(count);
    }

    fn fill(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.start = 0;
    }
}

/// Moves bytes between the standard input and output and a container's terminal.
pub(crate) struct Relay {
    master: File,
    host: Option<HostTerminal>,
    input: Pending,
    output: Pending,
    /// The last byte that went in: an end of file on a half line needs two marks.
    last_input: u8,
    stdin_open: bool,
    stdout_open: bool,
    hung_up: bool,
}

/// What [`Relay::interest`] asks the loop to poll.
pub(crate) struct Interest {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) master: PollFlags,
}

impl Relay {
    /// Takes over the master side of the container's terminal and puts the caller's terminal, if
    /// it has one, into raw mode.
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        let failed = |error: io::Error| Error::io("set up the terminal", &error);
        let flags = fcntl(&master, FcntlArg::F_GETFL).map_err(|errno| failed(errno.into()))?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(&master, FcntlArg::F_SETFL(flags)).map_err(|errno| failed(errno.into()))?;
        // Programs' newlines reach a redirected output as they are, as runc has it. The modes of
        // the two sides of a terminal are one.
        let mut modes = tcgetattr(&master).map_err(|error| failed(error.into()))?;
        modes.output_modes &= !OutputModes::ONLCR;
        tcsetattr(&master, OptionalActions::Now, &modes).map_err(|error| failed(error.into()))?;
        let relay = Self {
            master: File::from(master),
            host: HostTerminal::find().map(HostTerminal::raw).transpose().map_err(failed)?,
            input: Pending::default(),
            output: Pending::default(),
            last_input: b'\n',
            stdin_open: true,
            stdout_open: true,
            hung_up: false,
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of the caller's.
    pub(crate) fn resize(&self) {
        let Some(host) = &self.host else { return };
        if let Ok(size) = tcgetwinsize(&host.tty)
            && (size.ws_row, size.ws_col) != (0, 0)
        {
            // A container that has just ended has no terminal to size any more.
            if tcsetwinsize(&self.master, size).is_err() {}
        }
    }

    /// The master side, to poll.
    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Interest {
        let mut master = PollFlags::empty();
        if self.output.is_empty() && !self.hung_up {
            master |= PollFlags::POLLIN;
        }
        if !self.input.is_empty() {
            master |= PollFlags::POLLOUT;
        }
        Interest { stdin: self.stdin_open && self.input.is_empty(), stdout: !self.output.is_empty(), master }
    }

    /// Whether no process holds the container's side at this moment: an init that opens
    /// /dev/console only now and then comes back, so the loop asks again after a while.
    pub(crate) fn hung_up(&self) -> bool {
        self.hung_up
    }

    /// Asks a container's side that had hung up again.
    pub(crate) fn retry(&mut self) {
        self.hung_up = false;
    }

    /// Moves what can be moved after a poll; a flag says that the descriptor is ready.
    pub(crate) fn step(&mut self, stdin: bool, stdout: bool, master: PollFlags) {
        if master.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
            && self.output.is_empty()
        {
            self.read_master();
        }
        if stdin && self.input.is_empty() {
            self.read_stdin();
        }
        if !self.input.is_empty() {
            self.write_master();
        }
        if stdout && !self.output.is_empty() {
            self.write_stdout();
        }
    }

    /// Moves what the ended process has left in its terminal, and no more: a background process
    /// may hold the terminal open and write for ever.
    pub(crate) fn drain(&mut self) {
        for _ in 0..64 {
            self.flush();
            self.read_master();
            if self.output.is_empty() {
                return;
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            let stdout = io::stdout();
            let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
            // The caller may have made its output non-blocking; its reader sets the pace.
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => self.write_stdout(),
                Err(_) => self.output.fill(&[]),
            }
        }
    }

    fn read_master(&mut self) {
        if !self.output.is_empty() {
            return;
        }
        let mut bytes = [0; CHUNK];
        match self.master.read(&mut bytes) {
            Ok(0) => self.hung_up = true,
            Ok(count) => self.output.fill(bytes.get(..count).unwrap_or_default()),
            Err(error) if later(&error) => {}
            // EIO: every descriptor of the container's side is closed.
            Err(_) => self.hung_up = true,
        }
    }

    fn write_master(&mut self) {
        match self.master.write(self.input.rest()) {
            Ok(count) => self.input.took(count),
            Err(error) if later(&error) => {}
            // Nobody can read it any more.
            Err(_) => self.input.fill(&[]),
        }
    }

    fn read_stdin(&mut self) {
        let mut bytes = [0; CHUNK];
        match rustix::io::read(io::stdin(), &mut bytes) {
            Ok(0) => self.end_of_input(),
            Ok(count) => {
                let bytes = bytes.get(..count).unwrap_or_default();
                self.last_input = bytes.last().copied().unwrap_or(self.last_input);
                self.input.fill(bytes);
            }
            Err(error) if later(&error.into()) => {}
            Err(_) => self.stdin_open = false,
        }
    }

    /// Passes an end of file on as a terminal has it: by its end-of-file character, which ends
    /// the reading of a program only at the start of a line.
    fn end_of_input(&mut self) {
        self.stdin_open = false;
        let Ok(modes) = tcgetattr(&self.master) else {
            return;
        };
        if modes.local_modes.contains(LocalModes::ICANON) {
            let mark = modes.special_codes[SpecialCodeIndex::VEOF];
            self.input.fill(&[mark; 2]);
            if self.last_input == b'\n' {
                self.input.took(1);
            }
        }
    }

    fn write_stdout(&mut self) {
        if !self.stdout_open {
            self.output.fill(&[]);
            return;
        }
        match rustix::io::write(io::stdout(), self.output.rest()) {
            Ok(count) => self.output.took(count),
            Err(error) if later(&error.into()) => {}
            // The reader is gone; the container runs on and its output is dropped.
            Err(_) => self.stdout_open = false,
        }
    }
}

fn later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
