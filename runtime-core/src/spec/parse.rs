//! From bytes to the types of `oci_spec`: straight when they fit, and by way of a repaired JSON value
//! when they do not.
//!
//! `oci_spec` refuses a whole configuration for things that the runtime specification tells a runtime to
//! pass over (an unknown capability) or that are right (two names of scheduler flags, a process
//! without a user). The second path costs a second parse, and only configurations with such
//! things take it. It also finds every value of a wrong type, not only the first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::findings::Findings;
use super::findings::one_line;
use super::lists::{Text, in_place_of_objects};
use super::locate::path_at;
use super::names::Canonical;
use crate::error::{Error, ErrorKind, Result};

/// Values of a wrong type that one error names at most.
const REFUSALS: usize = 32;

/// What parsing found besides the value.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// JSON paths and reasons of values that were refused.
    pub(super) errors: Vec<(String, String)>,
    /// JSON paths and reasons of what was left out.
    warnings: Vec<(String, String)>,
}

impl Parsed {
    /// JSON paths of the refused values.
    pub(super) fn refused(&self) -> Vec<String> {
        self.errors.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Adds every field that `T` requires and the text lacks. A value of a wrong type has been found before.
    pub(super) fn require<T: DeserializeOwned>(&mut self, bytes: &[u8]) {
        let Err(mut error) = serde_json::from_slice::<T>(bytes) else { return };
        let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return };
        let mut text = bytes.to_vec();
        for _ in 0..REFUSALS {
            let (path, reason) = describe(&text, &error);
            // What is missing is put in, what is of a wrong type is taken out, to see what is next.
            let known = match missing_field(&error) {
                Some(field) if !self.errors.iter().any(|(known, _)| *known == format!("{path}.{field}")) => {
                    self.errors
                        .push((path.clone(), if text == bytes { reason } else { without_place(&error) }));
                    add(&mut value, &path, &field)
                }
                Some(field) => add(&mut value, &path, &field),
                None => !path.is_empty() && remove(&mut value, &path),
            };
            text = value.to_string().into_bytes();
            error = match serde_json::from_slice::<T>(&text) {
                Err(next) if known => next,
                _ => return,
            };
        }
    }

    /// Adds the warnings to `findings`.
    pub(super) fn warn(&self, findings: &mut Findings) {
        for (path, reason) in &self.warnings {
            findings.warning(path, reason);
        }
    }
}

/// Parses a text; `file` names it in errors, `kind` says what it is.
pub(super) fn parse<T: DeserializeOwned>(
    text: &Canonical<'_>,
    file: &'static str,
    kind: Text,
) -> Result<(T, Parsed)> {
    let bytes = &*text.bytes;
    let mut parsed = Parsed { errors: Vec::new(), warnings: text.warnings.clone() };
    let lists = in_place_of_objects(bytes, kind);
    if !lists.is_empty() {
        let found = lists.iter().map(|path| at(path, "invalid type: sequence, expected an object"));
        return Err(Error::invalid(file, found.collect::<Vec<_>>().join("; ")));
    }
    let error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok((value, parsed)),
        Err(error) => error,
    };
    let first = describe(bytes, &error);
    if !error.is_data() {
        return Err(Error::new(ErrorKind::InvalidInput, file).because_of(first.1, error));
    }
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, file).because_of(describe(bytes, &error).1, error)
    })?;
    repair(&mut value, &mut parsed.warnings);
    retry(value, file, first, parsed)
}

/// Parses the repaired value; takes out what is of a wrong type, and goes on to find the next.
fn retry<T: DeserializeOwned>(
    mut value: Value,
    file: &'static str,
    first: (String, String),
    mut parsed: Parsed,
) -> Result<(T, Parsed)> {
    for _ in 0..REFUSALS {
        let text = value.to_string();
        let error = match serde_json::from_slice(text.as_bytes()) {
            Ok(whole) => return Ok((whole, parsed)),
            Err(error) => error,
        };
        let (path, reason) = match describe(text.as_bytes(), &error) {
            // The place in the file is worth more than that in our text.
            (path, _) if path == first.0 => first.clone(),
            (path, _) => (path, without_place(&error)),
        };
        // What is missing because it was taken out is no news.
        let caused = parsed.errors.iter().any(|(known, _)| known.starts_with(&path));
        if !caused {
            parsed.errors.push((path.clone(), in_known_words(&path, reason)));
        }
        if path.is_empty() || !remove(&mut value, &path) {
            break;
        }
    }
    let all: Vec<String> = parsed.errors.iter().map(|(path, reason)| at(path, reason)).collect();
    Err(Error::invalid(file, all.join("; ")))
}

/// A reason at a JSON path, which is empty for the whole text.
fn at(path: &str, reason: &str) -> String {
    match path {
        "" => reason.to_owned(),
        path => format!("{path}: {reason}"),
    }
}

/// The reason with what is wrong in runc's words, where its users look for them.
fn in_known_words(path: &str, reason: String) -> String {
    match path.strip_prefix("linux.memoryPolicy") {
        Some(rest) if rest.starts_with(".flags") => format!("invalid memory policy flag: {reason}"),
        Some("" | ".mode") => format!("invalid memory policy mode: {reason}"),
        _ => reason,
    }
}

/// JSON path and text of an error.
fn describe(text: &[u8], error: &serde_json::Error) -> (String, String) {
    // A value is at fault when it has ended, a byte when it is read.
    let column = if error.is_data() { error.column() } else { error.column().saturating_sub(1) };
    let path = one_line(path_at(text, error.line(), column));
    let at = if path.is_empty() || error.is_data() { String::new() } else { format!(" in {path}") };
    let reason = format!("{}{at} at line {} column {}", without_place(error), error.line(), error.column());
    (path, reason)
}

/// The text of an error without line and column.
fn without_place(error: &serde_json::Error) -> String {
    // It quotes values, and those of an image may end a line of the log.
    let text = one_line(error.to_string());
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

/// The field that a value lacks, if that is the error.
fn missing_field(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    Some(text.strip_prefix("missing field `")?.split_once('`')?.0.to_owned())
}

/// Gives the object at `path` a field without a value that matters; true if there is such an object.
fn add(value: &mut Value, path: &str, field: &str) -> bool {
    match value.pointer_mut(&pointer(path)) {
        Some(Value::Object(fields)) => fields.insert(field.to_owned(), 0.into()).is_none(),
        _ => false,
    }
}

/// A JSON path as a JSON pointer (RFC 6901).
fn pointer(path: &str) -> String {
    format!("/{}", path.replace('[', "/").replace(']', "").replace('.', "/"))
}

/// Takes the value at `path` out; true if there was one.
fn remove(value: &mut Value, path: &str) -> bool {
    let pointer = pointer(path);
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return false;
    };
    match value.pointer_mut(parent) {
        Some(Value::Object(fields)) => fields.remove(name).is_some(),
        Some(Value::Array(items)) => match name.parse::<usize>() {
            Ok(index) if index < items.len() => {
                // The places of the others stay: an equal neighbour stands in, if there is one.
                items.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Changes what `oci_spec` refuses and the specification does not.
pub(super) fn repair(value: &mut Value, warnings: &mut Vec<(String, String)>) {
    let (process, origin) = match value.get("ociVersion").is_some() || value.get("process").is_some() {
        true => (value.get_mut("process"), "process."),
        false => (Some(value), ""),
    };
    let Some(Value::Object(process)) = process else {
        return;
    };
    if process.get("user").is_none_or(Value::is_null) {
        process.insert("user".to_owned(), serde_json::json!({}));
    }
    // "runtimes MUST ignore consoleSize if terminal is false or unset" (config.md), whatever it holds.
    if process.get("terminal") != Some(&Value::Bool(true)) {
        process.remove("consoleSize");
    }
    if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
        capabilities(&format!("{origin}capabilities"), sets, warnings);
    }
    if let Some(Value::Array(flags)) =
        process.get_mut("scheduler").and_then(|scheduler| scheduler.get_mut("flags"))
    {
        flags.iter_mut().for_each(scheduler_flag);
    }
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        affinity.retain(|_, list| list.as_str() != Some(""));
    }
}

/// Drops names that are no capabilities: "values [that] cannot be mapped to the relevant kernel
/// interface … MUST be logged as a warning" (config.md). One line for each name, in whatever sets it is.
fn capabilities(origin: &str, sets: &mut Map<String, Value>, warnings: &mut Vec<(String, String)>) {
    let mut unknown: Vec<(String, Vec<String>)> = Vec::new();
    for (set, names) in sets {
        let Value::Array(names) = names else { continue };
        names.retain(|name| {
            let known = serde_json::from_value::<oci_spec::runtime::Capability>(name.clone()).is_ok();
            let Some(text) = name.as_str().filter(|_| !known) else { return true };
            match unknown.iter_mut().find(|(known, _)| known == text) {
                Some((_, sets)) if sets.last() == Some(set) => {}
                Some((_, sets)) => sets.push(set.clone()),
                None => unknown.push((text.to_owned(), vec![set.clone()])),
            }
            false
        });
    }
    warnings.extend(unknown.into_iter().map(|(name, sets)| {
        let reason = format!("unknown capability {name:?} is ignored");
        match sets.as_slice() {
            [set] => (format!("{origin}.{set}"), reason),
            several => (origin.to_owned(), format!("{reason} in {}", several.join(", "))),
        }
    }));
}

/// The names of the specification to those that `oci_spec` knows.
fn scheduler_flag(flag: &mut Value) {
    let name = match flag.as_str() {
        Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
        Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
        _ => return,
    };
    *flag = Value::String(name.to_owned());
}
