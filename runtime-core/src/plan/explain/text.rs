//! The words for flags, sets and limits.

use crate::plan::caps;
use crate::spec::{Kind, mount_options as attribute};
use runtime_init::ops::{Point, Slot};

pub(super) fn namespaces(flags: u32) -> String {
    let known =
        [Kind::User, Kind::Mount, Kind::Network, Kind::Ipc, Kind::Uts, Kind::Pid, Kind::Cgroup, Kind::Time];
    let set = known.iter().filter(|kind| flags & kind.flag() != 0);
    let names: Vec<&str> = set.map(|kind| kind.name()).collect();
    names.join(", ")
}

pub(super) fn point_text(point: Point) -> &'static str {
    match point {
        Point::CgroupJoined => "the cgroups",
        Point::RuntimeHooks => "the hooks of the runtime",
        Point::Created => "the runtime, created",
        Point::IdMaps => "the id maps",
        Point::NetworkDevices => "the network devices",
    }
}

pub(super) fn slot_text(slot: Slot) -> &'static str {
    match slot {
        Slot::NETWORK => "the network namespace",
        Slot::SYSFS => "the sysfs of the network namespace",
        Slot::PROCFS => "the procfs of the pid namespace",
        Slot::STATE => "the state",
        Slot::HOOK_STDOUT => "the file for the standard output of hooks",
        Slot::HOOK_STDERR => "the file for the standard error output of hooks",
        Slot::MOUNT => "the mount",
        _ => "descriptors",
    }
}

pub(super) fn node_text(mode: u32) -> &'static str {
    match mode & libc::S_IFMT {
        libc::S_IFCHR => "character device",
        libc::S_IFBLK => "block device",
        libc::S_IFIFO => "fifo",
        _ => "file",
    }
}

pub(super) fn propagation(flags: u64) -> String {
    let kind = match () {
        () if flags & libc::MS_SHARED != 0 => "shared",
        () if flags & libc::MS_SLAVE != 0 => "slave",
        () if flags & libc::MS_PRIVATE != 0 => "private",
        () => "unbindable",
    };
    let all = if flags & libc::MS_REC != 0 { "r" } else { "" };
    format!("{all}{kind}")
}

pub(super) fn all(recursive: bool) -> &'static str {
    if recursive { "recursive " } else { "" }
}

pub(super) fn attribute_texts(attributes: u64) -> Vec<String> {
    let known = [
        (attribute::RDONLY, "ro"),
        (attribute::NOSUID, "nosuid"),
        (attribute::NODEV, "nodev"),
        (attribute::NOEXEC, "noexec"),
        (attribute::NOATIME, "noatime"),
        (attribute::STRICTATIME, "strictatime"),
        (attribute::NODIRATIME, "nodiratime"),
        (attribute::NOSYMFOLLOW, "nosymfollow"),
    ];
    let set = known.iter().filter(|(flag, _)| attributes & flag != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

pub(super) fn changes(set: u64, clear: u64) -> String {
    let mut texts = attribute_texts(set);
    let cleared = attribute_texts(clear & !attribute::ATIME);
    texts.extend(cleared.iter().map(|name| format!("not {name}")));
    if clear & attribute::ATIME != 0 && set & attribute::ATIME == 0 {
        texts.push("relatime".to_owned());
    }
    in_brackets(&texts)
}

pub(super) fn in_brackets(texts: &[String]) -> String {
    if texts.is_empty() { String::new() } else { format!(" ({})", texts.join(",")) }
}

pub(super) fn bits(mask: &[u8]) -> String {
    let all = mask.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
    let set = (0usize..).zip(all).filter(|(_, set)| *set != 0).map(|(bit, _)| bit);
    let texts: Vec<String> = set.map(|bit| bit.to_string()).collect();
    texts.join(",")
}

/// A `struct sched_attr`.
pub(super) fn scheduler_text(attributes: &[u8]) -> String {
    format!("set scheduling policy {}", attributes.get(4).copied().unwrap_or_default())
}

pub(super) fn set_text(mask: u64) -> String {
    if mask == 0 { "none".to_owned() } else { caps::names(mask) }
}

pub(super) fn rlimit_text(resource: u32, soft: u64, hard: u64) -> String {
    let names = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let name = names.get(resource as usize).copied().unwrap_or("?");
    let limit = |value: u64| {
        if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() }
    };
    format!("set RLIMIT_{name} to {}:{}", limit(soft), limit(hard))
}
