//! Users of its own.

use runtime_core::idmap::IdMap;
use runtime_core::namespaces::Namespaces;
use runtime_core::{Exit, Sandbox};

use crate::{Result, is_root};

pub(crate) fn run() -> Result<Exit> {
    let sandbox = Sandbox::new("sh").args(["-c", "id -u; cat /proc/self/uid_map"]);
    let sandbox = if is_root() {
        // 65536 users, none of whom the host knows.
        let map: IdMap = "0:100000:65536".parse()?;
        sandbox.id_maps(map.clone(), map)
    } else {
        // Root of the sandbox is this user.
        sandbox.namespaces(Namespaces::USER)
    };
    Ok(sandbox.spawn()?.wait()?)
}
