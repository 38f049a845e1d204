//! Numbers as text.

use core::ffi::CStr;

/// A strict decimal number: digits alone, at least one. `None` also for what does not fit.
pub fn decimal(text: &[u8]) -> Option<u32> {
    in_base(text, 10)
}

/// A strict hexadecimal number without a prefix.
pub fn hexadecimal(text: &[u8]) -> Option<u32> {
    in_base(text, 16)
}

fn in_base(text: &[u8], base: u32) -> Option<u32> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u32, |value, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        value.checked_mul(base)?.checked_add(digit)
    })
}

/// The decimal digits of a number, with a NUL after them.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    bytes: [u8; Self::SIZE],
    start: usize,
}

impl Digits {
    /// Ten digits of the largest number, and the NUL.
    const SIZE: usize = 11;

    /// The digits of `number`.
    pub fn new(number: u32) -> Self {
        let (mut bytes, mut start, mut rest) = ([0u8; Self::SIZE], Self::SIZE - 1, number);
        loop {
            start = start.saturating_sub(1);
            if let Some(place) = bytes.get_mut(start) {
                *place = b'0' | (rest % 10) as u8;
            }
            rest /= 10;
            if rest == 0 {
                return Self { bytes, start };
            }
        }
    }

    /// The text.
    pub fn text(&self) -> &CStr {
        CStr::from_bytes_with_nul(self.bytes.get(self.start..).unwrap_or_default()).unwrap_or(c"")
    }
}

/// The permission bits of a mode as four octal digits.
#[derive(Debug, Clone, Copy)]
pub struct Octal([u8; 5]);

impl Octal {
    /// The digits of the lower twelve bits of `mode`.
    pub fn new(mode: u32) -> Self {
        let digit = |shift: u32| b'0' | (mode >> shift & 7) as u8;
        Self([digit(9), digit(6), digit(3), digit(0), 0])
    }

    /// The text.
    pub fn text(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.0).unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_alone() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal(b"4294967296"), None);
        for text in [&b""[..], b" 1", b"+1", b"-1", b"1 ", b"0x1", b"1a", b"\xb2"] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn hexadecimal_digits_have_both_cases() {
        assert_eq!(hexadecimal(b"3f1F0000"), Some(0x3f1f_0000));
        assert_eq!(hexadecimal(b"ffffffff"), Some(u32::MAX));
        assert_eq!(hexadecimal(b"100000000"), None);
        assert_eq!(hexadecimal(b"0x1"), None);
        assert_eq!(hexadecimal(b""), None);
    }

    #[test]
    fn digits_are_those_of_the_standard_library() {
        for number in [0, 7, 10, 99, 100, 65_535, 4_194_304, u32::MAX] {
            assert_eq!(Digits::new(number).text().to_str(), Ok(number.to_string().as_str()));
        }
    }

    #[test]
    fn a_mode_has_four_digits() {
        assert_eq!(Octal::new(0o1777).text(), c"1777");
        assert_eq!(Octal::new(0o55).text(), c"0055");
        // The type of the file is not part of it.
        assert_eq!(Octal::new(0o040755).text(), c"0755");
    }
}
