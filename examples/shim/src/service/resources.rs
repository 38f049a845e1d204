//! What a container uses and may use.

use containerd_shim_protos::api::{
    PidsRequest, PidsResponse, StatsRequest, StatsResponse, UpdateTaskRequest,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::types::task::ProcessInfo;
use runtime_core::cgroup::Resources;
use runtime_core::oci_spec::runtime::LinuxResources;

use crate::fault::Fault;
use crate::shim::Shim;
use crate::{metrics, oom};

/// The pids of a container's processes, and which of them are those of `exec`.
pub(super) fn pids(shim: &Shim, request: &PidsRequest) -> Result<PidsResponse, Fault> {
    let task = shim.task(&request.id)?;
    let execs: Vec<_> = task.execs().iter().map(|proc| (proc.state().pid, proc.exec.clone())).collect();
    let mut processes = Vec::new();
    for pid in task.container()?.processes()? {
        let pid = pid as u32;
        let mut info = ProcessInfo { pid, ..ProcessInfo::default() };
        if let Some((_, exec_id)) = execs.iter().find(|(of, _)| *of == pid) {
            info.info = Some(details(exec_id)?).into();
        }
        processes.push(info);
    }
    Ok(PidsResponse { processes, ..PidsResponse::default() })
}

fn details(exec_id: &str) -> Result<Any, Fault> {
    let details = ProcessDetails { exec_id: exec_id.to_owned(), ..ProcessDetails::default() };
    let value = details.write_to_bytes().map_err(|error| Fault::system("encode a process", error))?;
    Ok(Any { type_url: "containerd.runc.v1.ProcessDetails".to_owned(), value, ..Any::default() })
}

/// Changes limits.
pub(super) fn update(shim: &Shim, request: &UpdateTaskRequest) -> Result<(), Fault> {
    let task = shim.task(&request.id)?;
    let bytes = request.resources.as_ref().map(|any| any.value.as_slice()).unwrap_or_default();
    let resources: LinuxResources = serde_json::from_slice(bytes)
        .map_err(|error| Fault::invalid(format!("understand the resources: {error}")))?;
    Ok(task.container()?.update(&Resources::try_from(&resources)?)?)
}

/// What the container uses now.
pub(super) fn stats(shim: &Shim, request: &StatsRequest) -> Result<StatsResponse, Fault> {
    let task = shim.task(&request.id)?;
    let statistics = task.container()?.statistics()?;
    let any = metrics::any(&statistics, shim.unified, oom::kills(&task))?;
    Ok(StatsResponse { stats: Some(any).into(), ..StatsResponse::default() })
}
