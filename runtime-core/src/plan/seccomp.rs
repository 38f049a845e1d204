//! The system call filter.

use super::lanes::Lanes;
use crate::child::ops::Op;
use crate::error::{Error, ErrorKind, Result};
use crate::seccomp::Filter;
use crate::spec::ValidSpec;

const ORIGIN: &str = "linux.seccomp";

/// True if the container has a filter.
pub(super) fn is_filtered(spec: &ValidSpec) -> bool {
    spec.seccomp.is_some()
}

/// Loads the filter.
pub(super) fn seccomp(lanes: &mut Lanes, spec: &ValidSpec) -> Result<()> {
    let Some(profile) = &spec.seccomp else { return Ok(()) };
    let filter = Filter::from_profile(profile).map_err(|error| error.origin(ORIGIN))?;
    if filter.needs_listener() {
        return Err(Error::new(ErrorKind::Unsupported, "use SCMP_ACT_NOTIFY")
            .reason("this version hands no system calls to a listener")
            .origin(ORIGIN));
    }
    lanes.notes.extend(filter.warnings().iter().map(|warning| format!("{ORIGIN}: {warning}")));
    lanes.notes.push(format!("seccomp filter flags: {}", filter.flags()));
    let program = lanes.child.instructions(&filter.to_bytes());
    lanes.push_from(Op::Seccomp { flags: filter.flags(), program }, ORIGIN);
    Ok(())
}
