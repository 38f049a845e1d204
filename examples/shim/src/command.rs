//! The two commands of containerd: `start` makes a shim or finds the one of the pod, `delete` cleans up after one.

mod bootstrap;
mod spawn;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::shim::shim::DeleteResponse;
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};
use runtime_core::ErrorKind;
use runtime_core::spec::supported;

use crate::args::Args;
use crate::config::Config;
use crate::fault::Fault;
use crate::options::Options;
use crate::shim::runtime;
use crate::{left, mounts};
use bootstrap::Wanted;

/// What containerd may write to the standard input, in bytes.
const INPUT_LIMIT: u64 = 10 << 20;

fn bundle(args: &Args) -> Result<PathBuf, Fault> {
    match &args.bundle {
        Some(path) => Ok(path.clone()),
        None => std::env::current_dir().map_err(|error| Fault::system("find the working directory", error)),
    }
}

/// `start`: prints where a shim for this container listens.
pub(crate) fn start(args: &Args) -> Result<(), Fault> {
    let wanted = Wanted::new(args, &input()?, std::env::var("TTRPC_ADDRESS").unwrap_or_default());
    let bundle = bundle(args)?;
    let config = Config::read(&bundle)?;
    let options = Options::parse(wanted.options.as_ref())?;
    let group = config.group().unwrap_or(&args.id);
    let address = spawn::shim(&wanted, &options, group, &bundle)?;
    let path = bundle.join("address");
    std::fs::write(&path, &address).map_err(|error| Fault::system(format!("write {path:?}"), error))?;
    print(&wanted.answer(&address)?)
}

/// `delete`: ends and removes what is left of a container, and says how it ended.
pub(crate) fn delete(args: &Args) -> Result<(), Fault> {
    let bundle = bundle(args)?;
    let (options, pid) = left::read(&bundle);
    remove(&options, args, &bundle)?;
    let response = DeleteResponse {
        pid,
        exit_status: 128 + libc::SIGKILL as u32,
        exited_at: Some(Timestamp::now()).into(),
        ..DeleteResponse::default()
    };
    print(&response.write_to_bytes().map_err(|error| Fault::system("encode the answer", error))?)
}

fn remove(options: &Options, args: &Args, bundle: &Path) -> Result<(), Fault> {
    let removed = runtime(options, &args.namespace)?.delete_force(&args.id);
    mounts::unmount_all(&bundle.join("rootfs"));
    match removed {
        Err(error) if error.kind() == ErrorKind::Hook => {
            eprintln!("{error}");
            Ok(())
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The type that containerd reads features as: JSON.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// `-info`: what this runtime is and does. containerd asks before it gives a container id-mapped mounts, and kubelet before it
/// lets a pod have a user namespace.
pub(crate) fn info() -> Result<(), Fault> {
    let options = Any::parse_from_bytes(&input()?).ok().filter(|any| !any.type_url.is_empty());
    // What cannot be honoured is said here already.
    Options::parse(options.as_ref())?;
    print(&describe(options).map_err(|error| Fault::system("encode the answer", error))?)
}

fn describe(options: Option<Any>) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let version =
        RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), ..RuntimeVersion::default() };
    let value = serde_json::to_vec(&supported::features())?;
    let features = Any { type_url: FEATURES.to_owned(), value, ..Any::default() };
    let info = RuntimeInfo {
        name: "io.containerd.runtime.v2".to_owned(),
        version: Some(version).into(),
        options: options.into(),
        features: Some(features).into(),
        ..RuntimeInfo::default()
    };
    Ok(info.write_to_bytes()?)
}

/// What containerd writes to the standard input.
fn input() -> Result<Vec<u8>, Fault> {
    let mut input = Vec::new();
    let stdin = std::io::stdin().lock();
    stdin
        .take(INPUT_LIMIT)
        .read_to_end(&mut input)
        .map_err(|error| Fault::system("read standard input", error))?;
    Ok(input)
}

fn print(bytes: &[u8]) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Fault::system("write the answer", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As containerd and kubelet ask.
    #[test]
    fn features_are_described() {
        let options = Any { type_url: "containerd.runc.v1.Options".to_owned(), ..Any::default() };
        let info = RuntimeInfo::parse_from_bytes(&describe(Some(options.clone())).unwrap()).unwrap();
        assert_eq!(info.options.as_ref(), Some(&options));
        assert!(info.features.type_url.ends_with("/features/Features"));
        let features: serde_json::Value = serde_json::from_slice(&info.features.value).unwrap();
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        let has =
            |list: &serde_json::Value, name: &str| list.as_array().unwrap().iter().any(|item| item == name);
        assert!(has(&features["mountOptions"], "rro"));
        assert!(has(&features["linux"]["namespaces"], "user"));
    }
}
