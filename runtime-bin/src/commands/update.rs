//! `update`.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use runtime_core::ErrorKind;
use runtime_core::cgroup::Resources;
use runtime_core::cgroup::resources::ControlFile;
use runtime_core::spec::{check_resources, parse_resources};

use super::Context;
use crate::args::{Opt, Values, options};
use crate::error::{Error, Result};
use crate::size;

/// The longest JSON text that is read; real ones have a few kilobytes.
const LIMIT: u64 = 16 << 20;

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let options = context.options();
    let container = context.container()?;
    refuse_rdt(options)?;
    let (resources, warnings) = match options.path(&options::RESOURCES) {
        Some(path) => parse_resources(&read(&path)?, "--resources")?,
        None => check_resources(&from_options(options)?)?,
    };
    context.warn(&warnings);
    if sets_idle_and_weight(&resources) {
        context.log.warning("unable to apply both a CPU weight and cpu.idle: the weight is ignored");
    }
    Ok(container.update(&resources)?)
}

fn refuse_rdt(options: &Values) -> Result<()> {
    for (option, text) in [
        (&options::L3_CACHE_SCHEMA, "Intel RDT/CAT: l3 cache schema is not enabled"),
        (&options::MEM_BW_SCHEMA, "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        if options.text(option).is_some() {
            return Err(Error::new(ErrorKind::Unsupported, text)
                .hint(format!("update cannot change Intel RDT: leave out --{}", option.name)));
        }
    }
    Ok(())
}

/// An idle cgroup has the least weight there is, and the kernel refuses to set another.
fn sets_idle_and_weight(resources: &Resources) -> bool {
    let file = |name| {
        let mut files = resources.unified.iter().filter(move |(file, _)| ControlFile::as_str(file) == name);
        files.next().map(|(_, value)| value.trim())
    };
    let idle = resources.cpu.idle == Some(true) || file("cpu.idle") == Some("1");
    let weight = resources.cpu.shares.is_some() || file("cpu.weight").is_some();
    idle && weight
}

/// The text of a file, or of the standard input for `-`.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let (name, result) = if path == Path::new("-") {
        ("the standard input".to_owned(), std::io::stdin().take(LIMIT + 1).read_to_end(&mut text))
    } else {
        let file = File::open(path);
        (format!("{path:?}"), file.and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text)))
    };
    match result {
        Err(error) => Err(Error::io(format!("read {name}"), &error)),
        Ok(_) if text.len() as u64 > LIMIT => Err(Error::invalid(name, "larger than 16 MiB")),
        Ok(_) => Ok(text),
    }
}

fn from_options(options: &Values) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    resources
        .set_memory(Some(memory(options)?))
        .set_cpu(Some(cpu(options)?))
        .set_pids(options.number(&options::PIDS_LIMIT).map(pids));
    if let Some(weight) = number(options, &options::BLKIO_WEIGHT)? {
        let mut io = LinuxBlockIo::default();
        io.set_weight(Some(weight));
        resources.set_block_io(Some(io));
    }
    Ok(resources)
}

fn pids(limit: i64) -> LinuxPids {
    let mut pids = LinuxPids::default();
    pids.set_limit(limit);
    pids
}

fn memory(options: &Values) -> Result<LinuxMemory> {
    let size = |option: &Opt| options.text(option).map(|text| size::of_option(option.name, text)).transpose();
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(size(&options::MEMORY)?)
        .set_swap(size(&options::MEMORY_SWAP)?)
        .set_reservation(size(&options::MEMORY_RESERVATION)?)
        .set_kernel(size(&options::KERNEL_MEMORY)?)
        .set_kernel_tcp(size(&options::KERNEL_MEMORY_TCP)?);
    Ok(memory)
}

fn cpu(options: &Values) -> Result<LinuxCpu> {
    let list = |option: &Opt| options.text(option).map(str::to_owned);
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(number(options, &options::CPU_SHARE)?)
        .set_quota(number(options, &options::CPU_QUOTA)?)
        .set_period(number(options, &options::CPU_PERIOD)?)
        .set_burst(number(options, &options::CPU_BURST)?)
        .set_idle(number(options, &options::CPU_IDLE)?)
        .set_realtime_runtime(number(options, &options::CPU_RT_RUNTIME)?)
        .set_realtime_period(number(options, &options::CPU_RT_PERIOD)?)
        .set_cpus(list(&options::CPUSET_CPUS))
        .set_mems(list(&options::CPUSET_MEMS));
    Ok(cpu)
}

/// The option's number.
fn number<T: FromStr<Err: Display>>(options: &Values, option: &Opt) -> Result<Option<T>> {
    let Some(text) = options.text(option) else { return Ok(None) };
    text.parse().map(Some).map_err(|error: T::Err| {
        Error::invalid(format!("invalid value for {}", option.name), format!("{text:?}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::{Value, json};

    use super::*;
    use crate::args::{Request, parse};

    fn resources(words: &[&str]) -> Result<Value> {
        let words = ["update"].iter().chain(words).chain(&["id"]).map(OsString::from);
        let (_, Ok(Request::Run(matches))) = parse(words) else { panic!("not a command line") };
        Ok(serde_json::to_value(from_options(&matches.options)?).expect("JSON"))
    }

    #[test]
    fn every_option() {
        let words = [
            "--blkio-weight=500 --cpu-period=1 --cpu-quota=-1 --cpu-burst=2 --cpu-share=3 --cpu-rt-period=4",
            "--cpu-rt-runtime=5 --cpuset-cpus=0-1 --cpuset-mems=0 --cpu-idle=1 --memory=64m",
            "--memory-reservation=1k --memory-swap=-1 --pids-limit=0 --kernel-memory=1 --kernel-memory-tcp=2",
        ]
        .join(" ");
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(
            resources(&words).expect("resources"),
            json!({
                "memory": {"limit": 67108864, "reservation": 1024, "swap": -1, "kernel": 1, "kernelTCP": 2},
                "cpu": {
                    "shares": 3, "quota": -1, "idle": 1, "burst": 2, "period": 1, "realtimeRuntime": 5,
                    "realtimePeriod": 4, "cpus": "0-1", "mems": "0",
                },
                "pids": {"limit": 0},
                "blockIO": {"weight": 500},
            })
        );
        assert_eq!(resources(&[]).expect("resources"), json!({"memory": {}, "cpu": {}}));
    }

    #[test]
    fn bad_values_name_their_option() {
        for (word, text) in [
            ("--memory=lots", "invalid value for memory: invalid size: \"lots\""),
            ("--cpu-share=-1", "invalid value for cpu-share: "),
            ("--cpu-quota=x", "invalid value for cpu-quota: "),
            ("--blkio-weight=70000", "invalid value for blkio-weight: "),
        ] {
            let error = resources(&[word]).expect_err("a bad value").to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
