//! The pid file: the decimal process id and nothing else, as engines parse the bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Writes `pid` to `path` under another name first and renames it, so that a reader sees the
/// whole number or no file.
pub(crate) fn write(path: &Path, pid: i32) -> Result<()> {
    let failed = |error: std::io::Error| Error::io(format!("write pid file {path:?}"), &error);
    let temporary =
        temporary(path).ok_or_else(|| Error::invalid("--pid-file", format!("{path:?} names no file")))?;
    // The mode is that of any new file: the caller's umask decides.
    let mut file =
        File::options().write(true).create_new(true).mode(0o666).open(&temporary).map_err(failed)?;
    let written = file.write_all(pid.to_string().as_bytes()).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let error = failed(error);
        match std::fs::remove_file(&temporary) {
            Ok(()) => error,
            Err(_) => error.hint(format!("{temporary:?} is left over")),
        }
    })
}

fn temporary(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(format!(".{}", std::process::id()));
    Some(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("pid");
        std::fs::write(&path, "an older and longer one").expect("an old file");
        write(&path, 4711).expect("a pid file");
        assert_eq!(std::fs::read(&path).expect("the file"), b"4711");
        assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 1);
    }

    #[test]
    fn errors_name_the_path() {
        let error = write(Path::new("/nonexistent/pid"), 1).expect_err("no directory");
        assert_eq!(error.to_string(), "write pid file \"/nonexistent/pid\": no such file or directory");
        assert!(write(Path::new("/"), 1).is_err());
    }
}
