//! As much of protocol buffers as CRIU's messages take: numbers, texts and messages in messages
//! (<https://protobuf.dev/programming-guides/encoding>).

/// The wire type of numbers.
const VARINT: u64 = 0;
/// The wire type of eight bytes.
const FIXED64: u64 = 1;
/// The wire type of bytes with their length before them.
const LENGTH: u64 = 2;
/// The wire type of four bytes.
const FIXED32: u64 = 5;

/// A message that is being written.
#[derive(Debug, Default, Clone)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number: an int32, an enumeration or, as 0 and 1, a bool.
    pub(super) fn number(&mut self, field: u32, value: i32) {
        self.varint(u64::from(field) << 3 | VARINT);
        // Negative numbers are those of 64 bits.
        self.varint(i64::from(value) as u64);
    }

    /// A string or the bytes of another message.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | LENGTH);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A message in this one.
    pub(super) fn message(&mut self, field: u32, value: &Writer) {
        self.bytes(field, &value.0);
    }

    /// The message.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number; a negative one has its 64 bits.
    Number(u64),
    /// A string or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number; 0 for what is none.
    pub(super) fn number(self) -> i32 {
        match self {
            Value::Number(value) => value as i32,
            Value::Bytes(_) => 0,
        }
    }

    /// The bytes; empty for what has none.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Value::Number(_) => &[],
            Value::Bytes(bytes) => bytes,
        }
    }

    /// The text.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// The fields of a message. It ends early at bytes that are no message; [`whole`](Self::whole) tells.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Reader<'a> {
    /// The fields of `message`.
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message, broken: false }
    }

    /// Whether everything that was read made sense.
    pub(super) fn whole(&self) -> bool {
        !self.broken
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = self.varint()?;
        let field = u32::try_from(key >> 3).ok()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            LENGTH => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED64 => Value::Bytes(self.take(8)?),
            FIXED32 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((field, value))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.broken {
            return None;
        }
        let field = self.field();
        self.broken = field.is_none();
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Writer::default();
        inner.bytes(1, b"eth0");
        let mut outer = Writer::default();
        outer.number(1, 7);
        outer.number(49, -1);
        outer.number(20, 300);
        outer.message(19, &inner);
        let mut reader = Reader::new(outer.as_bytes());
        let fields: Vec<_> = reader.by_ref().map(|(field, value)| (field, value.number())).collect();
        assert_eq!(fields, [(1, 7), (49, -1), (20, 300), (19, 0)]);
        assert!(reader.whole());
        let (_, value) = Reader::new(outer.as_bytes()).last().unwrap();
        assert_eq!(Reader::new(value.bytes()).next(), Some((1, Value::Bytes(b"eth0"))));
    }

    #[test]
    fn the_bytes_of_the_format() {
        let mut writer = Writer::default();
        writer.number(1, 150);
        writer.bytes(2, b"testing");
        assert_eq!(writer.as_bytes(), b"\x08\x96\x01\x12\x07testing");
    }

    #[test]
    fn broken_messages_end_without_a_panic() {
        let broken: &[&[u8]] = &[
            b"\x08",
            b"\x12\x7fshort",
            b"\x0b",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        ];
        for bytes in broken {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.by_ref().count(), 0, "{bytes:?}");
            assert!(!reader.whole());
        }
    }
}
