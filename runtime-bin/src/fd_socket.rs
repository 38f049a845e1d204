//! Descriptors that go to the caller over a Unix socket: the console's master and the pidfd.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::error::{Error, Result};

/// The message that goes with a console's master: its name, as runc sends it.
pub(crate) const CONSOLE: &str = "/dev/ptmx";
/// The message that goes with the pidfd of a container's first process.
pub(crate) const PIDFD_INIT: &str = "standard";
/// The message that goes with the pidfd of a process of `exec`.
pub(crate) const PIDFD_EXEC: &str = "setns";

/// A connection to the socket that a command-line option names.
#[derive(Debug)]
pub(crate) struct FdSocket {
    stream: UnixStream,
    option: &'static str,
}

impl FdSocket {
    /// Connects to `path`, which `option` gave. Done before anything is created, so that a
    /// socket nobody listens on costs nothing.
    pub(crate) fn connect(path: &Path, option: &'static str) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .map_err(|error| Error::io(format!("connect to {path:?}"), &error).origin(option))?;
        Ok(Self { stream, option })
    }

    /// Sends `descriptor` with `message`.
    pub(crate) fn send(&self, message: &str, descriptor: impl AsFd) -> Result<()> {
        let descriptors = [descriptor.as_fd().as_raw_fd()];
        let control = [ControlMessage::ScmRights(&descriptors)];
        let data = [IoSlice::new(message.as_bytes())];
        loop {
            // MSG_NOSIGNAL: a receiver that went away is an error, not a signal.
            let socket = self.stream.as_raw_fd();
            match sendmsg::<()>(socket, &data, &control, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(Error::system("send descriptor over the socket", errno).origin(self.option));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSliceMut;
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    #[test]
    fn descriptor_and_name_arrive() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let sender = FdSocket::connect(&path, "--console-socket").expect("a connection");
        let (receiver, _) = listener.accept().expect("the connection");
        sender.send(CONSOLE, std::io::stdin()).expect("sent");

        let mut bytes = [0; 64];
        let mut data = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let message = recvmsg::<()>(receiver.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::empty())
            .expect("a message");
        let descriptors = message
            .cmsgs()
            .expect("control data")
            .any(|control| matches!(control, ControlMessageOwned::ScmRights(fds) if fds.len() == 1));
        assert!(descriptors);
        let length = message.bytes;
        assert_eq!(&bytes[..length], b"/dev/ptmx");
    }

    #[test]
    fn nobody_listens() {
        let error =
            FdSocket::connect(Path::new("/nonexistent/s"), "--console-socket").expect_err("no socket");
        assert_eq!(
            error.to_string(),
            "connect to \"/nonexistent/s\": no such file or directory (--console-socket)"
        );
    }
}
