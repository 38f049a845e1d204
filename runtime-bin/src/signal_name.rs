//! Signals as users write them: `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`.

use crate::error::{Error, Result};

/// The greatest signal number of Linux.
const MAX: i32 = 64;
/// SIGRTMIN and SIGRTMAX as the C library leaves them to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Names by signal(7); several names may have one number.
static NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The number of the signal that `text` names. 0 is legal: it only asks whether the process
/// exists.
pub(crate) fn parse(text: &str) -> Result<i32> {
    number(text).ok_or_else(|| {
        Error::invalid(format!("unknown signal {text:?}"), "not a signal number or name")
            .hint("a number from 0 to 64, or a name such as TERM, SIGTERM or RTMIN+1")
    })
}

fn number(text: &str) -> Option<i32> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(|number| (0..=MAX).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    realtime(name).or_else(|| NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number))
}

fn realtime(name: &str) -> Option<i32> {
    let (base, sign, rest) = match name.strip_prefix("RTMIN") {
        Some(rest) => (RTMIN, '+', rest),
        None => (RTMAX, '-', name.strip_prefix("RTMAX")?),
    };
    if rest.is_empty() {
        return Some(base);
    }
    let digits = rest.strip_prefix(sign)?;
    let offset: i32 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let number = if sign == '+' { base.checked_add(offset)? } else { base.checked_sub(offset)? };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
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
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("64", 64),
        ] {
            assert_eq!(parse(text).expect(text), number, "{text}");
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
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
