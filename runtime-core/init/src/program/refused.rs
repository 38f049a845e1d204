//! The end of a process whose program execve(2) refuses: a file without `#!`, of another architecture, without its
//! interpreter.
//!
//! The words are runc's, and engines show them as the container's own.

use core::ffi::CStr;

use crate::sys::Fd;
use crate::sys::file::write;

/// The exit status, runc's.
const EXIT_REFUSED: u32 = 255;
const STDERR: Fd<'static> = Fd::numbered(2);
/// PATH_MAX and the words.
const LINE: usize = 4096 + 128;

/// Says why on the standard error output, as far as that takes it and the filter lets it, and exits.
pub(crate) fn end(program: &CStr, errno: i32) -> ! {
    let mut line = Line { bytes: [0; LINE], len: 0 };
    line.push(b"exec ");
    line.push(program.to_bytes());
    line.push(b": ");
    match words(errno) {
        Some(words) => line.push(words.as_bytes()),
        None => line.push_number(errno),
    }
    line.push(b"\n");
    write(STDERR, line.bytes.get(..line.len).unwrap_or_default()).ok();
    crate::program::exit(EXIT_REFUSED)
}

struct Line {
    bytes: [u8; LINE],
    len: usize,
}

impl Line {
    /// Adds what there is room for.
    fn push(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = *byte;
                self.len = self.len.saturating_add(1);
            }
        }
    }

    /// A number that has no words here, such as one that a filter makes up (at most 4095).
    fn push_number(&mut self, errno: i32) {
        self.push(b"errno ");
        let digit = |unit: i32| b'0' | (errno.checked_div(unit).unwrap_or(0) % 10) as u8;
        let first = [1000, 100, 10].into_iter().position(|unit| errno >= unit).unwrap_or(3);
        for unit in [1000, 100, 10, 1].into_iter().skip(first) {
            self.push(&[digit(unit)]);
        }
    }
}

/// The errors of execve(2), and those that filters and security modules are given to say.
fn words(errno: i32) -> Option<&'static str> {
    Some(match errno {
        1 => "operation not permitted",
        2 => "no such file or directory",
        5 => "input/output error",
        7 => "argument list too long",
        8 => "exec format error",
        11 => "resource temporarily unavailable",
        12 => "cannot allocate memory",
        13 => "permission denied",
        14 => "bad address",
        20 => "not a directory",
        21 => "is a directory",
        22 => "invalid argument",
        23 => "too many open files in system",
        24 => "too many open files",
        26 => "text file busy",
        36 => "file name too long",
        38 => "function not implemented",
        40 => "too many levels of symbolic links",
        80 => "accessing a corrupted shared library",
        116 => "stale file handle",
        _ => return None,
    })
}
