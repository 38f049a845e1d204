//! Another root.

use std::path::Path;

use runtime_core::rootfs::Mount;
use runtime_core::{Exit, Sandbox};

use crate::{Result, with_privilege};

pub(crate) fn run() -> Result<Exit> {
    let root = tempfile::tempdir()?;
    let script = "ls /; touch /new || echo the root is read-only; touch /tmp/new && ls /tmp";
    let sandbox = with_privilege(Sandbox::new("sh").args(["-c", script]));
    let process = with_system(sandbox, root.path())?.spawn()?;
    Ok(process.wait()?)
}

/// A root with the programs of the host, read-only, and nothing else of it.
pub(crate) fn with_system<'a>(sandbox: Sandbox<'a>, root: &Path) -> Result<Sandbox<'a>> {
    let mut sandbox = sandbox.root(root.to_string_lossy());
    for name in ["usr", "bin", "sbin", "lib", "lib32", "lib64"] {
        let host = Path::new("/").join(name);
        match std::fs::read_link(&host) {
            // On most machines /bin is a link to usr/bin.
            Ok(target) => std::os::unix::fs::symlink(target, root.join(name))?,
            Err(_) if host.is_dir() => {
                sandbox = sandbox.mount(Mount::bind(format!("/{name}"), format!("/{name}")).read_only());
            }
            Err(_) => {}
        }
    }
    Ok(sandbox.read_only_root().mount(Mount::dev()).mount(Mount::tmpfs("/tmp").option("size=64m")))
}
