//! Signals by name.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A signal of Linux, 1 to 64 (signal(7)), or [`NONE`](Self::NONE).
///
/// As text it has a name (`SIGTERM`, `SIGRTMIN+3`). It is parsed from a name in any case, with `SIG` or without it, and
/// from a number:
///
/// ```
/// use runtime_core::Signal;
///
/// assert_eq!("term".parse::<Signal>()?, Signal::TERM);
/// assert_eq!("15".parse::<Signal>()?.to_string(), "SIGTERM");
/// assert_eq!(Signal::new(37).map(|signal| signal.to_string()).as_deref(), Some("SIGRTMIN+3"));
/// assert_eq!(Signal::new(65), None);
/// # Ok::<(), runtime_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// The greatest number.
const MAX: u8 = 64;
/// SIGRTMIN and SIGRTMAX as the C library leaves them to programs.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $number:ident,)*) => {
        impl Signal {
            $($(#[$doc])* pub const $name: Self = Self(libc::$number as u8);)*
        }

        /// The signals with a name, which each have one number.
        static NAMES: &[(&str, Signal)] = &[$((stringify!($name), Signal::$name),)*];
    };
}

signals! {
    /// Its terminal was closed, or it is to read its configuration again.
    HUP = SIGHUP,
    /// Interrupt from the keyboard.
    INT = SIGINT,
    /// Quit from the keyboard.
    QUIT = SIGQUIT,
    /// Illegal instruction.
    ILL = SIGILL,
    /// A breakpoint.
    TRAP = SIGTRAP,
    /// abort(3).
    ABRT = SIGABRT,
    /// Wrong access to memory.
    BUS = SIGBUS,
    /// Wrong arithmetic.
    FPE = SIGFPE,
    /// Ends a process, which cannot prevent it.
    KILL = SIGKILL,
    /// For the program's own use.
    USR1 = SIGUSR1,
    /// Invalid access to memory.
    SEGV = SIGSEGV,
    /// For the program's own use.
    USR2 = SIGUSR2,
    /// A write to a pipe without readers.
    PIPE = SIGPIPE,
    /// The timer of alarm(2).
    ALRM = SIGALRM,
    /// Asks a process to end.
    TERM = SIGTERM,
    /// Unused.
    STKFLT = SIGSTKFLT,
    /// A child has ended.
    CHLD = SIGCHLD,
    /// Goes on after a stop.
    CONT = SIGCONT,
    /// Stops a process, which cannot prevent it.
    STOP = SIGSTOP,
    /// Stop from the keyboard.
    TSTP = SIGTSTP,
    /// A read from the terminal in the background.
    TTIN = SIGTTIN,
    /// A write to the terminal in the background.
    TTOU = SIGTTOU,
    /// Urgent data on a socket.
    URG = SIGURG,
    /// The limit of processor time.
    XCPU = SIGXCPU,
    /// The limit of a file's size.
    XFSZ = SIGXFSZ,
    /// The virtual timer of setitimer(2).
    VTALRM = SIGVTALRM,
    /// The profiling timer of setitimer(2).
    PROF = SIGPROF,
    /// The terminal has another size.
    WINCH = SIGWINCH,
    /// A descriptor is ready (fcntl(2), F_SETOWN).
    IO = SIGIO,
    /// The power fails.
    PWR = SIGPWR,
    /// A system call that a filter answers with a signal (seccomp(2)).
    SYS = SIGSYS,
}

/// Other names of some.
const OTHER_NAMES: [(&str, Signal); 3] = [("IOT", Signal::ABRT), ("CLD", Signal::CHLD), ("POLL", Signal::IO)];

impl Signal {
    /// No signal, number 0: asks whether the process is there and may be signalled (kill(2)).
    pub const NONE: Self = Self(0);

    /// The signal with this number, 0 to 64.
    pub const fn new(number: i32) -> Option<Self> {
        if 0 <= number && number <= MAX as i32 { Some(Self(number as u8)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// A number of the kernel, which has no others.
    pub(crate) fn of_kernel(number: i32) -> Self {
        Self::new(number).unwrap_or(Self::NONE)
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::invalid(format!("unknown signal {text:?}"), "not a signal number or name")
                .with_hint("a number from 0 to 64, or a name such as TERM, SIGTERM or RTMIN+1")
        })
    }
}

fn parse(text: &str) -> Option<Signal> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Signal::new(text.parse().ok()?);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let mut names = NAMES.iter().chain(&OTHER_NAMES);
    realtime(name).or_else(|| names.find(|(known, _)| *known == name).map(|(_, signal)| *signal))
}

fn realtime(name: &str) -> Option<Signal> {
    let (base, sign, rest) = match name.strip_prefix("RTMIN") {
        Some(rest) => (RTMIN, '+', rest),
        None => (RTMAX, '-', name.strip_prefix("RTMAX")?),
    };
    if rest.is_empty() {
        return Some(Signal(base));
    }
    let digits = rest.strip_prefix(sign)?;
    let offset: u8 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let number = if sign == '+' { base.checked_add(offset)? } else { base.checked_sub(offset)? };
    (RTMIN..=RTMAX).contains(&number).then_some(Signal(number))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (NAMES.iter().find(|(_, signal)| signal == self), self.0) {
            (Some((name, _)), _) => write!(f, "SIG{name}"),
            (None, RTMIN) => f.write_str("SIGRTMIN"),
            (None, number @ RTMIN..=RTMAX) => write!(f, "SIGRTMIN+{}", number.saturating_sub(RTMIN)),
            // 0, and the two that the C library keeps.
            (None, number) => number.fmt(f),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (text, number) in [
            ("9", 9),
            ("0", 0),
            ("09", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("Term", 15),
            ("IOT", 6),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("64", 64),
        ] {
            assert_eq!(text.parse::<Signal>().expect(text).number(), number, "{text}");
        }
    }

    #[test]
    fn nothing_else() {
        for text in [
            "",
            "-9",
            "+9",
            "65",
            "99999999999",
            "SIG",
            "SIGSIGKILL",
            "FOO",
            "RTMIN+",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN++1",
            " 9",
            "0x9",
        ] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_parsed_as_its_signal() {
        for signal in (-1..=MAX.into()).filter_map(Signal::new) {
            assert_eq!(signal.to_string().parse::<Signal>().ok(), Some(signal), "{signal}");
        }
        assert_eq!((Signal::new(-1), Signal::new(65)), (None, None));
    }
}
