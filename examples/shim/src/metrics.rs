//! Statistics in the messages that containerd has for cgroup v1 and v2.

mod v1;
mod v2;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use runtime_core::cgroup::stats::Statistics;

use crate::fault::Fault;

/// The message for a machine with cgroup v2 alone, or the one for the others.
pub(crate) fn any(statistics: &Statistics, unified: bool, oom_kills: Option<u64>) -> Result<Any, Fault> {
    let (name, bytes) = match unified {
        true => ("io.containerd.cgroups.v2.Metrics", v2::metrics(statistics, oom_kills).write_to_bytes()),
        false => ("io.containerd.cgroups.v1.Metrics", v1::metrics(statistics, oom_kills).write_to_bytes()),
    };
    let value = bytes.map_err(|error| Fault::system("encode the statistics", error))?;
    Ok(Any { type_url: name.to_owned(), value, ..Any::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use containerd_shim_protos::{cgroups, cgroups_v2};
    use runtime_core::cgroup::stats::{BlkioEntry, MemoryEntry};

    fn statistics() -> Statistics {
        let mut statistics = Statistics::default();
        statistics.cpu.usage.total = 5_000_000;
        statistics.cpu.throttling.throttled_time = 7_000;
        statistics.memory.usage = MemoryEntry { limit: 64, usage: 32, max: 48, failcnt: 2 };
        statistics.memory.raw =
            [("anon", 9), ("rss", 10), ("slab", 3)].map(|(name, n)| (name.to_owned(), n)).into();
        statistics.pids.current = 4;
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 1, op: op.to_owned(), value };
        statistics.blkio.io_service_bytes_recursive = vec![entry("Read", 100), entry("Write", 50)];
        statistics.blkio.io_serviced_recursive = vec![entry("read", 3)];
        statistics
    }

    #[test]
    fn both_messages() {
        let any = super::any(&statistics(), false, Some(1)).unwrap();
        assert_eq!(any.type_url, "io.containerd.cgroups.v1.Metrics");
        let v1 = cgroups::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
        assert_eq!((v1.cpu.usage.total, v1.pids.current, v1.memory.rss), (5_000_000, 4, 10));
        assert_eq!(
            (v1.memory.usage.limit, v1.memory.usage.failcnt, v1.memory_oom_control.oom_kill),
            (64, 2, 1)
        );
        assert_eq!(v1.blkio.io_service_bytes_recursive.len(), 2);

        let any = super::any(&statistics(), true, Some(1)).unwrap();
        assert_eq!(any.type_url, "io.containerd.cgroups.v2.Metrics");
        let v2 = cgroups_v2::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
        assert_eq!(
            (v2.cpu.usage_usec, v2.cpu.throttled_usec, v2.memory.anon, v2.memory.slab),
            (5_000, 7, 9, 3)
        );
        assert_eq!((v2.memory.usage, v2.memory.usage_limit, v2.memory.max_usage), (32, 64, 48));
        let io = &v2.io.usage[0];
        assert_eq!((io.major, io.minor, io.rbytes, io.wbytes, io.rios, io.wios), (8, 1, 100, 50, 3, 0));
        assert_eq!(v2.memory_events.oom_kill, 1);
    }
}
