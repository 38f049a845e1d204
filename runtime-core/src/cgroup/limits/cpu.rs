//! `linux.resources.cpu`: shares, bandwidth, idle, realtime and cpusets.

use oci_spec::runtime::LinuxCpu;

use super::super::hierarchy::{Mode, Version};
use super::super::plan::{Compiler, Missing};
use super::field;
use crate::error::{Error, ErrorKind};

const CPU: &str = "linux.resources.cpu";

/// The range of `cpu.shares`, to which the v1 kernel clamps silently.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

pub(super) fn compile(compiler: &mut Compiler<'_>, cpu: &LinuxCpu) {
    bandwidth(compiler, cpu);
    realtime(compiler, cpu);
    cpuset(compiler, cpu);
}

fn bandwidth(compiler: &mut Compiler<'_>, cpu: &LinuxCpu) {
    let shares = cpu.shares().filter(|shares| *shares != 0);
    let (quota, period) =
        (cpu.quota().filter(|quota| *quota != 0), cpu.period().filter(|period| *period != 0));
    let asked = [
        ("shares", shares.is_some()),
        ("period", period.is_some()),
        ("burst", cpu.burst().is_some()),
        ("quota", quota.is_some()),
        ("idle", cpu.idle().is_some()),
    ];
    let Some((name, _)) = asked.into_iter().find(|(_, asked)| *asked) else {
        return;
    };
    let Some(version) = compiler.version("cpu", Some("cpu"), &field(CPU, name)) else {
        return;
    };

    if let Some(idle) = cpu.idle() {
        compiler.write("cpu", "cpu.idle", idle, field(CPU, "idle"));
    }
    // An idle cgroup has the least weight there is, and the kernel refuses to set another.
    if let Some(shares) = shares.filter(|_| cpu.idle() != Some(1)) {
        weight(compiler, version, shares);
    }
    match version {
        Version::V1 => {
            // Any two of the three may contradict each other until the third is written.
            if let Some(period) = period {
                compiler.write("cpu", "cpu.cfs_period_us", period, field(CPU, "period")).reorder();
            }
            if let Some(burst) = cpu.burst() {
                let write = compiler.write("cpu", "cpu.cfs_burst_us", burst, field(CPU, "burst"));
                write.reorder().or(Missing::Ignored);
            }
            if let Some(quota) = quota {
                compiler.write("cpu", "cpu.cfs_quota_us", quota, field(CPU, "quota")).reorder();
            }
        }
        Version::V2 => {
            if let Some(burst) = cpu.burst() {
                compiler.write("cpu", "cpu.max.burst", burst, field(CPU, "burst")).reorder();
            }
            let limit = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
            match (quota, period) {
                (_, Some(period)) => {
                    let origin = if quota.is_some() { "quota" } else { "period" };
                    compiler
                        .write("cpu", "cpu.max", format!("{limit} {period}"), field(CPU, origin))
                        .reorder();
                }
                // Without a second number the kernel keeps the present period (at first 100 ms).
                (Some(_), None) => {
                    compiler.write("cpu", "cpu.max", limit, field(CPU, "quota")).reorder();
                }
                (None, None) => {}
            }
        }
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
fn realtime(compiler: &mut Compiler<'_>, cpu: &LinuxCpu) {
    let period = cpu.realtime_period().filter(|period| *period != 0);
    let runtime = cpu.realtime_runtime().filter(|runtime| *runtime != 0);
    if period.is_none() && runtime.is_none() {
        return;
    }
    let origin = field(CPU, if period.is_some() { "realtimePeriod" } else { "realtimeRuntime" });
    if compiler.view.mode == Mode::Unified || compiler.view.version_of("cpu") == Some(Version::V2) {
        let error = Error::new(ErrorKind::Unsupported, "cannot set realtime limit")
            .reason("cgroup v2 has no realtime bandwidth")
            .origin(origin)
            .hint("remove realtimePeriod and realtimeRuntime; process.scheduler sets a realtime policy");
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

fn cpuset(compiler: &mut Compiler<'_>, cpu: &LinuxCpu) {
    for (name, file, list) in [("cpus", "cpuset.cpus", cpu.cpus()), ("mems", "cpuset.mems", cpu.mems())] {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else {
            continue;
        };
        let origin = field(CPU, name);
        if list.chars().any(|c| !c.is_ascii_digit() && !matches!(c, ',' | '-' | ':' | '/' | ' ')) {
            compiler.invalid(origin, format!("{list:?} is not a list such as \"0-3,7\""));
        } else if compiler.version("cpuset", Some("cpuset"), &origin).is_some() {
            compiler.write("cpuset", file, list, origin);
        }
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
