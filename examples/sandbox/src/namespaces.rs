//! New namespaces.

use runtime_core::namespaces::Namespaces;
use runtime_core::rootfs::Mount;
use runtime_core::{Exit, Sandbox};

use crate::{Result, with_privilege};

pub(crate) fn run() -> Result<Exit> {
    let script = "echo I am process $$ on $(cat /proc/sys/kernel/hostname); cat /proc/net/dev";
    let sandbox = Sandbox::new("sh")
        .args(["-c", script])
        .namespaces(Namespaces::PID | Namespaces::NETWORK)
        .hostname("sandbox")
        .mount(Mount::proc("/proc"));
    let process = with_privilege(sandbox).spawn()?;
    Ok(process.wait()?)
}
