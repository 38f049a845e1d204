//! Where hooks print.

use super::*;

/// The directory may be one that a container can write. Control: a regular file is appended to.
#[test]
fn the_output_is_a_regular_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("file"), "before,").unwrap();
    std::os::unix::fs::symlink("file", path("link")).unwrap();
    std::os::unix::fs::symlink(directory.path(), path("directory")).unwrap();
    nix::unistd::mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
    // Somebody reads, so that the open would not fail for want of that.
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(path("pipe")).unwrap();
    let refused = |name: &str| output_file(&path(name)).unwrap_err();
    assert_eq!(refused("link"), Errno::ELOOP);
    assert_eq!(refused("directory/file"), Errno::ELOOP);
    assert_eq!(refused("pipe"), Errno::ENOTSUP);
    std::io::Write::write_all(&mut output_file(&path("file")).unwrap(), b"after").unwrap();
    assert_eq!(std::fs::read_to_string(path("file")).unwrap(), "before,after");
}
