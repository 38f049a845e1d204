//! `linux.netDevices`.

use std::collections::HashSet;

use super::findings::Findings;
use super::linux::Parts;
use super::namespace::{Kind, Namespaces};

/// IFNAMSIZ without the final NUL.
const LONGEST: usize = 15;

/// A network interface of the host that moves into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetDevice {
    /// Its name on the host.
    pub(crate) host: String,
    /// Its name in the container; with a final `%d` a template.
    pub(crate) name: String,
}

impl NetDevice {
    /// JSON path of the entry.
    pub(crate) fn origin(&self) -> String {
        format!("linux.netDevices.{}", self.host)
    }
}

/// The devices, in the order of their names: a map has none of its own.
pub(super) fn net_devices(
    linux: &Parts<'_>,
    namespaces: &Namespaces,
    findings: &mut Findings,
) -> Vec<NetDevice> {
    let Some(map) = linux.get(|linux| linux.net_devices().as_ref()) else { return Vec::new() };
    if !map.is_empty() && !namespaces.has(Kind::Network) {
        findings.error("linux.netDevices", "unable to move network devices without a private NET namespace");
    }
    let name =
        |host: &String, given: Option<&String>| given.filter(|name| !name.is_empty()).unwrap_or(host).clone();
    let mut devices: Vec<NetDevice> = map
        .iter()
        .map(|(host, device)| NetDevice { host: host.clone(), name: name(host, device.name().as_ref()) })
        .collect();
    devices.sort_by(|one, other| one.host.cmp(&other.host));
    let mut taken = HashSet::with_capacity(devices.len());
    for device in &devices {
        let template = device.name.strip_suffix("%d");
        if !is_name(&device.host) {
            findings.error(device.origin(), format!("{:?} is no name of a network device", device.host));
        }
        if !is_name(template.unwrap_or(&device.name)) {
            findings.error(
                format!("{}.name", device.origin()),
                format!("{:?} is no name of a network device", device.name),
            );
        }
        if template.is_none() && !taken.insert(device.name.as_str()) {
            findings.error(
                format!("{}.name", device.origin()),
                format!("{:?} is the name of another device too", device.name),
            );
        }
    }
    devices
}

/// What the kernel takes as the name of an interface.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    !name.is_empty() && name.len() <= LONGEST && name != "." && name != ".." && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_those_of_the_kernel() {
        assert!(is_name("eth0") && is_name("a.b-c_d@e"));
        for name in ["", ".", "..", "a/b", "a b", "eth%d", "sixteen-letters-", "a:1"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
