//! The table of CGROUPS.md: every field with the test that sets it and reads it back.
//!
//! `UPDATE_DOCS=1` writes it anew.

use crate::fields::{Cell, FIELDS, Field, Test};

const BEGIN: &str = "<!-- fields: begin, made by runtime-core/tests/cgroup/table.rs -->\n";
const END: &str = "<!-- fields: end -->\n";

/// The test of a field, or of several, under the systemd driver: the same in a boot with v2 and in one with v1.
fn systemd(module: &str) -> Test {
    let name = match module {
        "memory_check_before_update" => "systemd::fields::memory_check_before_update",
        _ if module.starts_with("memory_") => "systemd::fields::memory",
        "cpu_shares" | "cpu_quota" | "cpu_period" | "cpu_burst" => "systemd::fields::cpu",
        "cpu_idle" => "systemd::fields::cpu_idle",
        "cpu_realtime" => "systemd::fields::cpu_realtime",
        "cpu_cpus" | "cpu_mems" => "systemd::fields::cpuset",
        "pids_limit" => "systemd::fields::pids",
        "block_io_weight" => "systemd::fields::block_io_weight",
        "block_io_weight_device" => "systemd::fields::block_io_weight_device",
        "block_io_leaf_weight" => "systemd::fields::block_io_leaf_weight",
        _ if module.starts_with("block_io_") => "systemd::fields::block_io_throttle",
        "hugepage_limits" => "systemd::fields::huge_pages",
        "network_class_id" | "network_priorities" => "systemd::fields::network",
        "rdma" => "systemd::fields::rdma",
        "unified" => "systemd::fields::unified",
        other => panic!("the systemd driver has no test of {other}"),
    };
    Test { name, source: include_str!("../../../runtime-bin/tests/systemd/fields.rs") }
}

/// Tests of what has no file of its own: v2, v1, systemd, rootless.
const MORE: [(&str, [Test; 4]); 2] = [
    (
        "devices",
        [
            Test { name: "devices", source: include_str!("../devices.rs") },
            Test { name: "devices", source: include_str!("../devices.rs") },
            Test {
                name: "systemd::limits::devices_survive_whatever_systemd_does",
                source: include_str!("../../../runtime-bin/tests/systemd/limits.rs"),
            },
            Test {
                name: "cli::cgroup::device_rules_in_a_user_namespace_are_left_out",
                source: include_str!("../../../runtime-bin/tests/cli/cgroup.rs"),
            },
        ],
    ),
    (
        "limits without a right to cgroups",
        [
            Test { name: "cgroup::life::without_permission::v2", source: include_str!("life.rs") },
            Test { name: "cgroup::life::without_permission::v1", source: include_str!("life.rs") },
            Test {
                name: "systemd::user::without_a_manager_the_error_says_so",
                source: include_str!("../../../runtime-bin/tests/systemd/user.rs"),
            },
            Test {
                name: "cli::rootless::limits_without_the_right_to_a_cgroup_are_errors",
                source: include_str!("../../../runtime-bin/tests/cli/rootless.rs"),
            },
        ],
    ),
];

fn cell(field: &Field, cell: Cell, test: &str) -> String {
    match cell {
        Cell::Files(_, files) => {
            let names: Vec<_> =
                files.iter().map(|(name, _)| format!("`{}`", name.replace('|', "`, else `"))).collect();
            format!("{}: `cgroup::fields::{}::{test}`", names.join(", "), field.module)
        }
        Cell::Other(what, test) => format!("{what}: `{}`", test.name),
    }
}

fn rootless(field: &Field) -> String {
    let of = |cell: Cell, test: &str| match cell {
        Cell::Files(..) => format!("`cgroup::fields::{}::{test}`", field.module),
        Cell::Other(..) => "as root".to_owned(),
    };
    let (v2, v1) = (of(field.v2, "rootless_v2"), of(field.v1, "rootless_v1"));
    if v1 == v2 { v1 } else { format!("v2: {v2}; v1: {v1}") }
}

fn table() -> String {
    let mut text = "| field | v2 | v1 | systemd | rootless |\n|---|---|---|---|---|\n".to_owned();
    for field in FIELDS {
        let (v2, v1) = (cell(field, field.v2, "v2"), cell(field, field.v1, "v1"));
        let systemd = systemd(field.module).name;
        text += &format!("| {} | {v2} | {v1} | `{systemd}` | {} |\n", field.field, rootless(field));
    }
    for (what, [v2, v1, systemd, rootless]) in &MORE {
        let names = [v2, v1, systemd, rootless].map(|test| format!("`{}`", test.name));
        text += &format!("| {what} | {} |\n", names.join(" | "));
    }
    text
}

/// Whether the source has the function that the name ends with.
fn exists(test: &Test) -> bool {
    let mut parts = test.name.rsplit("::").filter(|part| !matches!(*part, "v1" | "v2" | "hybrid"));
    let name = parts.next().expect("a name");
    // The name of a binary: its file is here.
    !test.name.contains("::") || test.source.contains(&format!("fn {name}()"))
}

#[test]
fn every_named_test_exists() {
    let others = FIELDS.iter().flat_map(|field| [field.v1, field.v2]).filter_map(|cell| match cell {
        Cell::Other(_, test) => Some(test),
        Cell::Files(..) => None,
    });
    for test in others.chain(MORE.iter().flat_map(|(_, tests)| tests)) {
        assert!(exists(test), "there is no test {}", test.name);
    }
    for test in FIELDS.iter().map(|field| systemd(field.module)) {
        assert!(exists(&test), "there is no test {}", test.name);
    }
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/CGROUPS.md");
    let page = std::fs::read_to_string(path).expect("CGROUPS.md");
    let (before, rest) = page.split_once(BEGIN).expect("the beginning of the table");
    let (found, after) = rest.split_once(END).expect("the end of the table");
    let wanted = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("the page is written");
        return;
    }
    assert_eq!(found, wanted, "UPDATE_DOCS=1 writes it anew");
}
