//! What a container uses: the numbers of `events --stats`.
//!
//! The names are those that containerd and Docker's clients parse (runc's `types/events.go`); fields
//! that runc leaves out when they are zero are left out here.

mod file;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod v1;
mod v2;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Cgroup, Member};
use crate::error::Result;

/// The usage of a cgroup and all below it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Statistics {
    /// CPU time and throttling.
    pub cpu: Cpu,
    /// CPUs and memory nodes; filled on v1 only, as by runc.
    pub cpuset: CpuSet,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages by size, such as `2MB`.
    pub hugetlb: BTreeMap<String, HugePages>,
}

/// CPU time and throttling.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Cpu {
    /// Time used.
    pub usage: CpuUsage,
    /// Time held back by the quota.
    pub throttling: Throttling,
    /// Pressure; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuUsage {
    /// All.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// All, per CPU; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel, per CPU; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In user mode, per CPU; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In user mode.
    pub user: u64,
}

/// Throttling by the CPU quota.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Throttling {
    /// Periods that have passed.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Periods in which the quota ran out.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds of waiting.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// The v1 cpuset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuSet {
    /// CPU numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// 1 if no sibling may use them.
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// 1 if kernel allocations keep to the nodes as well.
    pub mem_hardwall: u64,
    /// 1 if no sibling may use the nodes.
    pub mem_exclusive: u64,
    /// 1 if pages move when the nodes change.
    pub memory_migrate: u64,
    /// 1 if page cache is spread over the nodes.
    pub memory_spread_page: u64,
    /// 1 if slab objects are spread over the nodes.
    pub memory_spread_slab: u64,
    /// The rate of direct reclaim.
    pub memory_pressure: u64,
    /// 1 if the scheduler balances over the CPUs.
    pub sched_load_balance: u64,
    /// How far the scheduler looks for an idle CPU; -1 is the system's default.
    pub sched_relax_domain_level: i64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    #[serde(skip_serializing_if = "MemoryEntry::is_unset")]
    pub usage: MemoryEntry,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "MemoryEntry::is_unset")]
    pub swap: MemoryEntry,
    /// Kernel memory; v1 only.
    #[serde(skip_serializing_if = "MemoryEntry::is_unset")]
    pub kernel: MemoryEntry,
    /// Memory of TCP buffers; v1 only.
    #[serde(rename = "kernelTCP", skip_serializing_if = "MemoryEntry::is_unset")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Pressure; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// The limit; the largest number of all is no limit.
    pub limit: u64,
    /// Used now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was used.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit; v1 only.
    pub failcnt: u64,
}

impl MemoryEntry {
    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// Tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pids {
    /// Tasks now.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// The limit; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Blkio {
    /// Bytes by device and operation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations by device and kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Operations that wait.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of waiting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Operations merged into others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Milliseconds of disk time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors of 512 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// Pressure; v2 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One number of a block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// Major device number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Minor device number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// `Read`, `Write` and the like.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The number.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HugePages {
    /// Used now, or reserved where the kernel counts that.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that was used; v1 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Pressure stall information (the kernel's accounting/psi.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some task waited.
    #[serde(skip_serializing_if = "PressureLine::is_unset")]
    pub some: PressureLine,
    /// All tasks waited.
    #[serde(skip_serializing_if = "PressureLine::is_unset")]
    pub full: PressureLine,
}

/// One line of pressure: shares of time in percent, and microseconds in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PressureLine {
    /// Over 10 seconds.
    pub avg10: f64,
    /// Over a minute.
    pub avg60: f64,
    /// Over five minutes.
    pub avg300: f64,
    /// In all.
    pub total: u64,
}

impl PressureLine {
    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Cgroup {
    /// The usage now. Numbers of controllers that the cgroup does not have are zero.
    ///
    /// # Errors
    ///
    /// A file that may not be read or has an unknown form.
    pub fn statistics(&self) -> Result<Statistics> {
        let mut statistics = Statistics::default();
        for member in &self.members {
            if member.is_unified() {
                v2::read(member, &mut statistics)?;
            } else {
                v1::read(member, &mut statistics)?;
            }
        }
        Ok(statistics)
    }

    /// How many processes the kernel has killed in the cgroup for lack of memory; `None` if nobody
    /// counts.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        let Some(member) = self.member("memory") else {
            return Ok(None);
        };
        let file = if member.is_unified() { "memory.events" } else { "memory.oom_control" };
        Ok(file::pairs(&member.directory, file)?.get("oom_kill").copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_engines() {
        let mut statistics = Statistics::default();
        statistics.memory.kernel_tcp.usage = 1;
        statistics.blkio.io_queued_recursive.push(BlkioEntry {
            major: 8,
            minor: 0,
            op: "Read".into(),
            value: 3,
        });
        statistics.cpu.throttling.throttled_periods = 2;
        statistics.hugetlb.insert("2MB".into(), HugePages::default());
        let text = serde_json::to_value(&statistics).unwrap();
        assert_eq!(text["memory"], serde_json::json!({"kernelTCP": {"limit": 0, "usage": 1, "failcnt": 0}}));
        assert_eq!(
            text["blkio"],
            serde_json::json!({"ioQueueRecursive": [{"major": 8, "op": "Read", "value": 3}]})
        );
        assert_eq!(text["cpu"]["throttling"], serde_json::json!({"throttledPeriods": 2}));
        assert_eq!(text["cpu"]["usage"], serde_json::json!({"kernel": 0, "user": 0}));
        assert_eq!(text["hugetlb"], serde_json::json!({"2MB": {"failcnt": 0}}));
        assert_eq!(text["pids"], serde_json::json!({}));
    }
}
