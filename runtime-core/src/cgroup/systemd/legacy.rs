//! Limits of cgroup v1 as properties. They are deprecated since v2, and gone from version 258, which has no
//! v1 any more. For what is neither here nor in `properties` (swap, reservation, throttling, huge pages,
//! ...) systemd has no word on v1.

use super::super::Write;
use super::properties::{CPU_PERIOD, Property, per_second};
use super::value::Value;

/// The file of the quota in microseconds; the period is another.
pub(super) const QUOTA: &str = "cpu.cfs_quota_us";
pub(super) const PERIOD: &str = "cpu.cfs_period_us";

/// The property of a file that only v1 has.
pub(super) fn of_limit(file: &str, value: &str) -> Option<Property> {
    let (name, range) = match file {
        "memory.limit_in_bytes" => {
            let limit = if value.starts_with('-') { u64::MAX } else { value.parse().ok()? };
            return Some(Property::new("MemoryLimit", Value::Uint64(limit)));
        }
        "cpu.shares" => ("CPUShares", 2..=262_144),
        "blkio.weight" | "blkio.bfq.weight" => ("BlockIOWeight", 10..=1000),
        _ => return None,
    };
    let weight = value.parse().ok().filter(|weight: &u64| range.contains(weight))?;
    Some(Property::new(name, Value::Uint64(weight)))
}

/// The properties of a quota (negative: none) and a period, of which one at least is there.
pub(super) fn of_quota(quota: Option<&str>, period: Option<&str>) -> Vec<Property> {
    let period = period.and_then(|period| period.parse().ok()).filter(|period| *period > 0);
    let mut properties = Vec::new();
    if let Some(quota) = quota.and_then(|quota| quota.parse::<i64>().ok()) {
        let share =
            u64::try_from(quota).map_or(u64::MAX, |quota| per_second(quota, period.unwrap_or(CPU_PERIOD)));
        properties.push(Property::new("CPUQuotaPerSecUSec", Value::Uint64(share)));
    }
    if let Some(period) = period {
        properties.push(Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)).optional());
    }
    properties
}

/// As `properties::round_quotas`.
pub(super) fn round_quotas(writes: &mut [Write]) {
    let period = writes.iter().rfind(|write| write.file == PERIOD).and_then(|write| write.value.parse().ok());
    let period: u64 = period.filter(|period| *period > 0).unwrap_or(CPU_PERIOD);
    for write in writes.iter_mut().filter(|write| write.file == QUOTA) {
        if let Ok(quota @ 1..) = write.value.parse() {
            write.value = (u128::from(per_second(quota, period)).saturating_mul(u128::from(period))
                / 1_000_000)
                .to_string();
        }
    }
}
