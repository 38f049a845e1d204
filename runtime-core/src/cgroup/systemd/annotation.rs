//! `org.systemd.property.NAME` annotations: properties of the unit, as values in the text form of GVariant
//! (<https://docs.gtk.org/glib/gvariant-text-format.html>).
//!
//! Taken are strings, booleans, numbers with or without a type, arrays, and tuples; not dictionaries,
//! maybes and bit strings, which no property of systemd has.

use std::collections::BTreeMap;

use super::value::Value;
use crate::error::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// Values nest no deeper.
const DEPTH: u32 = 8;

/// The properties that the annotations ask for, by name.
///
/// # Errors
///
/// All that is wrong with them.
pub(super) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<(String, Value)>> {
    let mut properties = Vec::new();
    let mut errors = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        match property(name, text) {
            Ok(property) => properties.push(property),
            Err(reason) => errors.push(Error::invalid(format!("annotations[{key:?}]"), reason)),
        }
    }
    if errors.is_empty() { Ok(properties) } else { Err(Error::all(errors)) }
}

fn property(name: &str, text: &str) -> Result<(String, Value), String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is not the name of a property: only letters, at least three"));
    }
    let value = parse(text)
        .ok_or_else(|| format!("{text:?} is not a value such as 'text', true, 5, uint64 5 or ['a', 'b']"))?;
    // The files of units have times in seconds, the bus has them in microseconds.
    match name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase())) {
        Some(stem) => {
            let time = microseconds(&value).ok_or_else(|| format!("{text:?} is not a number of seconds"))?;
            Ok((format!("{stem}USec"), Value::Uint64(time)))
        }
        None => Ok((name.to_owned(), value)),
    }
}

/// Seconds as microseconds.
fn microseconds(value: &Value) -> Option<u64> {
    let seconds = match *value {
        Value::Byte(number) => number.into(),
        Value::Int16(number) => number.try_into().ok()?,
        Value::Uint16(number) => number.into(),
        Value::Int32(number) => number.try_into().ok()?,
        Value::Uint32(number) => number.into(),
        Value::Int64(number) => number.try_into().ok()?,
        Value::Uint64(number) => number,
        Value::Double(number) if (0.0..1e12).contains(&number) => return Some((number * 1e6).round() as u64),
        _ => return None,
    };
    seconds.checked_mul(1_000_000)
}

/// Reads one value, and nothing behind it.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, DEPTH)?;
    parser.skip_space();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, mark: char) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(mark)?;
        Some(())
    }

    /// The next word: up to a space or a mark.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || ",[]()'\"<>".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// A value; `kind` is the type that was said for it, as D-Bus writes it.
    fn value(&mut self, kind: Option<&str>, depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        self.skip_space();
        match self.rest.chars().next()? {
            '\'' | '"' => kind.is_none_or(|kind| kind == "s").then(|| self.text())?.map(Value::Text),
            '[' => self.array(kind, depth),
            '(' => self.tuple(kind, depth),
            '<' => {
                self.take('<')?;
                let value = self.value(None, depth)?;
                self.take('>')?;
                Some(Value::Variant(Box::new(value)))
            }
            '@' => {
                self.take('@')?;
                let end = self.rest.find(char::is_whitespace)?;
                let (kind, rest) = self.rest.split_at(end);
                self.rest = rest;
                self.value(Some(kind), depth)
            }
            _ => {
                let word = self.word();
                match type_name(word) {
                    Some(kind) => self.value(Some(kind), depth),
                    None => scalar(word, kind),
                }
            }
        }
    }

    fn array(&mut self, kind: Option<&str>, depth: u32) -> Option<Value> {
        let mut item = match kind {
            Some(kind) => Some(kind.strip_prefix('a')?.to_owned()),
            None => None,
        };
        let mut values = Vec::new();
        self.take('[')?;
        while self.take(']').is_none() {
            if !values.is_empty() {
                self.take(',')?;
            }
            // All items are of the type of the first.
            let value = self.value(item.as_deref(), depth)?;
            if *item.get_or_insert_with(|| value.signature()) != value.signature() {
                return None;
            }
            values.push(value);
        }
        Some(Value::Array(item?.into(), values))
    }

    fn tuple(&mut self, kind: Option<&str>, depth: u32) -> Option<Value> {
        let mut fields = Vec::new();
        self.take('(')?;
        while self.take(')').is_none() {
            if !fields.is_empty() {
                self.take(',')?;
                if self.take(')').is_some() {
                    break;
                }
            }
            fields.push(self.value(None, depth)?);
        }
        let value = Value::Struct(fields);
        let fits = kind.is_none_or(|kind| kind == value.signature());
        (fits && value.signature() != "()").then_some(value)
    }

    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.chars();
        let quote = chars.next()?;
        let mut text = String::new();
        loop {
            match chars.next()? {
                end if end == quote => break,
                '\\' => text.push(match chars.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    'u' => hexadecimal(&mut chars, 4)?,
                    'U' => hexadecimal(&mut chars, 8)?,
                    other => other,
                }),
                // D-Bus has no strings with it.
                '\0' => return None,
                other => text.push(other),
            }
        }
        self.rest = chars.as_str();
        (!text.contains('\0')).then_some(text)
    }
}

fn hexadecimal(chars: &mut std::str::Chars<'_>, count: usize) -> Option<char> {
    let digits: String = chars.by_ref().take(count).collect();
    let valid = digits.len() == count && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(&digits, 16).ok().filter(|_| valid)?)
}

/// The words for types.
fn type_name(word: &str) -> Option<&'static str> {
    Some(match word {
        "boolean" => "b",
        "byte" => "y",
        "int16" => "n",
        "uint16" => "q",
        "int32" => "i",
        "uint32" => "u",
        "int64" => "x",
        "uint64" => "t",
        "double" => "d",
        "string" => "s",
        _ => return None,
    })
}

/// A boolean or a number. Without a type a number is an int32, and with a point or an exponent a double.
fn scalar(word: &str, kind: Option<&str>) -> Option<Value> {
    let is_number = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let is_real = is_number && !word.contains('x') && word.contains(['.', 'e', 'E']);
    Some(match kind.unwrap_or(if is_real { "d" } else { "" }) {
        "b" => boolean(word)?,
        "y" => Value::Byte(integer(word)?.try_into().ok()?),
        "n" => Value::Int16(integer(word)?.try_into().ok()?),
        "q" => Value::Uint16(integer(word)?.try_into().ok()?),
        "i" => Value::Int32(integer(word)?.try_into().ok()?),
        "u" => Value::Uint32(integer(word)?.try_into().ok()?),
        "x" => Value::Int64(integer(word)?.try_into().ok()?),
        "t" => Value::Uint64(integer(word)?.try_into().ok()?),
        "d" => Value::Double(word.parse().ok().filter(|number: &f64| number.is_finite())?),
        "" => match boolean(word) {
            Some(value) => value,
            None => Value::Int32(integer(word)?.try_into().ok()?),
        },
        _ => return None,
    })
}

fn boolean(word: &str) -> Option<Value> {
    match word {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => None,
    }
}

/// Decimal, hexadecimal with 0x, or octal with a leading zero.
fn integer(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    let plain =
        !digits.is_empty() && digits.len() < 30 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    i128::from_str_radix(digits, radix).ok().filter(|_| plain).and_then(|number| number.checked_mul(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_values() {
        let texts = |texts: &[&str]| Value::texts(texts.iter().map(|text| (*text).to_owned()));
        let table = [
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"it's\"", Value::text("it's")),
            ("'a\\'b\\u0041\\n'", Value::text("a'bA\n")),
            ("uint64 123456789", Value::Uint64(123_456_789)),
            ("@t 5", Value::Uint64(5)),
            ("5", Value::Int32(5)),
            ("-5", Value::Int32(-5)),
            ("0x1f", Value::Int32(31)),
            ("byte 010", Value::Byte(8)),
            ("1.5", Value::Double(1.5)),
            ("true", Value::Bool(true)),
            ("['a', 'b']", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("[uint32 1, 2]", Value::Array("u".into(), vec![Value::Uint32(1), Value::Uint32(2)])),
            (
                "[('a', uint64 5)]",
                Value::Array("(st)".into(), vec![Value::Struct(vec![Value::text("a"), Value::Uint64(5)])]),
            ),
            ("<5>", Value::Variant(Box::new(Value::Int32(5)))),
        ];
        for (text, value) in table {
            assert_eq!(parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            " ",
            "text",
            "'open",
            "5 5",
            "[]",
            "[1, 'a']",
            "[1",
            "uint64 -1",
            "byte 256",
            "2147483648",
            "()",
            "uint64 'a'",
            "@s 5",
            "'\0'",
            "'\\u0000'",
            "'\\ud800'",
            "'\\u00é0'",
            "nan",
            "--5",
            "0x",
            "boolean 1",
            &deep,
        ] {
            assert_eq!(parse(text), None, "{text:.20}");
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        let table = [
            ("TimeoutStopUSec", "uint64 5", Some(("TimeoutStopUSec", Value::Uint64(5)))),
            ("TimeoutStopSec", "456", Some(("TimeoutStopUSec", Value::Uint64(456_000_000)))),
            ("TimeoutStopSec", "byte 234", Some(("TimeoutStopUSec", Value::Uint64(234_000_000)))),
            ("TimeoutStopSec", "234.789", Some(("TimeoutStopUSec", Value::Uint64(234_789_000)))),
            ("TimeoutStopSec", "false", None),
            ("TimeoutStopSec", "-1", None),
            ("TimeoutStopSec", "uint64 18446744073709551615", None),
            ("FOOSec", "123", Some(("FOOSec", Value::Int32(123)))),
            ("Sec", "123", Some(("Sec", Value::Int32(123)))),
            ("A", "1", None),
            ("Collect Mode", "1", None),
            ("", "1", None),
        ];
        for (name, text, expected) in table {
            let expected = expected.map(|(name, value)| (name.to_owned(), value));
            assert_eq!(property(name, text).ok(), expected, "{name}={text}");
        }
    }

    #[test]
    fn only_annotations_with_the_prefix_count() {
        let annotations = [("org.systemd.property.CollectMode", "'inactive'"), ("org.example", "[")];
        let annotations = annotations.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        assert_eq!(properties(&annotations).unwrap(), [("CollectMode".to_owned(), Value::text("inactive"))]);
    }
}
