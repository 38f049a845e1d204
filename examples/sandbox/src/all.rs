//! All of them.

use runtime_core::capabilities::CapabilitySet;
use runtime_core::namespaces::Namespaces;
use runtime_core::rootfs::Mount;
use runtime_core::{Exit, Sandbox};

use crate::{Result, cgroup, filter, is_root, rootfs, with_privilege};

pub(crate) fn run(command: &[String]) -> Result<Exit> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let root = tempfile::tempdir()?;
    let cgroup = if is_root() { Some(cgroup::limited()?) } else { None };
    let mut sandbox = Sandbox::new(program)
        .args(arguments)
        .namespaces(Namespaces::PID | Namespaces::NETWORK | Namespaces::IPC | Namespaces::CGROUP)
        .hostname("sandbox")
        .capabilities(CapabilitySet::none())
        .no_new_privileges()
        .filter(filter::denying(&["bpf", "keyctl", "mount", "ptrace", "unshare"])?);
    sandbox = rootfs::with_system(with_privilege(sandbox), root.path())?.mount(Mount::proc("/proc"));
    if let Some(cgroup) = &cgroup {
        sandbox = sandbox.cgroup(cgroup);
    }
    let exit = sandbox.spawn().map_err(Into::into).and_then(|process| Ok(process.wait()?));
    if let Some(cgroup) = &cgroup {
        cgroup::end(cgroup)?;
    }
    exit
}
