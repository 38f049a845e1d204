//! Readiness: what the container says on its notify socket is passed on to the service manager.
//!
//! The protocol is that of sd_notify(3): datagrams with lines such as `READY=1`. The manager
//! cannot know the container's processes, so the message that passes on also names the main one.

use std::io::IoSlice;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::{Mode, umask};

use crate::error::{Error, Result};
use crate::log::Log;

/// How long the manager may take to read what it was sent, in milliseconds.
const BARRIER: u16 = 30_000;

/// A socket that the container can reach.
pub(crate) struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
    manager: SocketAddr,
}

impl Notify {
    /// Binds the container's socket at `path`; `manager` is the caller's NOTIFY_SOCKET. What comes before
    /// [`forward`](Self::forward) is called is kept, so this is done before the program runs.
    pub(crate) fn bind(path: &Path, manager: &Path) -> Result<Self> {
        let socket = bind_for_everyone(path)
            .map_err(|error| Error::io(format!("bind notify socket {path:?}"), &error))?;
        let manager = address(manager).map_err(|error| Error::io("use $NOTIFY_SOCKET", &error))?;
        Ok(Self { socket, path: path.to_owned(), manager })
    }

    /// Waits until the container is ready or `ended` becomes readable, and passes the message on
    /// with `pid` as the main process.
    pub(crate) fn forward(&self, pid: i32, ended: std::os::fd::BorrowedFd<'_>, log: &Log) -> Result<()> {
        loop {
            let mut fds =
                [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(ended, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::system("poll", errno)),
            }
            let [message, end] = fds.map(|fd| fd.any().unwrap_or(true));
            if message {
                let mut bytes = [0; 4096];
                let count = self
                    .socket
                    .recv(&mut bytes)
                    .map_err(|error| Error::io(format!("read notify socket {:?}", self.path), &error))?;
                if let Some(ready) = bytes.get(..count).and_then(ready_line) {
                    log.debug(|| format!("container is ready, main process {pid}"));
                    return self.send(ready, pid);
                }
            } else if end {
                return Ok(());
            }
        }
    }

    fn send(&self, ready: &[u8], pid: i32) -> Result<()> {
        let failed = |error: std::io::Error| Error::io("send to $NOTIFY_SOCKET", &error);
        let client = UnixDatagram::unbound().map_err(failed)?;
        client.connect_addr(&self.manager).map_err(failed)?;
        client.send(&[ready, b"\n"].concat()).map_err(failed)?;
        client.send(format!("MAINPID={pid}\n").as_bytes()).map_err(failed)?;
        barrier(&client)
    }
}

/// Any user of the container may say that it is ready. The socket is made with that mode: a process of the container
/// can put a link in its place, and a chmod(2) of the name could change a file of the host.
fn bind_for_everyone(path: &Path) -> std::io::Result<UnixDatagram> {
    let before = umask(Mode::empty());
    let socket = UnixDatagram::bind(path);
    umask(before);
    socket
}

/// Waits until the manager has read everything: it closes the pipe that came with BARRIER=1
/// (sd_notify_barrier(3)). One that does not know the protocol never does.
fn barrier(client: &UnixDatagram) -> Result<()> {
    let (reader, writer) =
        std::io::pipe().map_err(|error| Error::io("make a pipe for $NOTIFY_SOCKET", &error))?;
    let descriptors = [writer.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&descriptors)];
    let data = [IoSlice::new(b"BARRIER=1")];
    sendmsg::<()>(client.as_raw_fd(), &data, &control, MsgFlags::MSG_NOSIGNAL, None)
        .map_err(|errno| Error::system("send barrier to $NOTIFY_SOCKET", errno))?;
    drop(writer);
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut fds, PollTimeout::from(BARRIER)) {
            Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(Error::system("poll", errno)),
        }
    }
}

pub(crate) fn ready_line(message: &[u8]) -> Option<&[u8]> {
    message.split(|&byte| byte == b'\n').find(|line| line.starts_with(b"READY="))
}

/// The address of a socket: a path, or after `@` an abstract name.
fn address(name: &Path) -> std::io::Result<SocketAddr> {
    match name.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_passed_on_with_the_main_process() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let manager = UnixDatagram::bind(directory.path().join("manager")).expect("a manager");
        let path = directory.path().join("notify.sock");
        let notify = Notify::bind(&path, &directory.path().join("manager")).expect("a socket");
        let (alive, _hold) = std::io::pipe().expect("a pipe");
        let container = UnixDatagram::unbound().expect("a socket");
        container.send_to(b"STATUS=starting", &path).expect("sent");
        container.send_to(b"STATUS=up\nREADY=1", &path).expect("sent");
        std::thread::scope(|scope| {
            let log = Log::default();
            let forward = scope.spawn(move || notify.forward(42, alive.as_fd(), &log));
            let mut bytes = [0; 64];
            for wanted in [&b"READY=1\n"[..], b"MAINPID=42\n", b"BARRIER=1"] {
                // The descriptor of the barrier is not received and so closed.
                let count = manager.recv(&mut bytes).expect("a message");
                assert_eq!(&bytes[..count], wanted);
            }
            forward.join().expect("the thread").expect("forwarded");
        });
    }

    #[test]
    fn an_ended_container_ends_the_wait() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let notify = Notify::bind(&directory.path().join("s"), Path::new("@nobody")).expect("a socket");
        let (ended, writer) = std::io::pipe().expect("a pipe");
        drop(writer);
        notify.forward(1, ended.as_fd(), &Log::default()).expect("no wait");
    }
}
