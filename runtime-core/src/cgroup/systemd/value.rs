//! Values of D-Bus: their types, and their bytes (D-Bus specification, "Marshaling").

use std::borrow::Cow;

/// A value. Only the types that systemd's properties have.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    Text(String),
    /// The type of an item, and items of that type.
    Array(Cow<'static, str>, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An array of strings.
    pub(super) fn texts(texts: impl IntoIterator<Item = String>) -> Self {
        Self::Array("s".into(), texts.into_iter().map(Self::Text).collect())
    }

    /// The type, as D-Bus writes it.
    pub(super) fn signature(&self) -> String {
        let basic = match self {
            Self::Byte(_) => "y",
            Self::Bool(_) => "b",
            Self::Int16(_) => "n",
            Self::Uint16(_) => "q",
            Self::Int32(_) => "i",
            Self::Uint32(_) => "u",
            Self::Int64(_) => "x",
            Self::Uint64(_) => "t",
            Self::Double(_) => "d",
            Self::Text(_) => "s",
            Self::Variant(_) => "v",
            Self::Array(item, _) => return format!("a{item}"),
            Self::Struct(fields) => {
                let fields: String = fields.iter().map(Self::signature).collect();
                return format!("({fields})");
            }
        };
        basic.to_owned()
    }
}

/// The border that a value of the type begins at.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// Bytes under construction, in the byte order of the machine. They begin at a border of eight.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn align(&mut self, border: usize) {
        self.0.resize(self.0.len().next_multiple_of(border), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.0.extend(bytes);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.number(number.to_ne_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    pub(super) fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(number) => self.0.push(*number),
            Value::Bool(yes) => self.u32(u32::from(*yes)),
            Value::Int16(number) => self.number(number.to_ne_bytes()),
            Value::Uint16(number) => self.number(number.to_ne_bytes()),
            Value::Int32(number) => self.number(number.to_ne_bytes()),
            Value::Uint32(number) => self.u32(*number),
            Value::Int64(number) => self.number(number.to_ne_bytes()),
            Value::Uint64(number) => self.number(number.to_ne_bytes()),
            Value::Double(number) => self.number(number.to_ne_bytes()),
            Value::Text(text) => self.text(text),
            Value::Array(item, values) => self.array(item, values),
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|field| self.value(field));
            }
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
        }
    }

    /// The length in front is that of the items, without the padding before the first.
    fn array(&mut self, item: &str, values: &[Value]) {
        self.u32(0);
        let at = self.0.len().saturating_sub(4);
        self.align(alignment(item));
        let start = self.0.len();
        values.iter().for_each(|value| self.value(value));
        let bytes = length(self.0.len().saturating_sub(start)).to_ne_bytes();
        if let Some(place) = self.0.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
        }
    }
}

/// A length as D-Bus has it. What is too long for 32 bits is too long for a message, which is checked
/// when it is sent.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Bytes of a message that came. Whatever does not fit is `None`.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { bytes, at: 0, big_endian }
    }

    pub(super) fn align(&mut self, border: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(border)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()?;
        self.terminated(usize::try_from(length).ok()?)
    }

    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        self.terminated(length.into())
    }

    fn terminated(&mut self, length: usize) -> Option<&'a str> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    /// Skips a value of a basic type: those that a header field can have.
    pub(super) fn skip_basic(&mut self, signature: &str) -> Option<()> {
        match signature {
            "y" => self.byte().map(drop),
            "n" | "q" => self.align(2).and_then(|()| self.take(2)).map(drop),
            "b" | "i" | "u" => self.u32().map(drop),
            "x" | "t" | "d" => self.align(8).and_then(|()| self.take(8)).map(drop),
            "s" | "o" => self.text().map(drop),
            "g" => self.signature().map(drop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &Value) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.value(value);
        writer.0
    }

    #[test]
    fn values_have_the_bytes_of_the_specification() {
        assert_eq!(bytes(&Value::text("ab")), [2, 0, 0, 0, b'a', b'b', 0]);
        let pids = Value::Array("u".into(), vec![Value::Uint32(7)]);
        assert_eq!(bytes(&pids), [4, 0, 0, 0, 7, 0, 0, 0]);
        // The padding before the first item of eight bytes is not part of the length.
        let numbers = Value::Array("t".into(), vec![Value::Uint64(1)]);
        assert_eq!(bytes(&numbers), [8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let empty = Value::Array("(ss)".into(), Vec::new());
        assert_eq!(bytes(&empty), [0, 0, 0, 0, 0, 0, 0, 0]);
        let variant = Value::Variant(Box::new(Value::Bool(true)));
        assert_eq!(bytes(&variant), [1, b'b', 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn signatures_are_nested() {
        let pair = Value::Struct(vec![Value::text("x"), Value::Variant(Box::new(Value::Uint64(1)))]);
        assert_eq!(pair.signature(), "(sv)");
        assert_eq!(Value::Array(pair.signature().into(), vec![pair]).signature(), "a(sv)");
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        for bytes in [&[][..], &[1], &[255, 255, 255, 255], &[3, 0, 0, 0, b'a', b'b'], &[1, 0, 0, 0, b'a', 1]]
        {
            assert_eq!(Reader::new(bytes, false).text(), None, "{bytes:?}");
        }
        assert_eq!(Reader::new(&[0, 0, 0, 1, b'a', 0], true).text(), Some("a"));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff, 0], true).text(), None);
        assert_eq!(Reader::new(&[200, b'a', 0], false).signature(), None);
    }
}
