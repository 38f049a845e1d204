//! Times on the command line: `500ms`, `1m30s`, `1.5h`, as Go programs take them.

use std::time::Duration;

/// Nanoseconds of each unit; of two that begin alike the longer one first.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads a time; `None` if it is none, or negative.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanoseconds = 0.0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let (unit, scale) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        nanoseconds += number.parse::<f64>().ok()? * scale;
        rest = tail.strip_prefix(unit)?;
        if rest.is_empty() {
            return Duration::try_from_secs_f64(nanoseconds / 1e9).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, milliseconds) in
            [("5s", 5000), ("100ms", 100), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0", 0), (".5s", 500)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("3µs"), Some(Duration::from_micros(3)));
        for text in ["", "5", "s", "-5s", "5 s", "5x", "5s5", ".s", "1e9s"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
