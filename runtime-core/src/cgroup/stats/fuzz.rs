//! Statistics.

use super::file::{blkio_lines, list};

pub(crate) fn files(text: &str) {
    list(text);
    assert!(blkio_lines(text).len() <= text.lines().count());
}
