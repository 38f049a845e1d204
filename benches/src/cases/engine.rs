//! The library inside an engine: no process of ours is started.

use std::fs::File;
use std::time::Instant;

use runtime_core::plan::CreateOptions;
use runtime_core::{Bundle, Runtime};

use super::{Row, TRUE, Trial, run_floor};
use crate::bundle::{Config, Workspace};
use crate::command::Gauge;
use crate::failure::Failure;
use crate::floor::Floor;
use crate::subject::Subject;

/// Of memory that the large engine has touched.
const HEAP_BYTES: usize = 2 << 30;
const PAGE_BYTES: usize = 4096;

/// Of the engine with many descriptors.
const DESCRIPTORS: usize = 19_800;

/// Create, start and wait: by an engine as it is, by one with a large heap, and by one with many descriptors.
pub(super) fn run<'a>(workspace: &'a Workspace, subject: &'a Subject) -> Result<Trial<'a>, Failure> {
    if subject.is_floor {
        return Ok(Box::new(|| {
            let time = run_floor(workspace, subject, Floor::Default, Gauge::Time)?;
            Ok(vec![Some(time); 3])
        }));
    }
    let engine = Engine::new(workspace, subject)?;
    Ok(Box::new(move || engine.trial()))
}

struct Engine {
    runtime: Runtime,
    id: String,
    bundle: std::path::PathBuf,
}

impl Engine {
    fn new(workspace: &Workspace, subject: &Subject) -> Result<Self, Failure> {
        let id = format!("engine-run-{}", subject.name);
        let bundle = workspace.bundle(&id, Config::Default, TRUE)?;
        let runtime = Runtime::builder()
            .state_root(workspace.directory().join("state-engine"))
            .build()
            .map_err(Failure::during("make a runtime"))?;
        Ok(Self { runtime, id, bundle })
    }

    fn trial(&self) -> Result<Row, Failure> {
        let small = self.container()?;
        let large = {
            let _heap = touched();
            self.container()?
        };
        let many = {
            let _descriptors = descriptors()?;
            self.container()?
        };
        Ok(vec![Some(small), Some(large), Some(many)])
    }

    /// Milliseconds from the bundle's directory to the exit status. The deletion is not counted, as the floor has none.
    fn container(&self) -> Result<f64, Failure> {
        let failed = Failure::during("a container of the library");
        let begin = Instant::now();
        let (container, exit) = self.begin_to_end().map_err(failed)?;
        let time = begin.elapsed().as_secs_f64() * 1000.0;
        container.delete().map_err(Failure::during("delete a container of the library"))?;
        match exit {
            Some(exit) if exit.success() => Ok(time),
            other => Err(Failure::new(format!("a container of the library ended with {other:?}"))),
        }
    }

    fn begin_to_end(&self) -> runtime_core::Result<(runtime_core::Container, Option<runtime_core::Exit>)> {
        let bundle = Bundle::open(&self.bundle)?;
        let options = CreateOptions::new();
        let container = self.runtime.create(self.runtime.plan(&self.id, bundle, options)?)?;
        container.start()?;
        let exit = container.init().map(|init| init.wait()).transpose()?;
        Ok((container, exit))
    }
}

/// A heap of which every page is there.
fn touched() -> Vec<u8> {
    let mut heap = vec![0; HEAP_BYTES];
    heap.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
    heap
}

/// Many descriptors of one file; fewer where the limit of the machine does not allow so many.
fn descriptors() -> Result<Vec<File>, Failure> {
    let file = File::open("/dev/null").map_err(Failure::during("open /dev/null"))?;
    Ok((0..DESCRIPTORS).map_while(|_| file.try_clone().ok()).collect())
}
