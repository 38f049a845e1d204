//! The directory of a container's notify socket: beside the containers' state, by a name that no
//! container can have.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use runtime_core::Runtime;

use crate::error::{Error, Result};
use crate::notify::Notify;

/// The caller's own notify socket, if a service manager started it.
pub(crate) fn manager() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The directory for the container `id`; no id has a colon in it.
fn directory(runtime: &Runtime, id: &str) -> PathBuf {
    runtime.state_root().join(format!("notify:{id}"))
}

/// The path of the container's socket on the host, if the caller has a service manager.
pub(crate) fn socket(runtime: &Runtime, id: &str) -> Option<String> {
    manager()?;
    directory(runtime, id).join("notify.sock").to_str().map(str::to_owned)
}

/// Makes the directory for a container that is to be made, if the caller has a service manager; whether it has made
/// one. That of a container which exists is left: the creation will say so.
pub(crate) fn make(runtime: &Runtime, id: &str) -> Result<bool> {
    if manager().is_none() || runtime.container(id).is_ok() {
        return Ok(false);
    }
    // What a killed runtime has left.
    remove(runtime, id)?;
    let path = directory(runtime, id);
    let failed = |error: std::io::Error| Error::io(format!("make {path:?} for $NOTIFY_SOCKET"), &error);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(runtime.state_root())
        .and_then(|()| std::fs::DirBuilder::new().mode(0o755).recursive(true).create(&path))
        .map_err(failed)?;
    Ok(true)
}

/// Binds the socket of a container with a directory for it, if the caller has a service manager.
pub(crate) fn bind(runtime: &Runtime, id: &str) -> Result<Option<Notify>> {
    let place = socket(runtime, id).filter(|_| directory(runtime, id).is_dir());
    place.zip(manager()).map(|(path, manager)| Notify::bind(Path::new(&path), &manager)).transpose()
}

/// Removes the directory, if it is there.
pub(crate) fn remove(runtime: &Runtime, id: &str) -> Result<()> {
    let path = directory(runtime, id);
    for removed in [std::fs::remove_file(path.join("notify.sock")), std::fs::remove_dir(&path)] {
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("remove {path:?}"), &error));
            }
            _ => {}
        }
    }
    Ok(())
}
