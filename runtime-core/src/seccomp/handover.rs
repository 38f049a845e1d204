//! How a listener leaves the process that loads the filter.
//!
//! The listener is close-on-exec, so it has to be taken before the program runs; but once the filter
//! is loaded, any call may be denied, or wait for an agent that does not have the listener yet. So no
//! call of the profile can be the pause in which the listener is taken. A filter with a listener
//! therefore begins with a rule of its own, before those of the profile: sched_yield(2) with
//! [`HANDOVER`] as first argument goes to the listener. The init makes that call and sleeps in the
//! kernel; the runtime takes the listener, gives it to the agent and answers. The call is one that every
//! filter around the runtime allows, and it has no arguments, so that nothing else is changed.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of four checks and a program of at most 4096 instructions"
)]

use super::emit::{JUMP_EQ, LOAD, RETURN};
use super::{Architecture, Filter, Instruction, OFFSET_ARCH, OFFSET_ARGUMENTS, OFFSET_NUMBER, action};
use crate::error::{Error, ErrorKind, Result};
use runtime_init::abi::nr::SCHED_YIELD;
use runtime_init::ops::HANDOVER;

/// The kernel's limit (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

impl Filter {
    /// The filter behind the rule for the handover of its listener.
    ///
    /// Fails if it has more than 4096 instructions then.
    pub(crate) fn with_handover(&self) -> Result<Self> {
        let arch = Architecture::native().map_or(0, Architecture::audit_token);
        let checks = [
            (OFFSET_ARCH, arch),
            (OFFSET_NUMBER, SCHED_YIELD as u32),
            (OFFSET_ARGUMENTS, HANDOVER as u32),
            (OFFSET_ARGUMENTS + 4, (HANDOVER >> 32) as u32),
        ];
        let mut program = Vec::with_capacity(self.program.len() + 2 * checks.len() + 1);
        for (index, (offset, value)) in checks.into_iter().enumerate() {
            // Over the rest of the checks and the return.
            let past = 2 * (checks.len() - 1 - index) + 1;
            program.push(Instruction { code: LOAD, jt: 0, jf: 0, k: offset });
            program.push(Instruction { code: JUMP_EQ, jt: 0, jf: past as u8, k: value });
        }
        program.push(Instruction { code: RETURN, jt: 0, jf: 0, k: action::NOTIFY });
        program.extend_from_slice(&self.program);
        if program.len() > MAX_INSTRUCTIONS {
            return Err(Error::new(ErrorKind::Unsupported, "compile seccomp profile").reason(format!(
                "{} instructions with a listener, above {MAX_INSTRUCTIONS}",
                program.len()
            )));
        }
        Ok(Self { program, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{Call, FLAG_NEW_LISTENER};

    #[test]
    fn only_the_handover_is_changed() {
        let profile = crate::spec::parse_profile(
            br#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["sched_yield"], "action": "SCMP_ACT_KILL"},
                {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "profile",
        )
        .unwrap();
        let plain = Filter::from_profile(&profile).unwrap();
        let filter = plain.with_handover().unwrap();
        assert_eq!(filter.flags() & FLAG_NEW_LISTENER, FLAG_NEW_LISTENER);
        let arch = Architecture::native().unwrap().audit_token();
        let call = |number, first| Call { number, arch, arguments: [first, 0, 0, 0, 0, 0] };
        assert_eq!(filter.verdict(&call(SCHED_YIELD as u32, HANDOVER)), action::NOTIFY);
        for first in [0, HANDOVER & 0xffff_ffff, HANDOVER ^ 1, HANDOVER >> 32 << 32] {
            for number in [0, 1, SCHED_YIELD as u32, 39, 83, 900] {
                let call = call(number, first);
                assert_eq!(filter.verdict(&call), plain.verdict(&call), "{call:?}");
                let other = Call { arch: arch ^ 1, ..call };
                assert_eq!(filter.verdict(&other), plain.verdict(&other), "{other:?}");
            }
        }
    }
}
