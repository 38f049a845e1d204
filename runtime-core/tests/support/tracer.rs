//! ptrace(2): sees each system call of a worker and of the processes it makes, makes one of them fail,
//! or ends the worker before one.
//!
//! Unlike strace's injection this counts the calls of one process, whatever they are, from a mark on.

use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;

use super::worker::{MARKS, Worker};

/// How long a call may take under the tracer.
const LIMIT: Duration = Duration::from_secs(40);

/// What goes wrong. `role` is 0 for the worker's thread, then 1 and up for the processes it and they
/// make, in order: in a launch 1 is stage 0, and 2 the container's init; `at` counts the calls of that role.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    None,
    /// The call is not made (but for close) and fails with EIO.
    Error {
        role: usize,
        at: usize,
    },
    /// The same with another errno.
    Errno {
        role: usize,
        at: usize,
        errno: i32,
    },
    /// SIGKILL ends the worker (alone) before its call.
    Kill {
        at: usize,
    },
    /// SIGKILL ends another process before its call.
    End {
        role: usize,
        at: usize,
    },
}

/// A system call that was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) role: usize,
    pub(crate) number: i64,
    /// The first two arguments.
    pub(crate) arguments: [u64; 2],
}

/// What the tracer saw.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    /// The wait status of the worker.
    pub(crate) status: i32,
    /// Where everybody was when the limit of time was over.
    pub(crate) hung: Option<String>,
    /// The fault came about.
    pub(crate) fired: bool,
}

impl Trace {
    /// The calls of one role.
    pub(crate) fn of(&self, role: usize) -> Vec<i64> {
        self.calls.iter().filter(|call| call.role == role).map(|call| call.number).collect()
    }
}

struct Tracee {
    role: usize,
    /// The call under way is to fail, with this errno.
    failing: Option<i32>,
}

struct Tracer<'a> {
    fault: Fault,
    watch: &'a mut dyn FnMut(&Call),
    worker: i32,
    thread: i32,
    tracees: HashMap<i32, Tracee>,
    roles: usize,
    counts: Vec<usize>,
    /// Between the marks.
    recording: bool,
    trace: Trace,
}

/// Lets the worker make its call, with a fault. Ends when the worker has ended; what it made goes on
/// without a tracer.
pub(crate) fn trace(worker: &mut Worker, fault: Fault) -> Trace {
    trace_watched(worker, fault, &mut |_| ())
}

/// As [`trace`]; `watch` sees each call before it is made, while the process stands still.
pub(crate) fn trace_watched(worker: &mut Worker, fault: Fault, watch: &mut dyn FnMut(&Call)) -> Trace {
    let options = match fault {
        Fault::Kill { .. } => libc::PTRACE_O_TRACESYSGOOD,
        Fault::None | Fault::Error { .. } | Fault::Errno { .. } | Fault::End { .. } => {
            libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
        }
    };
    let (pid, thread) = (worker.pid(), worker.thread);
    ptrace(libc::PTRACE_SEIZE, thread, 0, options as usize).expect("PTRACE_SEIZE");
    ptrace(libc::PTRACE_INTERRUPT, thread, 0, 0).expect("PTRACE_INTERRUPT");
    worker.go();
    let mut tracer = Tracer {
        fault,
        watch,
        worker: pid,
        thread,
        tracees: HashMap::from([(thread, Tracee { role: 0, failing: None })]),
        roles: 1,
        counts: vec![0],
        recording: false,
        trace: Trace { calls: Vec::new(), status: 0, hung: None, fired: false },
    };
    let (done, over) = channel::<()>();
    let hung = std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let late = over.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
            late.then(|| {
                let places = places();
                kill(pid);
                places
            })
        });
        tracer.follow();
        drop(done);
        watch.join().expect("the watch ends")
    });
    tracer.detach();
    tracer.trace.hung = hung;
    tracer.trace
}

impl Tracer<'_> {
    fn follow(&mut self) {
        loop {
            let (pid, status) = wait(-1).expect("the worker is a child");
            if libc::WIFSTOPPED(status) {
                self.stopped(pid, status);
                continue;
            }
            self.tracees.remove(&pid);
            if pid == self.worker {
                self.trace.status = status;
                return;
            }
        }
    }

    fn stopped(&mut self, pid: i32, status: i32) {
        if !self.tracees.contains_key(&pid) {
            let role = self.roles;
            self.roles += 1;
            self.counts.push(0);
            self.tracees.insert(pid, Tracee { role, failing: None });
        }
        let signal = match (libc::WSTOPSIG(status), status >> 16) {
            (stop, _) if stop == libc::SIGTRAP | 0x80 => {
                self.at_call(pid);
                0
            }
            (_, event) if event != 0 => 0,
            (signal, _) => signal,
        };
        // A process that was killed meanwhile cannot be told to go on.
        ptrace(libc::PTRACE_SYSCALL, pid, 0, signal as usize).ok();
    }

    fn at_call(&mut self, pid: i32) {
        let Some((number, arguments, entering)) = registers::call(pid) else { return };
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        if !entering {
            if let Some(errno) = tracee.failing.take() {
                registers::set_result(pid, -i64::from(errno));
            }
            return;
        }
        let role = tracee.role;
        if number == libc::SYS_prctl && MARKS.contains(&arguments[0]) {
            self.recording = arguments[0] == MARKS[0];
            return;
        }
        if role == 0 && (!self.recording || pid != self.thread) {
            return;
        }
        let at = self.counts[role];
        self.counts[role] += 1;
        let call = Call { role, number, arguments };
        (self.watch)(&call);
        self.trace.calls.push(call);
        let fault = match self.fault {
            Fault::Error { role, at } => Fault::Errno { role, at, errno: libc::EIO },
            other => other,
        };
        match fault {
            Fault::Errno { role: wanted, at: place, errno } if (wanted, place) == (role, at) => {
                tracee.failing = Some(errno);
                self.trace.fired = true;
                // Linux closes a descriptor whatever close(2) says.
                if number != libc::SYS_close {
                    registers::skip_call(pid);
                }
            }
            Fault::Kill { at: place } if role == 0 && place == at => {
                self.trace.fired = true;
                kill(self.worker);
            }
            Fault::End { role: wanted, at: place } if (wanted, place) == (role, at) => {
                self.trace.fired = true;
                kill(pid);
            }
            Fault::None
            | Fault::Error { .. }
            | Fault::Errno { .. }
            | Fault::Kill { .. }
            | Fault::End { .. } => {}
        }
    }

    /// Lets go of what still runs; also of a process that has not been seen: one that was being made when its
    /// maker was killed, and stands still since.
    fn detach(&mut self) {
        for pid in traced() {
            if ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0).is_err() {
                continue;
            }
            while let Ok((_, status)) = wait(pid) {
                if !libc::WIFSTOPPED(status) {
                    break;
                }
                let tracee = self.tracees.entry(pid).or_insert(Tracee { role: 0, failing: None });
                if tracee.failing.take().is_some() {
                    continue;
                }
                if ptrace(libc::PTRACE_DETACH, pid, 0, 0).is_ok() {
                    break;
                }
            }
        }
    }
}

/// The processes that the calling thread traces.
fn traced() -> Vec<i32> {
    let own = format!("TracerPid:\t{}", nix::unistd::gettid());
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Each of its threads is a tracee of its own.
    let threads = pids.flat_map(|pid| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        tasks
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
    });
    let is_traced = |tid: &i32| {
        std::fs::read_to_string(format!("/proc/{tid}/status"))
            .is_ok_and(|status| status.lines().any(|line| line == own))
    };
    threads.filter(is_traced).collect()
}

/// Where the processes below this one wait.
fn places() -> String {
    let place = |process: String| {
        let pid = process.split(' ').next().unwrap_or_default();
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        format!("{process}: {} in {}", read("wchan"), read("syscall"))
    };
    super::leftovers::descendants().into_iter().map(place).collect()
}

fn kill(pid: i32) {
    // SAFETY: a plain number: the worker, which has not been reaped.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn wait(pid: i32) -> Result<(i32, i32), Errno> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable for the time of the call.
        match Errno::result(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }) {
            Err(Errno::EINTR) => {}
            other => return other.map(|pid| (pid, status)),
        }
    }
}

fn ptrace(request: libc::c_uint, pid: i32, address: usize, data: usize) -> Result<(), Errno> {
    // SAFETY: the requests used take numbers, or the address of a live structure of their type.
    Errno::result(unsafe { libc::ptrace(request, pid, address, data) }).map(drop)
}

/// Whether the registers of this architecture are known here.
pub(crate) const KNOWN: bool = cfg!(target_arch = "x86_64");

mod registers {
    use super::ptrace;

    /// Number and first two arguments of the call, and whether it begins; `None` if the process has gone.
    pub(super) fn call(pid: i32) -> Option<(i64, [u64; 2], bool)> {
        // `struct ptrace_syscall_info`: operation in the first byte, number and arguments from 24 on.
        let mut info = [0u64; 11];
        let size = size_of_val(&info);
        ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, info.as_mut_ptr() as usize).ok()?;
        let entering = info[0] as u8 == libc::PTRACE_SYSCALL_INFO_ENTRY;
        Some((info[3] as i64, [info[4], info[5]], entering))
    }

    #[cfg(target_arch = "x86_64")]
    fn change(pid: i32, change: impl FnOnce(&mut libc::user_regs_struct)) {
        // SAFETY: all zero is a valid set of registers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        if ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers as usize).is_ok() {
            change(&mut registers);
            // A process that has been killed meanwhile has no use for them.
            ptrace(libc::PTRACE_SETREGS, pid, 0, &raw const registers as usize).ok();
        }
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn skip_call(pid: i32) {
        change(pid, |registers| registers.orig_rax = u64::MAX);
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn set_result(pid: i32, result: i64) {
        change(pid, |registers| registers.rax = result as u64);
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn skip_call(_: i32) {}

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn set_result(_: i32, _: i64) {}
}
