//! A failure of the child lane in words: what the plan knows of the step, and what the init said.

use std::io::{Read, Seek};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::clone::explain_init;
use crate::error::{Call, Error, ErrorKind};
use crate::origin::Origin;
use crate::plan::{ChildPlan, LaunchPlan};
use crate::spec::BARE_ORIGIN;
use crate::sys::memfd;
use runtime_init::ops::{MountOp, NamespaceOp, Node, Op, ProcessOp, ProgramOp, Slot, StageOp, Str, WaitOp};
use runtime_init::report::{Detail, Report, STEP_PRELUDE};

/// How much of a hook's output goes into an error, in bytes.
const HOOK_OUTPUT_LIMIT: u64 = 2048;

/// mount_too_revealing() of the kernel. A bind of the outer /proc in its place would show the processes of
/// another pid namespace, so nobody does that unasked.
const COVERED: &str = "a user namespace gets a new proc or sysfs only where it sees one that nothing covers: an outer \
     container masks its own unless it is started with --security-opt unmask=ALL (Podman), \
     systempaths=unconfined (Docker) or --privileged";
const FOREIGN_NETWORK: &str = "sysfs shows the network namespace, which belongs to another user namespace: give the \
     container a network namespace, or bind /sys in place of a new one";
/// netdevice(7): who makes a network namespace may lack the privilege over its interfaces.
const NO_NET_ADMIN: &str = "a new network namespace takes CAP_NET_ADMIN, which this caller lacks: start an outer container with \
     --cap-add NET_ADMIN, or give this one a user namespace";

/// runc's words for what concerns the network.
pub(super) const NETWORK_FRAME: &str = "error creating network interfaces";
/// runc's words for what concerns the cgroup.
const CGROUP_FRAME: &str = "unable to apply cgroup configuration";
/// fork(2), EAGAIN.
pub(super) const NO_ROOM: &str = "the pids limit of a cgroup or RLIMIT_NPROC is reached";
/// fork(2), ENOMEM: the kernel says the same of two things.
pub(super) const NO_REAPER: &str =
    "the first process of the PID namespace may have ended: nobody can enter it then";

/// Whether the kernel refused to show a procfs or sysfs whole.
fn is_covered(report: Report) -> bool {
    report.errno == Errno::EPERM as i32 && report.detail == Detail::Fsmount as u32
}

/// What kind of failure a step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepKind {
    /// A system call of ours.
    Call,
    /// The search of the program: in the places of `PATH`, or else as the path that its name is.
    Search { in_path: bool },
    /// The program's execve(2).
    Execute,
    /// A hook.
    Hook,
    /// A mount that takes no link on its way.
    RealDirectory,
    /// A mount of a new sysfs.
    Sysfs,
    /// A change of the scheduling policy.
    Scheduler,
    /// The announcement of a seccomp listener.
    Listener,
    /// A new network namespace, or its loopback interface.
    Loopback,
    /// The clone of the init into these namespaces (CLONE_NEW*).
    Clone { namespaces: u64 },
    /// The id map of a mount.
    MapIds,
    /// The entry into cgroups that the init is not cloned into.
    JoinCgroups,
    /// The fork into a PID namespace.
    Fork,
}

/// A step in words. Kept in the state for the steps that `start` lets run, since that is another
/// call than the one that had the plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepText {
    /// Its index in the plan.
    pub(crate) step: u32,
    /// The operation with its arguments.
    pub(crate) operation: String,
    /// JSON path of the request.
    pub(crate) origin: Option<String>,
    /// How it fails.
    pub(crate) kind: StepKind,
}

/// Whether a step is that of a [`Sandbox`](crate::Sandbox), which has no `config.json`.
fn of_sandbox(origin: Option<&Origin>) -> bool {
    matches!(origin, Some(Origin::Field(path)) if path.starts_with(BARE_ORIGIN))
}

impl StepText {
    /// A step of a plan.
    pub(crate) fn of(plan: &LaunchPlan, step: usize) -> Option<Self> {
        Self::in_plan(&plan.child, step)
    }

    /// A step of the lanes of stage 0 and of the init.
    pub(super) fn in_plan(child: &ChildPlan, step: usize) -> Option<Self> {
        let op = child.ops().get(step)?;
        let kind = kind_of(child, op);
        let origin = child.origin(step);
        let operation = match op {
            Op::Process(ProcessOp::ChangeDirectory { path, .. }) if !of_sandbox(origin) => {
                format!("chdir to cwd ({:?}) set in config.json failed", child.text(*path))
            }
            _ => child.explain(step),
        };
        let operation = match (kind, origin) {
            // runc's words: engines and their tests look for them.
            (StepKind::Execute, _) => format!("exec {}", child.program_name()),
            (StepKind::Hook, Some(origin)) => hook_operation(origin, &operation),
            _ => operation,
        };
        Some(Self { step: step as u32, operation, origin: origin.map(Origin::to_string), kind })
    }

    /// The steps after the start gate.
    pub(crate) fn after_gate(plan: &LaunchPlan) -> Vec<Self> {
        let gate = plan
            .child
            .ops()
            .iter()
            .position(|op| matches!(op, Op::Wait(WaitOp::AwaitStart) | Op::Wait(WaitOp::Hold)));
        let steps = gate.map_or(0..0, |gate| gate..plan.child.ops().len());
        steps.filter_map(|step| Self::of(plan, step)).collect()
    }
}

/// What kind of failure an operation has.
fn kind_of(child: &ChildPlan, op: &Op) -> StepKind {
    match op {
        Op::Program(op) => match op {
            ProgramOp::FindProgram { .. } => {
                StepKind::Search { in_path: !child.program_name().contains('/') }
            }
            ProgramOp::Execute { .. } | ProgramOp::ExecuteHandler { .. } => StepKind::Execute,
            ProgramOp::Hook { .. } => StepKind::Hook,
            ProgramOp::PrepareProgram { .. } | ProgramOp::FindHome { .. } => StepKind::Call,
        },
        Op::Mount(MountOp::Attach { node: Node::RealDirectory, .. }) => StepKind::RealDirectory,
        Op::Mount(MountOp::NewFilesystem { kind, .. }) if child.text(*kind) == "sysfs" => StepKind::Sysfs,
        Op::Process(ProcessOp::Scheduler { .. }) => StepKind::Scheduler,
        Op::Wait(WaitOp::AnnounceListener) => StepKind::Listener,
        Op::Namespace(NamespaceOp::LoopbackUp) | Op::Stage(StageOp::MakeNetwork { .. }) => StepKind::Loopback,
        Op::Stage(StageOp::CloneInit { flags, .. }) => StepKind::Clone { namespaces: *flags },
        Op::Stage(StageOp::MapIds { .. }) => StepKind::MapIds,
        Op::Namespace(NamespaceOp::JoinCgroups) => StepKind::JoinCgroups,
        Op::Namespace(NamespaceOp::ForkIntoPidNamespace) | Op::Stage(StageOp::MakeProc { .. }) => {
            StepKind::Fork
        }
        Op::Stage(_) | Op::Namespace(_) | Op::Wait(_) | Op::Mount(_) | Op::File(_) | Op::Process(_) => {
            StepKind::Call
        }
    }
}

/// Where a failure of a step belongs to, in runc's words; the clone of the init is before all of them.
pub(super) fn frame_of(plan: &LaunchPlan, step: usize) -> Option<String> {
    match plan.child.ops().get(step) {
        Some(Op::Stage(StageOp::CloneInit { .. })) => None,
        Some(Op::Stage(StageOp::MakeNetwork { .. })) => Some(NETWORK_FRAME.to_owned()),
        Some(Op::Namespace(NamespaceOp::LoopbackUp)) if step < plan.child.first_of_init() => {
            Some(NETWORK_FRAME.to_owned())
        }
        Some(Op::Namespace(NamespaceOp::JoinCgroups)) => Some(CGROUP_FRAME.to_owned()),
        _ => Some(init_frame(plan, plan.child.origin(step))),
    }
}

/// Where a failure of the container's init belongs to, in runc's words; for one of a mount, which.
pub(super) fn init_frame(plan: &LaunchPlan, origin: Option<&Origin>) -> String {
    let frame = "error during container init";
    let rlimit = "error setting rlimits for ready process";
    match origin {
        Some(Origin::Rlimit(_)) => format!("{frame}: {rlimit}"),
        Some(Origin::Mount(index)) => match mount_frame(plan, *index) {
            Some(mount) => format!("{frame}: {mount}"),
            None => frame.to_owned(),
        },
        Some(Origin::Hook { .. } | Origin::Field(_)) | None => frame.to_owned(),
    }
}

/// The mount that is `mounts[INDEX]`.
fn mount_frame(plan: &LaunchPlan, index: usize) -> Option<String> {
    let child = &plan.child;
    let own = || (0..child.ops().len()).filter(|step| child.origin(*step) == Some(&Origin::Mount(index)));
    let destination = own().find_map(|step| match child.ops().get(step)? {
        Op::Mount(MountOp::Attach { destination, .. })
        | Op::Mount(MountOp::RemountAt { destination, .. }) => Some(child.text(*destination)),
        _ => None,
    })?;
    let source = own().find_map(|step| match child.ops().get(step)? {
        Op::Mount(MountOp::NewFilesystem { source, .. }) if *source != Str::NONE => Some(child.text(*source)),
        Op::Mount(MountOp::NewFilesystem { kind, .. }) => Some(child.text(*kind)),
        Op::Mount(MountOp::CloneTree { path, .. }) | Op::Stage(StageOp::CloneTreeOfInit { path, .. }) => {
            Some(child.text(*path))
        }
        Op::Mount(MountOp::MountContext { slot: Slot::PROCFS, .. }) => Some("proc".into()),
        Op::Mount(MountOp::MountContext { .. }) => Some("sysfs".into()),
        _ => None,
    });
    let source = source.unwrap_or_default();
    Some(format!("error mounting {source:?} to rootfs at {destination:?}"))
}

/// A hook's run in runc's words, which engines look for.
pub(super) fn hook_operation(origin: &Origin, hook: &str) -> String {
    match origin {
        Origin::Hook { kind, index } => format!("error running {kind} hook #{index}: {hook}"),
        Origin::Mount(_) | Origin::Rlimit(_) | Origin::Field(_) => hook.to_owned(),
    }
}

/// The error of a report. `output` is what a hook printed.
pub(crate) fn describe(report: Report, step: Option<&StepText>, output: Option<OwnedFd>) -> Error {
    let errno = Errno::from_raw(report.errno);
    let part = Detail::text(report.detail & 0xffff);
    let Some(step) = step else {
        let phase = match report.step {
            STEP_PRELUDE => "prepare the container's init",
            _ => "run the container's init",
        };
        return Error::system(phase, errno).reason(part);
    };
    let operation = step.operation.clone();
    let error = match step.kind {
        StepKind::Search { in_path } => program_error(operation, errno, in_path),
        StepKind::Hook => hook_error(operation, report, output),
        // The operation names the program already, and who reads the text knows it in this form.
        StepKind::Execute => return execute_error(operation, errno),
        StepKind::RealDirectory if matches!(errno, Errno::ELOOP | Errno::ENOTDIR) => {
            Error::system(operation, errno).reason("must be mounted on ordinary directory")
        }
        StepKind::Scheduler => scheduler_error(Error::system(operation, errno), errno),
        StepKind::Sysfs | StepKind::Call if is_covered(report) => {
            Error::system(operation, errno).reason(part).with_hint(COVERED)
        }
        // kobj_ns_current_may_mount() of the kernel: the first call of the mount.
        StepKind::Sysfs if errno == Errno::EPERM && report.detail == Detail::Fsopen as u32 => {
            Error::system(operation, errno).reason(part).with_hint(FOREIGN_NETWORK)
        }
        StepKind::Loopback if errno == Errno::EPERM => {
            Error::system(operation, errno).reason(part).with_hint(NO_NET_ADMIN)
        }
        StepKind::Clone { namespaces } if report.detail == Detail::Clone as u32 => {
            explain_init(Error::system(operation, errno), errno, namespaces)
        }
        StepKind::MapIds if errno == Errno::EINVAL => Error::system(operation, errno)
            .reason(part)
            .with_hint("the file system may not support idmapped mounts"),
        StepKind::Fork if errno == Errno::EAGAIN => {
            Error::system(operation, errno).reason(part).with_hint(NO_ROOM)
        }
        StepKind::Fork if errno == Errno::ENOMEM => {
            Error::system(operation, errno).reason(part).with_hint(NO_REAPER)
        }
        _ if part.is_empty() => Error::system(operation, errno),
        StepKind::RealDirectory
        | StepKind::Call
        | StepKind::Sysfs
        | StepKind::Listener
        | StepKind::Clone { .. }
        | StepKind::MapIds
        | StepKind::JoinCgroups
        | StepKind::Fork
        | StepKind::Loopback => Error::system(operation, errno).reason(part),
    };
    let error = match step.kind {
        StepKind::Clone { .. } => error.call(Call::Clone),
        _ => error,
    };
    match &step.origin {
        Some(origin) => error.origin(origin.clone()),
        None => error,
    }
}

/// sched_setattr(2), EPERM: a deadline wants all CPUs of the system.
pub(super) fn scheduler_error(error: Error, errno: Errno) -> Error {
    match errno {
        Errno::EPERM => error.with_hint(
            "process scheduler can't be used together with AllowedCPUs, and may take CAP_SYS_NICE",
        ),
        _ => error,
    }
}

fn execute_error(operation: String, errno: Errno) -> Error {
    let error = Error::system(operation, errno).kind_of(ErrorKind::ProgramNotExecutable);
    match errno {
        // execve(2): the user has more processes than it may since the change to it.
        Errno::EAGAIN => error.with_hint("RLIMIT_NPROC of the user is reached"),
        _ => error,
    }
}

/// The texts that engines turn into exit codes 127 and 126.
fn program_error(operation: String, errno: Errno, in_path: bool) -> Error {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR if in_path => {
            Error::new(ErrorKind::ProgramNotFound, operation).reason("executable file not found in $PATH")
        }
        Errno::ENOENT => Error::system(operation, errno).kind_of(ErrorKind::ProgramNotFound),
        _ => Error::system(operation, errno).kind_of(ErrorKind::ProgramNotExecutable),
    }
}

fn hook_error(operation: String, report: Report, output: Option<OwnedFd>) -> Error {
    let status = report.detail >> 16;
    let reason = match report.detail & 0xffff {
        detail if detail == Detail::HookTimeout as u32 => "it did not end in time and was killed".to_owned(),
        detail if detail == Detail::HookStatus as u32 && status & 0x100 != 0 => killed_by(status & 0xff),
        detail if detail == Detail::HookStatus as u32 => format!("exit status {status}"),
        detail => {
            let errno = Errno::from_raw(report.errno);
            return Error::system(operation, errno).reason(Detail::text(detail)).kind_of(ErrorKind::Hook);
        }
    };
    let printed = output.map(printed).filter(|text| !text.is_empty());
    Error::new(ErrorKind::Hook, operation).reason(match printed {
        Some(text) => format!("{reason}: {text}"),
        None => reason,
    })
}

/// The end by a signal; the one of a seccomp filter in the words that people look for.
pub(super) fn killed_by(signal: u32) -> String {
    let words = if signal == libc::SIGSYS.unsigned_abs() { ": bad system call" } else { "" };
    format!("killed by signal {signal}{words}")
}

/// The first part of what a hook printed, on one line; a file that cannot be read says nothing.
///
/// Hooks print to a memory file. Whatever else came is not read: it may be of a process of the
/// container that traces the init, and reading a pipe could take for ever.
pub(crate) fn printed(output: OwnedFd) -> String {
    if !memfd::is_in_memory(output.as_fd()) {
        return String::new();
    }
    let mut file = std::fs::File::from(output);
    let mut text = Vec::new();
    match file.rewind().and_then(|()| file.take(HOOK_OUTPUT_LIMIT).read_to_end(&mut text)) {
        Ok(_) => String::from_utf8_lossy(&text).trim().replace('\n', "; "),
        Err(_) => String::new(),
    }
}
