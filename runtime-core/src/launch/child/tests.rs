//! What a process of the container may say over the socket of the init, if it traces that.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Command;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixCredentials, sendmsg};
use serde_json::json;

use super::*;
use crate::host::Host;
use crate::plan::CreateOptions;
use crate::spec::{ValidSpec, default_spec};

/// The plan of a container with a terminal, whose init joins a PID namespace.
fn plan() -> LaunchPlan {
    let mut spec = serde_json::to_value(default_spec(None, true).unwrap()).unwrap();
    spec["process"]["terminal"] = json!(true);
    spec["linux"]["namespaces"] =
        json!([{"type": "mount"}, {"type": "uts"}, {"type": "pid", "path": "/proc/1/ns/pid"}]);
    let spec = ValidSpec::parse(&serde_json::to_vec(&spec).unwrap()).unwrap();
    LaunchPlan::create(&spec, &Host::for_tests(), &CreateOptions::new()).unwrap()
}

/// A process that the drop of a [`Child`] may end.
#[expect(clippy::zombie_processes, reason = "it is waited for by its pidfd")]
fn sleeper() -> Init {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = child.id() as i32;
    Init { pid, pidfd: Some(process::pidfd_open(pid).unwrap()) }
}

/// A launch whose stage 0 has ended, and the other end of its socket.
fn child(plan: &LaunchPlan) -> (Child<'_>, OwnedFd) {
    let (socket, theirs) = socket::pair(true).unwrap();
    let child = Child {
        plan,
        stage: None,
        init: Some(sleeper()),
        known: true,
        socket,
        reports: 0,
        reported: false,
        forked: false,
        first: None,
        console: None,
        hold: None,
        shared: Shared::new(plan, None).unwrap(),
    };
    (child, theirs)
}

fn step(plan: &LaunchPlan, is_it: impl Fn(&Op) -> bool) -> u32 {
    plan.child.ops().iter().position(is_it).unwrap() as u32
}

/// Sends a report in the name of a process, which takes root.
fn say(socket: &OwnedFd, step: u32, pid: i32, fds: &[i32]) {
    let bytes = Report { step, errno: 0, detail: 0 }.to_bytes();
    let credentials = UnixCredentials::from(libc::ucred { pid, uid: 0, gid: 0 });
    let all = [ControlMessage::ScmCredentials(&credentials), ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &all[..1] } else { &all[..] };
    let vector = [std::io::IoSlice::new(&bytes)];
    sendmsg::<()>(socket.as_raw_fd(), &vector, control, MsgFlags::empty(), None).unwrap();
}

fn is_protocol_error(error: &Error) -> bool {
    error.raw_errno() == Some(Errno::EPROTO)
}

/// Control: a master is taken.
#[test]
fn a_console_that_is_no_master_is_refused() {
    let plan = plan();
    let console = step(&plan, |op| matches!(op, Op::File(FileOp::Console { .. })));
    let files = [("/dev/null", false), ("/dev/zero", false), ("/dev/ptmx", true)];
    for (path, is_master) in files {
        let (mut child, theirs) = child(&plan);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        socket::send(
            theirs.as_fd(),
            &Report { step: console, errno: 0, detail: 0 }.to_bytes(),
            &[file.as_raw_fd()],
        )
        .unwrap();
        let result = child.expect_step(|at| at == console as usize);
        assert_eq!(result.is_ok(), is_master, "{path}");
        assert_eq!(child.take_console().is_some(), is_master, "{path}");
        assert!(result.err().as_ref().is_none_or(is_protocol_error), "{path}");
    }
    let (mut child, theirs) = child(&plan);
    socket::send(theirs.as_fd(), &Report { step: console, errno: 0, detail: 0 }.to_bytes(), &[]).unwrap();
    assert!(is_protocol_error(&child.expect_step(|at| at == console as usize).unwrap_err()));
}

/// A second fork would put another process in the place of the init. Control: the first one is followed.
#[test]
fn only_one_fork_is_followed() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let plan = plan();
    let fork = step(&plan, |op| matches!(op, Op::Namespace(NamespaceOp::ForkIntoPidNamespace)));
    let (mut child, theirs) = child(&plan);
    let (first, second) = (sleeper(), sleeper());
    say(&theirs, fork, first.pid, &[]);
    child.expect_step(|at| at == fork as usize).unwrap();
    assert_eq!(child.pid().unwrap(), first.pid);
    say(&theirs, fork, second.pid, &[]);
    let result = child.expect_step(|at| at == fork as usize);
    assert_eq!(child.pid().unwrap(), first.pid);
    assert!(is_protocol_error(&result.unwrap_err()));
    end(&second);
}

/// A call that is cancelled while it waits for the end of the process that forked leaves that process to nobody else.
/// Control: it lives until the launch is dropped.
#[test]
fn a_cancelled_wait_for_the_first_process_leaves_no_zombie() {
    let plan = plan();
    let (mut child, theirs) = child(&plan);
    let first = sleeper();
    child.first = first.pidfd;
    let sync = step(&plan, |op| matches!(op, Op::Wait(WaitOp::Sync { point: Point::Created })));
    socket::send(theirs.as_fd(), &Report { step: sync, errno: 0, detail: 0 }.to_bytes(), &[]).unwrap();
    let canceller = deadline::Canceller::new();
    let result = deadline::Deadline::none().cancelled_by(&canceller).run(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                canceller.cancel();
            });
            child.expect(Point::Created)
        })
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(process::own_child(first.pid).is_some(), "it was reaped before the drop");
    drop(child);
    let left = Init { pid: first.pid, pidfd: process::own_child(first.pid) };
    if left.pidfd.is_some() {
        end(&left);
    }
    assert!(left.pidfd.is_none(), "it was left behind");
}

fn end(process: &Init) {
    let pidfd = process.pidfd.as_ref().unwrap();
    process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
    process::reap(pidfd);
}

/// Whoever talks without an end does not keep the runtime: each step reports once at most. Control: so many reports as there
/// are steps are heard.
#[test]
fn the_reports_have_a_number() {
    let plan = plan();
    let steps = plan.child.ops().len();
    let (mut child, theirs) = child(&plan);
    let bytes = Report { step: 0, errno: 0, detail: 0 }.to_bytes();
    for _ in 0..steps + 2 {
        socket::send(theirs.as_fd(), &bytes, &[]).unwrap();
    }
    for _ in 0..=steps {
        child.expect_step(|at| at == 0).unwrap();
    }
    assert!(is_protocol_error(&child.expect_step(|at| at == 0).unwrap_err()));
}

/// Control: a step of the plan is understood.
#[test]
fn a_report_that_is_none_is_refused() {
    let plan = plan();
    let (mut child, theirs) = child(&plan);
    let send = |bytes: &[u8], socket: BorrowedFd<'_>| socket::send(socket, bytes, &[]).unwrap();
    let beyond = Report { step: plan.child.ops().len() as u32, errno: 0, detail: 0 };
    send(&beyond.to_bytes(), theirs.as_fd());
    send(&Report { step: 1, errno: 0, detail: 0 }.to_bytes(), theirs.as_fd());
    assert!(is_protocol_error(&child.expect_step(|at| at == 1).unwrap_err()));
    child.expect_step(|at| at == 1).unwrap();
    send(&[0; REPORT_BYTES - 1], theirs.as_fd());
    assert!(is_protocol_error(&child.expect_step(|at| at == 0).unwrap_err()));
}
