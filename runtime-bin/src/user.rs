//! Numeric users and groups as `exec` takes them.
//!
//! The rules are strict because a loose parser has turned a bad user into root before
//! (CVE-2016-3697, CVE-2024-40635): decimal digits only, no sign, no leading zero, no space, and
//! below 4294967295, which the kernel reads as "no change".

use crate::error::{Error, Result};

/// A user and, if given, a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: Option<u32>,
}

/// Reads `UID[:GID]`.
pub(crate) fn parse(text: &str) -> Result<User> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (text, None),
    };
    Ok(User {
        uid: id(uid).ok_or_else(|| bad("--user", "uid", uid))?,
        gid: gid.map(|gid| id(gid).ok_or_else(|| bad("--user", "gid", gid))).transpose()?,
    })
}

/// Reads one supplementary group of `--additional-gids`.
pub(crate) fn group(text: &str) -> Result<u32> {
    id(text).ok_or_else(|| bad("--additional-gids", "gid", text))
}

fn bad(option: &'static str, what: &str, text: &str) -> Error {
    Error::invalid(option, format!("bad {what} {text:?}"))
        .hint("a decimal number from 0 to 4294967294 without sign, spaces or leading zeros")
}

fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?.filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_numbers() {
        assert_eq!(parse("0").ok(), Some(User { uid: 0, gid: None }));
        assert_eq!(parse("1000:100").ok(), Some(User { uid: 1000, gid: Some(100) }));
        assert_eq!(parse("4294967294:0").ok(), Some(User { uid: 4_294_967_294, gid: Some(0) }));
    }

    #[test]
    fn loose_numbers_are_refused() {
        for text in [
            "",
            ":",
            "1:",
            ":1",
            "0x1",
            "01",
            "00",
            " 1",
            "1 ",
            "-1",
            "+1",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "1:1:1",
            "root",
            "1\n",
            "１",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
            assert!(group(text).is_err(), "{text:?}");
        }
    }
}
