//! Runs a pod of containers from tokio, until all have ended or a signal comes. README.md is the tutorial to it.
//!
//! ```text
//! supervisor pod.json
//! ```

mod pod;
mod service;
mod spec;
mod task;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use pod::Pod;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let result = match std::env::args().nth(1) {
        Some(path) => run(Path::new(&path)),
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

fn run(path: &Path) -> Result<()> {
    let spec = spec::read(path)?;
    let tokio = tokio::runtime::Runtime::new()?;
    // The signals come first: with nothing made yet, nothing is left by one that comes before.
    let signals = tokio.block_on(async { Signals::new() })?;
    let directory = tempfile::tempdir()?;
    let result = tokio.block_on(supervise(spec, directory.path(), signals));
    // A call that nobody waits for any more undoes what it did; the state is needed until then.
    drop(tokio);
    result.and(directory.close().map_err(Into::into))
}

/// Runs the pod until all its containers have ended, one of them cannot be run, or a signal comes.
async fn supervise(spec: spec::Spec, directory: &Path, mut signals: Signals) -> Result<()> {
    let pod = tokio::select! {
        pod = Pod::start(&spec.name, directory) => Arc::new(pod?),
        () = signals.next() => return Ok(()),
    };
    let (stop, stopped) = watch::channel(false);
    let mut services = JoinSet::new();
    for service in spec.containers {
        let (pod, stopped) = (pod.clone(), stopped.clone());
        services.spawn(async move { service::supervise(&pod, &service, stopped).await });
    }
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
            () = signals.next() => stop.send(true)?,
        }
    }
    let pod = Arc::into_inner(pod).ok_or("a container still runs")?;
    pod.end().await?;
    result
}

/// The signals that end the pod. From `new` on, they do not end the process.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
