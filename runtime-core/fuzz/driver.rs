//! Runs a fuzz target with the stable compiler: its seeds, then changes of them for as long as the caller says.
//!
//! `FUZZ_SECONDS` is the time for each target (1 by default), `FUZZ_SEED` the seed of the changes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit.max(1)
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Texts that parsers trip over.
const TOKENS: [&[u8]; 20] = [
    b"-1",
    b"0",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e400",
    b"0x7fffffff",
    b"\0",
    b"\n",
    b"\"",
    b"\\",
    b"/",
    b"..",
    b"%00",
    b"\xff\xfe",
    "\u{2028}é".as_bytes(),
    b"max",
];

/// Numbers that are borders of integers, as bytes.
const BORDERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Another input that is near to `bytes`.
pub(crate) fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let end = bytes.len().min(at + random.below(16));
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(at..end)),
        3 => {
            let part = bytes[at..end].to_vec();
            (0..=random.below(4)).for_each(|_| drop(bytes.splice(at..at, part.iter().copied())));
        }
        4 => drop(bytes.splice(at..end, random.one(&TOKENS).iter().copied())),
        5 => {
            let number = random.one(&BORDERS).to_ne_bytes();
            let len = *random.one(&[1, 2, 4, 8]);
            bytes.splice(at..bytes.len().min(at + len), number[..len].iter().copied());
        }
        6 => {
            let other = random.one(seeds);
            let from = random.below(other.len() + 1);
            let to = other.len().min(from + random.below(64));
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        _ => {
            // The digits of a number become others.
            let digits = |byte: &u8| byte.is_ascii_digit();
            let Some(start) = bytes.iter().skip(at).position(digits).map(|past| at + past) else { return };
            let end = start + bytes[start..].iter().take_while(|byte| digits(byte)).count();
            bytes.splice(start..end, random.one(&TOKENS).iter().copied());
        }
    }
}

/// Runs `target` over the seeds in `corpus`, and over what `vary` makes of them.
///
/// # Panics
///
/// If the target does, with the input; without seeds.
pub(crate) fn run(corpus: &Path, target: fn(&[u8]), vary: impl Fn(&mut Random, &mut Vec<u8>, &[Vec<u8>])) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a decimal number"));
    let seed = number("FUZZ_SEED").unwrap_or(0xf0_22);
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(1));
    let mut files: Vec<_> =
        corpus.read_dir().expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a seed")).collect();
    assert!(!seeds.is_empty(), "no seeds in {corpus:?}");
    let call = |what: &str, bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
            panic!("{what} of {corpus:?}: b\"{}\"", bytes.escape_ascii());
        }
    };
    for (file, bytes) in files.iter().zip(&seeds) {
        call(&format!("{file:?}"), bytes);
    }
    let mut random = Random::new(seed);
    let mut inputs = 0_u64;
    while Instant::now() < end {
        let mut bytes = random.one(&seeds).clone();
        for _ in 0..=random.below(4) {
            vary(&mut random, &mut bytes, &seeds);
        }
        inputs += 1;
        call(&format!("FUZZ_SEED={seed}, input {inputs}"), &bytes);
    }
    println!("{corpus:?}: FUZZ_SEED={seed}, {inputs} inputs");
}
