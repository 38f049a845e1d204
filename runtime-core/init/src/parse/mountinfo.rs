//! proc_pid_mountinfo(5).

/// What the init wants to know of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount<'a> {
    /// The directory of the file system that is mounted, escaped.
    pub root: &'a [u8],
    /// Where it is mounted, escaped: see [`unescaped`].
    pub place: &'a [u8],
    /// The type of the file system.
    pub kind: &'a [u8],
}

/// Reads a line: id, parent, device, root, place, options, optional fields, a hyphen, type, source, options.
pub fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let place = fields.next()?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount { root, place, kind })
}

/// Puts a path without its escapes into `path`; the result is its length, `None` if there is no room.
///
/// The kernel writes blanks, tabs, line ends and backslashes as a backslash and three octal digits.
pub fn unescaped(text: &[u8], path: &mut [u8]) -> Option<usize> {
    let (mut rest, mut len) = (text, 0usize);
    loop {
        let byte = match *rest {
            [b'\\', a @ b'0'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7', ref behind @ ..] => {
                rest = behind;
                (a & 7) << 6 | (b & 7) << 3 | c & 7
            }
            [byte, ref behind @ ..] => {
                rest = behind;
                byte
            }
            [] => return Some(len),
        };
        *path.get_mut(len)? = byte;
        len = len.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &[u8]) -> Option<Vec<u8>> {
        let mut path = [0; 16];
        unescaped(text, &mut path).map(|len| path[..len].to_vec())
    }

    #[test]
    fn optional_fields_may_be_there_or_not() {
        let expected = Some(Mount { root: b"/", place: b"/proc", kind: b"proc" });
        assert_eq!(mount(b"22 1 0:21 / /proc rw,nosuid - proc proc rw"), expected);
        assert_eq!(mount(b"22 1 0:21 / /proc rw shared:5 - proc proc rw"), expected);
        assert_eq!(mount(b"22 1 0:21 / /proc rw master:1 propagate_from:2 - proc none rw"), expected);
    }

    /// A source may be any text, also one that looks like the hyphen.
    #[test]
    fn the_type_follows_the_first_hyphen() {
        let line = b"40 1 0:44 / /mnt rw - tmpfs - rw";
        assert_eq!(mount(line), Some(Mount { root: b"/", place: b"/mnt", kind: b"tmpfs" }));
    }

    #[test]
    fn a_line_that_is_cut_is_not_a_mount() {
        for line in [&b""[..], b"22 1 0:21 /", b"22 1 0:21 / /proc rw", b"22 1 0:21 / /proc rw -"] {
            assert_eq!(mount(line), None, "{line:?}");
        }
    }

    #[test]
    fn escapes_are_three_octal_digits() {
        assert_eq!(plain(b"/a\\040b").as_deref(), Some(&b"/a b"[..]));
        assert_eq!(plain(b"/a\\134040b").as_deref(), Some(&b"/a\\040b"[..]));
        assert_eq!(plain(b"/\\011\\012").as_deref(), Some(&b"/\t\n"[..]));
    }

    #[test]
    fn what_is_not_an_escape_stays() {
        assert_eq!(plain(b"/a\\04").as_deref(), Some(&b"/a\\04"[..]));
        assert_eq!(plain(b"/a\\08x").as_deref(), Some(&b"/a\\08x"[..]));
        assert_eq!(plain(b"").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn a_path_without_room_is_refused() {
        assert_eq!(plain(&[b'x'; 16]).map(|path| path.len()), Some(16));
        assert_eq!(plain(&[b'x'; 17]), None);
    }
}
