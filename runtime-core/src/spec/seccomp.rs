//! `linux.seccomp`: from the types of `oci_spec` to a [`Profile`], and its agent.

use super::lists::Text;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};

use super::findings::Findings;
use super::names::Canonical;
use super::parse;
use crate::error::{Error, Result};
use crate::seccomp::{
    Action, Architecture, CallName, Compare, Condition, Filter, FilterFlag, ListedArchitecture, Profile,
    SyscallRule,
};

/// Parses a profile, `linux.seccomp` of a configuration; `file` is what errors call the text, such as its
/// path; nothing is read from there. Its agent is not looked at.
///
/// # Errors
///
/// Everything that has a wrong type or a wrong value, each with its JSON path.
pub fn parse_profile(bytes: &[u8], file: &'static str) -> Result<Profile> {
    let text = Canonical::of::<LinuxSeccomp>(bytes);
    let (profile, parsed) = parse::parse::<LinuxSeccomp>(&text, file, Text::Object("linux.seccomp"))?;
    let mut findings = Findings::default();
    let profile = convert(&profile, &mut findings);
    findings.finish(file, parsed.errors).map(|_| profile)
}

/// Fails with every wrong value, each with its JSON path in `config.json`.
impl TryFrom<&LinuxSeccomp> for Profile {
    type Error = Error;

    fn try_from(profile: &LinuxSeccomp) -> Result<Self> {
        let mut findings = Findings::default();
        let profile = convert(profile, &mut findings);
        findings.finish("linux.seccomp", Vec::new()).map(|_| profile)
    }
}

/// Every field, so that a new one of [`Profile`] does not compile until it is read here.
pub(super) fn convert(profile: &LinuxSeccomp, findings: &mut Findings) -> Profile {
    let default = action(profile.default_action(), profile.default_errno_ret());
    Profile {
        default_action: default.unwrap_or_else(|reason| {
            findings.error("linux.seccomp.defaultErrnoRet", reason);
            Action::KILL_PROCESS
        }),
        architectures: profile.architectures().iter().flatten().copied().map(Into::into).collect(),
        flags: profile.flags().as_ref().map(|flags| flags.iter().copied().map(flag).collect()),
        syscalls: (profile.syscalls().iter().flatten().enumerate())
            .map(|(index, rule)| syscall_rule(index, rule, findings))
            .collect(),
    }
}

fn syscall_rule(index: usize, rule: &LinuxSyscall, findings: &mut Findings) -> SyscallRule {
    let origin = format!("linux.seccomp.syscalls[{index}]");
    let names = rule.names().iter().enumerate().filter_map(|(position, name)| {
        let call = CallName::new(name);
        if call.is_none() {
            findings.error(format_args!("{origin}.names[{position}]"), "an empty string is no system call");
        }
        call
    });
    let names = names.collect();
    let action = action(rule.action(), rule.errno_ret()).unwrap_or_else(|reason| {
        findings.error(format_args!("{origin}.errnoRet"), reason);
        Action::KILL_PROCESS
    });
    let conditions = rule.args().iter().flatten().enumerate().filter_map(|(position, argument)| {
        let condition = condition(argument);
        if condition.is_none() {
            let origin = format_args!("{origin}.args[{position}].index");
            findings.error(origin, "an argument has an index of 0 to 5");
        }
        condition
    });
    SyscallRule { conditions: conditions.collect(), names, action }
}

/// The action; `errno` counts for `ERRNO` (default EPERM) and `TRACE` (default EPERM too, the message to the
/// tracer) and is ignored for the others, as runc does.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action, String> {
    let data = errno.unwrap_or(libc::EPERM as u32);
    let small = u16::try_from(data).ok();
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Ok(Action::KILL_THREAD),
        LinuxSeccompAction::ScmpActKillProcess => Ok(Action::KILL_PROCESS),
        LinuxSeccompAction::ScmpActTrap => Ok(Action::TRAP),
        LinuxSeccompAction::ScmpActErrno => {
            small.and_then(Action::errno).ok_or_else(|| format!("errno {data} is above 4095"))
        }
        LinuxSeccompAction::ScmpActNotify => Ok(Action::NOTIFY),
        LinuxSeccompAction::ScmpActTrace => {
            small.map(Action::trace).ok_or_else(|| format!("trace message {data} is above 65535"))
        }
        LinuxSeccompAction::ScmpActLog => Ok(Action::LOG),
        LinuxSeccompAction::ScmpActAllow => Ok(Action::ALLOW),
    }
}

fn flag(flag: LinuxSeccompFilterFlag) -> FilterFlag {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => FilterFlag::Log,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => FilterFlag::Tsync,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FilterFlag::SpecAllow,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => FilterFlag::WaitKillableRecv,
    }
}

/// The masked operator has its mask in `value` and the value to compare with in `valueTwo` (specification,
/// config-linux.md, seccomp).
fn condition(argument: &LinuxSeccompArg) -> Option<Condition> {
    let value = argument.value();
    let (compare, mask, value) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => (Compare::Ne, u64::MAX, value),
        LinuxSeccompOperator::ScmpCmpLt => (Compare::Lt, u64::MAX, value),
        LinuxSeccompOperator::ScmpCmpLe => (Compare::Le, u64::MAX, value),
        LinuxSeccompOperator::ScmpCmpEq => (Compare::Eq, u64::MAX, value),
        LinuxSeccompOperator::ScmpCmpGe => (Compare::Ge, u64::MAX, value),
        LinuxSeccompOperator::ScmpCmpGt => (Compare::Gt, u64::MAX, value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => (Compare::Masked, value, argument.value_two().unwrap_or(0)),
    };
    Condition::new(argument.index(), compare, mask, value)
}

impl From<Arch> for ListedArchitecture {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::ScmpArchNative => Self::Native,
            Arch::ScmpArchX86_64 => Self::Known(Architecture::X86_64),
            Arch::ScmpArchX86 => Self::Known(Architecture::X86),
            Arch::ScmpArchX32 => Self::Known(Architecture::X32),
            Arch::ScmpArchAarch64 => Self::Known(Architecture::Aarch64),
            Arch::ScmpArchArm => Self::Known(Architecture::Arm),
            Arch::ScmpArchRiscv64 => Self::Known(Architecture::Riscv64),
            other => Self::Unknown(other.to_string()),
        }
    }
}

impl From<Architecture> for Arch {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::X86_64 => Self::ScmpArchX86_64,
            Architecture::X86 => Self::ScmpArchX86,
            Architecture::X32 => Self::ScmpArchX32,
            Architecture::Aarch64 => Self::ScmpArchAarch64,
            Architecture::Arm => Self::ScmpArchArm,
            Architecture::Riscv64 => Self::ScmpArchRiscv64,
        }
    }
}

/// Compiles a profile of a configuration that has other faults, for what only the compiler finds: rules that
/// contradict each other. Of a right configuration the plan compiles it, once.
pub(super) fn compile(profile: &Profile, findings: &mut Findings) {
    for error in Filter::contradictions(profile) {
        findings.add(&error);
    }
}

/// Who answers the calls that a filter notifies of.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    /// Path of its socket on the host; one that begins with `@` is abstract.
    pub(crate) path: String,
    /// What it is told; empty for nothing.
    pub(crate) metadata: String,
}

/// Checks the profile; the agent if the profile needs one, which may listen at `receiver` instead of
/// `listenerPath`.
pub(super) fn agent(
    profile: Option<&LinuxSeccomp>,
    receiver: Option<&str>,
    findings: &mut Findings,
) -> Option<Agent> {
    let profile = profile?;
    errno("linux.seccomp.defaultErrnoRet", profile.default_action(), profile.default_errno_ret(), findings);
    for (index, rule) in profile.syscalls().iter().flatten().enumerate() {
        if rule.names().is_empty() {
            findings.error(format!("linux.seccomp.syscalls[{index}].names"), "has to name a system call");
        }
        let origin = format!("linux.seccomp.syscalls[{index}].errnoRet");
        errno(&origin, rule.action(), rule.errno_ret(), findings);
    }
    let path = profile.listener_path().as_ref().map(|path| path.to_string_lossy().into_owned());
    let path = super::non_empty(path.as_ref()).or(receiver.map(str::to_owned));
    let metadata = profile.listener_metadata().clone().unwrap_or_default();
    if path.is_none() && !metadata.is_empty() {
        findings.error("linux.seccomp.listenerMetadata", "must not be set without listenerPath");
    }
    if !notifies(profile) {
        return None;
    }
    let Some(path) = path else {
        // runc's words.
        findings.error("linux.seccomp.listenerPath", "seccomp listenerPath is not set");
        return None;
    };
    findings.text("linux.seccomp.listenerPath", &path);
    Some(Agent { path, metadata })
}

fn notifies(profile: &LinuxSeccomp) -> bool {
    let rules = profile.syscalls().iter().flatten().map(|rule| rule.action());
    rules.chain([profile.default_action()]).any(|action| action == LinuxSeccompAction::ScmpActNotify)
}

/// "When the action doesn't support an errno, the runtime MUST print and error and fail."
fn errno(origin: &str, action: LinuxSeccompAction, errno: Option<u32>, findings: &mut Findings) {
    let takes_one = matches!(action, LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace);
    if errno.is_some() && !takes_one {
        findings.error(origin, format!("{action} returns no errno"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(profile: &str) -> (Option<Agent>, String) {
        let mut findings = Findings::default();
        let agent = agent(Some(&serde_json::from_str(profile).unwrap()), None, &mut findings);
        let error = findings.finish("config.json", Vec::new()).err().map(|error| error.to_string());
        (agent, error.unwrap_or_default())
    }

    #[test]
    fn a_profile_with_all_faults_names_them() {
        let (agent, error) = found(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "listenerMetadata": "x", "syscalls": [
                {"names": [], "action": "SCMP_ACT_NOTIFY"},
                {"names": ["reboot"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]}"#,
        );
        assert!(agent.is_none());
        for part in [
            "defaultErrnoRet: SCMP_ACT_ALLOW returns no errno",
            "syscalls[0].names: has to name",
            "syscalls[1].errnoRet: SCMP_ACT_KILL returns no errno",
            "listenerMetadata: must not be set without listenerPath",
            "listenerPath: seccomp listenerPath is not set",
        ] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn a_listener_that_nobody_needs_is_ignored() {
        let (agent, error) = found(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "listenerPath": "/a", "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 5}]}"#,
        );
        assert!(agent.is_none() && error.is_empty(), "{error:?}");
    }

    #[test]
    fn the_default_action_needs_an_agent_too() {
        let (agent, _) = found(r#"{"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "@agent"}"#);
        assert_eq!(agent.unwrap().path, "@agent");
    }
}
