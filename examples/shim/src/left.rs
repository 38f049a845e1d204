//! What a shim leaves in the bundle for the case that it is killed: `delete` is another process.

use std::path::Path;

use crate::fault::Fault;
use crate::options::Options;

const OPTIONS: &str = "runtime-options.json";
const PID: &str = "init.pid";

/// Writes the options, before anything is made.
pub(crate) fn write(bundle: &Path, options: &Options) -> Result<(), Fault> {
    let path = bundle.join(OPTIONS);
    let text = serde_json::to_vec(options).map_err(|error| Fault::system("encode the options", error))?;
    std::fs::write(&path, text).map_err(|error| Fault::system(format!("write {path:?}"), error))
}

/// Writes the pid of the init, which containerd wants to know of a task that was removed without its shim.
pub(crate) fn write_pid(bundle: &Path, pid: u32) {
    let path = bundle.join(PID);
    if let Err(error) = std::fs::write(&path, pid.to_string()) {
        crate::log::warn(&format!("write {path:?}: {error}"));
    }
}

/// The options and the pid; the defaults of a shim that was killed before it wrote them.
pub(crate) fn read(bundle: &Path) -> (Options, u32) {
    let options =
        std::fs::read(bundle.join(OPTIONS)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let pid = std::fs::read_to_string(bundle.join(PID)).ok().and_then(|text| text.trim().parse().ok());
    (options.unwrap_or_default(), pid.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), (Options::default(), 0));
        let options = Options { root: "/r".to_owned(), systemd_cgroup: true, ..Options::default() };
        write(dir.path(), &options).unwrap();
        write_pid(dir.path(), 42);
        assert_eq!(read(dir.path()), (options, 42));
    }
}
