//! Who holds the lock of a container, for who waits for it (proc(5), /proc/locks).

use std::io::Read;
use std::os::fd::AsFd;

use nix::sys::stat::{FileStat, fstat, major, minor};

/// How much of the list of locks is read.
const LIST_LIMIT: u64 = 1 << 20;

/// The name of a process is never longer.
const NAME_LIMIT: u64 = 64;

/// The holder of the flock(2) on a file, in words. Nothing depends on it: a process of another pid namespace
/// is not seen, nor one on a file system whose files have other numbers there.
pub(super) fn of(file: &impl AsFd) -> String {
    let mut text = Vec::new();
    if let Ok(locks) = std::fs::File::open("/proc/locks") {
        // What has been read before an error is as good; the list is as long as the machine's users like.
        locks.take(LIST_LIMIT).read_to_end(&mut text).ok();
    }
    let text = String::from_utf8_lossy(&text);
    let pid = fstat(file).ok().and_then(|status| text.lines().find_map(|line| pid(line, &status)));
    match pid {
        Some(pid) => format!("process {pid} ({})", name(pid)),
        None => "a process that /proc/locks does not show".to_owned(),
    }
}

/// The pid of a line such as `5: FLOCK  ADVISORY  WRITE 29772 fe:00:10012660 0 EOF`, if it is about the file.
/// One who waits has an arrow after the number.
fn pid(line: &str, file: &FileStat) -> Option<i32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let kind = words.next()?;
    let pid = words.nth(2)?.parse().ok()?;
    let number = format!("{:02x}:{:02x}:{}", major(file.st_dev), minor(file.st_dev), file.st_ino);
    (kind == "FLOCK" && words.next()? == number).then_some(pid)
}

fn name(pid: i32) -> String {
    let mut name = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/comm"))
        .and_then(|file| file.take(NAME_LIMIT).read_to_end(&mut name));
    match read {
        // It may have any bytes.
        Ok(_) => name.trim_ascii_end().escape_ascii().to_string(),
        Err(_) => "it has ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_holder_of_a_flock_on_the_file_counts() {
        let file = std::fs::File::open("/").unwrap();
        let status = fstat(&file).unwrap();
        let number = format!("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
        let find = |line: String| pid(&line, &status);
        assert_eq!(find(format!("5: FLOCK  ADVISORY  WRITE 29772 {number} 0 EOF")), Some(29772));
        assert_eq!(find(format!("5: -> FLOCK  ADVISORY  WRITE 29773 {number} 0 EOF")), None);
        assert_eq!(find(format!("6: POSIX  ADVISORY  WRITE 3 {number} 0 EOF")), None);
        assert_eq!(find("7: FLOCK  ADVISORY  WRITE 3 00:00:1 0 EOF".to_owned()), None);
        assert_eq!(find(String::new()), None);
    }
}
