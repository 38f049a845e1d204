//! Paths of a plan, below the root of a container.

use core::ffi::CStr;

/// A path without its leading slashes; "." for the root itself.
pub fn relative(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().position(|byte| *byte != b'/').unwrap_or(0);
    match CStr::from_bytes_with_nul(bytes.get(start..).unwrap_or_default()) {
        Ok(path) if !path.is_empty() => path,
        _ => c".",
    }
}

/// All but the last component of a path, and that. Slashes at the end belong to the component.
pub fn split(path: &CStr) -> (&[u8], &CStr) {
    let bytes = path.to_bytes();
    let last = bytes.iter().rposition(|byte| *byte != b'/').unwrap_or(0);
    let slash = bytes.get(..last).and_then(|before| before.iter().rposition(|byte| *byte == b'/'));
    let Some(slash) = slash else { return (&[], path) };
    let (head, tail) = path.to_bytes_with_nul().split_at(slash);
    let name = tail.get(1..).and_then(|name| CStr::from_bytes_with_nul(name).ok());
    (head, name.unwrap_or(c""))
}

/// Whether a path is `root` or below it, by its components; neither ends in a slash.
pub fn is_below(path: &[u8], root: &[u8]) -> bool {
    path.strip_prefix(root).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_has_no_leading_slashes() {
        for (path, expected) in
            [(c"/a/b", c"a/b"), (c"//a", c"a"), (c"a", c"a"), (c"/", c"."), (c"", c"."), (c"a/", c"a/")]
        {
            assert_eq!(relative(path), expected, "{path:?}");
        }
    }

    #[test]
    fn the_last_component_is_split_off() {
        for (path, head, name) in [
            (c"dev/null", &b"dev"[..], c"null"),
            (c"null", b"", c"null"),
            (c"a/b/c", b"a/b", c"c"),
            (c"a//b", b"a/", c"b"),
            (c"a/b/", b"a", c"b/"),
            (c"/", b"", c"/"),
        ] {
            assert_eq!(split(path), (head, name), "{path:?}");
        }
    }

    #[test]
    fn below_is_by_components() {
        assert!(is_below(b"/a", b"/a"));
        assert!(is_below(b"/a/b", b"/a"));
        assert!(!is_below(b"/ab", b"/a"));
        assert!(!is_below(b"/", b"/a"));
        assert!(is_below(b"/a", b""), "the root itself without its slash");
    }
}
