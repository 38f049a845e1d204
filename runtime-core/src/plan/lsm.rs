//! Labels of security modules.

use super::lanes::{Context, Lanes};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::origin::Origin;
use crate::spec::{Mount, ValidProcess, ValidSpec};
use runtime_init::ops::{MountOp, Op, ProcessOp};

/// What SELinux is to label with `process.selinuxLabel`.
const PROGRAM: &str = "attr/exec";
const KEYS: &str = "attr/keycreate";

/// The labels that the program gets with execve(2).
pub(super) fn labels(lanes: &mut Lanes, spec: &ValidSpec, process: &ValidProcess, host: &Host) -> Result<()> {
    if let Some((profile, origin)) = apparmor_profile(spec, process) {
        if !host.apparmor() {
            return Err(missing(
                origin,
                "apparmor profile is specified in config, but apparmor is disabled or not supported",
            ));
        }
        let file = lanes.child.string("attr/apparmor/exec");
        let value = lanes.child.bytes(format!("exec {profile}").as_bytes());
        lanes.push_from(Op::Process(ProcessOp::Label { file, value }), &origin);
    }
    if let Some((label, origin)) = selinux_label(spec, process) {
        if !host.selinux() {
            return Err(missing(
                origin,
                "selinux label is specified in config, but selinux is disabled or not supported",
            ));
        }
        write(lanes, PROGRAM, label, &origin);
    }
    Ok(())
}

/// Steps that make keys, here the session keyring: they get the label of the program, which else may not add a
/// key to its own keyring. Keys that the program makes have its label without that.
pub(super) fn label_keys(
    lanes: &mut Lanes,
    spec: &ValidSpec,
    process: &ValidProcess,
    host: &Host,
    make: impl FnOnce(&mut Lanes),
) {
    let label = selinux_label(spec, process).filter(|_| host.selinux());
    if let Some((label, origin)) = &label {
        write(lanes, KEYS, label, origin);
    }
    make(lanes);
    if let Some((_, origin)) = &label {
        write(lanes, KEYS, "", origin);
    }
}

/// The superblock of a mqueue is as old as its IPC namespace and takes no label as an option: its root gets
/// `linux.mountLabel`.
pub(super) fn label_mqueue(lanes: &mut Lanes, context: Context<'_>, mount: &Mount, origin: &Origin) {
    let label = context.spec.mount_label.as_ref().filter(|_| mount.kind == "mqueue");
    if let Some(label) = label.filter(|_| context.host.selinux()) {
        let value = lanes.child.bytes(label.as_bytes());
        lanes.push_from(Op::Mount(MountOp::LabelMount { value }), origin);
    }
}

/// A process without a label of its own, one of `exec`, has that of the container, and never that of the caller:
/// so has one with runc.
fn selinux_label<'a>(spec: &'a ValidSpec, process: &'a ValidProcess) -> Option<(&'a str, String)> {
    of_either(spec, process, "selinuxLabel", |process| process.selinux_label.as_deref())
}

fn apparmor_profile<'a>(spec: &'a ValidSpec, process: &'a ValidProcess) -> Option<(&'a str, String)> {
    of_either(spec, process, "apparmorProfile", |process| process.apparmor_profile.as_deref())
}

/// The field of the process, else of the container's own one, with its JSON path.
fn of_either<'a>(
    spec: &'a ValidSpec,
    process: &'a ValidProcess,
    field: &str,
    of: impl Fn(&'a ValidProcess) -> Option<&'a str>,
) -> Option<(&'a str, String)> {
    let found = |process: &'a ValidProcess| Some((of(process)?, format!("{}{field}", process.origin)));
    found(process).or_else(|| found(spec.process.as_ref()?))
}

fn write(lanes: &mut Lanes, file: &str, value: &str, origin: &str) {
    let (file, value) = (lanes.child.string(file), lanes.child.bytes(value.as_bytes()));
    lanes.push_from(Op::Process(ProcessOp::Label { file, value }), origin);
}

fn missing(origin: String, reason: &'static str) -> Error {
    Error::invalid(origin, reason).kind_of(ErrorKind::Unsupported)
}
