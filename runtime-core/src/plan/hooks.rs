//! Hooks that run in the child lane, and the wait for those that the parent runs.

use std::collections::BTreeMap;

use super::lanes::{Context, Lanes};
use super::process::Environment;
use crate::spec::{Hook, hook};
use runtime_init::ops::{Op, Point, ProgramOp, Slice, Slot, WaitOp};

/// The wait for the hooks of the parent, and for the state that hooks of the child read.
pub(super) fn runtime_hooks(lanes: &mut Lanes, context: Context<'_>) {
    let hooks = &context.spec.hooks;
    let in_child = !hooks.create_container.is_empty();
    let in_parent = !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty();
    if in_parent || in_child {
        lanes.sync(Point::RuntimeHooks);
    }
    if in_child {
        receive_files(lanes, &context.spec.annotations);
    }
}

/// The state, which hooks of the child read, and the files for what they print.
pub(super) fn receive_files(lanes: &mut Lanes, annotations: &BTreeMap<String, String>) {
    lanes.push(Op::Wait(WaitOp::Receive { from: Slot::SYNC, into: Slot::STATE, count: 1 }));
    for (annotation, into) in hook::OUTPUTS.into_iter().zip([Slot::HOOK_STDOUT, Slot::HOOK_STDERR]) {
        if hook::output(annotations, annotation).is_some() {
            let receive = Op::Wait(WaitOp::Receive { from: Slot::SYNC, into, count: 1 });
            lanes.push_from(receive, format!("annotations.{annotation}"));
        }
    }
}

/// createContainer hooks: without an environment of their own they have none.
pub(super) fn create_container(lanes: &mut Lanes, context: Context<'_>) {
    for hook in &context.spec.hooks.create_container {
        run(lanes, hook, &Environment { variables: Vec::new(), home_uid: u32::MAX });
    }
}

/// startContainer hooks: without an environment of their own they have the program's, as with runc.
pub(super) fn start_container(lanes: &mut Lanes, context: Context<'_>, env: &Environment<'_>) {
    for hook in &context.spec.hooks.start_container {
        run(lanes, hook, env);
    }
}

fn run(lanes: &mut Lanes, hook: &Hook, default: &Environment<'_>) {
    let path = lanes.child.string(&hook.path);
    let args = lanes.child.strings(&hook.args);
    let (env, home_uid): (Slice, u32) = match &hook.env {
        Some(env) => (lanes.child.strings(env), u32::MAX),
        None => (lanes.child.strings(&default.variables), default.home_uid),
    };
    let timeout = hook.timeout.map_or(0, |seconds| seconds.saturating_mul(1000));
    lanes.push_from(Op::Program(ProgramOp::Hook { path, args, env, timeout, home_uid }), &hook.origin);
}
