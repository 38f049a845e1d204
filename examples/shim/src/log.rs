//! The log: lines in the form of containerd's own, into the FIFO `log` of the bundle, which containerd copies into its log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

static FILE: OnceLock<File> = OnceLock::new();
static DEBUG: AtomicBool = AtomicBool::new(false);

/// Opens the log of a shim whose working directory is the bundle.
///
/// The FIFO is open for reading too, so that a restart of containerd does not break it, and never waits for a reader: what
/// does not fit is lost.
pub(crate) fn open(debug: bool) {
    DEBUG.store(debug, Ordering::Relaxed);
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("log");
    if let Ok(file) = file {
        FILE.get_or_init(|| file);
    }
}

pub(crate) fn debug(text: &str) {
    if DEBUG.load(Ordering::Relaxed) {
        write("debug", text);
    }
}

pub(crate) fn warn(text: &str) {
    write("warning", text);
}

pub(crate) fn error(text: &str) {
    write("error", text);
}

fn write(level: &str, text: &str) {
    let Some(mut file) = FILE.get() else { return };
    // A line that cannot be written cannot be reported either.
    file.write_all(line(SystemTime::now(), level, text).as_bytes()).ok();
}

fn line(time: SystemTime, level: &str, text: &str) -> String {
    format!("time=\"{}\" level={level} msg={text:?} runtime=io.containerd.runtime.v2\n", rfc3339(time))
}

/// Seconds in UTC: the days since 1970 as a date of the proleptic Gregorian calendar.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Years begin in March here, so that a leap day is the last one; 400 years have 146097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(at(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(at(1_767_225_599)), "2025-12-31T23:59:59Z");
        let text = line(at(0), "error", "a \"b\"\nc");
        assert!(text.starts_with("time=\"1970-01-01T00:00:00Z\" level=error msg=\"a \\\"b\\\"\\nc\""));
        assert_eq!(text.matches('\n').count(), 1);
    }
}
