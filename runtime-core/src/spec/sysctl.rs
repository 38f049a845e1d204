//! `linux.sysctl`: only what belongs to a namespace of the container may be set.

use super::findings::Findings;
use super::linux::Parts;
use super::namespace::{Kind, Namespaces};

/// What belongs to the ipc namespace, besides `fs/mqueue`.
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// Names as paths below /proc/sys, sorted, with their values.
pub(super) fn sysctl(
    linux: &Parts<'_>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<(String, String)> {
    let settings = linux.get(|linux| linux.sysctl().as_ref()).into_iter().flatten();
    let mut all = Vec::new();
    for (name, value) in settings {
        let origin = format!("linux.sysctl.{name}");
        let path = path(name);
        findings.text(&origin, name);
        findings.text(&origin, value);
        let component = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !path.split('/').all(component) {
            findings.error(&origin, "is not the name of a sysctl");
        } else if let Some(reason) = refusal(&path, name, namespaces) {
            findings.error(&origin, reason);
        }
        all.push((path, value.clone()));
    }
    all.sort();
    if let Some(((twice, _), _)) = all.iter().zip(all.iter().skip(1)).find(|(one, next)| one.0 == next.0) {
        findings.error("linux.sysctl", format!("{twice:?} is set twice"));
    }
    all
}

/// sysctl.d(5): the first separator says which one is used; if it is a slash, dots are part of names
/// (`net/ipv4/conf/eth0.100/rp_filter`), otherwise slashes are (`net.ipv4.conf.eth0/100.rp_filter`).
fn path(name: &str) -> String {
    match name.chars().find(|c| matches!(c, '.' | '/')) {
        Some('.') => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn refusal(path: &str, name: &str, namespaces: &Namespaces) -> Option<String> {
    if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        let refused = !namespaces.has(Kind::Ipc);
        return refused.then(|| format!("sysctl {name:?} is not allowed in the hosts ipc namespace"));
    }
    if path.starts_with("net/") {
        let refused = !namespaces.has(Kind::Network);
        return refused.then(|| format!("sysctl {name:?} not allowed in host network namespace"));
    }
    if path.starts_with("user/") {
        let refused = !namespaces.has(Kind::User);
        return refused.then(|| format!("setting ucounts without a user namespace not allowed: {name}"));
    }
    match path {
        "kernel/domainname" if namespaces.has(Kind::Uts) => None,
        "kernel/hostname" if namespaces.has(Kind::Uts) => {
            Some(format!("sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"))
        }
        _ => Some(format!("sysctl {name:?} is not in a separate kernel namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn the_first_separator_counts() {
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.100/rp_filter"), "net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(path("net.ipv4.conf.eth0/100.rp_filter"), "net/ipv4/conf/eth0.100/rp_filter");
    }
}
