//! A filter with a listener where the outer filter denies userfaultfd(2), as those of engines do.

use std::io::Read as _;
use std::os::unix::net::UnixListener;

use nix::errno::Errno;
use serde_json::json;

use crate::denied::{NOTHING, turn};
use crate::filter::{Denial, denied};
use crate::support::{Bundle, privileged};

/// Whether the agent at `socket` has been connected to since the last time; the listener is closed.
fn is_asked(agent: &UnixListener) -> bool {
    let Ok((mut stream, _)) = agent.accept() else { return false };
    stream.set_nonblocking(false).expect("a blocking stream");
    stream.read_to_end(&mut Vec::new()).expect("the state");
    true
}

/// The init cannot wait behind the filter: the agent gets the listener at `start`, and all else is the same.
#[test]
fn without_userfaultfd_the_listener_comes_at_start() {
    if !privileged() {
        return;
    }
    let _turn = turn();
    for (denial, at_create) in [(NOTHING, true), (Denial::of(&["userfaultfd"], Errno::EPERM), false)] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let socket = bundle.path().join("agent");
        let bundle = bundle.with(|config| {
            let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
            config["linux"]["seccomp"] =
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": socket});
        });
        let agent = UnixListener::bind(&socket).expect("a socket");
        agent.set_nonblocking(true).expect("a socket that does not block");
        let container = bundle.container();
        denied(&bundle, denial, &["create", &container.id]).ok();
        assert_eq!(is_asked(&agent), at_create, "{denial:?}");
        denied(&bundle, denial, &["start", &container.id]).ok();
        assert_eq!(is_asked(&agent), !at_create, "{denial:?}");
        assert_eq!(container.status(), "running");
    }
}
