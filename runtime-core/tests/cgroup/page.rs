//! The other tables of CGROUPS.md: each test that they name exists.

use std::path::Path;

/// Tests of the page in the form `program::module::test`, with the source that has to have them.
fn named(page: &str) -> impl Iterator<Item = (&str, String, &str)> {
    page.split('`').skip(1).step_by(2).filter_map(|name| {
        let mut parts = name.split("::");
        let (program, module, test) = (parts.next()?, parts.next()?, parts.next()?);
        let package = match program {
            "cli" | "limits" => "runtime-bin",
            "cgroup" | "security" if !matches!(module, "fields" | "limits" | "location") => "runtime-core",
            _ => return None,
        };
        Some((name, format!("{package}/tests/{program}/{module}.rs"), test))
    })
}

#[test]
fn every_test_of_the_page_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let page = std::fs::read_to_string(root.join("runtime-core/CGROUPS.md")).expect("CGROUPS.md");
    let mut count = 0;
    for (name, file, test) in named(&page) {
        let source =
            std::fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {test}()")), "there is no test {name}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}
