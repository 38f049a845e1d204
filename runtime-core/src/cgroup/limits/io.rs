//! `linux.resources.blockIO`: weights, and rates per device.

use super::super::hierarchy::{Mode, Version};
use super::super::plan::{Compiler, Missing};
use super::super::resources::{BlockIo, ThrottleDevice, Weight, WeightDevice};
use super::field;

const IO: &str = "linux.resources.blockIO";

/// How the files of a rate are named: the field, the file of v1, and the key in `io.max` of v2.
struct Rate(&'static str, &'static str, &'static str);

const READ_BYTES: Rate = Rate("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps");
const WRITE_BYTES: Rate = Rate("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps");
const READS: Rate = Rate("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops");
const WRITES: Rate = Rate("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops");

pub(super) fn compile(compiler: &mut Compiler<'_>, io: &BlockIo) {
    let BlockIo {
        weight,
        leaf_weight: leaf,
        weight_device,
        throttle_read_bps_device,
        throttle_write_bps_device,
        throttle_read_iops_device,
        throttle_write_iops_device,
    } = io;
    if let Some(weight) = weight {
        weight_write(compiler, *weight, field(IO, "weight"));
    }
    if let Some(weight) = leaf {
        leaf_weight(compiler, "blkio.leaf_weight", weight.get().to_string(), field(IO, "leafWeight"));
    }
    for (index, device) in weight_device.iter().enumerate() {
        device_weight(compiler, device, &format!("{IO}.weightDevice[{index}]"));
    }
    for (rate, devices) in [
        (READ_BYTES, throttle_read_bps_device),
        (WRITE_BYTES, throttle_write_bps_device),
        (READS, throttle_read_iops_device),
        (WRITES, throttle_write_iops_device),
    ] {
        for (index, device) in devices.iter().enumerate() {
            throttle(compiler, *device, &rate, format!("{IO}.{}[{index}]", rate.0));
        }
    }
}

/// The kernel has one file or the other, by its I/O scheduler; BFQ takes the weight as it is.
fn weight_write(compiler: &mut Compiler<'_>, weight: Weight, origin: String) {
    match compiler.version("blkio", Some("io"), &origin) {
        Some(Version::V1) => {
            let bfq = Missing::Instead("blkio.bfq.weight", weight.get().to_string());
            compiler.write("blkio", "blkio.weight", weight.get(), origin).or(bfq);
        }
        Some(Version::V2) => {
            let other = Missing::Instead("io.weight", io_weight(weight).to_string());
            compiler.write("io", "io.bfq.weight", weight.get(), origin).or(other);
        }
        None => {}
    }
}

/// 10 to 1000 onto the 1 to 10000 of `io.weight`.
fn io_weight(weight: Weight) -> u64 {
    (u64::from(weight.get().saturating_sub(10)).saturating_mul(9999) / 990).saturating_add(1)
}

fn device_weight(compiler: &mut Compiler<'_>, item: &WeightDevice, origin: &str) {
    let WeightDevice { device, weight, leaf_weight: leaf } = *item;
    if let Some(weight) = weight {
        let origin = field(origin, "weight");
        let value = format!("{device} {}", weight.get());
        match compiler.version("blkio", Some("io"), &origin) {
            Some(Version::V1) => {
                let bfq = Missing::Instead("blkio.bfq.weight_device", value.clone());
                compiler.write("blkio", "blkio.weight_device", value, origin).or(bfq);
            }
            Some(Version::V2) => {
                let other = Missing::Instead("io.weight", format!("{device} {}", io_weight(weight)));
                compiler.write("io", "io.bfq.weight", value, origin).or(other);
            }
            None => {}
        }
    }
    if let Some(weight) = leaf {
        let value = format!("{device} {}", weight.get());
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
fn throttle(compiler: &mut Compiler<'_>, item: ThrottleDevice, names: &Rate, origin: String) {
    let ThrottleDevice { device, rate } = item;
    let Rate(_, v1_file, v2_key) = names;
    match compiler.version("blkio", Some("io"), &origin) {
        Some(Version::V1) => {
            compiler.write("blkio", *v1_file, format!("{device} {rate}"), origin);
        }
        Some(Version::V2) => {
            let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
            compiler.write("io", "io.max", format!("{device} {v2_key}={rate}"), origin);
        }
        None => {}
    }
}
