//! The values of resources: each can only hold what a kernel may take.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde::{Serialize, Serializer};

/// Why a text or a number is not such a value, without its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(Cow<'static, str>);

fn bad<T>(reason: impl Into<Cow<'static, str>>) -> Result<T, BadValue> {
    Err(BadValue(reason.into()))
}

/// A number of something, or as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No limit: -1 in a configuration.
    Unlimited,
    /// The most; the unit is that of the field.
    Of(u64),
}

impl Limit {
    /// The limit of a configuration: a number below 0 is no limit.
    pub fn new(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Unlimited, Self::Of)
    }

    /// A limit in bytes, for which 0 is "unset" and no number but -1 is "no limit".
    ///
    /// # Errors
    ///
    /// A number below -1.
    pub(crate) fn of_bytes(number: i64) -> Result<Option<Self>, BadValue> {
        match number {
            0 => Ok(None),
            -1 | 1.. => Ok(Some(Self::new(number))),
            _ => bad(format!("invalid memory value: {number}")),
        }
    }
}

/// As cgroup v1 takes it; -1 is no limit.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("-1"),
            Self::Of(number) => number.fmt(f),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => serializer.serialize_i64(-1),
            Self::Of(number) => serializer.serialize_u64(*number),
        }
    }
}

/// `pids` is an object with one field.
pub(super) fn pids<S: Serializer>(limit: &Option<Limit>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Pids {
        limit: Option<Limit>,
    }
    Pids { limit: *limit }.serialize(serializer)
}

/// `idle` is a number.
pub(super) fn number<S: Serializer>(idle: &Option<bool>, serializer: S) -> Result<S::Ok, S::Error> {
    idle.map(u8::from).serialize(serializer)
}

/// How willingly the kernel swaps: 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Swappiness(u8);

impl Swappiness {
    /// # Errors
    ///
    /// A number above 100.
    pub fn new(value: u64) -> Result<Self, BadValue> {
        match u8::try_from(value) {
            Ok(value @ 0..=100) => Ok(Self(value)),
            _ => bad(format!("invalid memory swappiness value: {value} (valid range is 0-100)")),
        }
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// A weight of block I/O: 10 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Weight(u16);

impl Weight {
    const RANGE: RangeInclusive<u16> = 10..=1000;

    /// # Errors
    ///
    /// A number out of the range.
    pub fn new(value: u16) -> Result<Self, BadValue> {
        if Self::RANGE.contains(&value) {
            return Ok(Self(value));
        }
        let (least, most) = (Self::RANGE.start(), Self::RANGE.end());
        bad(format!("{value} is not a weight of {least} to {most}"))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Which device, as `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

impl DeviceNumber {
    /// One of the two numbers.
    ///
    /// # Errors
    ///
    /// A number outside 0 to 2^32-1.
    pub(crate) fn part(number: i64) -> Result<u32, BadValue> {
        u32::try_from(number).or_else(|_| bad(format!("{number} is no device number")))
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A text of one line that has passed a check.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $errors:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("# Errors\n\n", $errors)]
            pub fn new(text: impl Into<String>) -> Result<Self, BadValue> {
                let text = text.into();
                let check: fn(&str) -> Result<(), BadValue> = $check;
                check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// CPUs or memory nodes, such as `0-3,7` (cpuset(7), "List format").
    CpuList,
    "An empty text, or one with other characters than such lists have.",
    |text| {
        let known = |c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | ':' | '/' | ' ');
        match !text.is_empty() && text.chars().all(known) {
            true => Ok(()),
            false => bad(format!("{text:?} is not a list such as \"0-3,7\"")),
        }
    }
);

checked_text!(
    /// The size of huge pages, such as `2MB`.
    PageSize,
    "A text that is not a number with `KB`, `MB` or `GB`: the size becomes a part of a file name (runc #4103).",
    |text| {
        let number = |digits: &str| {
            (1..=20).contains(&digits.len())
                && !digits.starts_with('0')
                && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        match ["KB", "MB", "GB"].iter().filter_map(|unit| text.strip_suffix(unit)).any(number) {
            true => Ok(()),
            false => bad(format!("{text:?} is not a size such as \"2MB\"")),
        }
    }
);

checked_text!(
    /// The name of a network interface or an RDMA device.
    DeviceName,
    "A text that is not one printable word without slashes, of at most 63 bytes.",
    |text| {
        let printable = |c: char| c.is_ascii_graphic() && c != '/';
        match (1..64).contains(&text.len()) && text.chars().all(printable) {
            true => Ok(()),
            false => bad(format!("{text:?} is not the name of a device")),
        }
    }
);

/// Core files that would move or end processes instead of limiting the container.
const NOT_LIMITS: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.kill"];

checked_text!(
    /// The name of a file of cgroup v2, such as `memory.high`.
    ControlFile,
    "A text that is not of the form `CONTROLLER.PARAMETER`, or a file that is not a limit.",
    |text| {
        let sane = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let (controller, parameter) = text.split_once('.').unwrap_or_default();
        if text.contains('/') {
            bad("must be a file name (no slashes)")
        } else if controller.is_empty() || parameter.is_empty() || text.len() >= 128 || !text.chars().all(sane) {
            bad("must be in the form CONTROLLER.PARAMETER")
        } else if NOT_LIMITS.contains(&text) {
            bad("is not a limit")
        } else {
            Ok(())
        }
    }
);

impl ControlFile {
    /// The controller of the file; `cgroup` for the core files.
    pub fn controller(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(controller, _)| controller)
    }
}
