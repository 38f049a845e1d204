//! Which mutants are tried.

use std::process::Command;

use crate::list::{Mutant, repository};

/// A number of the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")))
}

/// The limit of time, in seconds.
pub(crate) fn seconds() -> Option<u64> {
    number("MUTANTS_SECONDS")
}

/// Those that the environment asks for; a sample is printed with its seed.
pub(crate) fn chosen(all: Vec<Mutant>) -> Vec<Mutant> {
    let words = std::env::var("MUTANTS_ONLY").unwrap_or_default();
    let words: Vec<&str> = words.split(',').filter(|word| !word.is_empty()).collect();
    let wanted = |mutant: &Mutant| {
        words.is_empty() || words.iter().any(|word| mutant.name.contains(word) || mutant.list == *word)
    };
    let found: Vec<Mutant> = all.into_iter().filter(wanted).collect();
    let Some(count) = number("MUTANTS_SAMPLE") else { return found };
    let seed = number("MUTANTS_SEED").unwrap_or_else(seed_of_commit);
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(found.len());
    println!("a sample of {count} of {} mutants, MUTANTS_SEED={seed}", found.len());
    let mut sample = shuffled(found, seed);
    sample.truncate(count);
    // One build after the other of the same tests takes less time.
    sample.sort_by(|one, other| (&one.package, &one.test).cmp(&(&other.package, &other.test)));
    sample
}

/// The first digits of the commit id; without git the time.
fn seed_of_commit() -> u64 {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(repository()).output();
    let commit =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    commit.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| now.as_secs())
    })
}

/// In an order that only the seed decides (Fisher and Yates, with the generator SplitMix64).
fn shuffled<T>(mut items: Vec<T>, seed: u64) -> Vec<T> {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        let other = usize::try_from(value % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, other);
    }
    items
}

/// Control: two seeds give two orders.
#[test]
fn a_seed_decides_the_order() {
    let all = || (0..100).collect::<Vec<u32>>();
    assert_eq!(shuffled(all(), 7), shuffled(all(), 7));
    assert_ne!(shuffled(all(), 7), shuffled(all(), 8));
    let mut again = shuffled(all(), 7);
    again.sort_unstable();
    assert_eq!(again, all());
}
