//! Sockets, and the descriptors that messages carry.

use core::ffi::c_void;

use super::{Fd, Owned, Result, call};
use crate::abi::{self, nr};

/// `struct iovec`.
#[repr(C)]
struct IoVec {
    base: *mut c_void,
    len: usize,
}

/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: *mut c_void,
    name_len: u32,
    vectors: *mut IoVec,
    vector_count: usize,
    control: *mut c_void,
    control_len: usize,
    flags: i32,
}

impl Message {
    /// One vector, and control data unless that is null.
    fn new(vector: &mut IoVec, control: *mut c_void, control_len: usize) -> Self {
        Self {
            name: core::ptr::null_mut(),
            name_len: 0,
            vectors: vector,
            vector_count: 1,
            control,
            control_len,
            flags: 0,
        }
    }
}

/// A control message with descriptors: `struct cmsghdr` and its data.
#[repr(C)]
struct Rights<const N: usize> {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; N],
}

/// Length of a control message without descriptors.
const HEADER: usize = 16;

impl<const N: usize> Rights<N> {
    /// The whole structure is what the kernel may fill.
    const CHECKED: () = assert!(size_of::<Self>() == (HEADER + 4 * N).next_multiple_of(8));
}

/// socket(2), close-on-exec.
pub fn socket(family: u32, kind: u32, protocol: u32) -> Result<Owned> {
    // SAFETY: no pointer is passed.
    unsafe { call!(nr::SOCKET, family, kind | abi::O_CLOEXEC, protocol) }.map(Owned::made)
}

/// socketpair(2) that keeps message borders, close-on-exec.
pub fn pair() -> Result<(Owned, Owned)> {
    let mut ends = [-1i32; 2];
    let kind = abi::SOCK_SEQPACKET | abi::O_CLOEXEC;
    // SAFETY: the kernel writes two numbers.
    unsafe { call!(nr::SOCKETPAIR, abi::AF_UNIX, kind, 0, ends.as_mut_ptr()) }?;
    // SAFETY: both are new descriptors.
    Ok(unsafe { (Owned::from_number(ends[0]), Owned::from_number(ends[1])) })
}

/// accept4(2), close-on-exec, without the peer's address.
pub fn accept(listening: Fd<'_>) -> Result<Owned> {
    // SAFETY: both pointers are null, which the call allows.
    unsafe { call!(nr::ACCEPT4, listening.number(), 0, 0, abi::O_CLOEXEC) }.map(Owned::made)
}

/// sendmsg(2) of some bytes with at most N descriptors; a peer that is gone is an error and no signal.
pub fn send<const N: usize>(socket: Fd<'_>, bytes: &[u8], fds: &[Fd<'_>]) -> Result {
    const { Rights::<N>::CHECKED };
    let mut vector = IoVec { base: bytes.as_ptr().cast_mut().cast(), len: bytes.len() };
    let count = fds.len().min(N);
    let len = count.saturating_mul(4).saturating_add(HEADER);
    let mut rights = Rights { len, level: abi::SOL_SOCKET, kind: abi::SCM_RIGHTS, fds: [-1; N] };
    rights.fds.iter_mut().zip(fds).for_each(|(place, fd)| *place = fd.number());
    let control = if count > 0 { (&raw mut rights).cast() } else { core::ptr::null_mut() };
    // As CMSG_SPACE(3): the data takes whole words.
    let control_len = if count > 0 { len.next_multiple_of(8) } else { 0 };
    let message = Message::new(&mut vector, control, control_len);
    // SAFETY: the message points to `vector`, which points to `bytes`, and to `rights`, as long as it says: the kernel
    // reads them during the call alone.
    unsafe { call!(nr::SENDMSG, socket.number(), &raw const message, abi::MSG_NOSIGNAL) }.map(drop)
}

/// A message that has come.
#[derive(Debug)]
pub struct Received<const N: usize> {
    /// How many bytes; 0 is the end of the stream.
    pub len: usize,
    /// The descriptors, in order, close-on-exec; the rest is `None`.
    pub fds: [Option<Owned>; N],
    /// How many descriptors.
    pub count: usize,
}

/// recvmsg(2) of some bytes with at most N descriptors: more of them are closed by the kernel.
pub fn receive<const N: usize>(socket: Fd<'_>, room: &mut [u8], flags: u32) -> Result<Received<N>> {
    const { Rights::<N>::CHECKED };
    let mut vector = IoVec { base: room.as_mut_ptr().cast(), len: room.len() };
    let mut rights = Rights { len: 0, level: 0, kind: 0, fds: [-1; N] };
    let mut message = Message::new(&mut vector, (&raw mut rights).cast(), size_of::<Rights<N>>());
    // SAFETY: the message points to `vector`, which points to `room`, and to `rights`, with their lengths: the kernel writes
    // them during the call alone, and any bits are numbers.
    let len =
        unsafe { call!(nr::RECVMSG, socket.number(), &raw mut message, flags | abi::MSG_CMSG_CLOEXEC) }?;
    let carries =
        message.control_len >= HEADER && (rights.level, rights.kind) == (abi::SOL_SOCKET, abi::SCM_RIGHTS);
    let count = if carries { (rights.len.saturating_sub(HEADER) / 4).min(N) } else { 0 };
    let mut fds = [const { None }; N];
    for (place, number) in fds.iter_mut().zip(&rights.fds[..count]) {
        // SAFETY: the kernel has made this descriptor for this message.
        *place = Some(unsafe { Owned::from_number(*number) });
    }
    Ok(Received { len, fds, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::errno;
    use crate::sys;

    #[test]
    fn descriptors_arrive_with_their_bytes() {
        let (ours, theirs) = pair().unwrap();
        let (one, other) = pair().unwrap();
        send::<4>(ours.fd(), b"g", &[one.fd(), other.fd()]).unwrap();
        let mut room = [0u8; 8];
        let message = receive::<4>(theirs.fd(), &mut room, 0).unwrap();
        assert_eq!((message.len, message.count, room[0]), (1, 2, b'g'));
        let there = message.fds.iter().flatten().map(|fd| sys::file::stat(fd.fd(), c"").unwrap().inode);
        let here = [&one, &other].map(|fd| sys::file::stat(fd.fd(), c"").unwrap().inode);
        assert_eq!(there.collect::<Vec<_>>(), here);
    }

    #[test]
    fn a_message_without_descriptors_has_none() {
        let (ours, theirs) = pair().unwrap();
        send::<4>(ours.fd(), b"abc", &[]).unwrap();
        let mut room = [0u8; 8];
        let message = receive::<4>(theirs.fd(), &mut room, 0).unwrap();
        assert_eq!((message.len, message.count), (3, 0));
        assert!(message.fds.iter().all(Option::is_none));
    }

    #[test]
    fn more_descriptors_than_there_is_room_for_are_closed() {
        let (ours, theirs) = pair().unwrap();
        let given = [ours.fd(), ours.fd(), ours.fd(), ours.fd()];
        send::<4>(ours.fd(), b"g", &given).unwrap();
        let message = receive::<2>(theirs.fd(), &mut [0u8; 1], 0).unwrap();
        assert_eq!(message.count, 2);
    }

    #[test]
    fn the_end_of_the_stream_is_no_bytes_and_nothing_to_read_is_an_error() {
        let (ours, theirs) = pair().unwrap();
        let mut room = [0u8; 1];
        assert_eq!(receive::<4>(theirs.fd(), &mut room, abi::MSG_DONTWAIT).map(drop), Err(errno::EAGAIN));
        drop(ours);
        assert_eq!(receive::<4>(theirs.fd(), &mut room, 0).map(|message| message.len), Ok(0));
    }
}
