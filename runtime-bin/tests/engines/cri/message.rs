//! As much of Protocol Buffers as the interface needs: <https://protobuf.dev/programming-guides/encoding>.

use crate::support::Stop;

/// A message that is being written: its fields, each with its number in `api.proto`.
#[derive(Clone, Default)]
pub(super) struct Message(Vec<u8>);

/// The wire types in use.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

impl Message {
    /// A number, an enumeration or a truth value.
    pub(super) fn number(mut self, field: u64, value: u64) -> Self {
        push_varint(&mut self.0, field << 3 | VARINT);
        push_varint(&mut self.0, value);
        self
    }

    /// A text.
    pub(super) fn text(self, field: u64, value: impl AsRef<str>) -> Self {
        self.bytes(field, value.as_ref().as_bytes())
    }

    /// All texts of a repeated field.
    pub(super) fn texts(self, field: u64, values: &[&str]) -> Self {
        values.iter().fold(self, |message, value| message.text(field, value))
    }

    /// A message within this one.
    pub(super) fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, &value.0)
    }

    /// One entry of a map of texts.
    pub(super) fn entry(self, field: u64, key: &str, value: &str) -> Self {
        self.message(field, Message::default().text(1, key).text(2, value))
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        push_varint(&mut self.0, field << 3 | BYTES);
        push_varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// The message as gRPC sends it: not compressed, its length before it.
    pub(super) fn framed(&self) -> Vec<u8> {
        let mut frame = vec![0];
        frame.extend_from_slice(&(self.0.len() as u32).to_be_bytes());
        frame.extend_from_slice(&self.0);
        frame
    }
}

/// A message that was read.
#[derive(Debug, Default)]
pub(super) struct Reply(Vec<(u64, Value)>);

#[derive(Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], count: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(count).ok()?)?;
    *bytes = rest;
    Some(taken)
}

impl Reply {
    /// The one message in a gRPC body.
    pub(super) fn unframed(body: &[u8]) -> Result<Self, Stop> {
        match body.split_first_chunk::<5>() {
            Some(([0, length @ ..], message)) if u32::from_be_bytes(*length) as usize == message.len() => {
                Self::parse(message)
            }
            _ => Err(format!("no gRPC message: {body:?}").into()),
        }
    }

    fn parse(mut bytes: &[u8]) -> Result<Self, Stop> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            fields.push(Self::field(&mut bytes).ok_or("not a protobuf message")?);
        }
        Ok(Reply(fields))
    }

    fn field(bytes: &mut &[u8]) -> Option<(u64, Value)> {
        let key = take_varint(bytes)?;
        let value = match key & 7 {
            VARINT => Value::Number(take_varint(bytes)?),
            BYTES => {
                let length = take_varint(bytes)?;
                Value::Bytes(take(bytes, length)?.to_vec())
            }
            // Fixed 64 and 32 bits: not used by what is read here.
            1 => Value::Bytes(take(bytes, 8)?.to_vec()),
            5 => Value::Bytes(take(bytes, 4)?.to_vec()),
            _ => return None,
        };
        Some((key >> 3, value))
    }

    /// A number; 0 is not sent.
    pub(super) fn number(&self, field: u64) -> u64 {
        let number = self.0.iter().find_map(|(at, value)| match value {
            Value::Number(number) if *at == field => Some(*number),
            _ => None,
        });
        number.unwrap_or(0)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(move |(at, value)| match value {
            Value::Bytes(bytes) if *at == field => Some(bytes.as_slice()),
            _ => None,
        })
    }

    /// A text; the empty one is not sent.
    pub(super) fn text(&self, field: u64) -> String {
        String::from_utf8_lossy(self.all(field).next().unwrap_or_default()).into_owned()
    }

    /// A message within this one; one without fields if it is missing.
    pub(super) fn message(&self, field: u64) -> Result<Reply, Stop> {
        Self::parse(self.all(field).next().unwrap_or_default())
    }

    /// The value of a map of texts at a key.
    pub(super) fn entry(&self, field: u64, key: &str) -> Result<String, Stop> {
        for bytes in self.all(field) {
            let entry = Self::parse(bytes)?;
            if entry.text(1) == key {
                return Ok(entry.text(2));
            }
        }
        Err(format!("no entry {key:?}").into())
    }
}
