//! Create: from a bundle, or from the image of a checkpoint.

use std::path::Path;
use std::sync::Arc;

use containerd_shim_protos::api::{CreateTaskRequest, CreateTaskResponse};
use containerd_shim_protos::events::task::{TaskCreate, TaskIO};
use containerd_shim_protos::topics;
use runtime_core::plan::{CreateOptions, ExecveFailure};
use runtime_core::{CreatePlan, Runtime, UnparsedBundle};

use crate::config::Config;
use crate::fault::Fault;
use crate::logger::Owner;
use crate::oom;
use crate::options::Options;
use crate::process::{Phase, Proc};
use crate::shim::Shim;
use crate::streams::{Names, Streams};
use crate::task::{Restore, Task};
use crate::{left, mounts};

/// Makes the container of a request. After an error nothing of it is left.
pub(super) fn create(shim: &Arc<Shim>, request: &CreateTaskRequest) -> Result<CreateTaskResponse, Fault> {
    if shim.has(&request.id) {
        return Err(Fault::exists(format!("container {}", request.id)));
    }
    let bundle = Path::new(&request.bundle);
    let config = Config::read(bundle)?;
    let mut options = Options::parse(request.options.as_ref())?;
    options.systemd_cgroup |= config.names_a_unit();
    left::write(bundle, &options)?;
    let rootfs = bundle.join("rootfs");
    if !request.rootfs.is_empty() {
        std::fs::create_dir_all(&rootfs).map_err(|error| Fault::system(format!("make {rootfs:?}"), error))?;
    }
    mounts::mount_all(&request.rootfs, &rootfs)?;
    let made = make(shim, request, options, &config).and_then(|task| {
        shim.watch(&task, &task.init).inspect_err(|_| discard(&task.runtime, &task.id))?;
        Ok(task)
    });
    let task = made.inspect_err(|_| mounts::unmount_all(&rootfs))?;
    let pid = task.init.state().pid;
    left::write_pid(bundle, pid);
    shim.insert(task.clone());
    publish(shim, request, pid);
    oom::watch(shim, &task);
    // Until here it counted as being started: containerd hears of a creation before the end.
    task.init.settle(if pid == 0 { Phase::Planned } else { Phase::Created });
    shim.ended(&task, &task.init);
    Ok(CreateTaskResponse { pid, ..CreateTaskResponse::default() })
}

/// Removes a container after a later step has failed; that step's error is the one to tell.
fn discard(runtime: &Runtime, id: &str) {
    if let Err(error) = runtime.delete_force(id) {
        crate::log::warn(&format!("remove {id}: {error}"));
    }
}

fn make(
    shim: &Shim,
    request: &CreateTaskRequest,
    options: Options,
    config: &Config,
) -> Result<Arc<Task>, Fault> {
    let CreateTaskRequest { id, stdin, stdout, stderr, terminal, .. } = request;
    let names =
        Names { stdin: stdin.clone(), stdout: stdout.clone(), stderr: stderr.clone(), terminal: *terminal };
    let mut streams = Streams::open(&shim.reactor, &names, &Owner { id, namespace: &shim.namespace })?;
    let runtime = shim.runtime(&options)?;
    let init = Arc::new(Proc::new(id, "", names));
    init.state().held = streams.take_held();
    let restore = match request.checkpoint.as_str() {
        "" => {
            launch(shim, request, &options, &runtime, &init, streams)?;
            None
        }
        image => Some(Restore { image: image.to_owned(), streams }),
    };
    let kills_others = !config.ends_with_its_init();
    Ok(Arc::new(Task::new(Path::new(&request.bundle), options, runtime, init, kills_others, restore)))
}

/// The plan of a container, by the options.
pub(super) fn plan(
    runtime: &Runtime,
    id: &str,
    bundle: &Path,
    options: &Options,
) -> Result<CreatePlan, Fault> {
    let unparsed = UnparsedBundle::read(bundle, &bundle.join("config.json"))?;
    // The network namespace is made while the rest is read; without this start, errors come later and say the same.
    let head_start = runtime.head_start(unparsed.config(), 0).ok();
    let wishes = CreateOptions::new()
        .no_pivot(options.no_pivot_root)
        .no_new_keyring(options.no_new_keyring)
        .on_execve_failure(ExecveFailure::Exit);
    let plan = runtime.plan(id, unparsed.parse()?, wishes)?;
    for warning in plan.warnings() {
        crate::log::warn(&format!("container {id}: {warning}"));
    }
    Ok(plan.with_head_start(head_start))
}

fn launch(
    shim: &Shim,
    request: &CreateTaskRequest,
    options: &Options,
    runtime: &Runtime,
    init: &Proc,
    streams: Streams,
) -> Result<(), Fault> {
    let failed = |fault: Fault| fault.during("OCI runtime create failed");
    let plan = plan(runtime, &request.id, Path::new(&request.bundle), options).map_err(failed)?;
    if plan.terminal() != request.terminal {
        return Err(Fault::invalid("the request and process.terminal of config.json do not say the same"));
    }
    let mut flows = Vec::new();
    let (created, streams) = match request.terminal {
        true => (runtime.create(plan), Some(streams)),
        false => {
            let [stdin, stdout, stderr] =
                streams.pipes(&shim.reactor, (options.io_uid, options.io_gid), &mut flows)?;
            (runtime.create(plan.stdin(stdin).stdout(stdout).stderr(stderr)), None)
        }
    };
    let mut container = created.map_err(|error| failed(error.into()))?;
    let Some(mut process) = container.take_init() else {
        return Err(Fault::system("create", "the container has no init"));
    };
    let terminal = process.take_terminal();
    if let (Some(streams), Some(terminal)) = (streams, &terminal) {
        let connected = streams.terminal(&shim.reactor, terminal, &mut flows);
        connected.inspect_err(|_| discard(runtime, &request.id))?;
    }
    let mut state = init.state();
    (state.phase, state.pid) = (Phase::Starting, process.pid() as u32);
    (state.process, state.terminal, state.flows) = (Some(process), terminal, flows);
    Ok(())
}

fn publish(shim: &Shim, request: &CreateTaskRequest, pid: u32) {
    let CreateTaskRequest { id, bundle, rootfs, terminal, stdin, stdout, stderr, checkpoint, .. } = request;
    let streams = TaskIO {
        stdin: stdin.clone(),
        stdout: stdout.clone(),
        stderr: stderr.clone(),
        terminal: *terminal,
        ..TaskIO::default()
    };
    let event = TaskCreate {
        container_id: id.clone(),
        bundle: bundle.clone(),
        rootfs: rootfs.clone(),
        io: Some(streams).into(),
        checkpoint: checkpoint.clone(),
        pid,
        ..TaskCreate::default()
    };
    shim.events.publish(topics::TASK_CREATE_EVENT_TOPIC, "containerd.events.TaskCreate", &event);
}
