//! The handler: a static program that runs a WebAssembly module. It is what a container executes in the place of a program of
//! its image, so its arguments are those of the container: the first is the path of the module.
//!
//! The module sees what is in `wasi`, and nothing else. What the handler itself may do is what the container may.

mod wasi;

use std::process::ExitCode;

use wasmi::{Engine, Linker, Module, Store};

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("wasm: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the module and returns its exit status.
fn run() -> Result<u8, Box<dyn std::error::Error>> {
    let path = std::env::args().next().ok_or("no module: the container has no arguments")?;
    let bytes = std::fs::read(&path).map_err(|error| format!("read {path:?}: {error}"))?;
    let engine = Engine::default();
    let module = Module::new(&engine, bytes)?;
    let mut linker = Linker::new(&engine);
    wasi::define(&mut linker)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate_and_start(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&store, "_start")?;
    match start.call(&mut store, ()) {
        Ok(()) => Ok(0),
        // proc_exit is a trap with a status.
        Err(error) => match error.i32_exit_status() {
            Some(status) => Ok(u8::try_from(status).unwrap_or(1)),
            None => Err(error.into()),
        },
    }
}
