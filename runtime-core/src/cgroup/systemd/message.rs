//! Messages of D-Bus (D-Bus specification, "Message Format").

use super::value::{Reader, Value, Writer};

/// The part of a message that tells the length of all of it.
pub(super) const FIXED_BYTES: usize = 16;

/// The longest message that is taken. The specification allows 128 MiB; what systemd says to us is
/// some hundred bytes, and what it tells everybody some kilobytes.
pub(super) const LARGEST: usize = 16 << 20;

// Message types and header fields.
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [Value],
}

impl Call<'_> {
    /// The message, or nothing if it is too long for one.
    pub(super) fn bytes(&self, serial: u32) -> Option<Vec<u8>> {
        let mut body = Writer::default();
        self.arguments.iter().for_each(|argument| body.value(argument));
        let signature: String = self.arguments.iter().map(Value::signature).collect();

        let order = if cfg!(target_endian = "big") { b'B' } else { b'l' };
        let mut writer = Writer(vec![order, METHOD_CALL, 0, 1]);
        writer.u32(u32::try_from(body.0.len()).ok()?);
        writer.u32(serial);
        writer.u32(0);
        let names = [
            (PATH, "o", self.path),
            (DESTINATION, "s", self.destination),
            (INTERFACE, "s", self.interface),
            (MEMBER, "s", self.member),
        ];
        for (field, kind, text) in names {
            writer.align(8);
            writer.0.push(field);
            writer.signature(kind);
            writer.text(text);
        }
        if !signature.is_empty() {
            writer.align(8);
            writer.0.push(SIGNATURE);
            writer.signature("g");
            writer.signature(&signature);
        }
        let fields = u32::try_from(writer.0.len().saturating_sub(FIXED_BYTES)).ok()?;
        writer.0.get_mut(12..FIXED_BYTES)?.copy_from_slice(&fields.to_ne_bytes());
        writer.align(8);
        writer.0.extend(body.0);
        (writer.0.len() <= LARGEST).then_some(writer.0)
    }
}

/// What a message that came is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The answer to the call with this serial number.
    Reply(u32),
    /// The refusal of that call, by the name of the error.
    Error(u32, String),
    /// A signal, by its member.
    Signal(String),
    /// Something else.
    Other,
}

/// A message that came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    signature: String,
    bytes: Vec<u8>,
    body: usize,
    big_endian: bool,
}

/// The length of the whole message, by its first [`FIXED_BYTES`].
pub(super) fn length(fixed: &[u8; FIXED_BYTES]) -> Option<usize> {
    let big_endian = byte_order(fixed)?;
    let mut reader = Reader::new(fixed.get(4..)?, big_endian);
    let (body, _serial, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let fields = FIXED_BYTES.checked_add(usize::try_from(fields).ok()?)?;
    let whole = fields.checked_next_multiple_of(8)?.checked_add(usize::try_from(body).ok()?)?;
    (whole <= LARGEST).then_some(whole)
}

/// Whether the message is big-endian; `None` if it is no message of version 1.
fn byte_order(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [b'l', _, _, 1, ..] => Some(false),
        [b'B', _, _, 1, ..] => Some(true),
        _ => None,
    }
}

impl Message {
    /// Reads the header. `None` if it is not one.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let big_endian = byte_order(&bytes)?;
        let kind = *bytes.get(1)?;
        let fields = Reader::new(bytes.get(12..FIXED_BYTES)?, big_endian).u32()?;
        let end = FIXED_BYTES.checked_add(usize::try_from(fields).ok()?)?;
        let fields = Fields::parse(bytes.get(FIXED_BYTES..end)?, big_endian)?;
        let kind = match kind {
            METHOD_RETURN => Kind::Reply(fields.reply_serial?),
            ERROR => Kind::Error(fields.reply_serial?, fields.error_name?),
            SIGNAL => Kind::Signal(fields.member?),
            _ => Kind::Other,
        };
        let body = end.checked_next_multiple_of(8)?;
        Some(Self { kind, signature: fields.signature, bytes, body, big_endian })
    }

    /// The body, if it begins with values of these types.
    pub(super) fn body(&self, signature: &str) -> Option<Reader<'_>> {
        let bytes = self.bytes.get(self.body..)?;
        self.signature.starts_with(signature).then(|| Reader::new(bytes, self.big_endian))
    }

    /// The text of an error, for people.
    pub(super) fn error_text(&self) -> Option<&str> {
        self.body("s")?.text()
    }
}

/// Serial number, member and arguments of a call: what the other end sees of it.
#[cfg(test)]
pub(super) fn read_call(bytes: &[u8]) -> Option<(u32, String, Vec<u8>)> {
    let mut reader = Reader::new(bytes.get(8..FIXED_BYTES)?, cfg!(target_endian = "big"));
    let (serial, length) = (reader.u32()?, reader.u32()?);
    let end = FIXED_BYTES + length as usize;
    let fields = Fields::parse(bytes.get(FIXED_BYTES..end)?, cfg!(target_endian = "big"))?;
    Some((serial, fields.member?, bytes.get(end.next_multiple_of(8)..)?.to_vec()))
}

#[derive(Debug, Default)]
struct Fields {
    reply_serial: Option<u32>,
    error_name: Option<String>,
    member: Option<String>,
    signature: String,
}

impl Fields {
    fn parse(bytes: &[u8], big_endian: bool) -> Option<Self> {
        let mut fields = Self::default();
        let mut reader = Reader::new(bytes, big_endian);
        while !reader.is_at_end() {
            reader.align(8)?;
            if reader.is_at_end() {
                break;
            }
            let code = reader.byte()?;
            let signature = reader.signature()?;
            match (code, signature) {
                (REPLY_SERIAL, "u") => fields.reply_serial = Some(reader.u32()?),
                (ERROR_NAME, "s") => fields.error_name = Some(reader.text()?.to_owned()),
                (MEMBER, "s") => fields.member = Some(reader.text()?.to_owned()),
                (SIGNATURE, "g") => reader.signature()?.clone_into(&mut fields.signature),
                (_, other) => reader.skip_basic(other)?,
            }
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Hello` as libdbus writes it, recorded from `dbus-send` (fields in its order).
    const HELLO: &[u8] = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6e\x00\x00\x00\
        \x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00\
        \x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
        \x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
        \x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00";

    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        };
        assert_eq!(call.bytes(1).unwrap(), HELLO);
        assert_eq!(length(HELLO[..16].try_into().unwrap()), Some(HELLO.len()));
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let mut fixed: [u8; 16] = HELLO[..16].try_into().unwrap();
        fixed[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&fixed), None);
        fixed[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(length(&fixed), None);
        fixed[0] = b'x';
        assert_eq!(length(&fixed), None);
    }

    #[test]
    fn no_broken_message_is_taken_and_none_panics() {
        let reply = super::super::fake::error(7, "org.example.No", "because");
        let whole = Message::parse(reply.clone()).unwrap();
        assert_eq!(whole.kind, Kind::Error(7, "org.example.No".to_owned()));
        assert_eq!(whole.error_text(), Some("because"));
        for cut in 0..reply.len() {
            if let Some(message) = Message::parse(reply[..cut].to_vec()) {
                assert_eq!(message.error_text(), None, "{cut}");
            }
        }
        // Each byte with other values: any outcome but a panic.
        for at in 0..reply.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = reply.clone();
                broken[at] = value;
                if let Some(message) = Message::parse(broken) {
                    message.error_text();
                }
            }
        }
    }
}
