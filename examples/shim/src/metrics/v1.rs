//! `io.containerd.cgroups.v1.Metrics`.

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl, MemoryStat,
    Metrics, PidsStat, Throttle,
};
use runtime_core::cgroup::stats::{self, BlkioEntry, Statistics};

pub(super) fn metrics(statistics: &Statistics, oom_kills: Option<u64>) -> Metrics {
    let Statistics { cpu, cpuset: _, memory, pids, blkio: io, hugetlb, .. } = statistics;
    let mut metrics = Metrics::new();
    metrics.hugetlb = hugetlb.iter().map(|(size, pages)| huge_pages(size, pages)).collect();
    let stats::Pids { current, limit, .. } = *pids;
    metrics.pids = Some(PidsStat { current, limit, ..PidsStat::default() }).into();
    metrics.cpu = Some(processor(cpu)).into();
    metrics.memory = Some(memory_of(memory)).into();
    metrics.blkio = Some(devices(io)).into();
    if let Some(oom_kill) = oom_kills {
        metrics.memory_oom_control =
            Some(MemoryOomControl { oom_kill, ..MemoryOomControl::default() }).into();
    }
    metrics
}

fn huge_pages(size: &str, pages: &stats::HugePages) -> HugetlbStat {
    let stats::HugePages { usage, max, failcnt, .. } = *pages;
    HugetlbStat { usage, max, failcnt, pagesize: size.to_owned(), ..HugetlbStat::default() }
}

fn processor(cpu: &stats::Cpu) -> CPUStat {
    let stats::Cpu { usage, throttling, psi: _, .. } = cpu;
    let stats::Throttling { periods, throttled_periods, throttled_time, .. } = *throttling;
    let usage = CPUUsage {
        total: usage.total,
        kernel: usage.kernel,
        user: usage.user,
        per_cpu: usage.percpu.clone(),
        ..CPUUsage::default()
    };
    let throttling = Throttle { periods, throttled_periods, throttled_time, ..Throttle::default() };
    CPUStat { usage: Some(usage).into(), throttling: Some(throttling).into(), ..CPUStat::default() }
}

fn entry(from: stats::MemoryEntry) -> MemoryEntry {
    let stats::MemoryEntry { limit, usage, max, failcnt } = from;
    MemoryEntry { limit, usage, max, failcnt, ..MemoryEntry::default() }
}

fn memory_of(memory: &stats::Memory) -> MemoryStat {
    let stats::Memory { cache: _, usage, swap, kernel, kernel_tcp, raw, psi: _, .. } = memory;
    let get = |name: &str| raw.get(name).copied().unwrap_or_default();
    MemoryStat {
        cache: get("cache"),
        rss: get("rss"),
        rss_huge: get("rss_huge"),
        mapped_file: get("mapped_file"),
        dirty: get("dirty"),
        writeback: get("writeback"),
        pg_pg_in: get("pgpgin"),
        pg_pg_out: get("pgpgout"),
        pg_fault: get("pgfault"),
        pg_maj_fault: get("pgmajfault"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        hierarchical_memory_limit: get("hierarchical_memory_limit"),
        hierarchical_swap_limit: get("hierarchical_memsw_limit"),
        total_cache: get("total_cache"),
        total_rss: get("total_rss"),
        total_rss_huge: get("total_rss_huge"),
        total_mapped_file: get("total_mapped_file"),
        total_dirty: get("total_dirty"),
        total_writeback: get("total_writeback"),
        total_pg_pg_in: get("total_pgpgin"),
        total_pg_pg_out: get("total_pgpgout"),
        total_pg_fault: get("total_pgfault"),
        total_pg_maj_fault: get("total_pgmajfault"),
        total_inactive_anon: get("total_inactive_anon"),
        total_active_anon: get("total_active_anon"),
        total_inactive_file: get("total_inactive_file"),
        total_active_file: get("total_active_file"),
        total_unevictable: get("total_unevictable"),
        usage: Some(entry(*usage)).into(),
        swap: Some(entry(*swap)).into(),
        kernel: Some(entry(*kernel)).into(),
        kernel_tcp: Some(entry(*kernel_tcp)).into(),
        ..MemoryStat::default()
    }
}

fn entries(from: &[BlkioEntry]) -> Vec<BlkIOEntry> {
    let entry = |BlkioEntry { major, minor, op, value }: &BlkioEntry| BlkIOEntry {
        op: op.clone(),
        device: String::new(),
        major: *major,
        minor: *minor,
        value: *value,
        ..BlkIOEntry::default()
    };
    from.iter().map(entry).collect()
}

fn devices(io: &stats::Blkio) -> BlkIOStat {
    let stats::Blkio {
        io_service_bytes_recursive,
        io_serviced_recursive,
        io_queued_recursive,
        io_service_time_recursive,
        io_wait_time_recursive,
        io_merged_recursive,
        io_time_recursive,
        sectors_recursive,
        psi: _,
        ..
    } = io;
    BlkIOStat {
        io_service_bytes_recursive: entries(io_service_bytes_recursive),
        io_serviced_recursive: entries(io_serviced_recursive),
        io_queued_recursive: entries(io_queued_recursive),
        io_service_time_recursive: entries(io_service_time_recursive),
        io_wait_time_recursive: entries(io_wait_time_recursive),
        io_merged_recursive: entries(io_merged_recursive),
        io_time_recursive: entries(io_time_recursive),
        sectors_recursive: entries(sectors_recursive),
        ..BlkIOStat::default()
    }
}
