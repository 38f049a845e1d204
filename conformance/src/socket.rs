//! A socket that runtimes send descriptors to.

use crate::verdict::Stop;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a connection and what comes on it are waited for, once the runtime is done.
const LIMIT: Duration = Duration::from_secs(5);

/// A listening stream socket.
pub(crate) struct Listener(UnixListener);

/// What came on one connection.
pub(crate) struct Heard {
    pub(crate) text: String,
    pub(crate) first_descriptors: usize,
    pub(crate) descriptors: usize,
    /// The other end was closed.
    pub(crate) ended: bool,
    /// The descriptors, open as long as this is.
    pub(crate) files: Vec<RawFd>,
}

impl Listener {
    pub(crate) fn new(path: &Path) -> Result<Self, Stop> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Listener(listener))
    }

    /// Runs `step` and listens meanwhile; `None` if nobody connects.
    pub(crate) fn hear(&self, step: impl FnOnce() -> Result<(), Stop>) -> Result<Option<Heard>, Stop> {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let heard = scope.spawn(|| self.accept(&done));
            let result = step();
            if result.is_err() {
                // Nobody will connect any more: a connection of the suite's own ends the wait.
                self.give_up();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
            let heard = heard.join().unwrap_or(Ok(None));
            result.and_then(|()| Ok(heard?))
        })
    }

    fn give_up(&self) {
        let path = self.0.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        if let Some(path) = path {
            UnixStream::connect(path).map(drop).unwrap_or_default();
        }
    }

    fn accept(&self, done: &std::sync::atomic::AtomicBool) -> std::io::Result<Option<Heard>> {
        let mut end = None;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => return read(&stream).map(Some),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if done.load(std::sync::atomic::Ordering::Acquire) {
                let end = *end.get_or_insert_with(|| Instant::now() + LIMIT);
                if Instant::now() > end {
                    return Ok(None);
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn read(stream: &UnixStream) -> std::io::Result<Heard> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut heard =
        Heard { text: String::new(), first_descriptors: 0, descriptors: 0, ended: false, files: Vec::new() };
    let mut buffer = vec![0; 1 << 16];
    let mut first = true;
    loop {
        let mut control = cmsg_space!([RawFd; 8]);
        let mut vector = [IoSliceMut::new(&mut buffer)];
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut vector, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC);
        let message = match message {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN) => return Ok(heard),
            Err(errno) => return Err(errno.into()),
        };
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = part {
                heard.files.extend(fds);
            }
        }
        let length = message.bytes;
        heard.descriptors = heard.files.len();
        if std::mem::take(&mut first) {
            heard.first_descriptors = heard.descriptors;
        }
        if length == 0 {
            heard.ended = true;
            return Ok(heard);
        }
        heard.text += &String::from_utf8_lossy(&buffer[..length]);
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        for fd in self.files.drain(..) {
            if let Err(error) = nix::unistd::close(fd) {
                eprintln!("# close a descriptor that was sent: {error}");
            }
        }
    }
}
