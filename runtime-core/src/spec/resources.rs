//! `linux.resources`: from the types of `oci_spec` to [`Resources`].

use super::lists::Text;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxHugepageLimit, LinuxMemory,
    LinuxNetwork, LinuxRdma, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};
use serde::Deserialize;

use super::findings::Findings;
use super::names::Canonical;
use super::parse;
use crate::cgroup::devices::{Access, DeviceRule, DeviceRules, Devices, Kind};
use crate::cgroup::resources::{
    BadValue, BlockIo, ControlFile, Cpu, CpuList, DeviceName, DeviceNumber, HugepageLimit, InterfacePriority,
    Limit, Memory, Network, PageSize, Rdma, Resources, Swappiness, ThrottleDevice, Weight, WeightDevice,
};
use crate::error::{Error, Result};

/// Parses `linux.resources` from JSON; `file` names the text in errors. Fields that may be missing may
/// be missing here too. What was passed over comes back as warnings.
///
/// # Errors
///
/// Everything that has a wrong type or a wrong value, each with its JSON path.
pub fn parse_resources(bytes: &[u8], file: &'static str) -> Result<(Resources, Vec<String>)> {
    let text = Canonical::of::<LinuxResources>(bytes);
    let (mut resources, parsed) =
        parse::parse::<LinuxResources>(&text, file, Text::Object("linux.resources"))?;
    let mut findings = Findings::default();
    parsed.warn(&mut findings);
    unset_pids(&mut resources, &text.bytes);
    let resources = convert(&resources, &mut findings);
    Ok((resources, findings.finish(file, parsed.errors)?))
}

/// Checks resources that a program has built with the types of `oci_spec`. What was passed over comes back as
/// warnings.
///
/// # Errors
///
/// Every wrong value, with its JSON path in `config.json`.
pub fn check_resources(resources: &LinuxResources) -> Result<(Resources, Vec<String>)> {
    let mut findings = Findings::default();
    let resources = convert(resources, &mut findings);
    Ok((resources, findings.finish("linux.resources", Vec::new())?))
}

/// [`check_resources`] without its warnings.
impl TryFrom<&LinuxResources> for Resources {
    type Error = Error;

    fn try_from(resources: &LinuxResources) -> Result<Self> {
        check_resources(resources).map(|(resources, _)| resources)
    }
}

const RESOURCES: &str = "linux.resources";
const MEMORY: &str = "linux.resources.memory";
const CPU: &str = "linux.resources.cpu";
const IO: &str = "linux.resources.blockIO";

/// The resources of a whole configuration: here a limit has its partner beside it, if there is one.
pub(super) fn of_config(resources: &LinuxResources, findings: &mut Findings) -> Resources {
    let resources = convert(resources, findings);
    if let (Some(Limit::Of(limit)), Some(Limit::Of(swap))) = (resources.memory.limit, resources.memory.swap)
        && swap < limit
    {
        findings.error(format_args!("{MEMORY}.swap"), Memory::SWAP_BELOW_LIMIT);
    }
    resources
}

/// Every field, so that a new one of [`Resources`] does not compile until it is read here; the test
/// `every_field_arrives` looks for those of `oci_spec`, whose fields are private.
pub(super) fn convert(resources: &LinuxResources, findings: &mut Findings) -> Resources {
    Resources {
        devices: resources.devices().as_deref().map(|devices| device_rules(devices, findings)),
        memory: resources.memory().map(|part| memory(&part, findings)).unwrap_or_default(),
        cpu: resources.cpu().as_ref().map(|part| cpu(part, findings)).unwrap_or_default(),
        pids: resources.pids().map(|pids| Limit::new(pids.limit())),
        block_io: resources.block_io().as_ref().map(|part| block_io(part, findings)).unwrap_or_default(),
        hugepage_limits: hugepage_limits(resources.hugepage_limits().as_deref(), findings),
        network: resources.network().as_ref().map(|part| network(part, findings)).unwrap_or_default(),
        rdma: (resources.rdma().iter().flatten())
            .filter_map(|(name, limits)| rdma(name, limits, findings))
            .collect(),
        unified: (resources.unified().iter().flatten())
            .filter_map(|(name, value)| {
                let origin = format!("{RESOURCES}.unified[{name:?}]");
                Some((findings.value(origin, ControlFile::new(name.as_str()))?, value.clone()))
            })
            .collect(),
    }
}

impl Findings {
    /// The value, or a finding about the field.
    fn value<T>(&mut self, origin: impl std::fmt::Display, value: Result<T, BadValue>) -> Option<T> {
        value.map_err(|reason| self.error(origin, reason.to_string())).ok()
    }
}

/// Engines fill in zeroes for what is not set.
fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn memory(memory: &LinuxMemory, findings: &mut Findings) -> Memory {
    if [memory.kernel(), memory.kernel_tcp()].into_iter().any(|limit| given(limit).is_some()) {
        // runc's words.
        let words = "Kernel memory settings are ignored and will be removed";
        findings.warning(format_args!("{MEMORY}.kernel"), words);
    }
    let mut bytes = |name: &str, value: Option<i64>| {
        findings.value(format_args!("{MEMORY}.{name}"), Limit::of_bytes(value.unwrap_or(0))).flatten()
    };
    Memory {
        limit: bytes("limit", memory.limit()),
        reservation: bytes("reservation", memory.reservation()),
        swap: bytes("swap", memory.swap()),
        // Docker writes the largest number for "unset".
        swappiness: memory
            .swappiness()
            .filter(|value| *value != u64::MAX)
            .and_then(|value| findings.value(format_args!("{MEMORY}.swappiness"), Swappiness::new(value))),
        disable_oom_killer: memory.disable_oom_killer(),
        check_before_update: memory.check_before_update(),
    }
}

fn cpu(cpu: &LinuxCpu, findings: &mut Findings) -> Cpu {
    let mut list = |name: &str, list: &Option<String>| {
        let list = list.as_deref().filter(|list| !list.is_empty())?;
        findings.value(format_args!("{CPU}.{name}"), CpuList::new(list))
    };
    let (cpus, mems) = (list("cpus", cpu.cpus()), list("mems", cpu.mems()));
    Cpu {
        shares: given(cpu.shares()),
        quota: given(cpu.quota()).map(Limit::new),
        idle: cpu.idle().and_then(|idle| match idle {
            0 | 1 => Some(idle == 1),
            _ => {
                findings.error(format_args!("{CPU}.idle"), format!("{idle} is neither 0 nor 1"));
                None
            }
        }),
        burst: cpu.burst(),
        period: given(cpu.period()),
        realtime_runtime: given(cpu.realtime_runtime()).map(Limit::new),
        realtime_period: given(cpu.realtime_period()),
        cpus,
        mems,
    }
}

fn block_io(io: &LinuxBlockIo, findings: &mut Findings) -> BlockIo {
    let mut rates = |name: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        let devices = devices.iter().flatten().enumerate();
        devices
            .filter_map(|(index, item)| {
                let origin = format!("{IO}.{name}[{index}]");
                let device = device_number(&origin, item.major(), item.minor(), findings)?;
                Some(ThrottleDevice { device, rate: item.rate() })
            })
            .collect()
    };
    BlockIo {
        throttle_read_bps_device: rates("throttleReadBpsDevice", io.throttle_read_bps_device()),
        throttle_write_bps_device: rates("throttleWriteBpsDevice", io.throttle_write_bps_device()),
        throttle_read_iops_device: rates("throttleReadIOPSDevice", io.throttle_read_iops_device()),
        throttle_write_iops_device: rates("throttleWriteIOPSDevice", io.throttle_write_iops_device()),
        weight: weight(IO, "weight", io.weight(), findings),
        leaf_weight: weight(IO, "leafWeight", io.leaf_weight(), findings),
        weight_device: (io.weight_device().iter().flatten().enumerate())
            .filter_map(|(index, item)| weight_device(&format!("{IO}.weightDevice[{index}]"), item, findings))
            .collect(),
    }
}

fn weight(origin: &str, name: &str, value: Option<u16>, findings: &mut Findings) -> Option<Weight> {
    findings.value(format_args!("{origin}.{name}"), Weight::new(given(value)?))
}

fn weight_device(origin: &str, item: &LinuxWeightDevice, findings: &mut Findings) -> Option<WeightDevice> {
    let (own, leaf) = (
        weight(origin, "weight", item.weight(), findings),
        weight(origin, "leafWeight", item.leaf_weight(), findings),
    );
    let device = device_number(origin, item.major(), item.minor(), findings)?;
    Some(WeightDevice { device, weight: own, leaf_weight: leaf })
}

fn device_number(origin: &str, major: i64, minor: i64, findings: &mut Findings) -> Option<DeviceNumber> {
    let major = findings.value(format_args!("{origin}.major"), DeviceNumber::part(major));
    let minor = findings.value(format_args!("{origin}.minor"), DeviceNumber::part(minor));
    Some(DeviceNumber { major: major?, minor: minor? })
}

fn hugepage_limits(limits: Option<&[LinuxHugepageLimit]>, findings: &mut Findings) -> Vec<HugepageLimit> {
    let mut all = Vec::new();
    for (index, item) in limits.unwrap_or_default().iter().enumerate() {
        let origin = format!("{RESOURCES}.hugepageLimits[{index}]");
        let page_size =
            findings.value(format_args!("{origin}.pageSize"), PageSize::new(item.page_size().as_str()));
        let Ok(limit) = u64::try_from(item.limit()) else {
            findings.error(format_args!("{origin}.limit"), "must not be negative");
            continue;
        };
        all.extend(page_size.map(|page_size| HugepageLimit { page_size, limit }));
    }
    all
}

fn network(network: &LinuxNetwork, findings: &mut Findings) -> Network {
    let priorities = network.priorities().iter().flatten().enumerate().filter_map(|(index, item)| {
        let origin = format!("{RESOURCES}.network.priorities[{index}].name");
        let name = findings.value(origin, DeviceName::new(item.name().as_str()))?;
        Some(InterfacePriority { name, priority: item.priority() })
    });
    Network { priorities: priorities.collect(), class_id: given(network.class_id()) }
}

fn rdma(name: &str, limits: &LinuxRdma, findings: &mut Findings) -> Option<(DeviceName, Rdma)> {
    let device = findings.value(format_args!("{RESOURCES}.rdma[{name:?}]"), DeviceName::new(name))?;
    Some((device, Rdma { hca_handles: limits.hca_handles(), hca_objects: limits.hca_objects() }))
}

fn device_rules(devices: &[LinuxDeviceCgroup], findings: &mut Findings) -> Vec<DeviceRule> {
    let rules: Vec<Option<DeviceRule>> = (devices.iter().enumerate())
        .map(|(index, device)| device_rule(&format!("{RESOURCES}.devices[{index}]"), device, findings))
        .collect();
    let known: Option<Vec<DeviceRule>> = rules.iter().copied().collect();
    // Whether rules contradict each other is known where all are.
    if let Some(Err((index, reason))) = known.map(|rules| DeviceRules::compile(&rules)) {
        let origin = index.map(|index| format!("[{index}]")).unwrap_or_default();
        findings.error(format_args!("{RESOURCES}.devices{origin}"), reason);
    }
    rules.into_iter().flatten().collect()
}

/// A number that is missing, or -1, is any.
fn device_rule(origin: &str, rule: &LinuxDeviceCgroup, findings: &mut Findings) -> Option<DeviceRule> {
    let access = rule.access().as_deref().and_then(Access::parse);
    if access.is_none() {
        findings.error(format_args!("{origin}.access"), "access is made of the letters r, w and m");
    }
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => return access.map(|_| DeviceRule::All { allow: rule.allow() }),
        Some(LinuxDeviceType::B) => Some(Kind::Block),
        Some(LinuxDeviceType::C) => Some(Kind::Character),
        Some(LinuxDeviceType::U | LinuxDeviceType::P) => {
            findings.error(format_args!("{origin}.type"), "a device rule is for type a, b or c");
            None
        }
    };
    let mut number = |name: &str, number: Option<i64>| match number {
        None | Some(-1) => Some(None),
        Some(number) => findings.value(format_args!("{origin}.{name}"), DeviceNumber::part(number)).map(Some),
    };
    let (major, minor) = (number("major", rule.major()), number("minor", rule.minor()));
    let devices = Devices { major: major?, minor: minor?, kind: kind? };
    Some(DeviceRule::Some { allow: rule.allow(), devices, access: access? })
}

#[derive(Deserialize)]
struct SaidLimit {
    limit: Option<i64>,
}

#[derive(Deserialize)]
struct Said {
    pids: Option<SaidLimit>,
}

impl Said {
    fn has_limit(&self) -> bool {
        self.pids.as_ref().is_some_and(|pids| pids.limit.is_some())
    }

    /// Of `bytes` that are the resources or a whole configuration.
    fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Linux {
            resources: Option<Said>,
        }
        #[derive(Deserialize)]
        struct Config {
            linux: Option<Linux>,
        }
        let config: Option<Config> = serde_json::from_slice(bytes).ok();
        let in_config = config.and_then(|config| config.linux?.resources);
        in_config.or_else(|| serde_json::from_slice(bytes).ok())
    }
}

/// `oci_spec` reads an absent limit as 0, which is a limit (runtime-spec 1.3, "PIDs"): takes it out
/// again if `bytes`, the resources or a whole configuration, do not say it.
pub(super) fn unset_pids(resources: &mut LinuxResources, bytes: &[u8]) {
    if resources.pids().is_none_or(|pids| pids.limit() != 0) {
        return;
    }
    if !Said::parse(bytes).is_some_and(|said| said.has_limit()) {
        resources.set_pids(None);
    }
}

/// From this minor version on a limit of zero processes is one (config-linux.md, "PIDs").
const ZERO_PIDS_SINCE: u32 = 3;

/// Before, the text was silent. Engines wrote 0 where they meant no limit, such as Podman 4 for its documented
/// `--pids-limit -1`, and runtimes took it so: it changes nothing, and needs no controller.
pub(crate) fn forget_zero_pids(minor: u32, resources: &mut Resources) {
    if minor < ZERO_PIDS_SINCE && resources.pids == Some(Limit::Of(0)) {
        resources.pids = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_size_by_its_other_name() {
        for (text, size) in [
            (r#"{"hugepageLimits": [{"pagesize": "2MB", "limit": 1}]}"#, "2MB"),
            (r#"{"hugepageLimits": [{"pageSize": "1GB", "pagesize": "2MB", "limit": 1}]}"#, "1GB"),
        ] {
            let mut config: serde_json::Value =
                serde_json::to_value(crate::spec::default_spec(None, true).expect("a spec")).expect("JSON");
            config["linux"]["resources"] = serde_json::from_str(text).expect("JSON");
            let spec = crate::spec::ValidSpec::parse(config.to_string().as_bytes()).expect("valid");
            let alone = parse_resources(text.as_bytes(), "resources").expect("resources").0;
            for resources in [alone, spec.resources] {
                assert_eq!(resources.hugepage_limits[0].page_size.as_str(), size, "{text}");
            }
        }
    }

    /// A new field of `oci_spec`, or one that is not read, is missing in what comes out.
    #[test]
    fn every_field_arrives() {
        let rates = json!([{"major": 8, "minor": 16, "rate": 7}]);
        let all = json!({
            "devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 10, "minor": -1, "access": "rw"},
            ],
            "memory": {
                "limit": 5, "reservation": -1, "swap": 9, "swappiness": 6, "disableOOMKiller": false,
                "checkBeforeUpdate": true,
            },
            "cpu": {
                "shares": 2, "quota": -1, "idle": 1, "burst": 0, "period": 3, "realtimeRuntime": 4,
                "realtimePeriod": 5, "cpus": "0-1", "mems": "0",
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10, "leafWeight": 11,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 12, "leafWeight": 13}],
                "throttleReadBpsDevice": rates, "throttleWriteBpsDevice": rates,
                "throttleReadIOPSDevice": rates, "throttleWriteIOPSDevice": rates,
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "network": {"classID": 1, "priorities": [{"name": "eth0", "priority": 2}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 4}},
            "unified": {"memory.high": "max"},
        });
        let parsed: LinuxResources = serde_json::from_value(all.clone()).expect("resources");
        let ours = Resources::try_from(&parsed).expect("resources");
        assert_eq!(serde_json::to_value(ours).expect("JSON"), all);
        let known = |value: &serde_json::Value, left_out: &[&'static str]| {
            let keys = value.as_object().expect("an object").keys().map(String::as_str);
            keys.chain(left_out.iter().copied()).map(str::to_owned).collect::<BTreeSet<String>>()
        };
        let ignored = ["kernel", "kernelTCP", "useHierarchy"];
        assert_eq!(fields_of::<LinuxResources>(), known(&all, &[]));
        assert_eq!(fields_of::<LinuxMemory>(), known(&all["memory"], &ignored));
        assert_eq!(fields_of::<LinuxCpu>(), known(&all["cpu"], &[]));
        assert_eq!(fields_of::<LinuxBlockIo>(), known(&all["blockIO"], &[]));
        assert_eq!(fields_of::<LinuxDeviceCgroup>(), known(&all["devices"][1], &[]));
        assert_eq!(fields_of::<LinuxWeightDevice>(), known(&all["blockIO"]["weightDevice"][0], &[]));
        assert_eq!(fields_of::<LinuxThrottleDevice>(), known(&rates[0], &[]));
        assert_eq!(fields_of::<LinuxHugepageLimit>(), known(&all["hugepageLimits"][0], &[]));
        assert_eq!(fields_of::<LinuxNetwork>(), known(&all["network"], &[]));
        assert_eq!(fields_of::<LinuxRdma>(), known(&all["rdma"]["mlx5_1"], &[]));
    }

    /// The names of the fields that a type is parsed from.
    fn fields_of<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
        struct Asked<'a>(&'a mut BTreeSet<String>);

        impl<'de> serde::Deserializer<'de> for Asked<'_> {
            type Error = serde::de::value::Error;

            fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
                Err(serde::de::Error::custom("not a structure"))
            }

            fn deserialize_struct<V: serde::de::Visitor<'de>>(
                self,
                _: &'static str,
                fields: &'static [&'static str],
                visitor: V,
            ) -> Result<V::Value, Self::Error> {
                self.0.extend(fields.iter().map(|name| (*name).to_owned()));
                self.deserialize_any(visitor)
            }

            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
                unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
            }
        }

        let mut names = BTreeSet::new();
        T::deserialize(Asked(&mut names)).map(drop).expect_err("nothing to parse");
        names
    }

    #[test]
    fn all_wrong_values_are_told_at_once() {
        let error = parse_resources(
            br#"{"memory": {"limit": -5, "swappiness": 101}, "cpu": {"idle": 2, "cpus": "all"},
                "blockIO": {"weight": 9, "weightDevice": [{"major": -1, "minor": 0, "weight": 1}],
                    "throttleReadBpsDevice": [{"major": 0, "minor": 4294967296, "rate": 1}]},
                "hugepageLimits": [{"pageSize": "2", "limit": 1}, {"pageSize": "2MB", "limit": -1}],
                "network": {"priorities": [{"name": "a b", "priority": 1}]}, "rdma": {"../x": {}},
                "unified": {"cgroup.procs": "1"},
                "devices": [{"allow": true, "type": "p", "access": "r"}, {"allow": true}]}"#,
            "resources",
        )
        .expect_err("wrong values")
        .to_string();
        for origin in [
            "memory.limit: ",
            "memory.swappiness: ",
            "cpu.idle: ",
            "cpu.cpus: ",
            "blockIO.weight: ",
            "blockIO.weightDevice[0].weight: ",
            "blockIO.weightDevice[0].major: ",
            "blockIO.throttleReadBpsDevice[0].minor: ",
            "hugepageLimits[0].pageSize: ",
            "hugepageLimits[1].limit: ",
            "network.priorities[0].name: ",
            "rdma[\"../x\"]: ",
            "unified[\"cgroup.procs\"]: ",
            "devices[0].type: ",
            "devices[1].access: ",
        ] {
            assert!(error.contains(&format!("linux.resources.{origin}")), "{origin} is not in {error}");
        }
    }

    #[test]
    fn an_absent_limit_is_none() {
        let pids = |text: &str| parse_resources(text.as_bytes(), "resources").map(|parsed| parsed.0.pids);
        assert_eq!(pids(r#"{"pids": {}}"#).expect("resources"), None);
        assert_eq!(pids(r#"{"pids": null}"#).expect("resources"), None);
        assert_eq!(pids(r#"{"pids": {"limit": 0}}"#).expect("resources"), Some(Limit::Of(0)));
    }

    #[test]
    fn an_absent_limit_of_a_configuration_is_none() {
        let pids = |text: &str| {
            let mut config: serde_json::Value =
                serde_json::to_value(crate::spec::default_spec(None, true).expect("a spec")).expect("JSON");
            config["linux"]["resources"]["pids"] = serde_json::from_str(text).expect("JSON");
            let spec = crate::spec::ValidSpec::parse(config.to_string().as_bytes()).expect("valid");
            spec.resources.pids
        };
        assert_eq!((pids("{}"), pids("null")), (None, None));
        assert_eq!(
            (pids(r#"{"limit": 0}"#), pids(r#"{"limit": -1}"#)),
            (Some(Limit::Of(0)), Some(Limit::Unlimited))
        );
    }

    #[test]
    fn no_processes_are_no_limit_before_1_3() {
        let limit = |version: &str, limit: i64| {
            let mut config: serde_json::Value =
                serde_json::to_value(crate::spec::default_spec(None, true).expect("a spec")).expect("JSON");
            config["ociVersion"] = version.into();
            config["linux"]["resources"]["pids"] = serde_json::json!({"limit": limit});
            let spec = crate::spec::ValidSpec::parse(config.to_string().as_bytes()).expect("valid");
            spec.resources.pids
        };
        for old in ["1.0.0", "1.0.2-dev", "1.1", "1.2.1+dev"] {
            assert_eq!(
                (limit(old, 0), limit(old, -1), limit(old, 7)),
                (None, Some(Limit::Unlimited), Some(Limit::Of(7))),
                "{old}"
            );
        }
        for new in ["1.3.0", "1.3.0-rc.1", "1.4", "1.10.0"] {
            assert_eq!(
                (limit(new, 0), limit(new, -1)),
                (Some(Limit::Of(0)), Some(Limit::Unlimited)),
                "{new}"
            );
        }
    }

    #[test]
    fn wrong_types_are_told_with_their_place() {
        let error = parse_resources(br#"{"memory": {"limit": "x"}}"#, "resources").expect_err("wrong");
        assert!(error.to_string().contains("memory.limit"), "{error}");
        assert!(parse_resources(b"{", "resources").is_err());
    }
}
