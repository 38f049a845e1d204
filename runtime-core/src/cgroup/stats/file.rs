//! The forms of control files.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::super::directory::{Directory, failed};
use super::{BlkioEntry, Pressure, PressureLine};
use crate::error::{Error, ErrorKind, Result};

/// The text of a file; `None` if the kernel or the cgroup does not have it.
pub(super) fn text(directory: &Directory, file: &str) -> Result<Option<String>> {
    match directory.read(file) {
        Ok(text) => Ok(Some(text)),
        // Pressure files answer EOPNOTSUPP where pressure is switched off.
        Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(failed(format!("read {:?}", directory.path_of(file)), errno)),
    }
}

/// A file with one number; `max` is the largest.
pub(super) fn number(directory: &Directory, file: &str) -> Result<Option<u64>> {
    text(directory, file)?.map(|text| parse(directory, file, text.trim())).transpose()
}

/// Lines of a key and a number.
pub(super) fn pairs(directory: &Directory, file: &str) -> Result<BTreeMap<String, u64>> {
    let mut pairs = BTreeMap::new();
    for line in text(directory, file)?.unwrap_or_default().lines() {
        let Some((key, value)) = line.split_once(' ') else {
            continue;
        };
        pairs.insert(key.to_owned(), parse(directory, file, value.trim())?);
    }
    Ok(pairs)
}

pub(super) fn parse(directory: &Directory, file: &str, value: &str) -> Result<u64> {
    if value == "max" {
        return Ok(u64::MAX);
    }
    value.parse().map_err(|_| {
        Error::new(ErrorKind::Cgroup, format!("read {:?}", directory.path_of(file)))
            .reason(format!("{value:?} is not a number"))
    })
}

/// A list such as `0-2,7`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            numbers.extend(first..=last);
        }
    }
    numbers
}

/// Lines of v1: `8:0 Read 4096`, `8:0 7`, and a last `Total`.
pub(super) fn blkio_lines(text: &str) -> Vec<BlkioEntry> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (major, minor) = fields.next()?.split_once(':')?;
            let (op, value) = match (fields.next()?, fields.next()) {
                (op, Some(value)) => (op, value),
                (value, None) => ("", value),
            };
            entry(major, minor, op, value)
        })
        .collect()
}

/// `io.stat` of v2: `8:0 rbytes=4096 wbytes=0 …`; the entries of two of its keys.
pub(super) fn io_stat(text: &str, read: &str, write: &str) -> Vec<BlkioEntry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let op = match key {
                key if key == read => "Read",
                key if key == write => "Write",
                _ => continue,
            };
            entries.extend(entry(major, minor, op, value));
        }
    }
    entries
}

fn entry(major: &str, minor: &str, op: &str, value: &str) -> Option<BlkioEntry> {
    Some(BlkioEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: value.parse().ok()?,
    })
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`.
pub(super) fn pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let target = match fields.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        *target = pressure_line(fields);
    }
    pressure
}

fn pressure_line<'a>(fields: impl Iterator<Item = &'a str>) -> PressureLine {
    let mut line = PressureLine::default();
    for (key, value) in fields.filter_map(|field| field.split_once('=')) {
        let share = value.parse().unwrap_or_default();
        match key {
            "avg10" => line.avg10 = share,
            "avg60" => line.avg60 = share,
            "avg300" => line.avg300 = share,
            "total" => line.total = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(list("\n"), [0; 0]);
        let v1 = blkio_lines("8:0 Read 4096\n8:16 7\nTotal 4103\n");
        assert_eq!(
            v1.iter().map(|entry| (entry.minor, entry.op.as_str(), entry.value)).collect::<Vec<_>>(),
            [(0, "Read", 4096), (16, "", 7)]
        );
        let v2 = io_stat("8:0 rbytes=1 wbytes=2 rios=3 wios=4\n253:1 \n", "rios", "wios");
        assert_eq!(
            v2.iter().map(|entry| (entry.op.as_str(), entry.value)).collect::<Vec<_>>(),
            [("Read", 3), ("Write", 4)]
        );
        let psi = pressure(
            "some avg10=1.50 avg60=0.10 avg300=0.00 total=77\nfull avg10=0.00 avg60=0 avg300=0 total=5\n",
        );
        assert_eq!((psi.some.avg10, psi.some.total, psi.full.total), (1.5, 77, 5));
    }
}
