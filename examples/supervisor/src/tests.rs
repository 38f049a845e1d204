//! Futures that are dropped.

use std::future::poll_fn;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::pod::Pod;

/// The future of a delete is dropped while its call waits for a thread. In the first round the thread comes, in the second
/// the pool of threads ends first.
#[test]
fn a_delete_is_not_cancelled() {
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        println!("skipped: needs root");
        return;
    }
    for round in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (release, held) = mpsc::channel::<()>();
        let runtime = tokio.block_on(async {
            let name = format!("delete-{}-{round}", std::process::id());
            let pod = Pod::start(&name, directory.path()).await.unwrap();
            let runtime = pod.runtime.clone();
            let _busy = tokio::task::spawn_blocking(move || held.recv());
            let mut end = Box::pin(pod.end());
            poll_fn(|context| Poll::Ready(end.as_mut().poll(context).is_pending()))
                .await
                .then_some(())
                .unwrap();
            runtime
        });
        assert_eq!(runtime.list().unwrap().len(), 1);
        if round == 0 {
            drop(release);
            drop(tokio);
        } else {
            tokio.shutdown_background();
            drop(release);
        }
        let begin = Instant::now();
        while !runtime.list().unwrap().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(300), "round {round}: the container is left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
