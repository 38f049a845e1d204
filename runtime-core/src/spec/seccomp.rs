//! `linux.seccomp`: what can be said about a profile without compiling it.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};

use super::findings::Findings;

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
