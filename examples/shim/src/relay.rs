//! Moves bytes from one descriptor to another, without a thread.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::epoll::EpollFlags;

use crate::fault::Fault;
use crate::reactor::{Reactor, Source, Token};

/// The most that one call moves; a pipe holds as much.
const PIECE: usize = 64 << 10;
/// A terminal gives no more at once.
const TERMINAL_PIECE: usize = 4 << 10;
/// How many pieces one stream may move before the others have their turn.
const TURN: usize = 16;

/// From where to where. Both are open until the first has ended, or the second takes no more.
pub(crate) struct Relay {
    from: File,
    to: File,
    /// Bytes that have been read and not written.
    held: Mutex<Vec<u8>>,
    /// Descriptors that are open as long as this is.
    _kept: Vec<OwnedFd>,
    /// Something else that waits for the end.
    _end: Option<Arc<dyn Send + Sync>>,
}

/// Why a relay stops for now.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// There is nothing to read.
    Empty,
    /// Nothing more can be written.
    Full,
    /// There is more, and others have their turn.
    Turn,
    /// All is done.
    End,
}

impl Relay {
    /// Starts one.
    pub(crate) fn start(
        reactor: &Reactor,
        from: OwnedFd,
        to: OwnedFd,
        kept: Vec<OwnedFd>,
        end: Option<Arc<dyn Send + Sync>>,
    ) -> Result<(), Fault> {
        let failed = |errno| Fault::system("make a stream nonblocking", errno);
        for fd in [&from, &to] {
            set_nonblocking(fd).map_err(failed)?;
        }
        let (from, to) = (File::from(from), File::from(to));
        let relay = Arc::new(Self { from, to, held: Mutex::default(), _kept: kept, _end: end });
        reactor.add(relay, EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT).map(drop)
    }

    fn pump(&self) -> Stop {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TURN {
            let stop = if held.is_empty() { self.splice(&mut held) } else { self.write(&mut held) };
            if let Some(stop) = stop {
                return stop;
            }
        }
        Stop::Turn
    }

    /// Between two pipes no byte is copied.
    fn splice(&self, held: &mut Vec<u8>) -> Option<Stop> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match splice(&self.from, None, &self.to, None, PIECE, flags) {
            Ok(0) => Some(Stop::End),
            Ok(_) | Err(Errno::EINTR) => None,
            Err(Errno::EAGAIN) if is_readable(self.from.as_fd()) => Some(Stop::Full),
            Err(Errno::EAGAIN) => Some(Stop::Empty),
            // No pipe, or a file that is only appended to.
            Err(Errno::EINVAL) => self.read(held),
            Err(_) => Some(Stop::End),
        }
    }

    fn read(&self, held: &mut Vec<u8>) -> Option<Stop> {
        let mut buffer = [0; TERMINAL_PIECE];
        match (&self.from).read(&mut buffer) {
            Ok(0) => Some(Stop::End),
            Ok(count) => {
                held.extend_from_slice(buffer.get(..count).unwrap_or_default());
                self.write(held)
            }
            Err(error) => stop(&error, Stop::Empty),
        }
    }

    fn write(&self, held: &mut Vec<u8>) -> Option<Stop> {
        match (&self.to).write(held) {
            Ok(count) => {
                held.drain(..count);
                None
            }
            Err(error) => stop(&error, Stop::Full),
        }
    }
}

/// A terminal that all have closed reads as EIO.
fn stop(error: &io::Error, wait: Stop) -> Option<Stop> {
    match error.kind() {
        ErrorKind::Interrupted => None,
        ErrorKind::WouldBlock => Some(wait),
        _ => Some(Stop::End),
    }
}

impl Source for Relay {
    fn fd(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
        let read = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        match self.pump() {
            Stop::Empty | Stop::Turn => reactor.again(&*self, token, read),
            Stop::End => reactor.remove(token),
            Stop::Full => {
                let blocked = Arc::new(Blocked { relay: self.clone(), token });
                if reactor.add(blocked, EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT).is_err() {
                    reactor.remove(token);
                }
            }
        }
    }
}

/// A relay that waits until it can write.
struct Blocked {
    relay: Arc<Relay>,
    token: Token,
}

impl Source for Blocked {
    fn fd(&self) -> BorrowedFd<'_> {
        self.relay.to.as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
        reactor.remove(token);
        self.relay.clone().ready(reactor, self.token);
    }
}

fn set_nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::pipe;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    /// Everything arrives in its order, though the reader is slow and a pipe is small; then comes the end.
    #[test]
    fn more_than_a_pipe_holds() {
        let reactor = Reactor::new().unwrap();
        let ((from, mut source), (mut sink, to)) = (pipe().unwrap(), pipe().unwrap());
        Relay::start(&reactor, from.into(), to.into(), Vec::new(), None).unwrap();
        let data: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
        let sent = data.clone();
        let writer = std::thread::spawn(move || source.write_all(&sent).unwrap());
        let done = Arc::new(AtomicBool::new(false));
        let (done_inside, want) = (done.clone(), data);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            sink.read_to_end(&mut got).unwrap();
            assert!(got == want, "{} bytes", got.len());
            done_inside.store(true, Ordering::SeqCst);
        });
        run(&reactor, &done);
        writer.join().unwrap();
        reader.join().unwrap();
    }

    fn run(reactor: &Arc<Reactor>, done: &AtomicBool) {
        let end = Instant::now() + Duration::from_secs(20);
        let tick = Arc::new(Tick(std::fs::File::open("/dev/null").unwrap(), pipe().unwrap().0));
        reactor.add(tick, EpollFlags::EPOLLIN).unwrap();
        reactor.run(|| done.load(Ordering::SeqCst) || Instant::now() > end).unwrap();
        assert!(done.load(Ordering::SeqCst), "too slow");
    }

    /// Wakes the loop, so that it looks at the condition.
    struct Tick(#[allow(dead_code)] std::fs::File, std::io::PipeReader);

    impl Source for Tick {
        fn fd(&self) -> BorrowedFd<'_> {
            self.1.as_fd()
        }

        fn ready(self: Arc<Self>, _: &Arc<Reactor>, _: Token) {
            std::thread::sleep(Duration::from_millis(1));
        }

        fn patience(&self) -> Option<Duration> {
            Some(Duration::from_millis(1))
        }
    }

    #[test]
    fn into_a_file() {
        let reactor = Reactor::new().unwrap();
        let (from, mut source) = pipe().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let to = File::options().append(true).open(file.path()).unwrap();
        let end = Arc::new(());
        let waits = Arc::downgrade(&end);
        Relay::start(&reactor, from.into(), to.into(), Vec::new(), Some(end)).unwrap();
        source.write_all(b"words").unwrap();
        drop(source);
        reactor.run(|| waits.upgrade().is_none()).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "words");
    }
}
