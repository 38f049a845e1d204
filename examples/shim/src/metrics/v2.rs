//! `io.containerd.cgroups.v2.Metrics`.

use std::collections::BTreeMap;

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats, PidsStat,
};
use containerd_shim_protos::protobuf::MessageField;
use runtime_core::cgroup::stats::{self, Statistics};

pub(super) fn metrics(statistics: &Statistics, oom_kills: Option<u64>) -> Metrics {
    let Statistics { cpu, cpuset: _, memory, pids, blkio: io, hugetlb, .. } = statistics;
    let mut metrics = Metrics::new();
    let stats::Pids { current, limit, .. } = *pids;
    metrics.pids = Some(PidsStat { current, limit, ..PidsStat::default() }).into();
    metrics.cpu = Some(processor(cpu)).into();
    metrics.memory = Some(memory_of(memory)).into();
    metrics.io = Some(devices(io)).into();
    metrics.hugetlb = hugetlb.iter().map(|(size, pages)| huge_pages(size, pages)).collect();
    let oom_kill = oom_kills.unwrap_or_default();
    metrics.memory_events = Some(MemoryEvents { oom_kill, ..MemoryEvents::default() }).into();
    metrics
}

fn huge_pages(size: &str, pages: &stats::HugePages) -> HugeTlbStat {
    let stats::HugePages { usage, max, failcnt, .. } = *pages;
    HugeTlbStat { current: usage, max, failcnt, pagesize: size.to_owned(), ..HugeTlbStat::default() }
}

/// Times are nanoseconds there and microseconds here.
fn processor(cpu: &stats::Cpu) -> CPUStat {
    let stats::Cpu { usage, throttling, psi, .. } = cpu;
    let stats::Throttling { periods, throttled_periods, throttled_time, .. } = *throttling;
    CPUStat {
        usage_usec: usage.total / 1000,
        user_usec: usage.user / 1000,
        system_usec: usage.kernel / 1000,
        nr_periods: periods,
        nr_throttled: throttled_periods,
        throttled_usec: throttled_time / 1000,
        psi: pressure(*psi),
        ..CPUStat::default()
    }
}

fn memory_of(memory: &stats::Memory) -> MemoryStat {
    let stats::Memory { cache: _, usage, swap, kernel: _, kernel_tcp: _, raw, psi, .. } = memory;
    let get = |name: &str| raw.get(name).copied().unwrap_or_default();
    MemoryStat {
        anon: get("anon"),
        file: get("file"),
        kernel_stack: get("kernel_stack"),
        slab: get("slab"),
        sock: get("sock"),
        shmem: get("shmem"),
        file_mapped: get("file_mapped"),
        file_dirty: get("file_dirty"),
        file_writeback: get("file_writeback"),
        anon_thp: get("anon_thp"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        slab_reclaimable: get("slab_reclaimable"),
        slab_unreclaimable: get("slab_unreclaimable"),
        pgfault: get("pgfault"),
        pgmajfault: get("pgmajfault"),
        workingset_refault: either(raw, "workingset_refault", "workingset_refault_file"),
        workingset_activate: either(raw, "workingset_activate", "workingset_activate_file"),
        workingset_nodereclaim: get("workingset_nodereclaim"),
        pgrefill: get("pgrefill"),
        pgscan: get("pgscan"),
        pgsteal: get("pgsteal"),
        pgactivate: get("pgactivate"),
        pgdeactivate: get("pgdeactivate"),
        pglazyfree: get("pglazyfree"),
        pglazyfreed: get("pglazyfreed"),
        thp_fault_alloc: get("thp_fault_alloc"),
        thp_collapse_alloc: get("thp_collapse_alloc"),
        usage: usage.usage,
        usage_limit: usage.limit,
        max_usage: usage.max,
        // Memory and swap together there, swap alone here.
        swap_usage: swap.usage.saturating_sub(usage.usage),
        swap_limit: if swap.limit == u64::MAX { u64::MAX } else { swap.limit.saturating_sub(usage.limit) },
        swap_max_usage: swap.max,
        psi: pressure(*psi),
        ..MemoryStat::default()
    }
}

/// A counter that newer kernels have split.
fn either(raw: &BTreeMap<String, u64>, old: &str, new: &str) -> u64 {
    raw.get(old).or_else(|| raw.get(new)).copied().unwrap_or_default()
}

/// One entry for each device.
fn devices(io: &stats::Blkio) -> IOStat {
    let mut usage: BTreeMap<(u64, u64), IOEntry> = BTreeMap::new();
    let bytes = io.io_service_bytes_recursive.iter().map(|entry| (entry, true));
    for (entry, is_bytes) in bytes.chain(io.io_serviced_recursive.iter().map(|entry| (entry, false))) {
        let stats::BlkioEntry { major, minor, op, value } = entry;
        let device = usage.entry((*major, *minor)).or_default();
        (device.major, device.minor) = (*major, *minor);
        match (op.to_lowercase().as_str(), is_bytes) {
            ("read", true) => device.rbytes += value,
            ("write", true) => device.wbytes += value,
            ("read", false) => device.rios += value,
            ("write", false) => device.wios += value,
            (_, true | false) => {}
        }
    }
    IOStat { usage: usage.into_values().collect(), psi: pressure(io.psi), ..IOStat::default() }
}

fn pressure(from: Option<stats::Pressure>) -> MessageField<PSIStats> {
    let line = |stats::PressureLine { avg10, avg60, avg300, total }: stats::PressureLine| PSIData {
        avg10,
        avg60,
        avg300,
        total,
        ..PSIData::default()
    };
    let both = |stats::Pressure { some, full }: stats::Pressure| PSIStats {
        some: Some(line(some)).into(),
        full: Some(line(full)).into(),
        ..PSIStats::default()
    };
    from.map_or_else(MessageField::none, |pressure| Some(both(pressure)).into())
}
