//! Fuzz targets of the command line: its arguments, the words that options take, and what a container's program sends to
//! its notify socket. The others are in the library (`runtime-core/fuzz/README.md`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use runtime_core::Signal;

use crate::fuzz_driver;
use crate::{args, duration, notify, size, user};

fn run(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime-core/fuzz/corpus").join(name);
    fuzz_driver::run(&corpus, target, fuzz_driver::change);
}

/// Arguments by lines.
fn arguments(bytes: &[u8]) {
    let words = || bytes.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec()));
    let (_, request) = args::parse(words());
    match request {
        Ok(args::Request::Run(matches)) => {
            assert!(matches.positionals.len() <= words().count());
            // What follows is a word of the command, whatever it looks like.
            assert!(matches.positionals.iter().all(|given| words().any(|word| word == *given)));
        }
        Ok(args::Request::Help(_) | args::Request::Version) => {}
        Err(error) => assert!(!error.message.is_empty()),
    }
}

/// Sizes, times, signals and users, by lines.
fn words(bytes: &[u8]) {
    for word in String::from_utf8_lossy(bytes).lines() {
        size::parse(word);
        duration::parse(word);
        user::parse(word).ok();
        if let Ok(signal) = word.parse::<Signal>() {
            assert_eq!(signal.to_string().parse().ok(), Some(signal), "{word:?}");
        }
    }
    let line = notify::ready_line(bytes);
    assert!(line.is_none_or(|line| line.starts_with(b"READY=") && !line.contains(&b'\n')));
}

#[test]
fn any_arguments() {
    run("cli", arguments);
}

#[test]
fn any_words() {
    run("words", words);
}
