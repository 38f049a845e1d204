//! Few capabilities.

use runtime_core::capabilities::CapabilitySet;
use runtime_core::{Exit, Sandbox};

use crate::{Result, with_privilege};

pub(crate) fn run() -> Result<Exit> {
    let few = CapabilitySet::CHOWN | CapabilitySet::NET_BIND_SERVICE;
    let sandbox =
        Sandbox::new("grep").args(["^Cap", "/proc/self/status"]).capabilities(few).no_new_privileges();
    let process = with_privilege(sandbox).spawn()?;
    for warning in process.warnings() {
        eprintln!("warning: {warning}");
    }
    println!("{few} is {:016x}", few.bits());
    Ok(process.wait()?)
}
