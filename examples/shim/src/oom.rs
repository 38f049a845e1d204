//! Lack of memory: an event of containerd's each time that the kernel kills for it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use runtime_core::events::OomWatch;

use crate::fault::Fault;
use crate::reactor::{Reactor, Source, Token};
use crate::shim::Shim;
use crate::task::Task;

/// Begins to watch a container. One that cannot be watched runs all the same.
pub(crate) fn watch(shim: &Arc<Shim>, task: &Arc<Task>) {
    if let Err(fault) = begin(shim, task) {
        crate::log::warn(&format!("watch the memory of {}: {fault}", task.id));
    }
}

fn begin(shim: &Arc<Shim>, task: &Arc<Task>) -> Result<(), Fault> {
    // A container that is to be restored has no cgroup yet.
    if task.init.state().pid == 0 {
        return Ok(());
    }
    let Some(watch) = task.container()?.watch_oom()? else { return Ok(()) };
    let fd =
        watch.as_fd().try_clone_to_owned().map_err(|error| Fault::system("dup a memory watch", error))?;
    let flags = if watch.is_urgent() { EpollFlags::EPOLLPRI } else { EpollFlags::EPOLLIN };
    let memory = Arc::new(Memory { shim: shim.clone(), task: task.id.clone(), fd, watch: Mutex::new(watch) });
    let token = shim.reactor.add(memory.clone(), flags)?;
    *task.oom.lock().unwrap_or_else(PoisonError::into_inner) = Some((token, memory));
    Ok(())
}

/// Watches no longer. The last look is for the kill that has ended the container.
pub(crate) fn forget(shim: &Shim, task: &Task) {
    let watch = task.oom.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((token, memory)) = watch {
        memory.look(&shim.reactor, token);
        shim.reactor.remove(token);
    }
}

/// How many processes of a container the kernel has killed; `None` where nobody counts.
pub(crate) fn kills(task: &Task) -> Option<u64> {
    let watch = task.oom.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, memory) = watch.as_ref()?;
    Some(memory.watch.lock().unwrap_or_else(PoisonError::into_inner).kills())
}

/// The watch of one container.
pub(crate) struct Memory {
    shim: Arc<Shim>,
    task: String,
    fd: std::os::fd::OwnedFd,
    watch: Mutex<OomWatch>,
}

impl Source for Memory {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
        self.look(reactor, token);
    }

    fn patience(&self) -> Option<Duration> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).patience()
    }
}

impl Memory {
    fn look(&self, reactor: &Reactor, token: Token) {
        let grown = self.watch.lock().unwrap_or_else(PoisonError::into_inner).grown();
        match grown {
            Ok(Some(true)) => self.shim.out_of_memory(&self.task),
            Ok(Some(false)) => {}
            Ok(None) => reactor.remove(token),
            Err(error) => {
                crate::log::warn(&format!("watch the memory of {}: {error}", self.task));
                reactor.remove(token);
            }
        }
    }
}
