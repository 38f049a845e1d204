//! The table of CGROUPS.md: every field with the test that sets it and reads it back.
//!
//! `UPDATE_DOCS=1` writes it anew.

use crate::fields::{Cell, FIELDS, Field, Test};

const BEGIN: &str = "<!-- fields: begin, made by runtime-core/tests/cgroup/table.rs -->\n";
const END: &str = "<!-- fields: end -->\n";

/// Where the other tests are that cells name: the driver's, which runs where systemd does.
const SYSTEMD: &str = "pending: binary `systemd`";

/// Tests of what has no file of its own.
const MORE: [(&str, Test, Test, Test); 2] = [
    (
        "devices",
        Test { name: "devices", source: include_str!("../devices.rs") },
        Test { name: "devices", source: include_str!("../devices.rs") },
        Test {
            name: "cli::cgroup::device_rules_in_a_user_namespace_are_left_out",
            source: include_str!("../../../runtime-bin/tests/cli/cgroup.rs"),
        },
    ),
    (
        "limits without a right to cgroups",
        Test { name: "cgroup::life::without_permission::v2", source: include_str!("life.rs") },
        Test { name: "cgroup::life::without_permission::v1", source: include_str!("life.rs") },
        Test {
            name: "cli::rootless::limits_without_the_right_to_a_cgroup_are_errors",
            source: include_str!("../../../runtime-bin/tests/cli/rootless.rs"),
        },
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
        text += &format!("| {} | {v2} | {v1} | {SYSTEMD} | {} |\n", field.field, rootless(field));
    }
    for (what, v2, v1, rootless) in &MORE {
        text += &format!("| {what} | `{}` | `{}` | {SYSTEMD} | `{}` |\n", v2.name, v1.name, rootless.name);
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
    for test in others.chain(MORE.iter().flat_map(|(_, v2, v1, rootless)| [v2, v1, rootless])) {
        assert!(exists(test), "there is no test {}", test.name);
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
