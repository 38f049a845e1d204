//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, ValueExt as _};

use crate::cases::{self, Case};
use crate::failure::Failure;
use crate::view::View;

pub(crate) const HELP: &str = "\
Compares container runtimes in one interleaved run. As root.

USAGE: benches [options]

  --runtime PATH     the runtime to measure (default: `runtime` beside this program)
  --peer NAME=PATH   a runtime to compare with; may be repeated
  --runs N           measured runs of each runtime and case (default: 30)
  --case NAME        only this case; may be repeated
  --all              the slow cases too: 1000 mounts, 200 and 1000 live containers
  --json FILE        write every sample and the statistics to FILE
  --plot FILE        draw the times: an SVG file
  --check-floor      compare what is seen inside the floors' containers and the runtime's, and nothing else
  --order            print the linker script that puts what the usual commands execute side by side, and nothing else
  --view v2|host     v2: /sys/fs/cgroup is cgroup v2 only, in a private mount namespace (default);
                     host: /sys/fs/cgroup as it is
  --filters          compare compilers of seccomp filters instead; needs no root
  --help             this text; the cases are in README.md
";

const RUNS: usize = 30;

/// What the program was called for.
#[derive(Debug)]
pub(crate) enum Invocation {
    Help,
    Compare(Options),
    /// See [`crate::filters`].
    Filters {
        runs: usize,
    },
    /// Not for people: see [`crate::order`].
    Traced(Vec<OsString>),
    /// Not for people: see [`crate::peak`].
    PeakOf(Vec<OsString>),
}

/// A comparison, resolved: every path is absolute.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) runtime: PathBuf,
    /// Name for the tables, and path.
    pub(crate) peers: Vec<(String, PathBuf)>,
    pub(crate) runs: usize,
    /// None: all, without the slow ones if not `all`.
    cases: Option<Vec<String>>,
    all: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) plot: Option<PathBuf>,
    pub(crate) check_floor: bool,
    /// Print the script of [`crate::order`].
    pub(crate) order: bool,
    pub(crate) view: View,
}

impl Options {
    pub(crate) fn wants(&self, case: &Case) -> bool {
        match &self.cases {
            Some(names) => names.iter().any(|name| name == case.name),
            None => self.all || !case.slow,
        }
    }
}

pub(crate) fn parse() -> Result<Invocation, Failure> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == crate::peak::OPTION => return Ok(Invocation::PeakOf(arguments.collect())),
        Some(first) if first == crate::order::OPTION => return Ok(Invocation::Traced(arguments.collect())),
        _ => {}
    }
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Invocation, Failure> {
    let bad = |error: lexopt::Error| Failure::new(format!("{error}; see --help"));
    let mut runtime = None;
    let mut cases: Option<Vec<String>> = None;
    let mut filters = false;
    let mut options = Options {
        runtime: PathBuf::new(),
        peers: Vec::new(),
        runs: RUNS,
        cases: None,
        all: false,
        json: None,
        plot: None,
        check_floor: false,
        order: false,
        view: View::V2,
    };
    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Short('h') | Long("help") => return Ok(Invocation::Help),
            Long("filters") => filters = true,
            Long("runtime") => runtime = Some(parser.value().map_err(bad)?),
            Long("peer") => options.peers.push(peer(&text(&mut parser)?)?),
            Long("runs") => options.runs = parser.value().and_then(|value| value.parse()).map_err(bad)?,
            Long("case") => cases.get_or_insert_default().push(case(text(&mut parser)?)?),
            Long("all") => options.all = true,
            Long("plot") => options.plot = Some(parser.value().map_err(bad)?.into()),
            Long("check-floor") => options.check_floor = true,
            Long("order") => options.order = true,
            Long("json") => options.json = Some(parser.value().map_err(bad)?.into()),
            Long("view") => options.view = text(&mut parser)?.parse()?,
            other => return Err(bad(other.unexpected())),
        }
    }
    if options.runs == 0 {
        return Err(Failure::new("--runs 0 measures nothing"));
    }
    if filters {
        return Ok(Invocation::Filters { runs: options.runs });
    }
    options.runtime = match runtime {
        Some(path) => absolute(path)?,
        None => beside_this_program()?,
    };
    options.cases = cases;
    Ok(Invocation::Compare(options))
}

fn text(parser: &mut lexopt::Parser) -> Result<String, Failure> {
    parser
        .value()
        .and_then(|value| value.string())
        .map_err(|error| Failure::new(format!("{error}; see --help")))
}

/// The name is a file name too, and a part of container ids.
fn peer(argument: &str) -> Result<(String, PathBuf), Failure> {
    let is_plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    match argument.split_once('=') {
        Some((name, path)) if is_plain(name) && !matches!(name, "floor" | "runtime") => {
            Ok((name.to_owned(), absolute(path)?))
        }
        _ => Err(Failure::new(format!(
            "--peer {argument:?}: not NAME=PATH with a NAME of letters, digits, - and _ that is not taken"
        ))),
    }
}

fn case(name: String) -> Result<String, Failure> {
    let names = || cases::ALL.iter().map(|case| case.name);
    if names().any(|known| known == name) {
        return Ok(name);
    }
    Err(Failure::new(format!("no case {name:?}; there are: {}", names().collect::<Vec<_>>().join(", "))))
}

fn absolute(path: impl Into<PathBuf>) -> Result<PathBuf, Failure> {
    let path = path.into();
    std::path::absolute(&path).map_err(Failure::during(format!("the path {path:?}")))
}

fn beside_this_program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().map_err(Failure::during("find this program"))?;
    Ok(program.with_file_name("runtime"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let all = std::iter::once("benches").chain(arguments.iter().copied());
        match parse_from(lexopt::Parser::from_iter(all)) {
            Ok(Invocation::Compare(options)) => Ok(options),
            Ok(other) => Err(format!("{other:?}")),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn everything_has_a_default() {
        let options = options(&[]).expect("options");
        assert_eq!(options.runtime.file_name(), Some("runtime".as_ref()));
        assert_eq!((options.runs, options.view), (RUNS, View::V2));
        assert!(cases::ALL.iter().all(|case| options.wants(case) != case.slow));
    }

    #[test]
    fn slow_cases_are_asked_for() {
        let every = options(&["--all"]).expect("options");
        assert!(cases::ALL.iter().all(|case| every.wants(case)));
        let one = options(&["--case", "live-1000"]).expect("options");
        assert_eq!(cases::ALL.iter().filter(|case| one.wants(case)).count(), 1);
    }

    #[test]
    fn repeated_options_add_up() {
        let arguments = ["--peer", "a=/x/a", "--peer=b=/y/b", "--case", "run-true", "--case=size"];
        let options = options(&arguments).expect("options");
        assert_eq!(options.peers, [("a".to_owned(), "/x/a".into()), ("b".to_owned(), "/y/b".into())]);
        let wanted = |name| cases::ALL.iter().any(|case| case.name == name && options.wants(case));
        assert!(wanted("run-true") && wanted("size") && !wanted("exec-true"));
    }

    #[test]
    fn nonsense_is_refused_with_a_text() {
        for (arguments, expected) in [
            (&["--runs", "0"][..], "measures nothing"),
            (&["--peer", "a"], "NAME=PATH"),
            (&["--peer", "floor=/a"], "not taken"),
            (&["--peer", "a/b=/a"], "NAME=PATH"),
            (&["--case", "nothing"], "run-true"),
            (&["--view", "v1"], "v2"),
            (&["--loud"], "--loud"),
        ] {
            let error = options(arguments).expect_err("a refusal");
            assert!(error.contains(expected), "{error}");
        }
    }
}
