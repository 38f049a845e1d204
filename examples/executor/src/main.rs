//! The engine: runs a WebAssembly module as a container. README.md is the tutorial to it.
//!
//! ```text
//! executor HANDLER MODULE [ARGUMENT...]
//! ```

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use runtime_core::executor::{Handler, Handlers};
use runtime_core::plan::CreateOptions;
use runtime_core::{ContainerSpec, Exit, Runtime};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let run = match arguments.as_slice() {
        [handler, module, arguments @ ..] => run(Path::new(handler), Path::new(module), arguments),
        _ => Err("usage: executor HANDLER MODULE [ARGUMENT...]".into()),
    };
    match run {
        Ok(Exit::Code(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Ok(other) => {
            eprintln!("executor: {other:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("executor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(handler: &Path, module: &Path, arguments: &[String]) -> Result<Exit, Box<dyn Error>> {
    let place = tempfile::tempdir()?;
    let root = image(place.path(), module)?;

    // Every container with this annotation is run by the handler of that name.
    let handlers = Handlers::by_annotation("run.oci.handler").with(Handler::open("wasm", handler)?);
    let runtime = Runtime::builder().state_root(place.path().join("state")).executor(handlers).build()?;

    let args = std::iter::once("/module.wasm").chain(arguments.iter().map(String::as_str));
    let mut spec = ContainerSpec::new(&root).args(args).annotation("run.oci.handler", "wasm");
    // Who is not root has a container in a user namespace.
    let owner = root.metadata()?;
    if owner.uid() != 0 {
        spec = spec.user_namespace(owner.uid(), owner.gid(), 1);
    }
    // The cgroup has the name of the container: another executor, of whichever state root, needs another one.
    let id = format!("module-{}", std::process::id());
    let plan = runtime.plan(&id, spec.build()?, CreateOptions::new())?;
    if std::env::var_os("EXECUTOR_PLAN").is_some() {
        println!("{plan}");
    }
    let (container, init) = runtime.run(plan)?;
    let exit = init.wait()?;
    container.delete()?;
    Ok(exit)
}

/// An image with a module, and no program at all. The text format is translated; a binary module stays what it is.
fn image(place: &Path, module: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let root = place.join("rootfs");
    std::fs::create_dir(&root)?;
    std::fs::write(root.join("module.wasm"), wat::parse_file(module)?)?;
    Ok(root)
}
