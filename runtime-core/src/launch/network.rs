//! The parent lane's dearest step: a network namespace, made while the child mounts.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::failure::NO_NET_ADMIN;
use crate::error::{Error, Result};
use crate::sys::{mount, namespace};

/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace, and its sysfs if asked for.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) namespace: OwnedFd,
    pub(crate) sysfs: Option<OwnedFd>,
}

/// Makes a network namespace with loopback up; `give` has it before that, since who waits for it need not
/// wait for the interface. The calling thread enters it and comes back; everything else of the process stays
/// where it is.
pub(crate) fn make(sysfs: Option<u64>, give: impl FnOnce(&Network) -> Result<()>) -> Result<()> {
    const NEWNET: i32 = CloneFlags::CLONE_NEWNET.bits();
    let outside = File::open(OWN).map_err(|error| Error::io(format!("open {OWN:?}"), &error))?;
    // To where it is already: what refuses the way back has to be known before.
    namespace::setns(outside.as_fd(), NEWNET).map_err(failed("setns to the caller's network namespace"))?;
    namespace::unshare(NEWNET).map_err(failed("unshare of the network namespace"))?;
    let made = inside(sysfs, give);
    // A thread that stayed inside would act on the wrong network from now on, unnoticed.
    namespace::setns(outside.as_fd(), NEWNET)
        .map_err(failed("setns back to the caller's network namespace"))?;
    made
}

fn inside(sysfs: Option<u64>, give: impl FnOnce(&Network) -> Result<()>) -> Result<()> {
    let socket = namespace::inet_socket().map_err(failed("socket"))?;
    let sysfs = sysfs.map(|attributes| {
        mount::filesystem(c"sysfs", &[(c"source", Some(c"sysfs"))], attributes)
            .map_err(|errno| Error::system("mount \"sysfs\" of the container's network namespace", errno))
    });
    give(&Network {
        namespace: namespace::network_of(&socket).map_err(denied("open the new network namespace"))?,
        sysfs: sysfs.transpose()?,
    })?;
    namespace::loopback_up(&socket).map_err(denied("bring the loopback interface up"))
}

/// A failure of what takes CAP_NET_ADMIN.
fn denied(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| match errno {
        Errno::EPERM => failed(call)(errno).hint(NO_NET_ADMIN),
        _ => failed(call)(errno),
    }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::system(call, errno).origin("linux.namespaces")
}
