//! `checkpoint`, and the options that it shares with `restore`.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use runtime_core::{CgroupsMode, CheckpointOptions, CriuOptions, NetworkLock};

use super::Context;
use crate::args::{Values, options};
use crate::duration;
use crate::error::{Error, Result};

/// Where an image is if the command line does not say.
const IMAGE: &str = "checkpoint";

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    warn_rootless(context, "checkpoint");
    let runtime = context.runtime()?;
    let container = runtime.container(&context.id())?;
    let options = checkpoint_options(context.options())?;
    container.checkpoint(&options)?;
    if options.leave_running || options.pre_dump {
        return Ok(());
    }
    // Its processes are in the image now. What is left of the container is no reason to call a good
    // checkpoint a failure.
    if let Err(error) = container.delete_force() {
        context.log.warning(&Error::from(error).context("delete the container").to_string());
    }
    Ok(())
}

/// CRIU itself needs root.
pub(super) fn warn_rootless(context: &Context<'_>, command: &str) {
    if !nix::unistd::geteuid().is_root() || crate::globals::in_user_namespace() {
        context.log.warning(&format!("{command} is untested with rootless containers"));
    }
}

/// The directory of the image.
pub(super) fn image_path(options: &Values) -> PathBuf {
    options.path(&options::IMAGE_PATH).unwrap_or_else(|| IMAGE.into())
}

fn checkpoint_options(values: &Values) -> Result<CheckpointOptions> {
    check_empty_namespaces(values)?;
    let image = image_path(values);
    // The library makes the last component only.
    std::fs::create_dir_all(&image).map_err(|error| Error::io(format!("make {image:?}"), &error))?;
    let mut options = CheckpointOptions::new(image);
    common(values, &mut options.criu)?;
    options.parent_path = values.path(&options::PARENT_PATH);
    options.leave_running = values.flag(&options::LEAVE_RUNNING);
    options.pre_dump = values.flag(&options::PRE_DUMP);
    options.tcp_skip_in_flight = values.flag(&options::TCP_SKIP_IN_FLIGHT);
    options.link_remap = values.flag(&options::LINK_REMAP);
    options.page_server = values.text(&options::PAGE_SERVER).map(page_server).transpose()?;
    options.status = match values.number(&options::STATUS_FD) {
        Some(number) if number >= 0 && options.criu.lazy_pages => Some(status_descriptor(number)?),
        _ => None,
    };
    Ok(options)
}

/// The options that a checkpoint and a restore have in common.
pub(super) fn common(values: &Values, criu: &mut CriuOptions) -> Result<()> {
    if let Some(text) = values.text(&options::CRIU_TIMEOUT) {
        let limit = duration::parse(text)
            .ok_or_else(|| Error::invalid("--criu-timeout", format!("{text:?} is not a time such as 90s")))?;
        criu.answer_limit = Some(limit).filter(|limit| !limit.is_zero());
    }
    criu.work_path = values.path(&options::WORK_PATH);
    criu.tcp_established = values.flag(&options::TCP_ESTABLISHED);
    criu.external_unix_sockets = values.flag(&options::EXT_UNIX_SK);
    criu.shell_job = values.flag(&options::SHELL_JOB);
    criu.file_locks = values.flag(&options::FILE_LOCKS);
    criu.auto_dedup = values.flag(&options::AUTO_DEDUP);
    criu.lazy_pages = values.flag(&options::LAZY_PAGES);
    criu.network_lock = match values.text(&options::NETWORK_LOCK) {
        Some("iptables") => Some(NetworkLock::Iptables),
        Some("nftables") => Some(NetworkLock::Nftables),
        Some("skip") => Some(NetworkLock::Skip),
        _ => None,
    };
    criu.cgroups = match values.text(&options::MANAGE_CGROUPS_MODE) {
        Some("soft") => CgroupsMode::Soft,
        Some("full") => CgroupsMode::Full,
        Some("strict") => CgroupsMode::Strict,
        Some("ignore") => CgroupsMode::Ignore,
        _ => CgroupsMode::Default,
    };
    Ok(())
}

/// The network namespace is always made without its content: hooks configure it.
pub(super) fn check_empty_namespaces(values: &Values) -> Result<()> {
    match values.all(&options::EMPTY_NS).find(|name| *name != "network") {
        None => Ok(()),
        Some(other) => Err(Error::invalid("--empty-ns", format!("namespace {other:?} is not supported"))),
    }
}

fn page_server(text: &str) -> Result<(String, u16)> {
    let parts = text.rsplit_once(':').filter(|(address, port)| !address.is_empty() && !port.is_empty());
    let (address, port) = parts.ok_or_else(|| {
        Error::invalid("--page-server", "Use --page-server ADDRESS:PORT to specify page server")
    })?;
    let port = port.parse().map_err(|_| Error::invalid("--page-server", "Invalid port number"))?;
    // An address of IPv6 is in brackets.
    Ok((address.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// A descriptor that the caller has left to this program, as one of its own; the caller's is closed,
/// so that who reads from it sees the end when the library closes this one.
fn status_descriptor(number: i64) -> Result<OwnedFd> {
    let refused = |reason| Error::invalid(format!("invalid --status-fd argument {number}"), reason);
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
    let info = info.map_err(|_| refused("bad file descriptor"))?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok()).unwrap_or(0);
    if flags & libc::O_ACCMODE == libc::O_RDONLY {
        return Err(refused("not writable"));
    }
    let path = format!("/proc/self/fd/{number}");
    let file = File::options().write(true).open(&path);
    let file = file.map_err(|error| Error::io(format!("open {path:?}"), &error))?;
    if let Ok(number) = i32::try_from(number) {
        nix::unistd::close(number).map_err(|errno| Error::system("close the status descriptor", errno))?;
    }
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_servers() {
        assert_eq!(page_server("10.0.0.1:27").expect("IPv4"), ("10.0.0.1".to_owned(), 27));
        assert_eq!(page_server("[::1]:27").expect("IPv6"), ("::1".to_owned(), 27));
        for bad in ["", "host", ":27", "host:", "host:x", "host:70000"] {
            assert!(page_server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_status_descriptor_must_be_open_and_writable() {
        use std::os::fd::AsRawFd as _;
        let file = File::open("/dev/null").expect("/dev/null");
        assert!(status_descriptor(i64::from(file.as_raw_fd())).is_err());
        assert!(status_descriptor(99_999).is_err());
    }
}
