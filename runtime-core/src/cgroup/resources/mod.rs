//! What a cgroup is asked for: `linux.resources` as values that mean one thing.
//!
//! Zeroes and empty texts that stand for "unset" in a configuration are [`None`] here, and a value that
//! no kernel could take cannot be made. `runtime_core::spec` makes the types from JSON
//! ([`parse_resources`](crate::spec::parse_resources)) and from the types of the `oci_spec` crate
//! (`TryFrom`); a program can also make them itself.
//!
//! As JSON they are `linux.resources` again, with what is set.

mod values;

use std::collections::BTreeMap;

use serde::Serialize;

use super::devices::DeviceRule;
pub use values::{
    BadValue, ControlFile, CpuList, DeviceName, DeviceNumber, Limit, PageSize, Swappiness, Weight,
};

/// All limits of a cgroup. What is not set stays as the kernel has it.
///
/// Source: runtime specification, config-linux.md, "Control groups".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Resources {
    /// `devices`: which devices may be opened and made; `None` says nothing about them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<DeviceRule>>,
    /// `memory`.
    #[serde(skip_serializing_if = "is_unset")]
    pub memory: Memory,
    /// `cpu`.
    #[serde(skip_serializing_if = "is_unset")]
    pub cpu: Cpu,
    /// `pids.limit`: the most processes and threads. Zero leaves no room to fork.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "values::pids")]
    pub pids: Option<Limit>,
    /// `blockIO`.
    #[serde(skip_serializing_if = "is_unset", rename = "blockIO")]
    pub block_io: BlockIo,
    /// `hugepageLimits`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// `network`.
    #[serde(skip_serializing_if = "is_unset")]
    pub network: Network,
    /// `rdma`, by the name of the device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<DeviceName, Rdma>,
    /// `unified`: files of cgroup v2, with what is written to them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<ControlFile, String>,
}

/// `linux.resources.memory`, in bytes.
///
/// `kernel`, `kernelTCP` and `useHierarchy` of the specification are not here: the kernel has nothing to set
/// them with since Linux 6.1 (kernel) and 5.11 (hierarchy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Memory {
    /// The most memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// What the kernel leaves to the cgroup when memory is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Limit>,
    /// The most memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Limit>,
    /// How willingly the kernel swaps; v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<Swappiness>,
    /// Processes wait instead of being killed when the limit is reached; v1 only.
    #[serde(skip_serializing_if = "Option::is_none", rename = "disableOOMKiller")]
    pub disable_oom_killer: Option<bool>,
    /// A limit below the present use is refused, instead of making the kernel reclaim and kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_before_update: Option<bool>,
}

impl Memory {
    /// The reason why the two limits cannot stand together.
    pub(crate) const SWAP_BELOW_LIMIT: &'static str = "memory+swap limit should be >= memory limit";
}

/// `linux.resources.cpu`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Cpu {
    /// Relative weight: 2 to 262144, by default 1024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Microseconds of CPU time in each period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Limit>,
    /// Runs only when nobody else wants to.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "values::number")]
    pub idle: Option<bool>,
    /// Unused microseconds of quota that may be used later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Microseconds of a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// Microseconds of realtime CPU time in each realtime period; v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<Limit>,
    /// Microseconds of a realtime period; v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// Which CPUs may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<CpuList>,
    /// From which nodes memory may come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<CpuList>,
}

/// `linux.resources.blockIO`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct BlockIo {
    /// Relative weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The same beside child cgroups; its scheduler ended with Linux 5.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<Weight>,
    /// Weights for one device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "throttleReadIOPSDevice")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "throttleWriteIOPSDevice")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// An item of `blockIO.weightDevice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// The disk.
    #[serde(flatten)]
    pub device: DeviceNumber,
    /// Relative weight on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The same beside child cgroups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<Weight>,
}

/// An item of the `throttle…Device` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ThrottleDevice {
    /// The disk.
    #[serde(flatten)]
    pub device: DeviceNumber,
    /// Bytes or operations per second; 0 lifts the limit.
    pub rate: u64,
}

/// An item of `hugepageLimits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit {
    /// Which pages.
    pub page_size: PageSize,
    /// The most bytes in such pages.
    pub limit: u64,
}

/// `linux.resources.network`; v1 only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Network {
    /// The class that packets get (net_cls).
    #[serde(skip_serializing_if = "Option::is_none", rename = "classID")]
    pub class_id: Option<u32>,
    /// Priorities on interfaces (net_prio).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<InterfacePriority>,
}

/// An item of `network.priorities`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfacePriority {
    /// The interface.
    pub name: DeviceName,
    /// Its priority.
    pub priority: u32,
}

/// A value of `rdma`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Rdma {
    /// The most handles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u32>,
    /// The most objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u32>,
}

fn is_unset<T: Default + PartialEq>(part: &T) -> bool {
    *part == T::default()
}
