//! Limits as properties of a unit (systemd.resource-control(5), org.freedesktop.systemd1(5)).
//!
//! They are made from the writes of the cgroup's plan, so `linux.resources`, its `unified` map and updates
//! take the same way. The writes are done all the same: systemd only logs what the kernel refuses, and
//! there are limits that it has no word for. The properties are what it writes again when it is reloaded.

use super::super::Write;
use super::legacy;
use super::value::Value;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Property {
    pub(super) name: String,
    pub(super) value: Value,
    /// An older systemd does not know it: it is left out there, and the control file alone has the limit.
    pub(super) is_optional: bool,
}

impl Property {
    pub(super) fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value, is_optional: false }
    }

    pub(super) fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    /// As an item of `a(sv)`.
    fn pair(&self) -> Value {
        Value::Struct(vec![Value::text(&*self.name), Value::Variant(Box::new(self.value.clone()))])
    }
}

/// The properties as one value of a call.
pub(super) fn list<'a>(properties: impl IntoIterator<Item = &'a Property>) -> Value {
    Value::Array("(sv)".into(), properties.into_iter().map(Property::pair).collect())
}

/// Adds a property; one of the same name goes.
pub(super) fn put(properties: &mut Vec<Property>, property: Property) {
    properties.retain(|other| other.name != property.name);
    properties.push(property);
}

/// The default of the kernel, in microseconds.
pub(super) const CPU_PERIOD: u64 = 100_000;

/// One percent of a CPU, in microseconds of each second.
const PERCENT: u64 = 10_000;

/// The most CPUs or memory nodes that a kernel is built for (`NR_CPUS` of x86).
const MOST_BITS: usize = 8192;

/// Rounds CPU quotas up to whole percents of a CPU. That is all that the file of a unit can say, so
/// systemd would cut the limit when it is reloaded; and engines are used to it from runc.
pub(super) fn round_quotas(writes: &mut [Write]) {
    legacy::round_quotas(writes);
    for write in writes.iter_mut().filter(|write| write.file == "cpu.max") {
        let Some((Some(quota), period)) = cpu_max(&write.value) else { continue };
        let rounded = u128::from(per_second(quota, period)).saturating_mul(u128::from(period)) / 1_000_000;
        let rest = write.value.split_once(' ').map_or(String::new(), |(_, period)| format!(" {period}"));
        write.value = format!("{rounded}{rest}");
    }
}

/// Quota (`None`: no limit) and period of a line of `cpu.max`.
fn cpu_max(value: &str) -> Option<(Option<u64>, u64)> {
    let mut words = value.split_whitespace();
    let quota = match words.next()? {
        "max" => None,
        quota => Some(quota.parse().ok()?),
    };
    let period = words.next().map_or(Some(CPU_PERIOD), |period| period.parse().ok());
    period.filter(|period| *period > 0).map(|period| (quota, period))
}

/// Microseconds of CPU time in each second, in whole percents.
pub(super) fn per_second(quota: u64, period: u64) -> u64 {
    let exact = (u128::from(quota) * 1_000_000).div_ceil(u128::from(period));
    let rounded = exact.next_multiple_of(u128::from(PERCENT));
    u64::try_from(rounded).unwrap_or(u64::MAX - u64::MAX % PERCENT)
}

/// The properties for control files and their values.
pub(super) fn of_limits<'a>(limits: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Property> {
    let mut properties = Vec::new();
    let (mut is_idle, mut quota, mut period) = (false, None, None);
    for (file, value) in limits {
        let value = value.trim();
        match file {
            "cpu.idle" => is_idle = value == "1",
            legacy::QUOTA => quota = Some(value),
            legacy::PERIOD => period = Some(value),
            _ => {}
        }
        for property in of_limit(file, value) {
            put(&mut properties, property);
        }
    }
    legacy::of_quota(quota, period).into_iter().for_each(|property| put(&mut properties, property));
    // The weight 0 is systemd's word for idle (version 252); there is no other weight beside it.
    if is_idle {
        put(&mut properties, Property::new("CPUWeight", Value::Uint64(0)).optional());
    }
    properties
}

fn of_limit(file: &str, value: &str) -> Vec<Property> {
    let amount = |name| limit(value).map(|limit| Property::new(name, Value::Uint64(limit)));
    let one = match file {
        "memory.min" => amount("MemoryMin"),
        "memory.low" => amount("MemoryLow"),
        "memory.high" => amount("MemoryHigh"),
        "memory.max" => amount("MemoryMax"),
        "memory.swap.max" => amount("MemorySwapMax"),
        "memory.zswap.max" => amount("MemoryZSwapMax").map(Property::optional),
        // systemd does not take 0, and for the kernel it is the same.
        "pids.max" => limit(value).map(|limit| Property::new("TasksMax", Value::Uint64(limit.max(1)))),
        "cpu.weight" => weight("CPUWeight", value),
        "io.weight" => weight("IOWeight", value.strip_prefix("default ").unwrap_or(value)),
        "cpuset.cpus" => bits("AllowedCPUs", value),
        "cpuset.mems" => bits("AllowedMemoryNodes", value),
        "cpu.max" => return quota(value),
        _ => legacy::of_limit(file, value),
    };
    one.into_iter().collect()
}

/// A number, or the highest for "no limit".
fn limit(value: &str) -> Option<u64> {
    if value == "max" { Some(u64::MAX) } else { value.parse().ok() }
}

fn weight(name: &str, value: &str) -> Option<Property> {
    let weight = value.parse().ok().filter(|weight| (1..=10_000).contains(weight))?;
    Some(Property::new(name, Value::Uint64(weight)))
}

fn quota(value: &str) -> Vec<Property> {
    let Some((quota, period)) = cpu_max(value) else { return Vec::new() };
    let quota = quota.map_or(u64::MAX, |quota| per_second(quota, period));
    let mut properties = vec![Property::new("CPUQuotaPerSecUSec", Value::Uint64(quota))];
    if value.contains(' ') {
        properties.push(Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)).optional());
    }
    properties
}

/// A list such as `0-3,7` as a mask, the lowest numbers in the first byte. Empty lists and strides, which
/// systemd has no words for, are left to the control file.
fn bits(name: &str, list: &str) -> Option<Property> {
    let mut mask: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST_BITS {
            return None;
        }
        mask.resize(mask.len().max((last / 8).saturating_add(1)), 0);
        for bit in first..=last {
            *mask.get_mut(bit / 8)? |= 1 << (bit % 8);
        }
    }
    let mask: Vec<Value> = mask.into_iter().map(Value::Byte).collect();
    (!mask.is_empty()).then(|| Property::new(name, Value::Array("y".into(), mask)).optional())
}

/// `OOMPolicy` (version 253), which can be chosen only when a scope is made.
pub(super) fn oom_policy(writes: &[Write]) -> Option<Property> {
    let write = writes.iter().rev().find(|write| write.file == "memory.oom.group")?;
    let policy = match write.value.trim() {
        "0" => "continue",
        "1" => "kill",
        _ => return None,
    };
    Some(Property::new("OOMPolicy", Value::text(policy)).optional())
}

#[cfg(test)]
mod tests {
    use super::super::super::Missing;
    use super::*;

    fn text(limits: &[(&str, &str)]) -> Vec<String> {
        let text = |property: Property| {
            let mark = if property.is_optional { "?" } else { "" };
            match property.value {
                Value::Uint64(u64::MAX) => format!("{}{mark}=infinity", property.name),
                Value::Uint64(number) => format!("{}{mark}={number}", property.name),
                other => format!("{}{mark}={other:?}", property.name),
            }
        };
        of_limits(limits.iter().copied()).into_iter().map(text).collect()
    }

    /// Control files with their values, and the properties for them.
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

    #[test]
    fn control_files_and_their_properties() {
        let table: [Row<'_>; 17] = [
            (
                &[("memory.max", "4096"), ("memory.swap.max", "max")],
                &["MemoryMax=4096", "MemorySwapMax=infinity"],
            ),
            (
                &[("memory.low", "1"), ("memory.high", "2"), ("memory.min", "3")],
                &["MemoryLow=1", "MemoryHigh=2", "MemoryMin=3"],
            ),
            (&[("pids.max", "0")], &["TasksMax=1"]),
            (&[("pids.max", "max")], &["TasksMax=infinity"]),
            (&[("cpu.weight", "39")], &["CPUWeight=39"]),
            (&[("cpu.idle", "1"), ("cpu.weight", "39")], &["CPUWeight?=0"]),
            (&[("cpu.max", "20000 100000")], &["CPUQuotaPerSecUSec=200000", "CPUQuotaPeriodUSec?=100000"]),
            (&[("cpu.max", "1001 100000")], &["CPUQuotaPerSecUSec=20000", "CPUQuotaPeriodUSec?=100000"]),
            (&[("cpu.max", "max")], &["CPUQuotaPerSecUSec=infinity"]),
            (&[("io.weight", "default 200")], &["IOWeight=200"]),
            (&[("memory.max", "1"), ("memory.max", "2")], &["MemoryMax=2"]),
            (&[("memory.limit_in_bytes", "4096")], &["MemoryLimit=4096"]),
            (
                &[("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
                &["MemoryLimit=infinity"],
            ),
            (
                &[("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "10000"), ("cpu.shares", "512")],
                &["CPUShares=512", "CPUQuotaPerSecUSec=200000", "CPUQuotaPeriodUSec?=50000"],
            ),
            (&[("cpu.cfs_quota_us", "-1")], &["CPUQuotaPerSecUSec=infinity"]),
            (&[("blkio.weight", "321"), ("blkio.bfq.weight", "321")], &["BlockIOWeight=321"]),
            (
                &[("memory.max", "much"), ("hugetlb.2MB.max", "1"), ("cpu.weight", "0"), ("cpu.max", "1 0")],
                &[],
            ),
        ];
        for (limits, expected) in table {
            assert_eq!(text(limits), expected, "{limits:?}");
        }
    }

    #[test]
    fn lists_are_masks() {
        let mask = |list| bits("AllowedCPUs", list).map(|property| property.value);
        let bytes = |bytes: &[u8]| {
            Some(Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect::<Vec<_>>()))
        };
        assert_eq!(mask("0-3,7"), bytes(&[0b1000_1111]));
        assert_eq!(mask("9"), bytes(&[0, 2]));
        assert_eq!(mask(" 1 - 2 ,"), bytes(&[6]));
        for list in ["", "3-1", "0-8192", "0-7:2/4", "x", "1-"] {
            assert_eq!(mask(list), None, "{list}");
        }
    }

    #[test]
    fn quotas_are_whole_percents() {
        let rounded = |value: &str| {
            let write = Write {
                controller: "cpu".into(),
                file: "cpu.max".into(),
                value: value.to_owned(),
                origin: "".into(),
                missing: Missing::Fails,
                reorder: false,
            };
            let mut writes = [write];
            round_quotas(&mut writes);
            let [write] = writes;
            write.value
        };
        assert_eq!(rounded("20000 100000"), "20000 100000");
        assert_eq!(rounded("20001 100000"), "21000 100000");
        assert_eq!(rounded("12345"), "13000");
        assert_eq!(rounded("max 100000"), "max 100000");
        assert_eq!(rounded("18446744073709551615 1"), "18446744073709 1");
    }

    #[test]
    fn quotas_of_v1_are_rounded_with_their_period() {
        let rounded = |quota: &str, period: Option<&str>| {
            let write = |file: &'static str, value: &str| Write {
                controller: "cpu".into(),
                file: file.into(),
                value: value.to_owned(),
                origin: "".into(),
                missing: Missing::Fails,
                reorder: false,
            };
            let period = period.map(|period| write("cpu.cfs_period_us", period));
            let mut writes: Vec<Write> =
                [write("cpu.cfs_quota_us", quota)].into_iter().chain(period).collect();
            round_quotas(&mut writes);
            writes.swap_remove(0).value
        };
        assert_eq!(rounded("20001", Some("100000")), "21000");
        assert_eq!(rounded("25501", Some("50000")), "26000");
        assert_eq!(rounded("12345", None), "13000");
        assert_eq!(rounded("-1", Some("50000")), "-1");
    }
}
