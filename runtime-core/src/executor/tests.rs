use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Choice, Executor, Handler, Handlers, Request, Wanted};
use crate::error::{Error, ErrorKind};

/// The init's own program is a static one.
fn program() -> Vec<u8> {
    runtime_init::IMAGE.to_vec()
}

fn refused(bytes: Vec<u8>) -> String {
    let error = Handler::from_bytes("h", bytes).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    error.to_string()
}

#[test]
fn a_handler_is_a_static_program_of_this_machine() {
    let handler = Handler::from_bytes("h", program()).unwrap();
    assert_eq!((handler.name(), handler.bytes().len()), ("h", program().len()));

    assert!(refused(Vec::new()).contains("not an ELF file"));
    assert!(refused(b"#!/bin/sh\n".to_vec()).contains("interpreter of the image"));
    assert!(refused(program()[..40].to_vec()).contains("headers of its program are broken"));
    for (at, byte, words) in
        [(4, 1, "not for this machine"), (18, 3, "not for this machine"), (16, 1, "not an exec")]
    {
        let mut bytes = program();
        bytes[at] = byte;
        assert!(refused(bytes).contains(words), "{at}: {words}");
    }
    // The first program header becomes that of a loader, and the table is put behind the end of the file.
    let mut bytes = program();
    let table = usize::from(bytes[32]);
    bytes[table] = 3;
    assert!(refused(bytes).contains("dynamically linked"));
    let mut bytes = program();
    bytes[32..40].fill(0xff);
    assert!(refused(bytes).contains("broken"));
}

/// This test program has a loader.
#[test]
#[cfg(target_env = "gnu")]
fn a_program_with_a_loader_is_refused() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    if own.windows(7).any(|word| word == b"/ld-lin") {
        assert!(refused(own).contains("dynamically linked"));
    }
}

#[test]
fn sizes_and_names_have_limits() {
    let mut large = program();
    large.resize(Handler::LIMIT + 1, 0);
    assert!(refused(large).contains("more than 134217728"));
    for name in ["", "a b", "a/b", "a\0", &"x".repeat(65)] {
        assert!(Handler::from_bytes(name, program()).is_err(), "{name:?}");
    }
    let error = Handler::open("h", "/dev/null").unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    let error = Handler::open("h", "/nonexistent/handler").unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOENT));
}

fn request<'a>(id: &'a str, annotations: &'a BTreeMap<String, String>) -> Request<'a> {
    Request { id, bundle: Path::new("/bundle"), root: "rootfs", annotations, process: None, exec: false }
}

#[test]
fn an_annotation_chooses() {
    let handlers =
        Handlers::by_annotation("run.oci.handler").with(Handler::from_bytes("wasm", program()).unwrap());
    let choose = |annotations: &[(&str, &str)]| {
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let request = request("c1", &annotations);
        Wanted::Chosen.decide(Some(&handlers as &dyn Executor), &request)
    };
    assert!(choose(&[]).unwrap().handler().is_none());
    assert_eq!(choose(&[("run.oci.handler", "wasm")]).unwrap().handler().unwrap().name(), "wasm");
    let error = choose(&[("run.oci.handler", "vm")]).unwrap_err();
    assert_eq!(
        (error.kind(), error.path()),
        (ErrorKind::Unsupported, Some("annotations[\"run.oci.handler\"]"))
    );
    assert!(error.to_string().contains("[\"wasm\"]"), "{error}");
}

#[test]
fn an_executor_may_refuse_and_the_caller_has_the_last_word() {
    let refuses = |request: &Request<'_>| Err(format!("no {} here", request.id()).into());
    let annotations = BTreeMap::new();
    let request = request("c1", &annotations);
    let error = Wanted::Chosen.decide(Some(&refuses as &dyn Executor), &request).unwrap_err();
    assert!(error.to_string().contains("no c1 here"), "{error}");
    assert!(matches!(Wanted::Program.decide(Some(&refuses as &dyn Executor), &request), Ok(Wanted::Program)));
    let own = Wanted::Handler(Handler::from_bytes("own", program()).unwrap());
    let decided = own.decide(Some(&refuses as &dyn Executor), &request).unwrap();
    assert_eq!(decided.handler().unwrap().name(), "own");
}

/// The executor says of which kind its error is, or leaves it open.
#[test]
fn the_error_of_an_executor() {
    let annotations = BTreeMap::new();
    let request = request("c1", &annotations);
    let error_of = |error: fn() -> Box<dyn std::error::Error + Send + Sync>| {
        let refuses = move |_: &Request<'_>| -> Choice { Err(error()) };
        Wanted::Chosen.decide(Some(&refuses as &dyn Executor), &request).unwrap_err()
    };
    let own = error_of(|| Error::other(ErrorKind::NotFound, "no such machine").into());
    assert_eq!((own.kind(), own.to_string()), (ErrorKind::NotFound, "no such machine".to_owned()));
    let words = error_of(|| "not today".into());
    assert_eq!(words.kind(), ErrorKind::Executor);
    assert_eq!(words.to_string(), "choose the handler of a process of container c1: not today");
    let system = error_of(|| std::io::Error::from_raw_os_error(libc::EACCES).into());
    assert_eq!((system.kind(), system.errno()), (ErrorKind::Executor, Some(libc::EACCES)));
    assert!(system.to_string().ends_with("container c1: permission denied"), "{system}");
}

/// As several runtimes share it, with its type or without.
#[test]
fn an_executor_is_shared() {
    fn taken(executor: impl Executor + 'static) -> bool {
        let annotations = BTreeMap::from([("a".to_owned(), "wasm".to_owned())]);
        executor.choose(&request("c1", &annotations)).unwrap().is_some()
    }
    let handler = Handler::from_bytes("wasm", program()).unwrap();
    let shared = Arc::new(Handlers::by_annotation("a").with(handler));
    let any: Arc<dyn Executor> = shared.clone();
    assert!(taken(shared) && taken(any.clone()) && taken(any));
}
