//! `linux.resources.blockIO`: weights, and rates per device.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::super::hierarchy::{Mode, Version};
use super::super::plan::{Compiler, Missing};
use super::field;

const IO: &str = "linux.resources.blockIO";

/// The range of weights in the specification.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

pub(super) fn compile(compiler: &mut Compiler<'_>, io: &LinuxBlockIo) {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        let origin = field(IO, "weight");
        if let Some(version) = checked(compiler, weight, &origin) {
            weight_write(compiler, version, weight, origin);
        }
    }
    if let Some(weight) = io.leaf_weight().filter(|weight| *weight != 0) {
        leaf_weight(compiler, "blkio.leaf_weight", weight.to_string(), field(IO, "leafWeight"));
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        weight_device(compiler, device, &format!("{IO}.weightDevice[{index}]"));
    }
    let rates = [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", io.throttle_write_bps_device()),
        (
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            "riops",
            io.throttle_read_iops_device(),
        ),
        (
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "wiops",
            io.throttle_write_iops_device(),
        ),
    ];
    for (name, v1_file, v2_key, devices) in rates {
        for (index, device) in devices.iter().flatten().enumerate() {
            throttle(compiler, device, v1_file, v2_key, format!("{IO}.{name}[{index}]"));
        }
    }
}

/// The controller's version if the weight is in range; else an error.
fn checked(compiler: &mut Compiler<'_>, weight: u16, origin: &str) -> Option<Version> {
    if !WEIGHTS.contains(&weight) {
        let range = format!("{weight} is not a weight of {} to {}", WEIGHTS.start(), WEIGHTS.end());
        compiler.invalid(origin.to_owned(), range);
        return None;
    }
    compiler.version("blkio", Some("io"), origin)
}

/// The kernel has one file or the other, by its I/O scheduler; BFQ takes the weight as it is.
fn weight_write(compiler: &mut Compiler<'_>, version: Version, weight: u16, origin: String) {
    match version {
        Version::V1 => {
            let bfq = Missing::Instead("blkio.bfq.weight", weight.to_string());
            compiler.write("blkio", "blkio.weight", weight, origin).or(bfq);
        }
        Version::V2 => {
            let other = Missing::Instead("io.weight", io_weight(weight).to_string());
            compiler.write("io", "io.bfq.weight", weight, origin).or(other);
        }
    }
}

/// 10 to 1000 onto the 1 to 10000 of `io.weight`.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

fn weight_device(compiler: &mut Compiler<'_>, device: &LinuxWeightDevice, origin: &str) {
    let Some(id) = device_id(compiler, device.major(), device.minor(), origin) else {
        return;
    };
    if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
        let origin = field(origin, "weight");
        match checked(compiler, weight, &origin) {
            Some(Version::V1) => {
                let value = format!("{id} {weight}");
                let bfq = Missing::Instead("blkio.bfq.weight_device", value.clone());
                compiler.write("blkio", "blkio.weight_device", value, origin).or(bfq);
            }
            Some(Version::V2) => {
                let other = Missing::Instead("io.weight", format!("{id} {}", io_weight(weight)));
                compiler.write("io", "io.bfq.weight", format!("{id} {weight}"), origin).or(other);
            }
            None => {}
        }
    }
    if let Some(weight) = device.leaf_weight().filter(|weight| *weight != 0) {
        let value = format!("{id} {weight}");
        leaf_weight(compiler, "blkio.leaf_weight_device", value, field(origin, "leafWeight"));
    }
}

/// Leaf weights ended with the CFQ scheduler in Linux 5.0; runc ignores them on v2.
fn leaf_weight(compiler: &mut Compiler<'_>, file: &'static str, value: String, origin: String) {
    if compiler.view.mode != Mode::Unified && compiler.version("blkio", None, &origin).is_some() {
        compiler.write("blkio", file, value, origin);
    }
}

/// A rate of 0 lifts the limit: v1 takes it so, v2 has the word `max` for it.
fn throttle(
    compiler: &mut Compiler<'_>,
    device: &LinuxThrottleDevice,
    v1_file: &'static str,
    v2_key: &str,
    origin: String,
) {
    let Some(id) = device_id(compiler, device.major(), device.minor(), &origin) else {
        return;
    };
    match compiler.version("blkio", Some("io"), &origin) {
        Some(Version::V1) => {
            compiler.write("blkio", v1_file, format!("{id} {}", device.rate()), origin);
        }
        Some(Version::V2) => {
            let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
            compiler.write("io", "io.max", format!("{id} {v2_key}={rate}"), origin);
        }
        None => {}
    }
}

fn device_id(compiler: &mut Compiler<'_>, major: i64, minor: i64, origin: &str) -> Option<String> {
    let mut known = true;
    for (name, number) in [("major", major), ("minor", minor)] {
        if u32::try_from(number).is_err() {
            compiler.invalid(field(origin, name), format!("{number} is no device number"));
            known = false;
        }
    }
    known.then(|| format!("{major}:{minor}"))
}
