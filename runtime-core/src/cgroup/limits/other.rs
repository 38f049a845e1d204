//! `linux.resources`: pids, huge pages, network and RDMA.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxRdma};

use super::super::hierarchy::{Mode, Version};
use super::super::plan::{Compiler, Missing};

/// The most processes; below zero is no limit. Zero leaves no room to fork, which for the kernel is a
/// limit of one: it counts the process that is there already (runtime-spec 1.3; runc writes 1 too).
pub(super) fn pids(compiler: &mut Compiler<'_>, limit: i64) {
    const ORIGIN: &str = "linux.resources.pids.limit";
    // No limit needs no controller.
    if limit < 0 && compiler.view.version_of("pids").is_none() {
        return;
    }
    if compiler.version("pids", Some("pids"), ORIGIN).is_some() {
        let value = if limit < 0 { "max".to_owned() } else { limit.max(1).to_string() };
        compiler.write("pids", "pids.max", value, ORIGIN);
    }
}

pub(super) fn hugetlb(compiler: &mut Compiler<'_>, limits: &[LinuxHugepageLimit]) {
    for (index, limit) in limits.iter().enumerate() {
        let origin = format!("linux.resources.hugepageLimits[{index}]");
        let size = limit.page_size();
        if !is_page_size(size) {
            compiler.invalid(format!("{origin}.pageSize"), format!("{size:?} is not a size such as \"2MB\""));
            continue;
        }
        if limit.limit() < 0 {
            compiler.invalid(format!("{origin}.limit"), "must not be negative");
            continue;
        }
        // Kubernetes writes 0 for each page size of a pod that asks for none, whether they can be limited or not.
        if limit.limit() == 0 && compiler.view.version_of("hugetlb").is_none() {
            continue;
        }
        let suffix = match compiler.version("hugetlb", Some("hugetlb"), &origin) {
            Some(Version::V1) => "limit_in_bytes",
            Some(Version::V2) => "max",
            None => continue,
        };
        compiler.write(
            "hugetlb",
            format!("hugetlb.{size}.{suffix}"),
            limit.limit(),
            format!("{origin}.limit"),
        );
        // Reservations count since Linux 5.7.
        let file = format!("hugetlb.{size}.rsvd.{suffix}");
        compiler.write("hugetlb", file, limit.limit(), format!("{origin}.limit")).or(Missing::Ignored);
    }
}

/// Digits and `KB`, `MB` or `GB`: the size becomes part of a file name (runc #4103).
fn is_page_size(size: &str) -> bool {
    ["KB", "MB", "GB"].iter().filter_map(|unit| size.strip_suffix(unit)).any(|digits| {
        !digits.is_empty()
            && digits.len() <= 20
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Class and priorities exist on v1 only; runc ignores them on v2.
pub(super) fn network(compiler: &mut Compiler<'_>, network: &LinuxNetwork) {
    if compiler.view.mode == Mode::Unified {
        return;
    }
    if let Some(class) = network.class_id().filter(|class| *class != 0) {
        const ORIGIN: &str = "linux.resources.network.classID";
        if compiler.version("net_cls", None, ORIGIN).is_some() {
            compiler.write("net_cls", "net_cls.classid", class, ORIGIN);
        }
    }
    for (index, priority) in network.priorities().iter().flatten().enumerate() {
        let origin = format!("linux.resources.network.priorities[{index}]");
        if !is_word(priority.name()) {
            compiler.invalid(format!("{origin}.name"), format!("{:?} is not an interface", priority.name()));
        } else if compiler.version("net_prio", None, &origin).is_some() {
            let value = format!("{} {}", priority.name(), priority.priority());
            compiler.write("net_prio", "net_prio.ifpriomap", value, origin);
        }
    }
}

pub(super) fn rdma(compiler: &mut Compiler<'_>, devices: &HashMap<String, LinuxRdma>) {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_unstable_by_key(|(name, _)| *name);
    for (name, limits) in devices {
        let origin = format!("linux.resources.rdma[{name:?}]");
        if !is_word(name) {
            compiler.invalid(origin, "is not the name of an RDMA device");
            continue;
        }
        let mut value = name.clone();
        for (key, limit) in [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())] {
            if let Some(limit) = limit {
                value.push_str(&format!(" {key}={limit}"));
            }
        }
        if value.len() > name.len() && compiler.version("rdma", Some("rdma"), &origin).is_some() {
            compiler.write("rdma", "rdma.max", value, origin);
        }
    }
}

/// One printable word without slashes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() < 64 && text.chars().all(|c| c.is_ascii_graphic() && c != '/')
}
