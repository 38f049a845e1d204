//! Building and running the tests that must notice a mutant.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::list::Mutant;
use crate::place;
use crate::source::Source;

/// What came of a mutant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A test has failed.
    Killed,
    /// All tests have passed.
    Survived,
    /// It could not be tried.
    Error(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed => formatter.write_str("killed"),
            Self::Survived => formatter.write_str("SURVIVED"),
            Self::Error(reason) => write!(formatter, "ERROR ({reason})"),
        }
    }
}

/// The tests of a mutant.
pub(crate) struct Trial<'a> {
    mutant: &'a Mutant,
}

impl<'a> Trial<'a> {
    pub(crate) fn of(mutant: &'a Mutant) -> Self {
        Self { mutant }
    }

    /// The same for all mutants with the same tests.
    pub(crate) fn key(&self) -> String {
        let Mutant { package, test, filter, env, .. } = self.mutant;
        format!("{package} {test} {filter:?} {env:?}")
    }

    /// Whether the tests pass with the source as it is.
    pub(crate) fn passes(&self, source: &Source) -> Result<(), String> {
        let ended = self.run(source, &self.built(source)?);
        match ended.success {
            Some(true) if passed(&ended.output) >= self.mutant.filter.len() => Ok(()),
            Some(true) => Err(format!("not all of {:?} ran", self.mutant.filter)),
            Some(false) | None => Err(tail(&ended.output)),
        }
    }

    /// What the tests say of the mutant that is in the source.
    pub(crate) fn outcome(&self, source: &Source) -> Outcome {
        match self.built(source) {
            Err(reason) => Outcome::Error(format!("it does not compile: {reason}")),
            Ok(binary) => match self.run(source, &binary).success {
                Some(true) => Outcome::Survived,
                Some(false) | None => Outcome::Killed,
            },
        }
    }

    /// Builds the tests: the path of their program.
    fn built(&self, source: &Source) -> Result<PathBuf, String> {
        let Mutant { package, test, .. } = self.mutant;
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--offline", "--no-run", "--message-format=json", "--package", package]);
        match test.as_str() {
            "lib" => cargo.arg("--lib"),
            "bin" => cargo.args(["--bin", "runtime"]),
            name => cargo.args(["--test", name]),
        };
        cargo
            .env("CARGO_TARGET_DIR", source.build())
            // Line numbers of a panic are all that is wanted.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .current_dir(source.root())
            .stdin(Stdio::null());
        let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            return Err(tail(&String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        executable(&text).ok_or_else(|| "cargo names no program".to_owned())
    }

    fn run(&self, source: &Source, binary: &Path) -> place::Ended {
        let Mutant { package, filter, env, .. } = self.mutant;
        let directory = match package.as_str() {
            "runtime-init" => source.root().join("runtime-core/init"),
            other => source.root().join(other),
        };
        let mut env: Vec<_> = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        // A test that does not run notices nothing.
        env.push(("REQUIRE_PRIVILEGED".to_owned(), "1".to_owned()));
        place::run(binary, &directory, filter, &env)
    }
}

/// The program in the messages of cargo: of the last artifact that is a test.
fn executable(messages: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = artifacts
        .filter(|message| message["profile"]["test"] == true)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.next_back()
}

/// How many tests a run says have passed.
fn passed(output: &str) -> usize {
    let counts = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    counts.filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok()).sum()
}

/// The end of a long text.
fn tail(text: &str) -> String {
    let text = text.trim();
    let start = text.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
    text[start..].to_owned()
}

#[test]
fn passed_tests_are_counted() {
    let text = "running 2 tests\ntest a ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored;\n";
    assert_eq!(passed(text), 2);
    assert_eq!(passed("test result: FAILED. 1 passed; 1 failed;"), 0);
}

#[test]
fn the_program_of_a_test_is_found_among_the_messages() {
    let messages = concat!(
        r#"{"reason":"compiler-artifact","profile":{"test":false},"executable":"/x/runtime"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","profile":{"test":true},"executable":"/x/security-1"}"#,
        "\n",
        r#"{"reason":"build-finished","success":true}"#,
    );
    assert_eq!(executable(messages), Some(PathBuf::from("/x/security-1")));
    assert_eq!(executable("{}"), None);
}
