//! The end of CRIU's log, which says why it failed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// As much of the log's end as is looked at.
const TAIL: u64 = 16 << 10;
/// As many lines of it as are told.
const LINES: usize = 5;

/// The last lines that name an error, or the last lines of all; `None` without a log.
pub(super) fn last_words(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let lines = choose(&String::from_utf8_lossy(&bytes));
    (!lines.is_empty()).then_some(lines)
}

pub(super) fn choose(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = lines.iter().copied().filter(|line| line.contains("Error")).collect();
    let told = if errors.is_empty() { lines } else { errors };
    told.get(told.len().saturating_sub(LINES)..).unwrap_or_default().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_before_other_lines() {
        let text = "(00.1) Warn\n(00.2) Error (criu/a.c:1): first\n(00.3) step\n(00.4) Error (criu/b.c:2): second\n(00.5) unlock\n";
        assert_eq!(choose(text), "(00.2) Error (criu/a.c:1): first; (00.4) Error (criu/b.c:2): second");
        assert_eq!(choose("one\ntwo\n"), "one; two");
        assert_eq!(choose("1\n2\n3\n4\n5\n6\n7"), "3; 4; 5; 6; 7");
        assert_eq!(last_words(Path::new("/nonexistent/log")), None);
    }
}
