//! A seccomp agent: it takes listeners from runtimes and answers what comes over them.

use std::io::{IoSliceMut, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::Value;

/// What the agent does with the calls that it is notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// It lets them be made.
    Continue,
    /// It keeps the listener and says nothing.
    Nothing,
}

/// An agent in threads of the test.
pub(crate) struct Agent {
    states: Receiver<Value>,
    calls: Arc<Mutex<Vec<i64>>>,
}

impl Agent {
    /// Listens on a socket at `path`, which every user may connect to.
    pub(crate) fn new(path: &Path, answers: Answers) -> Self {
        let socket = UnixListener::bind(path).expect("a socket");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("the mode");
        let (sender, states) = channel();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = calls.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming().map_while(Result::ok) {
                serve(stream, answers, &sender, &seen);
            }
        });
        Self { states, calls }
    }

    /// The next state that a runtime has sent.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        self.next_state().expect("a state")
    }

    /// The next state, if one comes within some time.
    pub(crate) fn next_state(&self) -> Option<Value> {
        self.states.recv_timeout(Duration::from_secs(20)).ok()
    }

    /// Whether no state has come that was not asked for.
    pub(crate) fn is_idle(&self) -> bool {
        self.states.try_recv().is_err()
    }

    /// The numbers of the calls since the last time.
    pub(crate) fn calls(&self) -> Vec<i64> {
        std::mem::take(&mut *self.calls.lock().expect("no panic"))
    }
}

/// One connection: a state, and the listener with its first bytes.
fn serve(mut stream: UnixStream, answers: Answers, states: &Sender<Value>, calls: &Arc<Mutex<Vec<i64>>>) {
    let (mut text, listener) = first_message(&stream);
    // To the end: the connection is closed after the state.
    stream.read_to_end(&mut text).expect("the rest");
    let calls = calls.clone();
    std::thread::spawn(move || match answers {
        Answers::Continue => answer(&listener, &calls),
        Answers::Nothing => loop {
            std::thread::park();
        },
    });
    // Nobody may be interested any more.
    states.send(serde_json::from_slice(&text).expect("JSON")).ok();
}

fn first_message(stream: &UnixStream) -> (Vec<u8>, OwnedFd) {
    let mut bytes = vec![0; 4096];
    let mut vector = [IoSliceMut::new(&mut bytes)];
    let mut control = nix::cmsg_space!([RawFd; 4]);
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut vector, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)
            .expect("a message");
    let fds: Vec<RawFd> = message
        .cmsgs()
        .expect("control data")
        .flat_map(|part| match part {
            ControlMessageOwned::ScmRights(fds) => fds,
            _ => Vec::new(),
        })
        .collect();
    let len = message.bytes;
    assert_eq!(fds.len(), 1, "one descriptor comes with the state");
    bytes.truncate(len);
    // SAFETY: the kernel has just made it for this process.
    (bytes, unsafe { OwnedFd::from_raw_fd(fds[0]) })
}

/// Lets each call be made until the last process under the filter has ended.
fn answer(listener: &OwnedFd, calls: &Mutex<Vec<i64>>) {
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).expect("poll");
        if !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
            return;
        }
        // SAFETY: zero is a valid value of a structure of numbers.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one such structure.
        let received =
            unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
        if received != 0 {
            // The caller has ended meanwhile.
            continue;
        }
        calls.lock().expect("no panic").push(i64::from(call.data.nr));
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let answer = libc::seccomp_notif_resp { id: call.id, val: 0, error: 0, flags };
        // SAFETY: the kernel reads one such structure; an error means that the caller has ended.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
    }
}
