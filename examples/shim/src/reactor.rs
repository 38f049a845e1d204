//! One thread waits for everything: connections, ends of processes, streams, lack of memory.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::fault::Fault;

/// How many events one system call returns.
const BATCH: usize = 32;

/// What a descriptor belongs to.
pub(crate) trait Source: Send + Sync {
    /// The descriptor.
    fn fd(&self) -> BorrowedFd<'_>;
    /// Something has happened. It may not wait: everything else waits meanwhile.
    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token);
    /// After how long [`ready`](Self::ready) is to be called although nothing has happened.
    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// The number of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token(u64);

/// The waiting thread's sources. Any thread adds and removes some.
pub(crate) struct Reactor {
    epoll: Epoll,
    sources: Mutex<HashMap<Token, Arc<dyn Source>>>,
    next: AtomicU64,
}

impl Reactor {
    pub(crate) fn new() -> Result<Arc<Self>, Fault> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| Fault::system("epoll_create", errno))?;
        Ok(Arc::new(Self { epoll, sources: Mutex::default(), next: AtomicU64::new(0) }))
    }

    /// Waits for a source, until it is removed.
    pub(crate) fn add(&self, source: Arc<dyn Source>, flags: EpollFlags) -> Result<Token, Fault> {
        let token = Token(self.next.fetch_add(1, Ordering::Relaxed));
        // First, since the waiting thread may be faster.
        self.locked().insert(token, source.clone());
        let added = self.epoll.add(source.fd(), EpollEvent::new(flags, token.0));
        added.map_err(|errno| {
            self.locked().remove(&token);
            Fault::system("epoll_ctl", errno)
        })?;
        Ok(token)
    }

    /// Waits again for a source that was added with `EPOLLONESHOT`.
    pub(crate) fn again(&self, source: &dyn Source, token: Token, flags: EpollFlags) {
        let mut event = EpollEvent::new(flags, token.0);
        if let Err(errno) = self.epoll.modify(source.fd(), &mut event) {
            crate::log::warn(&format!("epoll_ctl: {errno}"));
        }
    }

    /// Waits no longer for a source.
    pub(crate) fn remove(&self, token: Token) {
        let source = self.locked().remove(&token);
        if let Some(source) = source {
            // One that another thread has removed is as good.
            self.epoll.delete(source.fd()).ok();
        }
    }

    /// Waits until `done` says that all is done.
    pub(crate) fn run(self: &Arc<Self>, done: impl Fn() -> bool) -> Result<(), Fault> {
        let mut events = [EpollEvent::empty(); BATCH];
        while !done() {
            let impatient = self.impatient();
            let limit = impatient.iter().map(|(_, limit)| *limit).min();
            let limit =
                limit.and_then(|limit| EpollTimeout::try_from(limit).ok()).unwrap_or(EpollTimeout::NONE);
            let count = match self.epoll.wait(&mut events, limit) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Fault::system("epoll_wait", errno)),
            };
            let happened = events.iter().take(count).map(|event| Token(event.data()));
            for token in happened.chain(impatient.into_iter().map(|(token, _)| token)) {
                let source = self.locked().get(&token).cloned();
                if let Some(source) = source {
                    source.ready(self, token);
                }
            }
        }
        Ok(())
    }

    fn impatient(&self) -> Vec<(Token, Duration)> {
        let sources = self.locked();
        sources.iter().filter_map(|(token, source)| Some((*token, source.patience()?))).collect()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.locked().is_empty()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Token, Arc<dyn Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read, Write, pipe};
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicUsize;

    struct Counted(PipeReader, AtomicUsize);

    impl Source for Counted {
        fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
            (&self.0).read_exact(&mut [0]).unwrap();
            if self.1.fetch_add(1, Ordering::Relaxed) == 1 {
                reactor.remove(token);
            }
        }
    }

    #[test]
    fn a_source_is_called_until_it_is_removed() {
        let reactor = Reactor::new().unwrap();
        let (read, mut write) = pipe().unwrap();
        let source = Arc::new(Counted(read, AtomicUsize::new(0)));
        reactor.add(source.clone(), EpollFlags::EPOLLIN).unwrap();
        write.write_all(b"abc").unwrap();
        reactor.run(|| source.1.load(Ordering::Relaxed) == 2).unwrap();
        assert!(reactor.locked().is_empty());
    }
}
