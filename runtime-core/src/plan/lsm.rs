//! Labels of security modules.

use super::lanes::Lanes;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::spec::ValidProcess;
use runtime_init::ops::Op;

/// The labels that the program gets with execve(2).
pub(super) fn labels(lanes: &mut Lanes, process: &ValidProcess, host: &Host) -> Result<()> {
    let origin = process.origin;
    if let Some(profile) = &process.apparmor_profile {
        let origin = format!("{origin}apparmorProfile");
        if !host.apparmor() {
            return Err(missing(
                origin,
                "apparmor profile is specified in config, but apparmor is disabled or not supported",
            ));
        }
        let file = lanes.child.string("attr/apparmor/exec");
        let value = lanes.child.bytes(format!("exec {profile}").as_bytes());
        lanes.push_from(Op::Label { file, value }, &origin);
    }
    if let Some(label) = &process.selinux_label {
        let origin = format!("{origin}selinuxLabel");
        if !host.selinux() {
            return Err(missing(
                origin,
                "selinux label is specified in config, but selinux is disabled or not supported",
            ));
        }
        let file = lanes.child.string("attr/exec");
        let value = lanes.child.bytes(label.as_bytes());
        lanes.push_from(Op::Label { file, value }, &origin);
    }
    Ok(())
}

fn missing(origin: String, reason: &'static str) -> Error {
    Error::invalid(origin, reason).kind_of(ErrorKind::Unsupported)
}
