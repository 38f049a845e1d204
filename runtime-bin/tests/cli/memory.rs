//! What a created container costs and holds while it waits for its start.

use crate::support::{Bundle, Container, privileged, until};

/// The most memory that a waiting init may take, in kibibytes.
const LIMIT: u64 = 100;

#[test]
fn a_created_container_is_small() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let field = |text: String, name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        value.split_ascii_whitespace().next().and_then(|value| value.parse().ok()).expect("a number")
    };
    let directory_of = |container: &Container<'_>| {
        container.go(&["create"]).ok();
        std::path::PathBuf::from(format!("/proc/{}", container.state()["pid"]))
    };
    // The kernel begins the stack at a random byte, which makes it a page or two larger: the least of some counts.
    let least = (0..5)
        .map(|_| {
            let container = bundle.container();
            let rollup = directory_of(&container).join("smaps_rollup");
            field(std::fs::read_to_string(rollup).expect("a file of procfs"), "Pss:")
        })
        .min();
    assert!(least.is_some_and(|size| size <= LIMIT), "{least:?} kB");

    let container = bundle.container();
    let directory = directory_of(&container);
    let read = |file: &str| std::fs::read_to_string(directory.join(file)).expect("a file of procfs");
    assert_eq!(field(read("status"), "Threads:"), 1);

    let exe = std::fs::read_link(directory.join("exe")).expect("a link");
    let exe = exe.to_string_lossy();
    assert!(exe.starts_with("/memfd:") && exe.ends_with(" (deleted)"), "{exe}");
    // Nothing of the host's files is mapped either, of which a debugger could take the memory.
    let mapped = read("maps");
    let files = mapped.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
    let files: Vec<&str> =
        files.filter(|name| name.starts_with('/') && !name.starts_with("/memfd:")).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn a_created_container_holds_its_gate_and_no_file_of_the_host() {
    if !privileged() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    let container = bundle.container();
    container.go(&["create"]).ok();
    let directory = std::path::PathBuf::from(format!("/proc/{}/fd", container.state()["pid"]));
    let others = || {
        let descriptors = std::fs::read_dir(&directory).expect("descriptors").map(|entry| {
            let path = entry.expect("a descriptor").path();
            let number: u32 =
                path.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number");
            // One that is closed meanwhile has no name.
            let name = std::fs::read_link(path).unwrap_or_default();
            (number, name.to_string_lossy().into_owned())
        });
        let mut held: Vec<(u32, String)> = descriptors.filter(|(number, _)| *number > 2).collect();
        held.sort();
        held
    };
    // `create` may return a moment before the init has closed its end of their socket.
    let mut held = others();
    until("one descriptor", || {
        held = others();
        held.len() <= 1
    });
    assert!(matches!(&held[..], [(_, name)] if name.starts_with("socket:")), "{held:?}");
}
