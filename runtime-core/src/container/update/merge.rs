//! New resources over the container's present ones.
//!
//! What a request leaves out stays as it is. Limits that the kernel takes together (memory and swap, quota and
//! period) are written together, the other one with its present value.
//!
//! Each part takes the request apart field by field, and makes both results field by field: a new field does
//! not compile until it is merged.

use std::collections::BTreeMap;

use crate::cgroup::resources::{
    BlockIo, Cpu, DeviceName, Limit, Memory, Network, Rdma, Resources, ThrottleDevice, WeightDevice,
};

/// The outcome of a merge.
#[derive(Debug)]
pub(super) struct Merged<T = Resources> {
    /// All resources of the container afterwards, for the state directory.
    pub(super) all: T,
    /// What has to be written: what the request asks for, and what belongs to it. Without devices.
    pub(super) changed: T,
}

pub(super) fn merge(present: &Resources, request: &Resources) -> Merged {
    let Resources { devices, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } = request;
    let memory = merge_memory(&present.memory, memory);
    let cpu = merge_cpu(&present.cpu, cpu);
    let block_io = merge_block_io(&present.block_io, block_io);
    let network = merge_network(&present.network, network);
    let all = Resources {
        devices: devices.as_ref().or(present.devices.as_ref()).cloned(),
        memory: memory.all,
        cpu: cpu.all,
        pids: pids.or(present.pids),
        block_io: block_io.all,
        hugepage_limits: replace(&present.hugepage_limits, hugepage_limits, |a, b| {
            a.page_size == b.page_size
        }),
        network: network.all,
        rdma: merge_rdma(&present.rdma, rdma),
        unified: extend(&present.unified, unified),
    };
    let changed = Resources {
        devices: None,
        memory: memory.changed,
        cpu: cpu.changed,
        pids: *pids,
        block_io: block_io.changed,
        hugepage_limits: hugepage_limits.clone(),
        network: network.changed,
        rdma: rdma.clone(),
        unified: unified.clone(),
    };
    Merged { all, changed }
}

fn merge_memory(present: &Memory, request: &Memory) -> Merged<Memory> {
    let Memory { limit, reservation, swap, swappiness, disable_oom_killer, check_before_update } = *request;
    // No limit on memory is none on memory and swap together.
    let old_swap = if limit == Some(Limit::Unlimited) { None } else { present.swap };
    let all = Memory {
        limit: limit.or(present.limit),
        reservation: reservation.or(present.reservation),
        swap: swap.or(old_swap),
        swappiness: swappiness.or(present.swappiness),
        disable_oom_killer: disable_oom_killer.or(present.disable_oom_killer),
        check_before_update: check_before_update.or(present.check_before_update),
    };
    let pair = limit.is_some() || swap.is_some();
    let changed = Memory {
        limit: all.limit.filter(|_| pair),
        reservation,
        swap: all.swap.filter(|_| pair),
        swappiness,
        disable_oom_killer,
        // It is about every new limit, also of a request that does not repeat it.
        check_before_update: all.check_before_update.filter(|_| pair),
    };
    Merged { all, changed }
}

fn merge_cpu(present: &Cpu, request: &Cpu) -> Merged<Cpu> {
    let Cpu { shares, quota, idle, burst, period, realtime_runtime, realtime_period, cpus, mems } = request;
    let all = Cpu {
        shares: shares.or(present.shares),
        quota: quota.or(present.quota),
        idle: idle.or(present.idle),
        burst: burst.or(present.burst),
        period: period.or(present.period),
        realtime_runtime: realtime_runtime.or(present.realtime_runtime),
        realtime_period: realtime_period.or(present.realtime_period),
        cpus: cpus.as_ref().or(present.cpus.as_ref()).cloned(),
        mems: mems.as_ref().or(present.mems.as_ref()).cloned(),
    };
    let pair = quota.is_some() || period.is_some();
    let realtime = realtime_runtime.is_some() || realtime_period.is_some();
    let changed = Cpu {
        // A cgroup that is no longer idle has the default weight, not the one it had before.
        shares: if idle.is_some() { all.shares } else { *shares },
        quota: all.quota.filter(|_| pair),
        idle: *idle,
        burst: *burst,
        period: all.period.filter(|_| pair),
        realtime_runtime: all.realtime_runtime.filter(|_| realtime),
        realtime_period: all.realtime_period.filter(|_| realtime),
        cpus: cpus.clone(),
        mems: mems.clone(),
    };
    Merged { all, changed }
}

fn merge_block_io(present: &BlockIo, request: &BlockIo) -> Merged<BlockIo> {
    let BlockIo {
        weight,
        leaf_weight,
        weight_device,
        throttle_read_bps_device,
        throttle_write_bps_device,
        throttle_read_iops_device,
        throttle_write_iops_device,
    } = request;
    let same = |a: &ThrottleDevice, b: &ThrottleDevice| a.device == b.device;
    let all = BlockIo {
        weight: weight.or(present.weight),
        leaf_weight: leaf_weight.or(present.leaf_weight),
        weight_device: replace(&present.weight_device, weight_device, outdated),
        throttle_read_bps_device: replace(&present.throttle_read_bps_device, throttle_read_bps_device, same),
        throttle_write_bps_device: replace(
            &present.throttle_write_bps_device,
            throttle_write_bps_device,
            same,
        ),
        throttle_read_iops_device: replace(
            &present.throttle_read_iops_device,
            throttle_read_iops_device,
            same,
        ),
        throttle_write_iops_device: replace(
            &present.throttle_write_iops_device,
            throttle_write_iops_device,
            same,
        ),
    };
    let changed = BlockIo {
        weight: *weight,
        leaf_weight: *leaf_weight,
        // BFQ sets the weight of all disks with it, also of those that had one of their own.
        weight_device: if weight.is_some() { all.weight_device.clone() } else { weight_device.clone() },
        throttle_read_bps_device: throttle_read_bps_device.clone(),
        throttle_write_bps_device: throttle_write_bps_device.clone(),
        throttle_read_iops_device: throttle_read_iops_device.clone(),
        throttle_write_iops_device: throttle_write_iops_device.clone(),
    };
    Merged { all, changed }
}

/// Whether the device's earlier weights are all replaced by the later ones: there are two, and a request
/// may have one of them.
fn outdated(earlier: &WeightDevice, later: &WeightDevice) -> bool {
    let WeightDevice { device, weight, leaf_weight } = earlier;
    *device == later.device
        && (weight.is_none() || later.weight.is_some())
        && (leaf_weight.is_none() || later.leaf_weight.is_some())
}

fn merge_network(present: &Network, request: &Network) -> Merged<Network> {
    let Network { class_id, priorities } = request;
    let all = Network {
        class_id: class_id.or(present.class_id),
        priorities: replace(&present.priorities, priorities, |a, b| a.name == b.name),
    };
    Merged { all, changed: request.clone() }
}

/// The kernel keeps the limit of a device that a request leaves out, so it is kept here too.
fn merge_rdma(
    present: &BTreeMap<DeviceName, Rdma>,
    request: &BTreeMap<DeviceName, Rdma>,
) -> BTreeMap<DeviceName, Rdma> {
    let mut all = present.clone();
    for (name, Rdma { hca_handles, hca_objects }) in request {
        let old = present.get(name).copied().unwrap_or_default();
        let limits = Rdma {
            hca_handles: hca_handles.or(old.hca_handles),
            hca_objects: hca_objects.or(old.hca_objects),
        };
        all.insert(name.clone(), limits);
    }
    all
}

/// The present entries, with those of the request in the place of the same ones or at the end.
fn replace<T: Clone>(present: &[T], request: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all = present.to_vec();
    for entry in request {
        // Of several entries the last one counts.
        match all.iter_mut().rfind(|known| same(known, entry)) {
            Some(known) => *known = entry.clone(),
            None => all.push(entry.clone()),
        }
    }
    all
}

fn extend<K: Ord + Clone, V: Clone>(present: &BTreeMap<K, V>, request: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    let mut all = present.clone();
    all.extend(request.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(present: Value, request: Value, all: Value, changed: Value) {
        let read = |value: &Value| {
            crate::spec::parse_resources(value.to_string().as_bytes(), "resources").expect("resources").0
        };
        let merged = merge(&read(&present), &read(&request));
        let text = |resources| serde_json::to_value(resources).expect("JSON");
        assert_eq!(text(merged.all), all, "all after {request} over {present}");
        assert_eq!(text(merged.changed), changed, "changed by {request} over {present}");
    }

    #[test]
    fn memory_and_swap_belong_together() {
        let memory = |value: Value| json!({"memory": value});
        check(
            memory(json!({"limit": 100, "reservation": 50})),
            memory(json!({"limit": 0, "swap": 300, "reservation": 0})),
            memory(json!({"limit": 100, "swap": 300, "reservation": 50})),
            memory(json!({"limit": 100, "swap": 300})),
        );
        check(
            memory(json!({"limit": 100, "swap": 300})),
            memory(json!({"limit": 200})),
            memory(json!({"limit": 200, "swap": 300})),
            memory(json!({"limit": 200, "swap": 300})),
        );
        check(
            memory(json!({"limit": 100, "swap": 300})),
            memory(json!({"limit": -1})),
            memory(json!({"limit": -1})),
            memory(json!({"limit": -1})),
        );
        check(
            memory(json!({"limit": 100, "swap": 300})),
            memory(json!({"reservation": 5})),
            memory(json!({"limit": 100, "swap": 300, "reservation": 5})),
            memory(json!({"reservation": 5})),
        );
    }

    #[test]
    fn usage_is_still_checked_before_a_later_limit() {
        let memory = |value: Value| json!({"memory": value});
        check(
            memory(json!({"limit": 100, "checkBeforeUpdate": true})),
            memory(json!({"limit": 50})),
            memory(json!({"limit": 50, "checkBeforeUpdate": true})),
            memory(json!({"limit": 50, "checkBeforeUpdate": true})),
        );
        check(
            memory(json!({"limit": 100})),
            memory(json!({"limit": 50, "checkBeforeUpdate": true})),
            memory(json!({"limit": 50, "checkBeforeUpdate": true})),
            memory(json!({"limit": 50, "checkBeforeUpdate": true})),
        );
    }

    #[test]
    fn each_limit_of_an_rdma_device_is_kept() {
        check(
            json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}),
            json!({"rdma": {"mlx5_1": {"hcaObjects": 9}}}),
            json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 9}}}),
            json!({"rdma": {"mlx5_1": {"hcaObjects": 9}}}),
        );
    }

    #[test]
    fn quota_and_period_belong_together() {
        let cpu = |value: Value| json!({"cpu": value});
        check(
            cpu(json!({"quota": 500, "period": 1000, "shares": 100})),
            cpu(json!({"period": 900, "quota": 0, "cpus": ""})),
            cpu(json!({"quota": 500, "period": 900, "shares": 100})),
            cpu(json!({"quota": 500, "period": 900})),
        );
        check(
            cpu(json!({"quota": 500, "period": 1000})),
            cpu(json!({"quota": -1, "cpus": "0"})),
            cpu(json!({"quota": -1, "period": 1000, "cpus": "0"})),
            cpu(json!({"quota": -1, "period": 1000, "cpus": "0"})),
        );
        check(
            cpu(json!({"shares": 100, "idle": 1})),
            cpu(json!({"idle": 0})),
            cpu(json!({"shares": 100, "idle": 0})),
            cpu(json!({"shares": 100, "idle": 0})),
        );
    }

    #[test]
    fn the_weights_of_disks_follow_the_weight_of_all() {
        let io = |value: Value| json!({"blockIO": value});
        let disks = json!([{"major": 8, "minor": 0, "weight": 300}]);
        check(
            io(json!({"weight": 100, "weightDevice": disks})),
            io(json!({"weight": 200})),
            io(json!({"weight": 200, "weightDevice": disks})),
            io(json!({"weight": 200, "weightDevice": disks})),
        );
    }

    #[test]
    fn devices_replace_their_like() {
        let rate = |minor: i64, rate: u64| json!({"major": 8, "minor": minor, "rate": rate});
        let io = |rates: Vec<Value>| json!({"blockIO": {"throttleReadBpsDevice": rates}});
        check(
            io(vec![rate(0, 1), rate(0, 2)]),
            io(vec![rate(0, 3), rate(1, 4)]),
            io(vec![rate(0, 1), rate(0, 3), rate(1, 4)]),
            io(vec![rate(0, 3), rate(1, 4)]),
        );
        let weights = |list: Value| json!({"blockIO": {"weightDevice": list}});
        check(
            weights(json!([{"major": 8, "minor": 0, "weight": 10}])),
            weights(json!([{"major": 8, "minor": 0, "leafWeight": 20}])),
            weights(json!([
                {"major": 8, "minor": 0, "weight": 10},
                {"major": 8, "minor": 0, "leafWeight": 20},
            ])),
            weights(json!([{"major": 8, "minor": 0, "leafWeight": 20}])),
        );
        check(
            weights(json!([{"major": 8, "minor": 0, "weight": 10}])),
            weights(json!([{"major": 8, "minor": 0, "weight": 20}])),
            weights(json!([{"major": 8, "minor": 0, "weight": 20}])),
            weights(json!([{"major": 8, "minor": 0, "weight": 20}])),
        );
    }

    #[test]
    fn maps_and_lists_grow() {
        check(
            json!({"unified": {"a.x": "1"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}], "pids": {"limit": 5}}),
            json!({"unified": {"b.x": "2"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 2}]}),
            json!({"unified": {"a.x": "1", "b.x": "2"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 2}], "pids": {"limit": 5}}),
            json!({"unified": {"b.x": "2"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 2}]}),
        );
    }
}
