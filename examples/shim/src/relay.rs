//! Moves bytes from one descriptor to another, without a thread.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::sys::epoll::EpollFlags;
use rustix::io::ioctl_fionread;

use crate::fault::Fault;
use crate::reactor::{Reactor, Source, Token};

/// The most that one call moves; a pipe holds as much.
const PIECE: usize = 64 << 10;
/// A terminal gives no more at once.
const TERMINAL_PIECE: usize = 4 << 10;
/// How long the last bytes may stay unread, and how often that is looked at.
const TAKEN_LIMIT: Duration = Duration::from_secs(2);
const REST_STEP: Duration = Duration::from_millis(1);
/// How many pieces one stream may move before the others have their turn.
const TURN: usize = 16;

/// From where to where. Both are open until the first has ended, or the second takes no more.
pub(crate) struct Relay {
    from: File,
    to: File,
    /// Bytes that have been read and not written.
    held: Mutex<Vec<u8>>,
    /// A reader of its own, so that the other may be restarted: until the end of what is to be moved.
    kept: Mutex<Vec<OwnedFd>>,
    /// Set while it waits until it can write, or until a reader has taken the rest.
    blocked: Mutex<Option<Token>>,
    /// Nothing is left to move.
    ended: AtomicBool,
    /// Whether a reader takes what is moved: a file just keeps it.
    is_read: bool,
    /// Something else that waits for the end.
    _end: Option<Arc<dyn Send + Sync>>,
}

/// A handle on a relay, which does not keep it.
#[derive(Debug)]
pub(crate) struct Flow {
    relay: Weak<Relay>,
    token: Token,
    input: bool,
}

impl Flow {
    /// The same for the input of a process: nobody waits for its end.
    pub(crate) fn of_input(self) -> Self {
        Self { input: true, ..self }
    }

    /// Whether it is output that still moves, or waits for some.
    pub(crate) fn goes_on(&self) -> bool {
        !self.input && self.relay.strong_count() > 0
    }

    /// Moves what is there at once, if it is output, and says whether its reader has taken all that. A client that hears of
    /// the end of a process closes its FIFOs, with what is still in them.
    pub(crate) fn is_taken(&self) -> bool {
        let relay = if self.input { None } else { self.relay.upgrade() };
        relay.is_none_or(|relay| {
            // Whatever stops it, the waiting thread finds the same.
            relay.pump();
            relay.is_taken()
        })
    }

    /// Whether it is output of which more may come.
    pub(crate) fn is_open(&self) -> bool {
        !self.input && self.relay.upgrade().is_some_and(|relay| !relay.ended.load(Ordering::Acquire))
    }

    /// Ends it, though not all bytes have been taken.
    pub(crate) fn cut(&self, reactor: &Reactor) {
        let relay = self.relay.upgrade();
        reactor.remove(self.token);
        if let Some(blocked) = relay.and_then(|relay| relay.set_blocked(None)) {
            reactor.remove(blocked);
        }
    }
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
    ) -> Result<Flow, Fault> {
        let failed = |errno| Fault::system("make a stream nonblocking", errno);
        for fd in [&from, &to] {
            set_nonblocking(fd).map_err(failed)?;
        }
        let (from, to) = (File::from(from), File::from(to));
        let (held, blocked, ended) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        let is_read = to.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        let kept = Mutex::new(kept);
        let relay = Arc::new(Self { from, to, held, kept, blocked, ended, is_read, _end: end });
        let weak = Arc::downgrade(&relay);
        let token = reactor.add(relay, EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT)?;
        Ok(Flow { relay: weak, token, input: false })
    }

    fn set_blocked(&self, token: Option<Token>) -> Option<Token> {
        std::mem::replace(&mut *self.blocked.lock().unwrap_or_else(PoisonError::into_inner), token)
    }

    fn pump(&self) -> Stop {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TURN {
            let stop = if held.is_empty() { self.splice(&mut held) } else { self.write(&mut held) };
            match stop {
                None => {}
                Some(Stop::End) => {
                    self.ended.store(true, Ordering::Release);
                    self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return Stop::End;
                }
                Some(stop) => return stop,
            }
        }
        Stop::Turn
    }

    /// Whether nothing is on its way: all has been read from the FIFO, or nobody will.
    fn is_taken(&self) -> bool {
        let unread = |fd: &File| ioctl_fionread(fd).is_ok_and(|bytes| bytes > 0);
        let more = !self.ended.load(Ordering::Acquire) && unread(&self.from);
        let waits = more || self.is_read && unread(&self.to);
        !waits || has_no_reader(self.to.as_fd())
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
            Stop::End if self.is_taken() => reactor.remove(token),
            Stop::End => {
                reactor.remove(token);
                let until = Instant::now() + TAKEN_LIMIT;
                self.wait_by(reactor, Arc::new(Rest { relay: self.clone(), until }), EpollFlags::empty());
            }
            Stop::Full => {
                let blocked = Arc::new(Blocked { relay: self.clone(), token });
                let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT;
                if !self.wait_by(reactor, blocked, flags) {
                    reactor.remove(token);
                }
            }
        }
    }
}

impl Relay {
    /// Waits with a second source, which a cut removes too.
    fn wait_by(&self, reactor: &Reactor, source: Arc<dyn Source>, flags: EpollFlags) -> bool {
        let added = reactor.add(source, flags);
        added.is_ok_and(|waits| {
            self.set_blocked(Some(waits));
            true
        })
    }
}

/// A relay that has ended, and is open until its last bytes have been read: a reader that is just opening the FIFO would lose
/// them.
struct Rest {
    relay: Arc<Relay>,
    until: Instant,
}

impl Source for Rest {
    fn fd(&self) -> BorrowedFd<'_> {
        self.relay.to.as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
        if self.relay.is_taken() || Instant::now() >= self.until {
            self.relay.set_blocked(None);
            reactor.remove(token);
        }
    }

    fn patience(&self) -> Option<Duration> {
        Some(REST_STEP)
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
        self.relay.set_blocked(None);
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

/// Whether no process has the other end of a pipe open.
fn has_no_reader(fd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
        && fds.iter().filter_map(PollFd::revents).any(|seen| seen.contains(PollFlags::POLLERR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::pipe;

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

    /// A reader that has stopped reading does not hold a stream for ever.
    #[test]
    fn cut_while_it_is_full() {
        let reactor = Reactor::new().unwrap();
        let ((from, mut source), (mut sink, to)) = (pipe().unwrap(), pipe().unwrap());
        let flow = Relay::start(&reactor, from.into(), to.into(), Vec::new(), None).unwrap();
        let writer = std::thread::spawn(move || source.write_all(&vec![1; 300_000]).is_err());
        let blocked = || flow.relay.upgrade().is_some_and(|relay| relay.blocked.lock().unwrap().is_some());
        let tick = Arc::new(Tick(std::fs::File::open("/dev/null").unwrap(), pipe().unwrap().0));
        reactor.add(tick, EpollFlags::EPOLLIN).unwrap();
        reactor.run(blocked).unwrap();
        assert!(flow.goes_on());
        flow.cut(&reactor);
        assert!(!flow.goes_on());
        assert!(writer.join().unwrap(), "the writer's pipe is closed");
        let mut got = Vec::new();
        sink.read_to_end(&mut got).unwrap();
        assert!(got.len() < 300_000);
    }

    /// Nobody waits for descriptors at first: the bytes are in the second pipe when `is_taken` is asked, and taken when they have
    /// been read. Until then the relay stays.
    #[test]
    fn the_last_bytes_are_waited_for() {
        let reactor = Reactor::new().unwrap();
        let ((from, mut source), (mut sink, to)) = (pipe().unwrap(), pipe().unwrap());
        let flow = Relay::start(&reactor, from.into(), to.into(), Vec::new(), None).unwrap();
        source.write_all(b"last words").unwrap();
        assert!(!flow.is_taken() && flow.is_open());
        drop(source);
        assert!(!flow.is_taken() && !flow.is_open());
        assert!(is_readable(sink.as_fd()), "nothing was moved");
        let turns = std::cell::Cell::new(0);
        reactor.run(|| turns.replace(turns.get() + 1) == 1).unwrap();
        assert!(flow.goes_on(), "it waits for its reader");
        let mut got = [0; 10];
        sink.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"last words");
        assert!(flow.is_taken());
        reactor.run(|| !flow.goes_on()).unwrap();
        assert!(reactor.is_empty());
    }

    /// Bytes that nobody will read are not waited for.
    #[test]
    fn nobody_reads() {
        let reactor = Reactor::new().unwrap();
        let ((from, mut source), (sink, to)) = (pipe().unwrap(), pipe().unwrap());
        let kept = vec![sink.into()];
        let flow = Relay::start(&reactor, from.into(), to.into(), kept, None).unwrap();
        source.write_all(b"words").unwrap();
        assert!(!flow.is_taken(), "there may be another reader");
        drop(source);
        assert!(flow.is_taken());
        reactor.run(|| !flow.goes_on()).unwrap();
    }

    #[test]
    fn into_a_file() {
        let reactor = Reactor::new().unwrap();
        let (from, mut source) = pipe().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let to = File::options().append(true).open(file.path()).unwrap();
        let end = Arc::new(());
        let waits = Arc::downgrade(&end);
        let flow = Relay::start(&reactor, from.into(), to.into(), Vec::new(), Some(end)).unwrap();
        source.write_all(b"words").unwrap();
        assert!(flow.is_taken(), "it is in the file");
        // Another stream goes into the same file.
        File::options().append(true).open(file.path()).unwrap().write_all(b" and more").unwrap();
        assert!(flow.is_taken(), "nobody has to read it");
        drop(source);
        reactor.run(|| waits.upgrade().is_none()).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "words and more");
    }
}
