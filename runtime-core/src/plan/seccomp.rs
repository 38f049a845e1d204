//! The system call filter.

use super::lanes::Lanes;
use crate::child::ops::Op;
use crate::error::Result;
use crate::seccomp::{FLAG_TSYNC, Filter};
use crate::spec::ValidSpec;

const ORIGIN: &str = "linux.seccomp";
const LISTENER: &str = "linux.seccomp.listenerPath";

/// True if the container has a filter.
pub(super) fn is_filtered(spec: &ValidSpec) -> bool {
    spec.seccomp.is_some()
}

/// Loads the filter. With a listener, the parent takes that from the init's descriptor table and hands it
/// to the agent before the program runs; see [`crate::seccomp::handover`].
pub(super) fn seccomp(lanes: &mut Lanes, spec: &ValidSpec) -> Result<()> {
    let Some(profile) = &spec.seccomp else { return Ok(()) };
    let filter = Filter::from_profile(profile).map_err(|error| error.origin(ORIGIN))?;
    lanes.notes.extend(filter.warnings().iter().map(|warning| format!("{ORIGIN}: {warning}")));
    // runc's words; TSYNC says nothing where there is one thread.
    lanes.notes.push(format!("seccomp filter flags: {}", filter.flags() & !FLAG_TSYNC));
    if !filter.needs_listener() {
        let program = lanes.child.instructions(&filter.to_bytes());
        lanes.push_from(Op::Seccomp { flags: filter.flags(), program }, ORIGIN);
        return Ok(());
    }
    let filter = filter.with_handover().map_err(|error| error.origin(ORIGIN))?;
    let program = lanes.child.instructions(&filter.to_bytes());
    lanes.push_from(Op::AnnounceListener, LISTENER);
    lanes.push_from(Op::Seccomp { flags: filter.flags(), program }, ORIGIN);
    lanes.push_from(Op::AwaitHandover, LISTENER);
    Ok(())
}
