//! The shim's state, and what happens without a request: processes end.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use containerd_shim_protos::events::task::{TaskExit, TaskOOM};
use containerd_shim_protos::topics;
use nix::sys::epoll::EpollFlags;
use runtime_core::{CgroupDriver, ErrorKind, Runtime, Signal};

use crate::events::Publisher;
use crate::fault::Fault;
use crate::oom;
use crate::options::Options;
use crate::process::{Ended, Proc};
use crate::reactor::{Reactor, Source, Token};
use crate::task::Task;

/// How often it is looked whether output has been read.
const READ_STEP: Duration = Duration::from_millis(1);

/// Everything that one shim serves: a container, or those of a pod.
pub(crate) struct Shim {
    pub(crate) namespace: String,
    pub(crate) reactor: Arc<Reactor>,
    pub(crate) events: Arc<Publisher>,
    /// Whether cgroup v2 is all that the machine has.
    pub(crate) unified: bool,
    /// Set by a request to end.
    pub(crate) done: AtomicBool,
    tasks: Mutex<HashMap<String, Arc<Task>>>,
    /// One for all containers with the same root and driver: each holds what it knows of the machine.
    runtimes: Mutex<HashMap<(String, bool), Runtime>>,
}

impl Shim {
    pub(crate) fn new(
        namespace: &str,
        reactor: Arc<Reactor>,
        events: Arc<Publisher>,
        unified: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.to_owned(),
            reactor,
            events,
            unified,
            done: AtomicBool::new(false),
            tasks: Mutex::default(),
            runtimes: Mutex::default(),
        })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Arc<Task>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runtime that serves a container with these options.
    pub(crate) fn runtime(&self, options: &Options) -> Result<Runtime, Fault> {
        let mut runtimes = self.runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (options.root.clone(), options.systemd_cgroup);
        if let Some(runtime) = runtimes.get(&key) {
            return Ok(runtime.clone());
        }
        let made = runtime(options, &self.namespace)?;
        runtimes.insert(key, made.clone());
        Ok(made)
    }

    pub(crate) fn task(&self, id: &str) -> Result<Arc<Task>, Fault> {
        self.locked().get(id).cloned().ok_or_else(|| Fault::not_found(format!("container {id}")))
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.locked().contains_key(id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.locked().is_empty()
    }

    pub(crate) fn insert(&self, task: Arc<Task>) {
        self.locked().insert(task.id.clone(), task);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.locked().remove(id);
    }

    /// Waits for the end of a process that has just been made.
    pub(crate) fn watch(self: &Arc<Self>, task: &Arc<Task>, proc: &Arc<Proc>) -> Result<(), Fault> {
        let pidfd = {
            let state = proc.state();
            let Some(process) = &state.process else { return Ok(()) };
            process.as_fd().try_clone_to_owned().map_err(|error| Fault::system("dup a pidfd", error))?
        };
        let watch = Watch { shim: self.clone(), task: task.clone(), proc: proc.clone(), pidfd };
        self.reactor.add(Arc::new(watch), EpollFlags::EPOLLIN).map(drop)
    }

    /// Takes the end of a process, if it is one, and tells of it: first of those that have ended with it.
    pub(crate) fn ended(self: &Arc<Self>, task: &Arc<Task>, proc: &Arc<Proc>) {
        let is_init = proc.exec.is_empty();
        if is_init {
            for exec in task.execs() {
                self.ended(task, &exec);
            }
        }
        let Some(ended) = proc.reap() else { return };
        if is_init {
            oom::forget(self, task);
            if task.kills_others {
                kill_others(task.clone());
            }
        }
        let untold = Untold::new(self, task, proc, ended);
        if untold.waits() {
            let spawned = std::thread::Builder::new().spawn(move || untold.wait());
            if let Err(error) = spawned {
                crate::log::warn(&format!("start a thread: {error}"));
            }
        }
    }

    fn tell(&self, proc: &Proc, ended: &mut Ended) {
        let Ended { pid, exited, waiting } = ended;
        let event = TaskExit {
            container_id: proc.task.clone(),
            id: proc.id().to_owned(),
            pid: *pid,
            exit_status: exited.status,
            exited_at: Some(exited.at.clone()).into(),
            ..TaskExit::default()
        };
        self.events.publish(topics::TASK_EXIT_EVENT_TOPIC, "containerd.events.TaskExit", &event);
        for reply in waiting.drain(..) {
            reply.send(exited.answer());
        }
    }

    /// Tells that the kernel has killed a process of a task for lack of memory.
    pub(crate) fn out_of_memory(&self, id: &str) {
        let event = TaskOOM { container_id: id.to_owned(), ..TaskOOM::default() };
        self.events.publish(topics::TASK_OOM_EVENT_TOPIC, "containerd.events.TaskOOM", &event);
    }
}

/// The end of a process, which is told when this goes: once the client has read the last output, and once the ends of the task's
/// other processes have been told.
struct Untold {
    shim: Arc<Shim>,
    task: Arc<Task>,
    proc: Arc<Proc>,
    ended: Ended,
}

impl Untold {
    fn new(shim: &Arc<Shim>, task: &Arc<Task>, proc: &Arc<Proc>, ended: Ended) -> Self {
        task.untold.fetch_add(1, Ordering::AcqRel);
        Self { shim: shim.clone(), task: task.clone(), proc: proc.clone(), ended }
    }

    fn waits(&self) -> bool {
        let is_init = self.proc.exec.is_empty();
        !self.proc.is_read() || is_init && self.task.untold.load(Ordering::Acquire) > 1
    }

    fn wait(self) {
        let begun = Instant::now();
        while self.waits() && begun.elapsed() < self.proc.read_limit() {
            std::thread::sleep(READ_STEP);
        }
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.shim.tell(&self.proc, &mut self.ended);
        self.task.untold.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Ends the processes of a container whose PID namespace goes on without its init.
fn kill_others(task: Arc<Task>) {
    let work = move || match task.container().map(|container| container.kill_all(Signal::KILL)) {
        Ok(Err(error)) if error.kind() != ErrorKind::WrongState => {
            crate::log::warn(&format!("kill what is left of {}: {error}", task.id));
        }
        Ok(_) | Err(_) => {}
    };
    if let Err(error) = std::thread::Builder::new().spawn(work) {
        crate::log::warn(&format!("start a thread: {error}"));
    }
}

/// The same for a program that serves one container.
pub(crate) fn runtime(options: &Options, namespace: &str) -> Result<Runtime, Fault> {
    let builder = Runtime::builder().state_root(Path::new(&options.root).join(namespace));
    let driver = if options.systemd_cgroup { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs };
    Ok(builder.cgroup_driver(driver).build()?)
}

/// Waits for the end of a process.
struct Watch {
    shim: Arc<Shim>,
    task: Arc<Task>,
    proc: Arc<Proc>,
    pidfd: OwnedFd,
}

impl Source for Watch {
    fn fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    fn ready(self: Arc<Self>, reactor: &Arc<Reactor>, token: Token) {
        reactor.remove(token);
        self.shim.ended(&self.task, &self.proc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Phase;
    use crate::relay::Relay;
    use crate::streams::Names;
    use crate::wire::{Connection, Frame, Reply};
    use runtime_core::Sandbox;
    use std::io::{ErrorKind as IoKind, Read, Write, pipe};
    use std::os::unix::net::UnixStream;

    /// A client closes its end of a FIFO when it hears of the end: what has not been read by then would be lost.
    #[test]
    fn an_end_is_told_when_the_last_output_has_been_read() {
        let dir = tempfile::tempdir().unwrap();
        let reactor = Reactor::new().unwrap();
        let shim = Shim::new("n", reactor.clone(), Publisher::new("/no/such/socket", "n"), true);
        let ((from, mut source), (mut sink, to)) = (pipe().unwrap(), pipe().unwrap());
        let flow = Relay::start(&reactor, from.into(), to.into(), Vec::new(), None).unwrap();
        source.write_all(b"last words").unwrap();
        drop(source);
        let process = Sandbox::new("/bin/true").spawn().unwrap();
        wait_for(process.as_fd());
        let init = Arc::new(Proc::new("a", "", Names::default()));
        {
            let mut state = init.state();
            (state.phase, state.process, state.flows) = (Phase::Running, Some(process), vec![flow]);
        }
        let options = Options { root: dir.path().display().to_string(), ..Options::default() };
        let runtime = shim.runtime(&options).unwrap();
        let task = Arc::new(Task::new(dir.path(), options, runtime, init.clone(), false, None));

        let (mut client, server) = UnixStream::pair().unwrap();
        init.wait(Reply { connection: Arc::new(Connection::new(server)), stream: 1 });
        shim.ended(&task, &init);
        assert!(init.state().exited.is_some(), "it is known");
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), IoKind::WouldBlock, "and not told");

        let mut got = [0; 10];
        sink.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"last words");
        client.set_nonblocking(false).unwrap();
        assert_eq!(Frame::read(&mut client).unwrap().stream, 1);
    }

    fn wait_for(pidfd: BorrowedFd<'_>) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
    }
}
