//! `linux.resources.cpu`: shares, bandwidth, idle, realtime and cpusets.

use super::super::hierarchy::{Mode, Version};
use super::super::plan::{Compiler, Missing};
use super::super::resources::{Cpu, CpuList, Limit};
use super::field;
use crate::error::{Error, ErrorKind};

const CPU: &str = "linux.resources.cpu";

/// The range of `cpu.shares`, to which the v1 kernel clamps silently.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

pub(super) fn compile(compiler: &mut Compiler<'_>, cpu: &Cpu) {
    let Cpu { shares, quota, idle, burst, period, realtime_runtime, realtime_period, cpus, mems } = cpu;
    let bandwidth = Bandwidth { quota: *quota, period: *period, burst: *burst };
    time(compiler, *shares, *idle, &bandwidth);
    realtime(compiler, *realtime_period, *realtime_runtime);
    cpuset(compiler, "cpus", "cpuset.cpus", cpus.as_ref());
    cpuset(compiler, "mems", "cpuset.mems", mems.as_ref());
}

/// Numbers that the kernel checks against each other.
struct Bandwidth {
    quota: Option<Limit>,
    period: Option<u64>,
    burst: Option<u64>,
}

fn time(compiler: &mut Compiler<'_>, shares: Option<u64>, idle: Option<bool>, bandwidth: &Bandwidth) {
    let asked = [
        ("shares", shares.is_some()),
        ("period", bandwidth.period.is_some()),
        ("burst", bandwidth.burst.is_some()),
        ("quota", bandwidth.quota.is_some()),
        ("idle", idle.is_some()),
    ];
    let Some((name, _)) = asked.into_iter().find(|(_, asked)| *asked) else {
        return;
    };
    let Some(version) = compiler.version("cpu", Some("cpu"), &field(CPU, name)) else {
        return;
    };
    if let Some(idle) = idle {
        compiler.write("cpu", "cpu.idle", u8::from(idle), field(CPU, "idle"));
    }
    // An idle cgroup has the least weight there is, and the kernel refuses to set another.
    if let Some(shares) = shares.filter(|_| idle != Some(true)) {
        weight(compiler, version, shares);
    }
    match version {
        Version::V1 => bandwidth_v1(compiler, bandwidth),
        Version::V2 => bandwidth_v2(compiler, bandwidth),
    }
}

/// Any two of the three may contradict each other until the third is written.
fn bandwidth_v1(compiler: &mut Compiler<'_>, bandwidth: &Bandwidth) {
    let Bandwidth { quota, period, burst } = *bandwidth;
    if let Some(period) = period {
        compiler.write("cpu", "cpu.cfs_period_us", period, field(CPU, "period")).reorder();
    }
    if let Some(burst) = burst {
        let write = compiler.write("cpu", "cpu.cfs_burst_us", burst, field(CPU, "burst"));
        write.reorder().or(Missing::Ignored);
    }
    if let Some(quota) = quota {
        compiler.write("cpu", "cpu.cfs_quota_us", quota, field(CPU, "quota")).reorder();
    }
}

fn bandwidth_v2(compiler: &mut Compiler<'_>, bandwidth: &Bandwidth) {
    let Bandwidth { quota, period, burst } = *bandwidth;
    if let Some(burst) = burst {
        compiler.write("cpu", "cpu.max.burst", burst, field(CPU, "burst")).reorder();
    }
    let limit = match quota {
        None | Some(Limit::Unlimited) => "max".to_owned(),
        Some(Limit::Of(quota)) => quota.to_string(),
    };
    match (quota, period) {
        (_, Some(period)) => {
            let origin = if quota.is_some() { "quota" } else { "period" };
            compiler.write("cpu", "cpu.max", format!("{limit} {period}"), field(CPU, origin)).reorder();
        }
        // Without a second number the kernel keeps the present period (at first 100 ms).
        (Some(_), None) => {
            compiler.write("cpu", "cpu.max", limit, field(CPU, "quota")).reorder();
        }
        (None, None) => {}
    }
}

fn weight(compiler: &mut Compiler<'_>, version: Version, shares: u64) {
    let origin = field(CPU, "shares");
    match version {
        Version::V2 => {
            compiler.write("cpu", "cpu.weight", shares_to_weight(shares), origin);
        }
        Version::V1 if shares < *SHARES.start() => {
            compiler.invalid(origin, format!("the minimum allowed cpu-shares is {}", SHARES.start()));
        }
        Version::V1 if shares > *SHARES.end() => {
            compiler.invalid(origin, format!("the maximum allowed cpu-shares is {}", SHARES.end()));
        }
        Version::V1 => {
            compiler.write("cpu", "cpu.shares", shares, origin);
        }
    }
}

/// CPU shares (2 to 262144, default 1024) as a v2 weight (1 to 10000, default 100).
///
/// A parabola over the logarithm that maps both ends and the default onto each other, as runc does
/// since 1.3.2 and crun since 1.23; the former straight line gave a default container the weight 39.
fn shares_to_weight(shares: u64) -> u64 {
    if shares <= *SHARES.start() {
        return 1;
    }
    if shares >= *SHARES.end() {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = log * (log + 125.0) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

/// Realtime bandwidth exists on v1 only. On v2 it is refused, where runc says nothing: a program that asked
/// for guaranteed time would run without.
fn realtime(compiler: &mut Compiler<'_>, period: Option<u64>, runtime: Option<Limit>) {
    if period.is_none() && runtime.is_none() {
        return;
    }
    let origin = field(CPU, if period.is_some() { "realtimePeriod" } else { "realtimeRuntime" });
    if compiler.view.mode == Mode::Unified || compiler.view.version_of("cpu") == Some(Version::V2) {
        let error = Error::new(ErrorKind::Unsupported, "cannot set realtime limit")
            .reason("cgroup v2 has no realtime bandwidth")
            .origin(origin)
            .with_hint("remove realtimePeriod and realtimeRuntime; process.scheduler sets a realtime policy");
        compiler.errors.push(error);
        return;
    }
    if compiler.version("cpu", None, &origin).is_none() {
        return;
    }
    if let Some(period) = period {
        compiler.write("cpu", "cpu.rt_period_us", period, field(CPU, "realtimePeriod")).reorder();
    }
    if let Some(runtime) = runtime {
        compiler.write("cpu", "cpu.rt_runtime_us", runtime, field(CPU, "realtimeRuntime")).reorder();
    }
}

fn cpuset(compiler: &mut Compiler<'_>, name: &str, file: &'static str, list: Option<&CpuList>) {
    let origin = field(CPU, name);
    if let Some(list) = list
        && compiler.version("cpuset", Some("cpuset"), &origin).is_some()
    {
        compiler.write("cpuset", file, list, origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_curve_meets_both_ends_and_the_default() {
        let table = [
            (1, 1),
            (2, 1),
            (3, 2),
            (100, 17),
            (1024, 100),
            (1025, 101),
            (2048, 174),
            (262_143, 10_000),
            (262_144, 10_000),
        ];
        for (shares, weight) in table {
            assert_eq!(shares_to_weight(shares), weight, "{shares}");
        }
        let mut last = 0;
        for shares in (2..=262_144).step_by(97) {
            let weight = shares_to_weight(shares);
            assert!(weight >= last && (1..=10_000).contains(&weight), "{shares} gave {weight}");
            last = weight;
        }
    }
}
