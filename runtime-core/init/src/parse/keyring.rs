//! The description of a key, as keyctl(2) has it with KEYCTL_DESCRIBE.

use super::number::hexadecimal;

/// The permissions: the fourth field of "type;uid;gid;permissions;name", in hexadecimal.
pub fn permissions(description: &[u8]) -> Option<u32> {
    description.split(|byte| *byte == b';').nth(3).and_then(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_permissions_are_the_fourth_field() {
        assert_eq!(permissions(b"keyring;0;0;3f030000;_ses"), Some(0x3f03_0000));
        // A name may have anything in it.
        assert_eq!(permissions(b"keyring;1000;1000;3f1b0000;a;b;c\0"), Some(0x3f1b_0000));
    }

    #[test]
    fn another_form_has_none() {
        for text in
            [&b""[..], b"keyring;0;0", b"keyring;0;0;;name", b"keyring;0;0;3g;name", b"keyring;0;0;-1;name"]
        {
            assert_eq!(permissions(text), None, "{text:?}");
        }
    }
}
