//! Scheduling: policy, affinity, priority of input and output, memory policy.

use super::ParentOp;
use super::lanes::Lanes;
use crate::origin::Origin;
use crate::spec::{MemoryPolicy, Scheduler, ValidProcess};
use runtime_init::ops::{Op, ProcessOp, Slice};

/// Size of `struct sched_attr` with its clamps (linux/sched/types.h).
const SCHED_ATTR_BYTES: u32 = 56;

/// Policy, then the priority of input and output. A process that `forks` leaves the policy to the caller: not every one is
/// inherited, and with some there is no fork.
pub(super) fn scheduler(lanes: &mut Lanes, process: &ValidProcess, forks: bool) {
    let origin = process.origin;
    if let Some(scheduler) = process.scheduler.as_ref().filter(|_| !forks) {
        let attributes = lanes.child.bytes(&attributes(scheduler));
        lanes.push_from(Op::Process(ProcessOp::Scheduler { attributes }), format!("{origin}scheduler"));
    }
    if let Some(priority) = process.io_priority {
        // IOPRIO_PRIO_VALUE: the class is above the 13 bits of the level.
        let value = priority.class << 13 | priority.level;
        lanes.push_from(Op::Process(ProcessOp::IoPriority { value }), format!("{origin}ioPriority"));
    }
}

/// The policy of a process that has been forked, set by the caller.
pub(super) fn scheduler_of_forked(lanes: &mut Lanes, process: &ValidProcess) {
    if let Some(scheduler) = &process.scheduler {
        let origin = Origin::from(format!("{}scheduler", process.origin));
        lanes.parent.push(ParentOp::Scheduler { attributes: attributes(scheduler), origin });
    }
}

/// sched_setaffinity(2), unless no CPU is named.
pub(super) fn affinity(lanes: &mut Lanes, mask: &[u8], origin: String) {
    if !mask.is_empty() {
        let mask = lanes.child.bytes(mask);
        lanes.push_from(Op::Process(ProcessOp::CpuAffinity { mask }), &origin);
    }
}

/// The affinity of a process before it is in the container's cgroup (config.md, `execCPUAffinity.initial`): stage 0 has it
/// when it clones the process.
pub(super) fn initial_affinity(lanes: &mut Lanes, process: &ValidProcess) {
    if !process.affinity_initial.is_empty() {
        let mask = lanes.child.bytes(&process.affinity_initial);
        let origin = format!("{}execCPUAffinity.initial", process.origin);
        lanes.stage_from(Op::Process(ProcessOp::CpuAffinity { mask }), &origin);
    }
}

/// All CPUs of the container's cpuset, whatever the caller was bound to: a container is not to
/// inherit the affinity of the engine's thread that happened to start it.
pub(super) fn all_cpus(lanes: &mut Lanes) {
    lanes.push(Op::Process(ProcessOp::CpuAffinity { mask: Slice::EMPTY }));
}

/// set_mempolicy(2).
pub(super) fn memory_policy(lanes: &mut Lanes, policy: Option<&MemoryPolicy>) {
    let Some(policy) = policy else {
        return;
    };
    let op = Op::Process(ProcessOp::MemoryPolicy {
        mode: policy.mode,
        nodes: lanes.child.bytes(&policy.nodes),
        // The kernel looks at one bit less than it is told.
        max_node: if policy.nodes.is_empty() {
            0
        } else {
            (policy.nodes.len() as u64).saturating_mul(8).saturating_add(1)
        },
    });
    lanes.push_from(op, "linux.memoryPolicy");
}

/// `struct sched_attr` of sched_setattr(2).
fn attributes(scheduler: &Scheduler) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SCHED_ATTR_BYTES as usize);
    bytes.extend_from_slice(&SCHED_ATTR_BYTES.to_ne_bytes());
    bytes.extend_from_slice(&scheduler.policy.to_ne_bytes());
    bytes.extend_from_slice(&scheduler.flags.to_ne_bytes());
    bytes.extend_from_slice(&scheduler.nice.to_ne_bytes());
    bytes.extend_from_slice(&scheduler.priority.to_ne_bytes());
    for time in [scheduler.runtime, scheduler.deadline, scheduler.period] {
        bytes.extend_from_slice(&time.to_ne_bytes());
    }
    bytes.resize(SCHED_ATTR_BYTES as usize, 0);
    bytes
}
