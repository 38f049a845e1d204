//! Runs a pod of containers from tokio, until all have ended or a signal comes. README.md is the tutorial to it.
//!
//! ```text
//! supervisor pod.json
//! ```

mod pod;
mod service;
mod spec;
mod task;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use pod::Pod;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> ExitCode {
    let result = match std::env::args().nth(1) {
        Some(path) => run(Path::new(&path)).await,
        None => Err("usage: supervisor POD.json".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(path: &Path) -> Result<()> {
    let spec = spec::read(path)?;
    let directory = tempfile::tempdir()?;
    let pod = Arc::new(Pod::start(&spec.name, directory.path()).await?);
    let (stop, stopped) = watch::channel(false);
    let mut services = JoinSet::new();
    for service in spec.containers {
        let (pod, stopped) = (pod.clone(), stopped.clone());
        services.spawn(async move { service::supervise(&pod, &service, stopped).await });
    }
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut result = Ok(());
    loop {
        tokio::select! {
            ended = services.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                // One that cannot be run ends the pod.
                Some(Ok(Err(error))) => {
                    result = Err(error);
                    stop.send(true)?;
                }
                Some(Err(error)) => return Err(error.into()),
            },
            _ = interrupt.recv() => stop.send(true)?,
            _ = terminate.recv() => stop.send(true)?,
        }
    }
    let pod = Arc::into_inner(pod).ok_or("a container still runs")?;
    pod.end().await?;
    result
}
