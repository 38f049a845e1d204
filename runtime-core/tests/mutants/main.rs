//! Mutants: each takes one protection out of a copy of the source, and the named tests must notice.
//!
//! The lists are the JSON files of this directory, one for each subject. A mutant is a text that occurs once in a file, and
//! what stands there instead; nothing of this is compiled into the library or the program. The tests of [`page`] and [`list`]
//! are fast and always run: they hold the lists to the source and to SECURITY.md. The one of this file builds and runs
//! everything, so it is ignored by default. Run it as root:
//!
//! ```text
//! cargo test -p runtime-core --test mutants -- --ignored --nocapture
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `MUTANTS_SAMPLE` | number of mutants to try, chosen by the seed; default all |
//! | `MUTANTS_SEED` | seed of the sample, decimal; default from the commit id, so that each commit tries others |
//! | `MUTANTS_ONLY` | only mutants whose name or list contains one of these words, divided by commas |
//! | `MUTANTS_SECONDS` | after this time, which begins with the first build, no further mutant is tried; one always is |

mod choice;
mod list;
mod page;
mod place;
mod source;
mod trial;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use list::Mutant;
use source::Source;
use trial::{Outcome, Trial};

/// Every mutant is noticed by at least one of its tests. Control: without a mutant the same tests pass.
#[test]
#[ignore = "it builds the library once for each mutant: minutes to an hour"]
fn every_mutant_is_noticed() {
    assert!(nix::unistd::geteuid().is_root(), "the tests that must notice need root");
    let chosen = choice::chosen(list::all());
    let end = choice::seconds().map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let source = Source::copied();
    let broken = broken_controls(&source, &chosen);
    let (mut killed, mut left) = (0, 0);
    let mut wrong = Vec::new();
    for mutant in &chosen {
        let tried = killed > 0 || !wrong.is_empty();
        if tried && end.is_some_and(|end| Instant::now() >= end) {
            left += 1;
            continue;
        }
        let started = Instant::now();
        let outcome = match broken.get(&Trial::of(mutant).key()) {
            Some(reason) => Outcome::Error(format!("the tests fail without the mutant: {reason}")),
            None => attempt(&source, mutant),
        };
        println!("{outcome} {} ({} s)", mutant.name, started.elapsed().as_secs());
        match outcome {
            Outcome::Killed => killed += 1,
            Outcome::Survived | Outcome::Error(_) => wrong.push(mutant.name.clone()),
        }
    }
    if left > 0 {
        println!("{left} not tried: the time is over");
    }
    println!("mutants: {killed} killed, {} survived", wrong.len());
    assert!(wrong.is_empty(), "not noticed, or not tried: {wrong:?}");
    assert!(killed > 0, "no mutant was tried");
}

/// The tests that fail with the source as it is, and how. They come first, with one build for all tests of a binary.
fn broken_controls(source: &Source, chosen: &[Mutant]) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for mutant in chosen {
        keys.entry(Trial::of(mutant).key()).or_insert(mutant);
    }
    let count = keys.len();
    let started = Instant::now();
    let failed =
        keys.into_iter().filter_map(|(key, mutant)| Some((key, Trial::of(mutant).passes(source).err()?)));
    let failed: BTreeMap<_, _> = failed.collect();
    println!(
        "controls: {} passed, {} failed ({} s)",
        count - failed.len(),
        failed.len(),
        started.elapsed().as_secs()
    );
    failed
}

fn attempt(source: &Source, mutant: &Mutant) -> Outcome {
    match source.mutated(mutant) {
        Ok(_mutated) => Trial::of(mutant).outcome(source),
        Err(reason) => Outcome::Error(reason),
    }
}
