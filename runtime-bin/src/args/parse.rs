//! The parser.
//!
//! Its rules are those that engines count on: an option has one dash or two, its value follows
//! `=` or is the next argument, a flag may be `--flag=false`, options stand before, between and
//! after the positional arguments, and `--` ends them. `exec` and `ps` pass the rest of the line
//! on to another program, so there options end after a number of positional arguments. A table
//! driven parser of a hundred lines does this; lexopt reads `-no-subreaper` as eleven options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::commands::{self, Command};
use super::options::{self, Opt, Value};
use super::values::Values;

/// The exit code of a bad command line.
const USAGE: u8 = 1;
/// The exit code of an unknown command, as runc has it.
const UNKNOWN_COMMAND: u8 = 3;

/// A command line that makes no sense.
#[derive(Debug)]
pub(crate) struct UsageError {
    /// What is wrong, and where the help is.
    pub(crate) message: String,
    /// The exit code.
    pub(crate) code: u8,
}

/// What the user asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// The program's help or a command's.
    Help(Option<&'static Command>),
    /// The version.
    Version,
    /// A command.
    Run(Matches),
}

/// A command with its options and positional arguments.
#[derive(Debug)]
pub(crate) struct Matches {
    /// The command.
    pub(crate) command: &'static Command,
    /// Its options.
    pub(crate) options: Values,
    /// Its positional arguments.
    pub(crate) positionals: Vec<OsString>,
}

impl Matches {
    /// The positional argument at `index` as text; empty if it is missing. Not UTF-8 gives
    /// replacement characters, which no id, signal or shell has.
    pub(crate) fn positional(&self, index: usize) -> std::borrow::Cow<'_, str> {
        self.positionals.get(index).map(|value| value.to_string_lossy()).unwrap_or_default()
    }
}

/// Parses the arguments after the program's name. The global options that were read are
/// returned beside the result, so that an error reaches the log file that it names.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> (Values, Result<Request, UsageError>) {
    let mut parser = Parser { args, globals: Values::default(), options: Values::default(), command: None };
    let request = parser.request();
    (parser.globals, request)
}

struct Parser<I> {
    args: I,
    globals: Values,
    options: Values,
    command: Option<&'static Command>,
}

impl<I: Iterator<Item = OsString>> Parser<I> {
    fn request(&mut self) -> Result<Request, UsageError> {
        let Some(name) = self.command_name()? else {
            return Ok(if self.wants_version() { Request::Version } else { Request::Help(None) });
        };
        if self.wants_version() {
            return Ok(Request::Version);
        }
        if self.globals.flag(&options::HELP) {
            return find_command(&name).map(|command| Request::Help(Some(command)));
        }
        if name == "help" || name == "h" {
            return self.help();
        }
        let command = find_command(&name)?;
        self.command = Some(command);
        let positionals = self.positionals(command)?;
        if self.globals.flag(&options::HELP) {
            return Ok(Request::Help(Some(command)));
        }
        self.check_count(command, positionals.len())?;
        Ok(Request::Run(Matches { command, options: std::mem::take(&mut self.options), positionals }))
    }

    fn wants_version(&self) -> bool {
        self.globals.flag(&options::VERSION) || self.globals.flag(&options::VERSION_CAPITAL)
    }

    /// Reads the global options up to the command's name.
    fn command_name(&mut self) -> Result<Option<OsString>, UsageError> {
        while let Some(argument) = self.args.next() {
            match option_text(&argument) {
                Some(text) => self.option(&argument, text)?,
                None if argument == "--" => {}
                None => return Ok(Some(argument)),
            }
        }
        Ok(None)
    }

    fn help(&mut self) -> Result<Request, UsageError> {
        match self.command_name()? {
            Some(name) => find_command(&name).map(|command| Request::Help(Some(command))),
            None => Ok(Request::Help(None)),
        }
    }

    /// Reads the options and positional arguments after the command's name.
    fn positionals(&mut self, command: &Command) -> Result<Vec<OsString>, UsageError> {
        let mut positionals = Vec::new();
        while let Some(argument) = self.args.next() {
            if argument == "--" {
                break;
            }
            let stopped = command.options_end_after.is_some_and(|count| positionals.len() >= count);
            match option_text(&argument) {
                Some(text) if !stopped => self.option(&argument, text)?,
                _ => positionals.push(argument),
            }
            if stopped {
                break;
            }
        }
        positionals.extend(&mut self.args);
        Ok(positionals)
    }

    /// Reads one option; `text` is the argument without its dashes.
    fn option(&mut self, argument: &OsStr, text: &[u8]) -> Result<(), UsageError> {
        let mut parts = text.splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default());
        let attached = parts.next().map(|value| OsStr::from_bytes(value).to_owned());
        let (option, global) = self
            .lookup(&name)
            .ok_or_else(|| self.error(format!("flag provided but not defined: -{name}")))?;
        let value = match (option.value, attached) {
            (Value::Flag, attached) => self.boolean(option, attached)?,
            (_, Some(value)) => value,
            (_, None) => self.args.next().ok_or_else(|| {
                self.error(format!("flag needs an argument: {}", argument.to_string_lossy()))
            })?,
        };
        self.check(option, &value)?;
        if global { &mut self.globals } else { &mut self.options }.push(option, value);
        Ok(())
    }

    /// The option of that name, and whether it is a global one; a command's own come first.
    fn lookup(&self, name: &str) -> Option<(&'static Opt, bool)> {
        let named = |option: &&&'static Opt| {
            option.name == name || option.short.is_some_and(|short| name.chars().eq([short]))
        };
        let own = self.command.and_then(|command| command.options.iter().find(named));
        if let Some(option) = own {
            return Some((option, false));
        }
        let version: &[&'static Opt] =
            if self.command.is_none() { &[&options::VERSION, &options::VERSION_CAPITAL] } else { &[] };
        options::GLOBAL.iter().chain(version).find(named).map(|option| (*option, true))
    }

    fn boolean(&self, option: &Opt, attached: Option<OsString>) -> Result<OsString, UsageError> {
        let Some(value) = attached else {
            return Ok("true".into());
        };
        match value.to_str() {
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok("true".into()),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok("false".into()),
            _ => Err(self.invalid(option, &value, "true or false")),
        }
    }

    fn check(&self, option: &Opt, value: &OsStr) -> Result<(), UsageError> {
        let text = value.to_str();
        match option.value {
            Value::Flag | Value::File | Value::Directory => Ok(()),
            Value::Text(_) if text.is_some() => Ok(()),
            Value::Text(_) => Err(self.invalid(option, value, "UTF-8 text")),
            Value::Number if text.is_some_and(|text| text.parse::<i64>().is_ok()) => Ok(()),
            Value::Number => Err(self.invalid(option, value, "a decimal number")),
            // An empty word stands for the default.
            Value::Choice(words) if text.is_some_and(|text| text.is_empty() || words.contains(&text)) => {
                Ok(())
            }
            Value::Choice(words) => Err(self.invalid(option, value, &words.join(" or "))),
        }
    }

    fn check_count(&self, command: &Command, count: usize) -> Result<(), UsageError> {
        let (least, most) = command.positionals;
        let rule = match most {
            Some(most) if least == most && count != least => format!("exactly {least}"),
            Some(most) if count > most => format!("a maximum of {most}"),
            _ if count < least => format!("a minimum of {least}"),
            _ => return Ok(()),
        };
        Err(self.error(format!("\"{}\" requires {rule} argument(s)", command.name)))
    }

    fn invalid(&self, option: &Opt, value: &OsStr, wanted: &str) -> UsageError {
        self.error(format!("invalid value {value:?} for flag -{}: not {wanted}", option.name))
    }

    fn error(&self, message: String) -> UsageError {
        let command = self.command.map(|command| format!(" {}", command.name)).unwrap_or_default();
        UsageError { message: format!("{message} (see runtime{command} --help)"), code: USAGE }
    }
}

/// The argument without its dashes, if it is an option. A lone `-`, `--` and a negative number
/// are not.
fn option_text(argument: &OsStr) -> Option<&[u8]> {
    let text = argument.as_bytes().strip_prefix(b"-")?;
    let text = text.strip_prefix(b"-").unwrap_or(text);
    text.first().is_some_and(u8::is_ascii_alphabetic).then_some(text).or_else(|| {
        // `--9` and `--=` are mistakes, not positional arguments.
        (argument.as_bytes().starts_with(b"--") && !text.is_empty()).then_some(text)
    })
}

fn find_command(name: &OsStr) -> Result<&'static Command, UsageError> {
    commands::find(name).ok_or_else(|| UsageError {
        message: format!("No help topic for '{}' (see runtime --help)", name.to_string_lossy()),
        code: UNKNOWN_COMMAND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    fn parse_words(words: &[&str]) -> (Values, Result<Request, UsageError>) {
        parse(words.iter().map(OsString::from))
    }

    fn matches(words: &[&str]) -> (Values, Matches) {
        match parse_words(words) {
            (globals, Ok(Request::Run(matches))) => (globals, matches),
            (_, other) => panic!("{words:?}: {other:?}"),
        }
    }

    fn error(words: &[&str]) -> UsageError {
        match parse_words(words).1 {
            Err(error) => error,
            Ok(request) => panic!("{words:?}: {request:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere() {
        for words in [
            ["create", "--bundle", "/b", "--pid-file=p", "id"].as_slice(),
            &["create", "id", "--bundle=/b", "-pid-file", "p"],
            &["create", "-b", "/b", "id", "--pid-file", "p"],
        ] {
            let (_, matches) = matches(words);
            assert_eq!(matches.positionals, ["id"]);
            assert_eq!(matches.options.get(&options::BUNDLE), Some(OsStr::new("/b")));
            assert_eq!(matches.options.get(&options::PID_FILE), Some(OsStr::new("p")));
        }
    }

    #[test]
    fn globals_before_and_after_the_command() {
        let (globals, matches) =
            matches(&["--root", "/a", "--log-format=json", "state", "--root=/b", "--debug", "x"]);
        assert_eq!(globals.get(&options::ROOT), Some(OsStr::new("/b")));
        assert_eq!(globals.text(&options::LOG_FORMAT), Some("json"));
        assert!(globals.flag(&options::DEBUG));
        assert_eq!(matches.command.name, "state");
    }

    #[test]
    fn a_commands_own_option_hides_the_global_one() {
        let (globals, spec) = matches(&["--rootless=true", "spec", "--rootless"]);
        assert_eq!(globals.text(&options::ROOTLESS), Some("true"));
        assert!(spec.options.flag(&options::SPEC_ROOTLESS));
        assert_eq!(matches(&["list", "--rootless", "auto"]).0.text(&options::ROOTLESS), Some("auto"));
    }

    #[test]
    fn exec_passes_the_rest_on() {
        let (_, exec) =
            matches(&["exec", "-e", "A=1", "id", "--tty", "-e", "B=2", "sh", "-c", "x", "--", "-t"]);
        assert_eq!(exec.positionals, ["id", "sh", "-c", "x", "--", "-t"]);
        assert_eq!(exec.options.all(&options::ENV).collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert!(exec.options.flag(&options::TTY));
        let (_, exec) = matches(&["exec", "id", "--", "-odd"]);
        assert_eq!(exec.positionals, ["id", "-odd"]);
        let (_, ps) = matches(&["ps", "--format", "table", "id", "-e", "-x"]);
        assert_eq!(ps.positionals, ["id", "-e", "-x"]);
    }

    #[test]
    fn the_last_one_wins() {
        let (_, run) =
            matches(&["run", "-no-subreaper", "--detach", "--detach=false", "-b", "a", "-b", "b", "id"]);
        assert!(run.options.flag(&options::NO_SUBREAPER));
        assert_eq!(run.options.given_flag(&options::DETACH), Some(false));
        assert_eq!(run.options.get(&options::BUNDLE), Some(OsStr::new("b")));
    }

    #[test]
    fn negative_numbers_are_values_and_positionals() {
        assert_eq!(matches(&["kill", "id", "-9"]).1.positionals, ["id", "-9"]);
        assert_eq!(
            matches(&["update", "--pids-limit", "-1", "id"]).1.options.number(&options::PIDS_LIMIT),
            Some(-1)
        );
        assert_eq!(
            matches(&["update", "--resources", "-", "id"]).1.options.get(&options::RESOURCES),
            Some("-".as_ref())
        );
    }

    #[test]
    fn mistakes_name_the_flag_and_the_help() {
        assert_eq!(
            error(&["state", "--nosuch", "x"]).message,
            "flag provided but not defined: -nosuch (see runtime state --help)"
        );
        assert_eq!(
            error(&["create", "--bundle"]).message,
            "flag needs an argument: --bundle (see runtime create --help)"
        );
        assert!(
            error(&["exec", "--preserve-fds=x", "a", "b"])
                .message
                .contains("invalid value \"x\" for flag -preserve-fds")
        );
        assert!(error(&["--debug=x", "list"]).message.contains("invalid value \"x\" for flag -debug"));
        assert!(error(&["--log-format", "xml", "list"]).message.contains("-log-format"));
        assert!(error(&["state"]).message.starts_with("\"state\" requires exactly 1 argument(s)"));
        assert!(error(&["kill", "a", "b", "c"]).message.contains("a maximum of 2"));
        assert!(error(&["exec"]).message.contains("a minimum of 1"));
        let unknown = error(&["foo", "-h"]);
        assert_eq!((unknown.code, unknown.message.starts_with("No help topic for 'foo'")), (3, true));
    }

    #[test]
    fn an_error_keeps_the_log_file() {
        let (globals, request) = parse_words(&["--log", "/l", "state", "--nosuch"]);
        assert!(request.is_err());
        assert_eq!(globals.path(&options::LOG), Some("/l".into()));
    }

    #[test]
    fn help_and_version() {
        for words in [[].as_slice(), &["-h"], &["help"], &["--debug"]] {
            assert!(matches!(parse_words(words).1, Ok(Request::Help(None))), "{words:?}");
        }
        for words in
            [["state", "-h"].as_slice(), &["state", "id", "--help"], &["help", "state"], &["--help", "state"]]
        {
            assert!(
                matches!(parse_words(words).1, Ok(Request::Help(Some(c))) if c.name == "state"),
                "{words:?}"
            );
        }
        for words in [["-v"].as_slice(), &["--version"], &["--root", "/r", "--version"]] {
            assert!(matches!(parse_words(words).1, Ok(Request::Version)), "{words:?}");
        }
        assert_eq!(matches(&["exec", "id", "ls", "--help"]).1.positionals, ["id", "ls", "--help"]);
    }

    #[test]
    fn bytes_that_are_not_text() {
        let odd = OsString::from_vec(vec![b'/', 0xff]);
        let words = ["create".into(), "--bundle".into(), odd.clone(), "id".into()];
        let (_, Ok(Request::Run(matches))) = parse(words.into_iter()) else { panic!("not parsed") };
        assert_eq!(matches.options.path(&options::BUNDLE), Some(odd.clone().into()));
        let words = ["exec".into(), "--user".into(), odd, "id".into(), "ls".into()];
        assert!(parse(words.into_iter()).1.is_err());
    }
}
