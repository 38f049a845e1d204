//! The name that the program goes by: that under which it was called.
//!
//! Who links it as `runc` gets runc's texts to the letter: in errors, in `--version`, which tools
//! parse, and in the help. Nothing else depends on the name, so that the same options find the same
//! containers under each.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

/// The name where the caller gives none that could stand in a text.
const NAME: &str = "runtime";

/// The program's name.
pub(crate) fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| of(std::env::args_os().next().as_deref()).to_owned())
}

/// The last part of the path by which a program was called. It is the caller's to choose: what could
/// end a line, or be more than one word, is not taken.
fn of(called: Option<&OsStr>) -> &str {
    let name = called.and_then(|called| Path::new(called).file_name()).and_then(OsStr::to_str);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let usable = |name: &&str| name.len() <= 64 && !name.starts_with('-') && name.bytes().all(plain);
    name.filter(usable).unwrap_or(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_the_path() {
        for (called, name) in [
            ("/usr/sbin/runc", "runc"),
            ("runtime", "runtime"),
            ("./runtime-static", "runtime-static"),
            ("/usr/bin/", "bin"),
            ("", "runtime"),
            ("/", "runtime"),
            ("-runc", "runtime"),
            ("a b", "runtime"),
            ("run\nc", "runtime"),
        ] {
            assert_eq!(of(Some(OsStr::new(called))), name, "{called:?}");
        }
        assert_eq!(of(None), NAME);
        assert_eq!(of(Some(OsStr::new(&"x".repeat(65)))), NAME);
    }
}
