//! The entries of the fuzz targets: bytes that come from outside, up to what is made of them. For tests and for cargo-fuzz
//! (`fuzz/`) alone.

use runtime_init::arena::Arena;
use runtime_init::ops::{Header, Slice, Str};

use crate::bundle::Bundle;
use crate::cgroup::resources::Resources;
use crate::cgroup::{CgroupPlan, Mode, View};
use crate::error::Error;
use crate::host::Host;
use crate::idmap::IdMap;
use crate::plan::{CreateOptions, LaunchPlan};
use crate::spec::{MountOptions, Namespaces, ValidProcess, parse_mounts, parse_resources};

/// A target takes any bytes, and panics at a fault of the library.
pub type Target = fn(&[u8]);

/// The targets with the names of their seeds (`fuzz/corpus/NAME`).
pub const TARGETS: [(&str, Target); 17] = [
    ("config", config),
    ("plan", plan),
    ("process", process),
    ("mounts", mounts),
    ("mount-options", mount_options),
    ("id-maps", id_maps),
    ("resources", resources),
    ("devices", crate::cgroup::devices::fuzz::rules),
    ("cgroup-files", crate::cgroup::fuzz::files),
    ("proc-files", crate::state::fuzz::proc_files),
    ("state", crate::state::fuzz::state),
    ("dbus", crate::cgroup::systemd::fuzz::message),
    ("unit-values", crate::cgroup::systemd::fuzz::annotation),
    ("reports", crate::launch::fuzz::reports),
    ("head-start", crate::launch::fuzz::head_start),
    ("criu", crate::container::criu_fuzz::response),
    ("netlink", crate::sys::netlink::fuzz::datagram),
];

/// An error is for people and for one line of a log: it says what is wrong, and brings no control characters of the input.
pub(crate) fn check_error(error: &Error) {
    let text = error.to_string();
    assert!(!text.trim().is_empty(), "an error without a text");
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn config(bytes: &[u8]) {
    let bundle = match Bundle::from_bytes("/bundle", bytes) {
        Ok(bundle) => bundle,
        Err(error) => return check_error(&error),
    };
    let options = CreateOptions { id: "c1".to_owned(), bundle: "/bundle".to_owned(), ..CreateOptions::new() };
    match LaunchPlan::create(bundle.spec(), &Host::for_tests(), &options) {
        Ok(plan) => {
            assert!(!plan.to_string().is_empty());
            let image = plan.child.image(16, 1, false);
            let header = Header::of(&image, 16).expect("the init reads its plan");
            assert_eq!(header.ops as usize, plan.child.ops().len());
        }
        Err(error) => check_error(&error),
    }
}

/// A plan's image of any bytes, and a string and arrays of any offset and length, which the first words are.
fn plan(bytes: &[u8]) {
    let Some((places, image)) = bytes.split_first_chunk::<12>() else { return };
    // In memory of its own, which is aligned.
    let image = image.to_vec();
    let Some(header) = Header::of(&image, 16) else { return };
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *places;
    let at = Str(u32::from_ne_bytes([a, b, c, d]));
    let slice = Slice { offset: u32::from_ne_bytes([e, f, g, h]), len: u32::from_ne_bytes([i, j, k, l]) };
    let arena = Arena::of(&image, &header);
    inside(&image, arena.text(at).to_bytes());
    inside(&image, arena.bytes(slice));
    inside(&image, arena.words(slice));
    inside(&image, arena.numbers(slice));
    inside(&image, arena.parameters(slice));
}

fn inside<T: std::fmt::Debug>(image: &[u8], part: &[T]) {
    let (all, range) = (image.as_ptr_range(), part.as_ptr_range());
    let (start, end) = (range.start.addr(), range.end.addr());
    assert!(part.is_empty() || (all.start.addr() <= start && end <= all.end.addr()));
    // It is read to its end.
    assert!(!format!("{part:?}").is_empty());
}

fn process(bytes: &[u8]) {
    match ValidProcess::parse(bytes) {
        Ok(process) => assert!(process.cwd.starts_with('/') && !process.args.is_empty()),
        Err(error) => check_error(&error),
    }
}

fn mounts(bytes: &[u8]) {
    match parse_mounts(bytes, &Namespaces::default()) {
        Ok(mounts) => mounts.iter().for_each(|mount| assert!(!mount.destination.contains('\0'))),
        Err(error) => check_error(&error),
    }
}

fn mount_options(bytes: &[u8]) {
    let texts = String::from_utf8_lossy(bytes);
    let texts: Vec<&str> = texts.lines().collect();
    let options = MountOptions::parse(&texts);
    assert_eq!(format!("{options:?}"), format!("{:?}", MountOptions::parse(&texts)));
}

fn id_maps(bytes: &[u8]) {
    match String::from_utf8_lossy(bytes).parse::<IdMap>() {
        Ok(map) => {
            assert_eq!(map.to_string().parse::<IdMap>().ok(), Some(map), "another map of its own text")
        }
        Err(error) => check_error(&error),
    }
}

fn resources(bytes: &[u8]) {
    let resources: Resources = match parse_resources(bytes, "resources") {
        Ok((resources, _)) => resources,
        Err(error) => return check_error(&error),
    };
    let v1 = [
        "cpu,cpuacct",
        "memory",
        "pids",
        "blkio",
        "cpuset",
        "devices",
        "hugetlb",
        "net_cls",
        "net_prio",
        "rdma",
    ];
    let v2 = ["cpu", "memory", "pids", "io", "cpuset", "hugetlb", "rdma"];
    let views = [
        View::new(Mode::Unified, &[], &v2),
        View::new(Mode::Legacy, &v1, &[]),
        View::new(Mode::Hybrid, &v1, &[]),
    ];
    for view in views {
        match CgroupPlan::compile(&view, Some("/a/b"), "c1", &resources) {
            // No value becomes a second line of a control file.
            Ok(plan) => plan.writes.iter().for_each(|write| {
                assert!(!write.value.trim_end().contains(['\0', '\n']), "{write:?}");
                assert!(!write.file.contains('/'), "{write:?}");
            }),
            Err(error) => check_error(&error),
        }
    }
}

#[cfg(test)]
mod against_runc;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;
    use crate::fuzz_driver;
    use crate::fuzz_json::change_json;

    macro_rules! targets {
        ($($name:ident = $target:literal),* $(,)?) => {
            $(#[test]
            fn $name() {
                let (name, target) = TARGETS.into_iter().find(|(name, _)| *name == $target).unwrap();
                let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
                fuzz_driver::run(&corpus, target, change_json);
            })*

            #[test]
            fn each_target_is_run() {
                assert_eq!(TARGETS.map(|(name, _)| name), [$($target),*]);
            }
        };
    }

    targets! {
        config = "config",
        plan = "plan",
        process = "process",
        mounts = "mounts",
        mount_options = "mount-options",
        id_maps = "id-maps",
        resources = "resources",
        devices = "devices",
        cgroup_files = "cgroup-files",
        proc_files = "proc-files",
        state = "state",
        dbus = "dbus",
        unit_values = "unit-values",
        reports = "reports",
        head_start = "head-start",
        criu = "criu",
        netlink = "netlink",
    }
}
