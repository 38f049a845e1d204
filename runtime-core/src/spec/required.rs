//! The REQUIRED numbers and booleans that `oci_spec` takes for 0 and false when they are missing.
//!
//! A mapping without `hostID` would otherwise map to root of the host, and a device rule without
//! `allow` would turn around: what is missing must be said. A user without `uid` or `gid` is root of the
//! container, as with runc, whose tests rely on it.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What a `config.json` must have where it has the objects around it.
#[derive(Deserialize)]
pub(super) struct Required {
    #[serde(rename = "process")]
    _process: Option<Process>,
    #[serde(rename = "mounts")]
    _mounts: Option<Vec<Mount>>,
    #[serde(rename = "linux")]
    _linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Process {
    #[serde(rename = "rlimits")]
    _rlimits: Option<Vec<Rlimit>>,
    #[serde(rename = "ioPriority")]
    _io_priority: Option<IoPriority>,
}

/// What a `config.json` must have besides when its process has a terminal: without one, `consoleSize` is
/// ignored.
#[derive(Deserialize)]
pub(super) struct RequiredWithTerminal {
    #[serde(rename = "process")]
    _process: Option<ProcessWithTerminal>,
}

/// What a process of `exec` must have when it has a terminal.
#[derive(Deserialize)]
pub(super) struct ProcessWithTerminal {
    #[serde(rename = "consoleSize")]
    _console: Option<ConsoleSize>,
}

#[derive(Deserialize)]
struct ConsoleSize {
    #[serde(rename = "height")]
    _height: IgnoredAny,
    #[serde(rename = "width")]
    _width: IgnoredAny,
}

#[derive(Deserialize)]
struct Rlimit {
    #[serde(rename = "soft")]
    _soft: IgnoredAny,
    #[serde(rename = "hard")]
    _hard: IgnoredAny,
}

#[derive(Deserialize)]
struct IoPriority {
    #[serde(rename = "class")]
    _class: IgnoredAny,
    #[serde(rename = "priority")]
    _priority: IgnoredAny,
}

#[derive(Deserialize)]
struct Mount {
    #[serde(rename = "uidMappings")]
    _uids: Option<Vec<Mapping>>,
    #[serde(rename = "gidMappings")]
    _gids: Option<Vec<Mapping>>,
}

#[derive(Deserialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    _container: IgnoredAny,
    #[serde(rename = "hostID")]
    _host: IgnoredAny,
    #[serde(rename = "size")]
    _size: IgnoredAny,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(rename = "uidMappings")]
    _uids: Option<Vec<Mapping>>,
    #[serde(rename = "gidMappings")]
    _gids: Option<Vec<Mapping>>,
    #[serde(rename = "devices")]
    _devices: Option<Vec<Device>>,
    #[serde(rename = "resources")]
    _resources: Option<Resources>,
}

/// A fifo has no numbers. An untagged enum would say neither which field is missing nor of which device, so the
/// fields are looked at while the parser is still at their object.
struct Device;

#[derive(Deserialize)]
struct DeviceFields {
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<IgnoredAny>,
    minor: Option<IgnoredAny>,
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DeviceVisitor)
    }
}

struct DeviceVisitor;

impl<'de> Visitor<'de> for DeviceVisitor {
    type Value = Device;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a device")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Device, A::Error> {
        let device = DeviceFields::deserialize(MapAccessDeserializer::new(map))?;
        match (device.kind.as_deref(), device.major, device.minor) {
            (Some("p"), ..) | (_, Some(_), Some(_)) => Ok(Device),
            (_, None, _) => Err(A::Error::missing_field("major")),
            (_, Some(_), None) => Err(A::Error::missing_field("minor")),
        }
    }
}

#[derive(Deserialize)]
struct Resources {
    #[serde(rename = "devices")]
    _devices: Option<Vec<Rule>>,
    #[serde(rename = "blockIO")]
    _block_io: Option<BlockIo>,
    #[serde(rename = "network")]
    _network: Option<Network>,
    #[serde(rename = "hugepageLimits")]
    _hugepages: Option<Vec<Hugepage>>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "allow")]
    _allow: IgnoredAny,
}

#[derive(Deserialize)]
struct BlockIo {
    #[serde(rename = "weightDevice")]
    _weights: Option<Vec<Weight>>,
    #[serde(rename = "throttleReadBpsDevice")]
    _read_bytes: Option<Vec<Throttle>>,
    #[serde(rename = "throttleWriteBpsDevice")]
    _write_bytes: Option<Vec<Throttle>>,
    #[serde(rename = "throttleReadIOPSDevice")]
    _reads: Option<Vec<Throttle>>,
    #[serde(rename = "throttleWriteIOPSDevice")]
    _writes: Option<Vec<Throttle>>,
}

#[derive(Deserialize)]
struct Weight {
    #[serde(rename = "major")]
    _major: IgnoredAny,
    #[serde(rename = "minor")]
    _minor: IgnoredAny,
}

#[derive(Deserialize)]
struct Throttle {
    #[serde(rename = "major")]
    _major: IgnoredAny,
    #[serde(rename = "minor")]
    _minor: IgnoredAny,
    #[serde(rename = "rate")]
    _rate: IgnoredAny,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "priorities")]
    _priorities: Option<Vec<Priority>>,
}

#[derive(Deserialize)]
struct Priority {
    #[serde(rename = "name")]
    _name: IgnoredAny,
    #[serde(rename = "priority")]
    _priority: IgnoredAny,
}

#[derive(Deserialize)]
struct Hugepage {
    #[serde(rename = "limit")]
    _limit: IgnoredAny,
}
