//! Sockets that carry descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    UnixCredentials, connect, recvmsg, sendmsg, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use super::retry;

/// A connected pair that keeps message borders. With `credentials` the first end receives the
/// sender's pid in its own pid namespace.
pub(crate) fn pair(credentials: bool) -> Result<(OwnedFd, OwnedFd), Errno> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    if credentials {
        setsockopt(&pair.0, sockopt::PassCred, &true)?;
    }
    Ok(pair)
}

/// A stream connected to the socket at `path`; one that begins with `@` is abstract (unix(7)). The
/// connection, and each write to it later, take at most so many seconds (EAGAIN).
pub(crate) fn connect_stream(path: &str, seconds: i64) -> Result<OwnedFd, Errno> {
    let address = match path.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes())?,
        None => UnixAddr::new(path)?,
    };
    let stream = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&stream, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
    retry(|| connect(stream.as_raw_fd(), &address))?;
    Ok(stream)
}

/// Writes all bytes to a stream; the descriptors go with the first of them.
pub(crate) fn write_all(stream: BorrowedFd<'_>, mut bytes: &[u8], fds: &[RawFd]) -> Result<(), Errno> {
    let rights = [ControlMessage::ScmRights(fds)];
    let mut control = &rights[..];
    while !bytes.is_empty() {
        let vector = [IoSlice::new(bytes)];
        let sent =
            retry(|| sendmsg::<()>(stream.as_raw_fd(), &vector, control, MsgFlags::MSG_NOSIGNAL, None))?;
        bytes = bytes.get(sent..).unwrap_or_default();
        control = &[];
    }
    Ok(())
}

/// What one message brought.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Bytes of the message; 0 at the end of the stream.
    pub(crate) len: usize,
    /// Descriptors, close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
    /// Sender's pid, with credentials on.
    pub(crate) pid: Option<i32>,
}

/// Receives one message into `buffer`.
///
/// A peer that ended without reading all that was sent to it is a reset connection. The kernel tells
/// that once, and before the peer's own last messages: those say why it ended. Without any it is ECONNRESET.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    match receive_next(socket, buffer) {
        Err(Errno::ECONNRESET) => match receive_next(socket, buffer)? {
            end if end.len == 0 => Err(Errno::ECONNRESET),
            last => Ok(last),
        },
        other => other,
    }
}

fn receive_next(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut control = cmsg_space!([RawFd; 4], UnixCredentials);
    let mut vector = [IoSliceMut::new(buffer)];
    let message = retry(|| {
        recvmsg::<()>(socket.as_raw_fd(), &mut vector, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)
            .map(|message| (message.bytes, message.cmsgs().map(Iterator::collect::<Vec<_>>)))
    });
    let (len, control) = message?;
    let mut received = Received { len, ..Received::default() };
    for part in control? {
        match part {
            ControlMessageOwned::ScmRights(fds) => {
                // SAFETY: the kernel has just made these descriptors for this process.
                received.fds.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
            ControlMessageOwned::ScmCredentials(credentials) => received.pid = Some(credentials.pid()),
            _ => {}
        }
    }
    Ok(received)
}

/// Sends bytes, with descriptors.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> Result<(), Errno> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    retry(|| sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_last_words_of_a_peer_that_did_not_listen_are_heard() {
        let (ours, theirs) = pair(false).unwrap();
        send(ours.as_fd(), b"unread", &[]).unwrap();
        send(theirs.as_fd(), b"why", &[]).unwrap();
        drop(theirs);
        let mut buffer = [0; 8];
        let received = receive(ours.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..received.len], b"why");
        assert_eq!(receive(ours.as_fd(), &mut buffer).unwrap().len, 0);
    }
}
