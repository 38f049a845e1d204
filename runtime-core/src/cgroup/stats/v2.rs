//! The numbers of the cgroup2 hierarchy. On a hybrid machine it holds few controllers: what it does
//! not have, it leaves as v1 has filled it.

use nix::errno::Errno;

use super::super::directory::{Directory, failed};
use super::file::{io_stat, number, pairs, pressure, text};
use super::{HugePages, Member, MemoryEntry, Statistics};
use crate::error::Result;

pub(super) fn read(member: &Member, statistics: &mut Statistics) -> Result<()> {
    let directory = &member.directory;
    // cpu.stat is there without the controller too; where v1 counts, its numbers are the fuller ones.
    if statistics.cpu.usage.total == 0 {
        cpu(directory, statistics)?;
    }
    if directory.has("memory.stat") {
        memory(directory, statistics)?;
    }
    if directory.has("pids.current") {
        super::v1::pids(directory, statistics)?;
    } else if statistics.pids.current == 0 {
        statistics.pids.current = member.processes(true)?.len().try_into().unwrap_or(u64::MAX);
    }
    if let Some(stat) = text(directory, "io.stat")? {
        statistics.blkio.io_service_bytes_recursive = io_stat(&stat, "rbytes", "wbytes");
        statistics.blkio.io_serviced_recursive = io_stat(&stat, "rios", "wios");
    }
    hugetlb(directory, statistics)?;
    let read = |file: &str| -> Result<_> { Ok(text(directory, file)?.map(|text| pressure(&text))) };
    statistics.cpu.psi = read("cpu.pressure")?;
    statistics.memory.psi = read("memory.pressure")?;
    statistics.blkio.psi = read("io.pressure")?;
    Ok(())
}

fn cpu(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    let stat = pairs(directory, "cpu.stat")?;
    let get = |key: &str| stat.get(key).copied().unwrap_or_default();
    let nanoseconds = |key: &str| get(key).saturating_mul(1000);
    let usage = &mut statistics.cpu.usage;
    usage.total = nanoseconds("usage_usec");
    usage.user = nanoseconds("user_usec");
    usage.kernel = nanoseconds("system_usec");
    if stat.contains_key("nr_periods") {
        let throttling = &mut statistics.cpu.throttling;
        throttling.periods = get("nr_periods");
        throttling.throttled_periods = get("nr_throttled");
        throttling.throttled_time = nanoseconds("throttled_usec");
    }
    Ok(())
}

fn memory(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    let entry = |name: &str| -> Result<MemoryEntry> {
        let get =
            |file: &str| number(directory, &format!("memory.{name}{file}")).map(Option::unwrap_or_default);
        Ok(MemoryEntry { limit: get("max")?, usage: get("current")?, max: get("peak")?, failcnt: 0 })
    };
    let memory = &mut statistics.memory;
    memory.raw = pairs(directory, "memory.stat")?;
    memory.cache = memory.raw.get("file").copied().unwrap_or_default();
    memory.usage = entry("")?;
    // Engines expect memory and swap together, as v1 counts. Two peaks do not add up to one.
    let swap = entry("swap.")?;
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(memory.usage.limit),
        usage: swap.usage.saturating_add(memory.usage.usage),
        max: 0,
        failcnt: 0,
    };
    Ok(())
}

fn hugetlb(directory: &Directory, statistics: &mut Statistics) -> Result<()> {
    for size in page_sizes(directory, "current")? {
        let rsvd = number(directory, &format!("hugetlb.{size}.rsvd.current"))?;
        let usage = match rsvd {
            Some(usage) => usage,
            None => number(directory, &format!("hugetlb.{size}.current"))?.unwrap_or_default(),
        };
        let failcnt =
            pairs(directory, &format!("hugetlb.{size}.events"))?.get("max").copied().unwrap_or_default();
        statistics.hugetlb.insert(size, HugePages { usage, max: 0, failcnt });
    }
    Ok(())
}

/// The page sizes that the cgroup has files `hugetlb.SIZE.suffix` for.
pub(super) fn page_sizes(directory: &Directory, suffix: &str) -> Result<Vec<String>> {
    let entries = match directory.entries() {
        Ok(entries) => entries,
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(format!("read {:?}", directory.text()), errno)),
    };
    let size = |name: &str| {
        let middle = name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?.strip_suffix('.')?;
        (!middle.contains('.')).then(|| middle.to_owned())
    };
    // A directory of such a name is a cgroup that the container made.
    let files = entries.iter().filter(|entry| !entry.is_dir);
    Ok(files.filter_map(|entry| size(entry.name.to_str().ok()?)).collect())
}
