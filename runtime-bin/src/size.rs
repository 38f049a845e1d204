//! Sizes in bytes on the command line: `67108864`, `64m`, `1.5 GiB`.

use crate::error::{Error, Result};

/// Reads a size; -1 is "no limit". A suffix k, m, g, t or p, alone or before `b` or `ib`, in either
/// case, is a power of 1024.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let scale = scale(suffix.strip_prefix(' ').unwrap_or(suffix))?;
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(scale);
    }
    let bytes = number.parse::<f64>().ok()? * scale as f64;
    // Beyond this a float is no whole number of an i64.
    (bytes < 9.2e18).then_some(bytes as i64)
}

fn scale(suffix: &str) -> Option<i64> {
    let suffix = suffix.to_ascii_lowercase();
    if matches!(suffix.as_str(), "" | "b") {
        return Some(1);
    }
    let mut letters = suffix.chars();
    let power = (1..).zip("kmgtp".chars()).find(|(_, letter)| letters.as_str().starts_with(*letter))?.0;
    letters.next();
    matches!(letters.as_str(), "" | "b" | "ib").then(|| 1024_i64.pow(power))
}

/// As [`parse`]; the error names the option.
pub(crate) fn of_option(name: &'static str, text: &str) -> Result<i64> {
    parse(text).ok_or_else(|| {
        Error::invalid(format!("invalid value for {name}"), format!("invalid size: {text:?}"))
            .hint("a size is a number of bytes, or one with a suffix such as k, m or g")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("0", 0),
            ("-1", -1),
            ("67108864", 67_108_864),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("1g", 1 << 30),
            ("1GiB", 1 << 30),
            ("32kB", 32 << 10),
            ("32 kb", 32 << 10),
            ("7b", 7),
            ("1.5k", 1536),
            (".5k", 512),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
        ];
        for (text, bytes) in table {
            assert_eq!(parse(text), Some(bytes), "{text:?}");
        }
        for text in
            ["", "k", "-2", "-1k", "1e3", "1kk", "1kib3", "1x", "1 2", "9223372036854775807k", "1é", "."]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
