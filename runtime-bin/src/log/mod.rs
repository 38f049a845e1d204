//! The log: the lines that engines read after a failure.
//!
//! Without `--log` each line goes to the standard error output. With it the line goes to the file
//! and an error's text also to the standard error output, so that an engine that reads one of
//! them, and a user, see each error once. The forms are those of runc's logger; the daemons that
//! crun can log to take their own.

mod daemon;

use std::borrow::Cow;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::{name, timestamp};
use daemon::Daemon;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Debug,
    Warning,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Where lines go, beside the standard error output.
#[derive(Debug)]
enum Sink {
    File(File),
    Daemon(Daemon),
}

impl Sink {
    /// `journald:ID`, `syslog:TAG`, `file:PATH` or a path.
    fn open(place: &Path) -> Result<Self> {
        let text = place.to_str().unwrap_or_default();
        if let Some(id) = text.strip_prefix("journald:") {
            return Daemon::journal(id).map(Sink::Daemon);
        }
        if let Some(tag) = text.strip_prefix("syslog:") {
            return Daemon::syslog(tag).map(Sink::Daemon);
        }
        let path = text.strip_prefix("file:").map_or(place, Path::new);
        // std sets O_CLOEXEC.
        let file = File::options().append(true).create(true).mode(0o644).open(path);
        file.map(Sink::File).map_err(|error| Error::io(format!("open log file {path:?}"), &error))
    }
}

/// Where log lines go; copies share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    sink: Option<Arc<Sink>>,
    format: Format,
    debug: bool,
    errors_only: bool,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    level: Level,
    msg: &'a str,
    time: String,
}

impl Log {
    /// A log at `place`: a file, which is appended to and made with mode 0644, `journald:ID` or
    /// `syslog:TAG`; or on the standard error output. `debug` keeps debug lines.
    pub(crate) fn open(place: Option<&Path>, format: Format, debug: bool) -> Result<Self> {
        let sink = place.map(Sink::open).transpose()?.map(Arc::new);
        Ok(Self { sink, format, debug, errors_only: false })
    }

    /// The same log without warnings.
    pub(crate) fn errors_only(self) -> Self {
        Self { errors_only: true, ..self }
    }

    /// Logs an error; call it once for each.
    pub(crate) fn error(&self, message: &str) {
        self.write(Level::Error, message);
        if self.sink.is_some() {
            to_stderr(&format!("{message}\n"));
        }
    }

    /// Logs something that the user should know although the command goes on.
    pub(crate) fn warning(&self, message: &str) {
        if !self.errors_only {
            self.write(Level::Warning, message);
        }
    }

    /// Logs a step, if `--debug` was given.
    pub(crate) fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug {
            self.write(Level::Debug, &message());
        }
    }

    fn write(&self, level: Level, message: &str) {
        match self.sink.as_deref() {
            None if self.format == Format::Text && std::io::stderr().is_terminal() => {
                to_stderr(&format!("{}: {}{message}\n", name::program(), for_people(level)));
            }
            None => to_stderr(&self.line(level, message)),
            Some(Sink::Daemon(daemon)) => {
                if let Err(error) = daemon.write(level, message) {
                    to_stderr(&format!("write to the log daemon: {error}\n"));
                }
            }
            Some(Sink::File(file)) => {
                // One write for each line keeps the lines of several processes whole.
                if let Err(error) = (&*file).write_all(self.line(level, message).as_bytes()) {
                    to_stderr(&format!("write log file: {error}\n"));
                }
            }
        }
    }

    fn line(&self, level: Level, message: &str) -> String {
        let time = timestamp::rfc3339(SystemTime::now());
        match self.format {
            Format::Json => {
                let line = JsonLine { level, msg: message, time };
                // Strings and an enum always have a JSON form.
                serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
            }
            Format::Text => {
                format!("time={} level={} msg={}\n", quoted(&time), level.name(), quoted(message))
            }
        }
    }
}

fn for_people(level: Level) -> &'static str {
    match level {
        Level::Error => "",
        Level::Warning => "warning: ",
        Level::Debug => "debug: ",
    }
}

/// A value of the text form: quoted if it holds more than letters, digits and `-._/@^+`.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if value.bytes().all(plain) {
        return value.to_owned();
    }
    let mut text = String::with_capacity(value.len().saturating_add(2));
    text.push('"');
    for char in value.chars() {
        match char {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            char if (char as u32) < 0x20 || char as u32 == 0x7f => {
                text.push_str(&format!("\\x{:02x}", char as u32))
            }
            char => text.push(char),
        }
    }
    text.push('"');
    text
}

/// Writes to the standard error output; the caller may have closed it, and then there is nobody
/// left to tell.
fn to_stderr(text: &str) {
    let text = match std::io::stderr().is_terminal() {
        true => harmless(text),
        false => text.into(),
    };
    if std::io::stderr().write_all(text.as_bytes()).is_err() {}
}

/// The text without what a terminal would act on: messages have words of the container in them, such as
/// what a hook printed there or what CRIU logged.
fn harmless(text: &str) -> Cow<'_, str> {
    let acts = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    if text.contains(acts) { text.replace(acts, "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(format: Format, debug: bool) -> String {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let log = Log::open(Some(&path), format, debug).expect("a log");
        log.debug(|| "step".to_owned());
        log.warning("say \"hi\"\nthere");
        std::fs::read_to_string(path).expect("the log file")
    }

    #[test]
    fn json_lines() {
        let text = logged(Format::Json, true);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "debug");
        assert_eq!(lines[1]["level"], "warning");
        assert_eq!(lines[1]["msg"], "say \"hi\"\nthere");
        assert!(lines[1]["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    }

    #[test]
    fn text_lines() {
        let text = logged(Format::Text, false);
        assert!(text.starts_with("time=\"20"), "{text}");
        assert!(text.ends_with("Z\" level=warning msg=\"say \\\"hi\\\"\\nthere\"\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        let text = harmless("hook: \x1b]0;title\x07\u{9b}2J\r\ttail\n");
        assert_eq!(text, "hook: \u{fffd}]0;title\u{fffd}\u{fffd}2J\u{fffd}\ttail\n");
        assert!(matches!(harmless("grüße\n"), Cow::Borrowed(_)));
    }
}
