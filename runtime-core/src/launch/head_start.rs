//! The head start of a launch: stage 0 before there is a plan.

use std::os::fd::OwnedFd;

use super::Inputs;
use super::descriptors::{Descriptors, missing_stdio};
use super::stage::Stage;
use crate::error::Result;
use crate::host::Host;
use crate::plan::LaunchPlan;
use crate::sys::process;
use runtime_init::ops::{Op, StageOp};

/// The first process of a launch, begun before its configuration has been parsed: it executes its program, and makes the
/// network namespace that nearly every container has, while the caller parses and plans.
///
/// Made by [`Runtime::head_start`](crate::Runtime::head_start), for a container or a process in one. It is the caller's, in the
/// caller's cgroup; dropping it ends it. A plan that it does not fit is launched without it.
///
/// ```no_run
/// use std::path::Path;
///
/// use runtime_core::plan::CreateOptions;
/// use runtime_core::{Runtime, UnparsedBundle};
///
/// # fn main() -> runtime_core::Result<()> {
/// let runtime = Runtime::builder().build()?;
/// let bundle = UnparsedBundle::read(Path::new("/bundle"), Path::new("/bundle/config.json"))?;
/// let head_start = runtime.head_start(bundle.config(), 0).ok();
/// let plan = runtime.plan("web-1", bundle.parse()?, CreateOptions::new())?;
/// let container = runtime.create(plan.with_head_start(head_start))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HeadStart {
    stage: Stage,
    descriptors: Descriptors,
    network: bool,
}

impl HeadStart {
    /// Of `config` no more than a guess is taken: a network namespace that nobody wants would cost half a millisecond.
    pub(crate) fn new(host: &Host, config: &[u8], preserved: u32) -> Result<Self> {
        process::can_be_ended()?;
        let network = host.is_privileged() && host.cpus() >= 2 && makes_network(config);
        let inputs = Inputs::of_caller(preserved);
        let null: Option<OwnedFd> = missing_stdio(&inputs)?;
        let descriptors = Descriptors::new(&inputs, null.as_ref())?;
        let stage = Stage::spawn(&descriptors, network)?;
        Ok(Self { stage, descriptors, network })
    }

    /// Its process, if that is what the plan begins with.
    pub(super) fn fit(self, plan: &LaunchPlan, inputs: &Inputs<'_>) -> Option<Stage> {
        let wanted = plan.child.ops().iter().any(|op| matches!(op, Op::Stage(StageOp::MakeNetwork { .. })));
        (self.descriptors.fit(inputs) && (wanted || !self.network)).then_some(self.stage)
    }
}

/// Whether a configuration looks as if stage 0 would make a network namespace: one is listed without a path, and no user
/// namespace is.
pub(super) fn makes_network(config: &[u8]) -> bool {
    let mut made = false;
    for (at, _) in config.windows(KEY.len()).enumerate().filter(|(_, word)| *word == KEY) {
        match value(config.get(at.saturating_add(KEY.len())..).unwrap_or_default()) {
            b"user" => return false,
            b"network" => made |= !has_path(config, at),
            _ => {}
        }
    }
    made
}

const KEY: &[u8] = b"\"type\"";

/// The text after a key.
fn value(rest: &[u8]) -> &[u8] {
    let mut parts = rest.splitn(3, |byte| *byte == b'"');
    match (parts.next(), parts.next()) {
        (Some(between), Some(text)) if between.trim_ascii() == b":" => text,
        _ => &[],
    }
}

/// Whether the object around `at`, which has no other in it, has a path.
fn has_path(config: &[u8], at: usize) -> bool {
    let (before, after) = config.split_at(at);
    let start = before.iter().rposition(|byte| *byte == b'{').unwrap_or(0);
    let end = at.saturating_add(after.iter().position(|byte| *byte == b'}').unwrap_or(after.len()));
    let path = b"\"path\"";
    config.get(start..end).unwrap_or_default().windows(path.len()).any(|word| word == path)
}

#[cfg(test)]
mod tests {
    use super::makes_network;

    #[test]
    fn a_network_namespace_is_guessed() {
        let cases: [(&[u8], bool); 6] = [
            (br#"{"linux":{"namespaces":[{"type":"pid"},{"type":"network"}]}}"#, true),
            (br#"{"namespaces": [{ "type" : "network" , "path": "" }]}"#, false),
            (br#"{"namespaces": [{"path": "/proc/1/ns/net", "type": "network"}, {"type": "uts"}]}"#, false),
            (br#"{"namespaces": [{"type": "network"}, {"type": "user"}]}"#, false),
            (br#"{"process": {"user": {"uid": 0}}, "namespaces": [{"type": "uts"}]}"#, false),
            (br#"{"type"#, false),
        ];
        for (config, expected) in cases {
            assert_eq!(makes_network(config), expected, "{}", String::from_utf8_lossy(config));
        }
    }
}
