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
//! | `MUTANTS_SECONDS` | after this time no further mutant is tried |

mod choice;
mod list;
mod page;
mod place;
mod source;
mod trial;

use std::collections::BTreeSet;
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
    let mut known = BTreeSet::new();
    let (mut killed, mut left) = (0, 0);
    let mut wrong = Vec::new();
    for mutant in &chosen {
        if end.is_some_and(|end| Instant::now() >= end) {
            left += 1;
            continue;
        }
        let started = Instant::now();
        let outcome = attempt(&source, mutant, &mut known);
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

/// One mutant: first its tests without it, unless they have passed before.
fn attempt(source: &Source, mutant: &Mutant, known: &mut BTreeSet<String>) -> Outcome {
    let trial = Trial::of(mutant);
    if !known.contains(&trial.key()) {
        if let Err(reason) = trial.passes(source) {
            return Outcome::Error(format!("the tests fail without the mutant: {reason}"));
        }
        known.insert(trial.key());
    }
    match source.mutated(mutant) {
        Ok(_mutated) => trial.outcome(source),
        Err(reason) => Outcome::Error(reason),
    }
}
