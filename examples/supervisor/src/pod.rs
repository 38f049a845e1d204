//! What the containers of a pod share: a root file system, and the namespaces of its first container.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use runtime_core::namespaces::Namespaces;
use runtime_core::plan::CreateOptions;
use runtime_core::{ContainerSpec, CreatePlan, Runtime, Stdio};

use crate::Result;
use crate::spec::Service;
use crate::task::{self, Running};

/// A pod that runs.
pub(crate) struct Pod {
    pub(crate) runtime: Runtime,
    name: String,
    root: PathBuf,
    /// Holds the namespaces. It runs until the pod ends, so they stay the same when another container is started again.
    holder: Running,
}

impl Pod {
    /// Starts the container that holds the namespaces.
    pub(crate) async fn start(name: &str, directory: &Path) -> Result<Self> {
        let runtime = Runtime::builder().state_root(directory.join("state")).build()?;
        let root = directory.join("rootfs");
        std::fs::create_dir(&root)?;
        let spec = with_system(ContainerSpec::new(&root), &root)?.hostname(name).args(["sleep", "infinity"]);
        let plan = runtime.plan(&format!("{name}-pod"), spec.build()?, CreateOptions::new())?;
        let holder = task::run(&runtime, quiet(plan)).await?;
        Ok(Self { runtime, name: name.to_owned(), root, holder })
    }

    /// The plan of a container, which has the network, the IPC objects and the host name of the pod.
    pub(crate) fn plan(&self, service: &Service) -> Result<CreatePlan> {
        let shared = Namespaces::NETWORK | Namespaces::IPC | Namespaces::UTS;
        let mut spec = with_system(ContainerSpec::new(&self.root), &self.root)?
            .args(&service.args)
            .join_process(&self.holder.init, shared)?;
        if let Some(memory) = service.memory {
            spec = spec.memory_max(memory);
        }
        let id = format!("{}-{}", self.name, service.name);
        let plan = self.runtime.plan(&id, spec.build()?, CreateOptions::new())?;
        Ok(plan.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Ends the namespaces, when no container is left.
    pub(crate) async fn end(self) -> Result<()> {
        self.holder.delete().await
    }
}

fn quiet(plan: CreatePlan) -> CreatePlan {
    plan.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// The programs of the host, read-only, in the place of an image.
fn with_system(mut spec: ContainerSpec, root: &Path) -> Result<ContainerSpec> {
    for name in ["usr", "bin", "sbin", "lib", "lib32", "lib64"] {
        let host = Path::new("/").join(name);
        match std::fs::read_link(&host) {
            // On most machines /bin is a link to usr/bin. The root is made once, for all containers of the pod.
            Ok(target) if !root.join(name).is_symlink() => symlink(target, root.join(name))?,
            Ok(_) => {}
            Err(_) if host.is_dir() => spec = spec.bind(&host, format!("/{name}"), true),
            Err(_) => {}
        }
    }
    Ok(spec.tmpfs("/tmp", 16 << 20))
}
