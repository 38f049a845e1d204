//! The numbers of v1 hierarchies.

use super::super::directory::Directory;
use super::file::{blkio_lines, list, number, pairs, parse, text};
use super::{BlkioEntry, HugePages, Member, MemoryEntry, Statistics};
use crate::error::Result;

/// The unit of `cpuacct.stat`, USER_HZ: 100 a second on every architecture that Linux has containers on.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

pub(super) fn read(member: &Member, statistics: &mut Statistics) -> Result<()> {
    let directory = &member.directory;
    for controller in &member.place.controllers {
        match controller.as_str() {
            "cpu" => throttling(directory, statistics)?,
            "cpuacct" => cpuacct(directory, statistics)?,
            "cpuset" => cpuset(directory, statistics)?,
            "memory" => memory(directory, statistics)?,
            "pids" => pids(directory, statistics)?,
            "blkio" => blkio(directory, statistics)?,
            "hugetlb" => hugetlb(directory, statistics)?,
            _ => {}
        }
    }
    Ok(())
}

fn throttling(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    let stat = pairs(directory, "cpu.stat")?;
    let get = |key: &str| stat.get(key).copied().unwrap_or_default();
    let throttling = &mut statistics.cpu.throttling;
    throttling.periods = get("nr_periods");
    throttling.throttled_periods = get("nr_throttled");
    throttling.throttled_time = get("throttled_time");
    Ok(())
}

fn cpuacct(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    let usage = &mut statistics.cpu.usage;
    usage.total = number(directory, "cpuacct.usage")?.unwrap_or_default();
    let stat = pairs(directory, "cpuacct.stat")?;
    let time = |key: &str| stat.get(key).copied().unwrap_or_default().saturating_mul(NANOSECONDS_PER_TICK);
    (usage.user, usage.kernel) = (time("user"), time("system"));
    for value in text(directory, "cpuacct.usage_percpu")?.unwrap_or_default().split_whitespace() {
        usage.percpu.push(parse(directory, "cpuacct.usage_percpu", value)?);
    }
    // A header, then: CPU, user, system.
    for line in text(directory, "cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1);
        if let (Some(user), Some(kernel)) = (fields.next(), fields.next()) {
            usage.percpu_user.push(parse(directory, "cpuacct.usage_all", user)?);
            usage.percpu_kernel.push(parse(directory, "cpuacct.usage_all", kernel)?);
        }
    }
    Ok(())
}

fn cpuset(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    let flag = |name: &str| number(directory, &format!("cpuset.{name}")).map(Option::unwrap_or_default);
    let numbers =
        |name: &str| text(directory, &format!("cpuset.{name}")).map(|text| list(&text.unwrap_or_default()));
    let level = text(directory, "cpuset.sched_relax_domain_level")?;
    statistics.cpuset = super::CpuSet {
        cpus: numbers("cpus")?,
        cpu_exclusive: flag("cpu_exclusive")?,
        mems: numbers("mems")?,
        mem_hardwall: flag("mem_hardwall")?,
        mem_exclusive: flag("mem_exclusive")?,
        memory_migrate: flag("memory_migrate")?,
        memory_spread_page: flag("memory_spread_page")?,
        memory_spread_slab: flag("memory_spread_slab")?,
        memory_pressure: flag("memory_pressure")?,
        sched_load_balance: flag("sched_load_balance")?,
        sched_relax_domain_level: level.and_then(|text| text.trim().parse().ok()).unwrap_or_default(),
    };
    Ok(())
}

fn memory(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    let entry = |name: &str| -> Result<MemoryEntry> {
        let get =
            |file: &str| number(directory, &format!("memory.{name}{file}")).map(Option::unwrap_or_default);
        Ok(MemoryEntry {
            limit: get("limit_in_bytes")?,
            usage: get("usage_in_bytes")?,
            max: get("max_usage_in_bytes")?,
            failcnt: get("failcnt")?,
        })
    };
    let memory = &mut statistics.memory;
    memory.raw = pairs(directory, "memory.stat")?;
    memory.cache = memory.raw.get("cache").copied().unwrap_or_default();
    memory.usage = entry("")?;
    memory.swap = entry("memsw.")?;
    memory.kernel = entry("kmem.")?;
    memory.kernel_tcp = entry("kmem.tcp.")?;
    Ok(())
}

pub(super) fn pids(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    statistics.pids.current = number(directory, "pids.current")?.unwrap_or_default();
    statistics.pids.limit =
        number(directory, "pids.max")?.filter(|limit| *limit != u64::MAX).unwrap_or_default();
    Ok(())
}

/// The I/O scheduler decides which files there are: BFQ's, CFQ's (before 5.0), or only the throttle's.
fn blkio(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    let blkio = &mut statistics.blkio;
    let read = |prefix: &str, name: &str| -> Result<Option<Vec<BlkioEntry>>> {
        Ok(text(directory, &format!("blkio.{prefix}{name}"))?.map(|text| blkio_lines(&text)))
    };
    for (prefix, suffix) in
        [("bfq.", "_recursive"), ("", "_recursive"), ("throttle.", "_recursive"), ("throttle.", "")]
    {
        let Some(serviced) = read(prefix, &format!("io_serviced{suffix}"))? else {
            continue;
        };
        let other = |name: &str| -> Result<Vec<BlkioEntry>> {
            Ok(read(prefix, &format!("{name}{suffix}"))?.unwrap_or_default())
        };
        blkio.io_service_bytes_recursive = other("io_service_bytes")?;
        blkio.io_queued_recursive = other("io_queued")?;
        blkio.io_service_time_recursive = other("io_service_time")?;
        blkio.io_wait_time_recursive = other("io_wait_time")?;
        blkio.io_merged_recursive = other("io_merged")?;
        blkio.io_time_recursive = other("time")?;
        blkio.sectors_recursive = other("sectors")?;
        blkio.io_serviced_recursive = serviced;
        // BFQ's files are there even where no device uses it; they are empty then.
        if !blkio.io_serviced_recursive.is_empty() {
            break;
        }
    }
    Ok(())
}

fn hugetlb(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    for size in super::v2::page_sizes(directory, "usage_in_bytes")? {
        let rsvd = number(directory, &format!("hugetlb.{size}.rsvd.usage_in_bytes"))?;
        let prefix = if rsvd.is_some() { format!("hugetlb.{size}.rsvd") } else { format!("hugetlb.{size}") };
        let get = |file: &str| number(directory, &format!("{prefix}.{file}")).map(Option::unwrap_or_default);
        let pages = HugePages {
            usage: get("usage_in_bytes")?,
            max: get("max_usage_in_bytes")?,
            failcnt: get("failcnt")?,
        };
        statistics.hugetlb.insert(size, pages);
    }
    Ok(())
}
