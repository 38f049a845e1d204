//! What the bus says, and what annotations say that goes to it.

use super::address;
use super::annotation;
use super::message::{self, FIXED_BYTES, Message};
use super::value::Writer;

/// Messages of a bus, and addresses of one.
pub(crate) fn message(bytes: &[u8]) {
    if let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() {
        assert!(
            message::length(fixed).is_none_or(|length| (FIXED_BYTES..=message::LARGEST).contains(&length))
        );
    }
    if let Some(message) = Message::parse(bytes.to_vec()) {
        for signature in ["", "s", "uoss", "o", "v", "a{sv}"] {
            let Some(mut reader) = message.body(signature) else { continue };
            signature.chars().try_for_each(|kind| reader.skip_basic(kind.encode_utf8(&mut [0; 4])));
            while !reader.is_at_end() && reader.text().is_some() {}
        }
        message.error_text();
    }
    address::parse(bytes);
}

/// A property of a unit, as an annotation has it.
pub(crate) fn annotation(bytes: &[u8]) {
    if let Some(value) = annotation::parse(&String::from_utf8_lossy(bytes)) {
        let mut writer = Writer::default();
        writer.value(&value);
        assert!(!writer.0.is_empty() && !value.signature().is_empty());
    }
}
