//! passwd(5): the home directory of a user.

use super::number::decimal;

/// The home directory, if a line `name:password:uid:gid:comment:home:shell` is that of the user and names one.
pub fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':').skip(2);
    if fields.next().and_then(decimal) != Some(uid) {
        return None;
    }
    fields.nth(2).filter(|home| !home.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_is_the_sixth_field_of_the_line_with_the_uid() {
        assert_eq!(home_of(b"root:x:0:0:root:/root:/bin/bash", 0), Some(&b"/root"[..]));
        assert_eq!(home_of(b"nobody:x:65534:65534::/nonexistent:", 65_534), Some(&b"/nonexistent"[..]));
        assert_eq!(home_of(b"root:x:0:0:root:/root", 0), Some(&b"/root"[..]));
        assert_eq!(home_of(b"root:x:0:0:root:/root:/bin/bash", 1), None);
    }

    #[test]
    fn a_gid_is_not_a_uid() {
        assert_eq!(home_of(b"a:x:1:7::/a:/bin/sh", 7), None);
    }

    #[test]
    fn a_line_that_is_cut_or_hostile_has_none() {
        for line in [&b""[..], b"root", b"root:x:0", b"root:x:0:0:root", b"root:x:0:0:root::/bin/sh"] {
            assert_eq!(home_of(line, 0), None, "{line:?}");
        }
        for uid in [&b"+0"[..], b" 0", b"", b"-0", b"0x0", b"4294967296"] {
            let line = [b"root:x:", uid, b":0:root:/root:/bin/sh"].concat();
            assert_eq!(home_of(&line, 0), None, "{uid:?}");
        }
    }
}
