//! What the fuzz target of the seccomp compiler does (`fuzz/`), over its corpus, mutations of it, and random bytes.
//!
//! `FUZZ_INPUTS` is the number of inputs (default 10000), `FUZZ_SEED` the seed.

#[path = "../fuzz/entry/seccomp.rs"]
mod entry;

use std::path::Path;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }
}

#[test]
fn corpus_and_random_bytes() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a decimal number"))
    };
    let inputs = number("FUZZ_INPUTS", 10_000);
    let seed = number("FUZZ_SEED", u64::from(std::process::id()) << 20 | 0xf0_22);
    println!("FUZZ_SEED={seed} FUZZ_INPUTS={inputs}");
    let mut corpus = Vec::new();
    for entry in Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/seccomp").read_dir().unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        entry::run(&bytes);
        corpus.push(bytes);
    }
    assert!(!corpus.is_empty());
    let mut random = Random(seed | 1);
    let mut compiled = 0;
    for input in 0..inputs {
        let mut bytes: Vec<u8> = if random.below(8) == 0 {
            corpus[random.below(corpus.len())].clone()
        } else {
            (0..random.below(400)).map(|_| random.next() as u8).collect()
        };
        for _ in 0..random.below(4) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
            }
        }
        let result = std::panic::catch_unwind(|| entry::run(&bytes));
        match result {
            Ok(done) => compiled += u64::from(done),
            Err(_) => panic!("FUZZ_SEED={seed}, input {input}: {}", bytes.escape_ascii()),
        }
    }
    println!("{compiled} of {inputs} inputs were profiles that compile");
    assert!(compiled * 10 > inputs);
}
