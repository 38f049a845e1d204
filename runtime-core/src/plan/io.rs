//! The terminal, inherited descriptors, and the sockets that the program is told of.

use super::lanes::{Context, Lanes};
use super::rootfs;
use crate::error::Result;
use crate::spec::{Mount, MountOptions, ValidProcess, set_variable};
use runtime_init::ops::{FileOp, Op};

/// Where the directory of the notify socket is in the container.
const NOTIFY: &str = "/run/notify";

/// The terminal, if the process asks for one; `mount` puts it on /dev/console too. Without `control` another process of the
/// launch takes it as its controlling terminal ([`take_terminal`]).
pub(super) fn console(lanes: &mut Lanes, process: &ValidProcess, mount: bool, control: bool) {
    if !process.terminal {
        return;
    }
    let op = Op::File(FileOp::Console {
        rows: process.console_size.0,
        columns: process.console_size.1,
        uid: process.uid,
        mount,
        control,
    });
    lanes.push_from(op, format!("{}terminal", process.origin));
}

/// The terminal that was made before becomes the controlling one.
pub(super) fn take_terminal(lanes: &mut Lanes, process: &ValidProcess) {
    if process.terminal {
        lanes.push_from(Op::File(FileOp::TakeTerminal), format!("{}terminal", process.origin));
    }
}

/// Streams of the host's memory devices become those of the container's. A terminal is the container's own.
pub(super) fn own_streams(lanes: &mut Lanes, process: &ValidProcess) {
    if !process.terminal {
        lanes.push(Op::File(FileOp::OwnStreams));
    }
}

/// Variables that tell the program of sockets which wait from descriptor 3 on (sd_listen_fds(3)).
pub(super) fn listen_variables(env: &mut Vec<String>, count: Option<u32>) {
    if let Some(count) = count {
        set_variable(env, format!("LISTEN_FDS={count}"));
        set_variable(env, "LISTEN_PID=1".to_owned());
    }
}

/// The variable that names the notify socket in the container (sd_notify(3)).
pub(super) fn notify_variable(env: &mut Vec<String>, context: Context<'_>) {
    if let Some((_, name)) = notify_socket(context) {
        set_variable(env, format!("NOTIFY_SOCKET={NOTIFY}/{name}"));
    }
}

/// Binds the directory of the notify socket.
pub(super) fn notify_mount(lanes: &mut Lanes, context: Context<'_>) -> Result<()> {
    let Some((directory, _)) = notify_socket(context) else {
        return Ok(());
    };
    let mount = Mount {
        destination: NOTIFY.to_owned(),
        kind: "bind".to_owned(),
        source: directory.to_owned(),
        options: MountOptions::parse(&["bind", "nosuid", "noexec", "nodev", "ro"]),
        uid_map: Vec::new(),
        gid_map: Vec::new(),
        index: context.spec.mounts.len(),
    };
    rootfs::mount(lanes, context, &mount, None)
}

fn notify_socket<'a>(context: Context<'a>) -> Option<(&'a str, &'a str)> {
    context.options.notify_socket.as_deref()?.rsplit_once('/')
}
