//! New resources over the container's present ones.
//!
//! What a request leaves out stays as it is, and so does what it sets to zero where zero is "unset":
//! engines fill in zeroes. Limits that the kernel takes together (memory and swap, quota and
//! period) are written together, the other one with its present value.

use std::collections::HashMap;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxInterfacePriority, LinuxMemory, LinuxNetwork,
    LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};

/// The outcome of a merge.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// All resources of the container afterwards, for the state directory.
    pub(super) all: LinuxResources,
    /// What has to be written: what the request asks for, and what belongs to it. Without devices.
    pub(super) changed: LinuxResources,
}

pub(super) fn merge(present: &LinuxResources, request: &LinuxResources) -> Merged {
    let mut merged = Merged { all: present.clone(), changed: LinuxResources::default() };
    let Merged { all, changed } = &mut merged;
    if let Some(devices) = request.devices() {
        all.set_devices(Some(devices.clone()));
    }
    if let Some(request) = request.memory() {
        let (memory, write) = memory(present.memory().unwrap_or_default(), request);
        all.set_memory(Some(memory));
        changed.set_memory(Some(write));
    }
    if let Some(request) = request.cpu() {
        let (cpu, write) = cpu(present.cpu().clone().unwrap_or_default(), request);
        all.set_cpu(Some(cpu));
        changed.set_cpu(Some(write));
    }
    if let Some(pids) = request.pids() {
        all.set_pids(Some(*pids));
        changed.set_pids(Some(*pids));
    }
    if let Some(request) = request.block_io() {
        let (io, write) = block_io(present.block_io().clone().unwrap_or_default(), request);
        all.set_block_io(Some(io));
        changed.set_block_io(Some(write));
    }
    if let Some(limits) = request.hugepage_limits() {
        let same = |a: &LinuxHugepageLimit, b: &LinuxHugepageLimit| a.page_size() == b.page_size();
        all.set_hugepage_limits(Some(replace(present.hugepage_limits(), limits, same)));
        changed.set_hugepage_limits(Some(limits.clone()));
    }
    if let Some(request) = request.network() {
        all.set_network(Some(network(present.network().clone().unwrap_or_default(), request)));
        changed.set_network(Some(request.clone()));
    }
    if let Some(rdma) = request.rdma() {
        all.set_rdma(Some(extend(present.rdma(), rdma)));
        changed.set_rdma(Some(rdma.clone()));
    }
    if let Some(unified) = request.unified() {
        all.set_unified(Some(extend(present.unified(), unified)));
        changed.set_unified(Some(unified.clone()));
    }
    merged
}

fn memory(mut all: LinuxMemory, request: &LinuxMemory) -> (LinuxMemory, LinuxMemory) {
    let mut changed = *request;
    let (limit, swap) = (given(request.limit()), given(request.swap()));
    if let Some(limit) = limit {
        all.set_limit(Some(limit));
    }
    if swap.is_some() {
        all.set_swap(swap);
    } else if limit == Some(-1) {
        // No limit on memory is none on memory and swap together.
        all.set_swap(None);
    }
    let pair = limit.is_some() || swap.is_some();
    changed.set_limit(if pair { all.limit() } else { None });
    changed.set_swap(if pair { all.swap() } else { None });
    if let Some(reservation) = given(request.reservation()) {
        all.set_reservation(Some(reservation));
    }
    // Docker writes the largest number for "unset".
    if let Some(swappiness) = request.swappiness().filter(|value| *value != u64::MAX) {
        all.set_swappiness(Some(swappiness));
    }
    if request.disable_oom_killer().is_some() {
        all.set_disable_oom_killer(request.disable_oom_killer());
    }
    (all, changed)
}

fn cpu(mut all: LinuxCpu, request: &LinuxCpu) -> (LinuxCpu, LinuxCpu) {
    let mut changed = request.clone();
    if let Some(shares) = given(request.shares()) {
        all.set_shares(Some(shares));
    }
    if request.idle().is_some() {
        all.set_idle(request.idle());
        // A cgroup that is no longer idle has the default weight, not the one it had before.
        changed.set_shares(all.shares());
    }
    let (quota, period) = (given(request.quota()), given(request.period()));
    all.set_quota(quota.or(all.quota()));
    all.set_period(period.or(all.period()));
    let pair = quota.is_some() || period.is_some();
    changed.set_quota(if pair { all.quota() } else { None });
    changed.set_period(if pair { all.period() } else { None });
    if request.burst().is_some() {
        all.set_burst(request.burst());
    }
    let (runtime, period) = (given(request.realtime_runtime()), given(request.realtime_period()));
    all.set_realtime_runtime(runtime.or(all.realtime_runtime()));
    all.set_realtime_period(period.or(all.realtime_period()));
    if runtime.is_some() || period.is_some() {
        changed.set_realtime_runtime(all.realtime_runtime());
        changed.set_realtime_period(all.realtime_period());
    }
    if let Some(cpus) = request.cpus().as_ref().filter(|list| !list.is_empty()) {
        all.set_cpus(Some(cpus.clone()));
    }
    if let Some(mems) = request.mems().as_ref().filter(|list| !list.is_empty()) {
        all.set_mems(Some(mems.clone()));
    }
    (all, changed)
}

fn block_io(mut all: LinuxBlockIo, request: &LinuxBlockIo) -> (LinuxBlockIo, LinuxBlockIo) {
    if let Some(weight) = given(request.weight()) {
        all.set_weight(Some(weight));
    }
    if let Some(weight) = given(request.leaf_weight()) {
        all.set_leaf_weight(Some(weight));
    }
    if let Some(devices) = request.weight_device() {
        all.set_weight_device(Some(replace(all.weight_device(), devices, outdated)));
    }
    let mut changed = request.clone();
    if given(request.weight()).is_some() {
        // BFQ sets the weight of all disks with it, also of those that had one of their own.
        changed.set_weight_device(all.weight_device().clone());
    }
    let same =
        |a: &LinuxThrottleDevice, b: &LinuxThrottleDevice| (a.major(), a.minor()) == (b.major(), b.minor());
    if let Some(rates) = request.throttle_read_bps_device() {
        all.set_throttle_read_bps_device(Some(replace(all.throttle_read_bps_device(), rates, same)));
    }
    if let Some(rates) = request.throttle_write_bps_device() {
        all.set_throttle_write_bps_device(Some(replace(all.throttle_write_bps_device(), rates, same)));
    }
    if let Some(rates) = request.throttle_read_iops_device() {
        all.set_throttle_read_iops_device(Some(replace(all.throttle_read_iops_device(), rates, same)));
    }
    if let Some(rates) = request.throttle_write_iops_device() {
        all.set_throttle_write_iops_device(Some(replace(all.throttle_write_iops_device(), rates, same)));
    }
    (all, changed)
}

/// Whether the device's earlier weights are all replaced by the later ones: there are two, and a request
/// may have one of them.
fn outdated(earlier: &LinuxWeightDevice, later: &LinuxWeightDevice) -> bool {
    (earlier.major(), earlier.minor()) == (later.major(), later.minor())
        && (earlier.weight().is_none() || later.weight().is_some())
        && (earlier.leaf_weight().is_none() || later.leaf_weight().is_some())
}

fn network(mut all: LinuxNetwork, request: &LinuxNetwork) -> LinuxNetwork {
    if let Some(class) = given(request.class_id()) {
        all.set_class_id(Some(class));
    }
    if let Some(priorities) = request.priorities() {
        let same = |a: &LinuxInterfacePriority, b: &LinuxInterfacePriority| a.name() == b.name();
        all.set_priorities(Some(replace(all.priorities(), priorities, same)));
    }
    all
}

/// A number that is not "unset".
fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// The present entries, with those of the request in the place of the same ones or at the end.
fn replace<T: Clone>(present: &Option<Vec<T>>, request: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut all = present.clone().unwrap_or_default();
    for entry in request {
        // Of several entries the last one counts.
        match all.iter_mut().rfind(|known| same(known, entry)) {
            Some(known) => *known = entry.clone(),
            None => all.push(entry.clone()),
        }
    }
    all
}

fn extend<T: Clone>(
    present: &Option<HashMap<String, T>>,
    request: &HashMap<String, T>,
) -> HashMap<String, T> {
    let mut all = present.clone().unwrap_or_default();
    all.extend(request.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(present: Value, request: Value, all: Value, changed: Value) {
        let read = |value: &Value| serde_json::from_value(value.clone()).expect("resources");
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
            memory(json!({"limit": 100, "swap": 300, "reservation": 0})),
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
    fn quota_and_period_belong_together() {
        let cpu = |value: Value| json!({"cpu": value});
        check(
            cpu(json!({"quota": 500, "period": 1000, "shares": 100})),
            cpu(json!({"period": 900, "quota": 0, "cpus": ""})),
            cpu(json!({"quota": 500, "period": 900, "shares": 100})),
            cpu(json!({"quota": 500, "period": 900, "cpus": ""})),
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
