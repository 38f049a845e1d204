//! Which configurations runc takes and this library does not, or the other way round.
//!
//! runc looks at a whole configuration before it looks whether the container's id is taken: with an id that is, it says what
//! it thinks of the configuration, and makes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bundle::Bundle;
use crate::fuzz_driver::Random;
use crate::fuzz_json::change_json;
use crate::host::Host;
use crate::plan::{CreateOptions, LaunchPlan};

const ID: &str = "taken";

/// What runc finds wrong; empty if nothing.
fn runc(directory: &Path, config: &[u8]) -> String {
    std::fs::write(directory.join("config.json"), config).expect("a configuration");
    let root = directory.join("state");
    let output = Command::new("runc")
        .args([
            "--root".as_ref(),
            root.as_os_str(),
            "create".as_ref(),
            "--bundle".as_ref(),
            directory.as_os_str(),
        ])
        .arg(ID)
        .output()
        .expect("runc");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "runc has created a container");
    match text.contains("container with given ID already exists") {
        true => String::new(),
        false => text,
    }
}

fn ours(directory: &Path, config: &[u8]) -> String {
    let plan = Bundle::from_bytes(directory, config).and_then(|bundle| {
        let options = CreateOptions { id: "c1".to_owned(), ..CreateOptions::new() };
        LaunchPlan::create(bundle.spec(), &Host::for_tests(), &options)
    });
    plan.err().map(|error| error.to_string()).unwrap_or_default()
}

/// A text without what differs from one input to the next.
fn class(text: &str) -> String {
    let text = text.split("level=error msg=").nth(1).unwrap_or(text);
    let plain: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    plain.chars().take(90).collect()
}

#[test]
#[ignore = "for people: needs runc, and prints what they judge"]
fn against_runc() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(10));
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(directory.path().join("state").join(ID)).expect("a state");
    std::fs::create_dir(directory.path().join("rootfs")).expect("a root");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
    // A root that is there, and no flags of seccomp, which not every runc has.
    let text = |file: &Path| {
        std::fs::read_to_string(file)
            .expect("a seed")
            .replace("/image", "rootfs")
            .replace("\"SECCOMP_FILTER_FLAG_LOG\"", "")
    };
    let files = corpus.read_dir().expect("seeds").map(|file| file.expect("a seed").path());
    let files = files.filter(|file| file.extension().is_some_and(|end| end == "json"));
    let seeds: Vec<Vec<u8>> = files.map(|file| text(&file).into_bytes()).collect();
    let mut random = Random::new(seed);
    let mut found: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
    let mut inputs = 0;
    while Instant::now() < end {
        let mut bytes = random.one(&seeds).clone();
        (0..random.below(3)).for_each(|_| change_json(&mut random, &mut bytes, &seeds));
        inputs += 1;
        let (theirs, ours) = (runc(directory.path(), &bytes), ours(directory.path(), &bytes));
        let difference = match (theirs.is_empty(), ours.is_empty()) {
            (true, false) => format!("runc takes it: {}", class(&ours)),
            (false, true) => format!("only runc refuses it: {}", class(&theirs)),
            _ => continue,
        };
        found.entry(difference).or_insert((0, bytes)).0 += 1;
    }
    println!("FUZZ_SEED={seed}: {inputs} configurations");
    for (difference, (count, example)) in &found {
        println!("{count:5} {difference}");
        if std::env::var_os("FUZZ_EXAMPLES").is_some() {
            println!("      {}", String::from_utf8_lossy(example));
        }
    }
}
