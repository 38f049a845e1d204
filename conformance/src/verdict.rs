//! What a check can say.

use serde_json::Value;

/// How a check ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The runtime broke the statement.
    Fail {
        /// What the statement asks for.
        expected: String,
        /// What was found instead.
        seen: String,
    },
    /// The runtime refused a configuration that the check needs: for a value that a runtime may choose
    /// not to support there is nothing to judge, for any other it is a failure.
    Refused {
        /// What the check needs.
        expected: String,
        /// The refusal.
        seen: String,
    },
    /// The statement cannot be judged here.
    Skip(String),
}

/// A check's answer: the evidence of a pass, or a stop.
pub(crate) type Outcome = Result<String, Stop>;

/// Ends a check with a failure.
pub(crate) fn fail<T>(expected: impl Into<String>, seen: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fail { expected: expected.into(), seen: seen.into() })
}

/// Ends a check with a skip.
pub(crate) fn skip<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skip(reason.into()))
}

/// Passes if both are equal.
pub(crate) fn same(what: &str, expected: &Value, seen: &Value) -> Outcome {
    if expected == seen {
        Ok(format!("{what} is {}", short(&seen.to_string())))
    } else {
        fail(format!("{what} is {}", short(&expected.to_string())), short(&seen.to_string()))
    }
}

/// Passes if `truth` holds; `seen` is the evidence either way.
pub(crate) fn holds(truth: bool, expected: &str, seen: impl Into<String>) -> Outcome {
    let seen = seen.into();
    if truth { Ok(short(&seen)) } else { fail(expected, short(&seen)) }
}

/// Evidence on one line, and not a page of it.
pub(crate) fn short(text: &str) -> String {
    let line = text.trim().replace('\n', " | ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Stop::Fail { expected: "the suite's own step succeeds".into(), seen: error.to_string() }
    }
}

/// A statement's verdict, with its evidence.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The runtime does what the statement says; what was seen.
    Pass(String),
    /// It does not.
    Fail {
        /// What the statement asks for.
        expected: String,
        /// What was seen.
        seen: String,
    },
    /// Not judged, and why.
    Skip(String),
}

/// One judged statement.
#[derive(Clone, Debug)]
pub struct Record {
    /// The statement's id, unique over all tables.
    pub id: &'static str,
    /// The section of the specification, as `document.md#anchor`.
    pub section: &'static str,
    /// `MUST`, `SHOULD`, `MAY NOT`; `READING` or `PRACTICE` for what no sentence asks for.
    pub level: &'static str,
    /// Whether a failure breaks a sentence of the specification.
    pub binding: bool,
    /// The statement in the suite's own words.
    pub statement: &'static str,
    /// What came out.
    pub verdict: Verdict,
    /// How long the check took, in milliseconds.
    pub milliseconds: u128,
}

impl Record {
    /// Whether the runtime breaks a sentence of the specification.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.binding && matches!(self.verdict, Verdict::Fail { .. })
    }

    /// Whether it only does otherwise than the suite reads, or than others do.
    #[must_use]
    pub fn differs(&self) -> bool {
        !self.binding && matches!(self.verdict, Verdict::Fail { .. })
    }
}
