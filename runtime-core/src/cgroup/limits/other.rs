//! `linux.resources`: pids, huge pages, network and RDMA.

use std::collections::BTreeMap;

use super::super::hierarchy::{Mode, Version};
use super::super::plan::{Compiler, Missing};
use super::super::resources::{DeviceName, HugepageLimit, InterfacePriority, Limit, Network, Rdma};

/// The most processes. Zero leaves no room to fork, which for the kernel is a limit of one: it counts
/// the process that is there already (runtime-spec 1.3; runc writes 1 too).
pub(super) fn pids(compiler: &mut Compiler<'_>, limit: Limit) {
    const ORIGIN: &str = "linux.resources.pids.limit";
    // No limit needs no controller.
    if limit == Limit::Unlimited && compiler.view.version_of("pids").is_none() {
        return;
    }
    if compiler.version("pids", Some("pids"), ORIGIN).is_some() {
        let value = match limit {
            Limit::Unlimited => "max".to_owned(),
            Limit::Of(limit) => limit.max(1).to_string(),
        };
        compiler.write("pids", "pids.max", value, ORIGIN);
    }
}

pub(super) fn hugetlb(compiler: &mut Compiler<'_>, limits: &[HugepageLimit]) {
    for (index, HugepageLimit { page_size, limit }) in limits.iter().enumerate() {
        let origin = format!("linux.resources.hugepageLimits[{index}]");
        // Kubernetes writes 0 for each page size of a pod that asks for none, whether they can be limited or not.
        if *limit == 0 && compiler.view.version_of("hugetlb").is_none() {
            continue;
        }
        let suffix = match compiler.version("hugetlb", Some("hugetlb"), &origin) {
            Some(Version::V1) => "limit_in_bytes",
            Some(Version::V2) => "max",
            None => continue,
        };
        let origin = format!("{origin}.limit");
        compiler.write("hugetlb", format!("hugetlb.{page_size}.{suffix}"), limit, origin.clone());
        // Reservations count since Linux 5.7.
        let file = format!("hugetlb.{page_size}.rsvd.{suffix}");
        compiler.write("hugetlb", file, limit, origin).or(Missing::Ignored);
    }
}

/// Class and priorities exist on v1 only; runc ignores them on v2.
pub(super) fn network(compiler: &mut Compiler<'_>, network: &Network) {
    const ORIGIN: &str = "linux.resources.network.classID";
    let Network { class_id, priorities } = network;
    if compiler.view.mode == Mode::Unified {
        return;
    }
    if let Some(class) = class_id
        && compiler.version("net_cls", None, ORIGIN).is_some()
    {
        compiler.write("net_cls", "net_cls.classid", class, ORIGIN);
    }
    for (index, InterfacePriority { name, priority }) in priorities.iter().enumerate() {
        let origin = format!("linux.resources.network.priorities[{index}]");
        if compiler.version("net_prio", None, &origin).is_some() {
            compiler.write("net_prio", "net_prio.ifpriomap", format!("{name} {priority}"), origin);
        }
    }
}

pub(super) fn rdma(compiler: &mut Compiler<'_>, devices: &BTreeMap<DeviceName, Rdma>) {
    for (name, Rdma { hca_handles, hca_objects }) in devices {
        let origin = format!("linux.resources.rdma[{:?}]", name.as_str());
        let limits = [("hca_handle", hca_handles), ("hca_object", hca_objects)];
        let limits: Vec<String> =
            limits.into_iter().filter_map(|(key, limit)| Some(format!("{key}={}", (*limit)?))).collect();
        if !limits.is_empty() && compiler.version("rdma", Some("rdma"), &origin).is_some() {
            compiler.write("rdma", "rdma.max", format!("{name} {}", limits.join(" ")), origin);
        }
    }
}
