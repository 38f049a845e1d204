//! `containerd-shim-runtime-v2`: a shim of containerd that makes its containers itself, with the library, and starts no
//! runtime for any call. containerd finds it by the name of the runtime's type, `io.containerd.runtime.v2`.
//!
//! `README.md` says how to install it, what it takes, and how to write another engine with the library.

mod args;
mod command;
mod config;
mod events;
mod fault;
mod left;
mod log;
mod logger;
mod metrics;
mod mounts;
mod oom;
mod options;
mod process;
mod reactor;
mod relay;
mod server;
mod service;
mod shim;
mod streams;
mod task;
mod wire;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use runtime_core::cgroup::{Hierarchies, Mode};

use args::{Action, Args};
use events::Publisher;
use fault::Fault;
use reactor::Reactor;
use shim::Shim;

/// How long the last events may take at the end of a shim.
const LAST_EVENTS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let done =
        Args::parse(std::env::args().skip(1)).map_err(Fault::invalid).and_then(|args| match args.action {
            Action::Start => command::start(&args),
            Action::Delete => command::delete(&args),
            Action::Info => command::info(),
            Action::Version => {
                println!("containerd-shim-runtime-v2 {}", env!("CARGO_PKG_VERSION"));
                Ok(())
            }
            Action::Serve => serve(&args),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            log::error(&fault.message);
            eprintln!("containerd-shim-runtime-v2: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Is the shim, until it has no containers and is asked to end. Its working directory is the bundle of the first.
fn serve(args: &Args) -> Result<(), Fault> {
    log::open(args.debug);
    runtime_core::program::reset_child_signal()?;
    let listener = take_listener()?;
    let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(ToOwned::to_owned));
    let address =
        std::env::var("TTRPC_ADDRESS").map_err(|error| Fault::system("read TTRPC_ADDRESS", error))?;
    let unified = matches!(Hierarchies::detect().map(|found| found.mode()), Ok(Mode::Unified));
    let events = Publisher::new(&address, &args.namespace);
    let shim = Shim::new(&args.namespace, Reactor::new()?, events.clone(), unified);
    log::debug("serving");
    server::serve(&shim, listener)?;
    if let Some(path) = path {
        // A newer shim of the same pod may have made it again, but not while this one listened.
        std::fs::remove_file(path).ok();
    }
    let end = Instant::now() + LAST_EVENTS;
    while !events.is_idle() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The socket that `start` has made is the standard input; what containers inherit is `/dev/null`.
fn take_listener() -> Result<UnixListener, Fault> {
    let failed = |error| Fault::system("take the socket from standard input", error);
    let listener = std::io::stdin().as_fd().try_clone_to_owned().map(UnixListener::from).map_err(failed)?;
    listener.local_addr().map_err(failed)?;
    let null = File::open("/dev/null").map_err(failed)?;
    nix::unistd::dup2_stdin(&null).map_err(|errno| failed(errno.into()))?;
    Ok(listener)
}
