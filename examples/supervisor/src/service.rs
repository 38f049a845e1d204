//! One container of a pod: its starts, its logs, its statistics, its end.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::time::Duration;

use runtime_core::events::Event;
use runtime_core::{ErrorKind, Exit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Result;
use crate::pod::Pod;
use crate::spec::{Service, back_off};
use crate::task::{self, EventStream, Running};

/// How long a container has to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// The longest line that is printed as one, in bytes: a container that prints no newline takes no more memory than this.
const LINE: u64 = 64 << 10;

/// How often statistics are printed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whether the pod is to end.
pub(crate) type Stop = watch::Receiver<bool>;

/// Waits until the pod is to end.
pub(crate) async fn stopped(stop: &mut Stop) {
    // Without a sender there is nobody left to go on for.
    stop.wait_for(|stop| *stop).await.ok();
}

/// Runs a container, again and again as its policy says, until it has ended for good or the pod is to end.
pub(crate) async fn supervise(pod: &Pod, service: &Service, mut stop: Stop) -> Result<()> {
    for restarts in 0.. {
        let exit = run(pod, service, &mut stop).await?;
        println!("{}: ended: {exit:?}", service.name);
        if *stop.borrow() || !service.restart.applies(exit, restarts) {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(back_off(restarts)) => println!("{}: start {}", service.name, restarts + 2),
            () = stopped(&mut stop) => break,
        }
    }
    Ok(())
}

/// Runs a container once, to its end.
async fn run(pod: &Pod, service: &Service, stop: &mut Stop) -> Result<Exit> {
    let mut running = task::run(&pod.runtime, pod.plan(service)?).await?;
    let logs =
        [copy(&service.name, running.init.take_stdout())?, copy(&service.name, running.init.take_stderr())?];
    let exit = tokio::select! {
        exit = task::wait(&running.init) => exit?,
        error = watch(&running, &service.name) => return Err(error),
        () = stopped(stop) => end(&running).await?,
    };
    // The pipes end with the last process of the container.
    running.delete().await?;
    for log in logs {
        log.await??;
    }
    Ok(exit)
}

/// Asks a container to end, and ends it after a while.
async fn end(running: &Running) -> Result<Exit> {
    running.init.signal(runtime_core::Signal::TERM)?;
    match tokio::time::timeout(GRACE, task::wait(&running.init)).await {
        Ok(exit) => exit,
        Err(_) => {
            running.container()?.kill_all(runtime_core::Signal::KILL)?;
            task::wait(&running.init).await
        }
    }
}

/// Prints what a stream says, line by line, until its end. What is not UTF-8 becomes U+FFFD, and a longer line becomes several.
fn copy(name: &str, stream: Option<PipeReader>) -> Result<JoinHandle<io::Result<()>>> {
    let stream = pipe::Receiver::from_owned_fd(OwnedFd::from(stream.ok_or("there is no pipe")?))?;
    let name = name.to_owned();
    Ok(tokio::spawn(async move {
        let (mut stream, mut line) = (BufReader::new(stream), Vec::new());
        while (&mut stream).take(LINE).read_until(b'\n', &mut line).await? > 0 {
            println!("{name} | {}", String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)));
            line.clear();
        }
        Ok(())
    }))
}

/// Prints statistics, and that there was no memory, until the container ends; then it waits for ever. It comes back with an
/// error only.
async fn watch(running: &Running, name: &str) -> Box<dyn std::error::Error + Send + Sync> {
    let print = async {
        let events = match running.container()?.events(INTERVAL) {
            // It has ended already.
            Err(error) if error.kind() == ErrorKind::WrongState => return Ok(()),
            events => events?,
        };
        let mut events = EventStream::new(events)?;
        while let Some(event) = events.next().await? {
            match event {
                Event::Oom { .. } => println!("{name}: out of memory"),
                Event::Stats { data, .. } => {
                    let (cpu, memory) = (data.cpu.usage.total / 1_000_000, data.memory.usage.usage >> 10);
                    println!("{name}: {cpu} ms, {memory} KiB, {} tasks", data.pids.current);
                }
                _ => {}
            }
        }
        Result::<()>::Ok(())
    };
    match print.await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}
