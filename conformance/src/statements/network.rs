//! config-linux.md: network devices. The host is a network namespace of the check's own, with a pair of
//! virtual devices.

use super::{Statement, must, should};
use crate::case::Case;
use crate::holder::Holder;
use crate::verdict::{Outcome, Stop, holds, same, skip};
use serde_json::{Value, json};
use std::process::Command;

const SECTION: &str = "config-linux.md#network-devices";
const END: &str = "config-linux.md#namespace-lifecycle-and-container-termination";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("net-devices", SECTION, "a listed device is in the container and no longer on the host", moved),
    must("net-device-name", SECTION, "a device gets its name of the container", renamed),
    must(
        "net-device-conflict",
        SECTION,
        "a name that the container has already is an error; the device stays",
        conflict,
    ),
    must("net-device-template", SECTION, "a name with %d becomes a free one", template),
    must("net-device-address4", SECTION, "a permanent IPv4 address is kept", address4),
    must("net-device-address6", SECTION, "a permanent IPv6 address is kept", address6),
    must("net-device-attributes", SECTION, "the MTU of a device is kept", attributes),
    must("net-device-up", SECTION, "a device is up in the container", up),
    must(
        "net-device-stays",
        END,
        "the runtime does not take a device out of the namespace at the end",
        stays,
    ),
    must("net-device-errors", "runtime.md#errors", "a failed create leaves devices as they were", given_back),
    should("net-device-untouched", END, "addresses of the container's own are left alone", untouched),
];

/// `ip` or the one of busybox, in the namespace of a holder.
fn ip(holder: &Holder, words: &str) -> Result<String, Stop> {
    let plain = Command::new("ip").arg("-V").output().is_ok();
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", holder.path("net")));
    command.args(if plain { &["ip"][..] } else { &["busybox", "ip"][..] });
    let output = command.args(words.split(' ')).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    skip(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A host with `suite0`, its MTU and addresses; the case's runtime runs there.
fn host(case: &mut Case) -> Result<Holder, Stop> {
    case.need_root("network devices")?;
    let holder = Holder::new("net")?;
    ip(&holder, "link add suite0 type veth")?;
    ip(&holder, "addr add 10.9.8.7/24 dev suite0")?;
    ip(&holder, "link set suite0 mtu 1400")?;
    case.under = vec!["nsenter".into(), format!("--net={}", holder.path("net"))];
    case.push("/linux/namespaces", json!({"type": "network"}));
    case.push("/mounts", json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
    Ok(holder)
}

/// The answer to one question in a container that has the device.
fn inside(case: &mut Case, device: Value, question: &str) -> Result<(Holder, Value), Stop> {
    let holder = host(case)?;
    case.set("/linux/netDevices", json!({"suite0": device}));
    let answer = case.answer(question)?;
    Ok((holder, answer))
}

fn moved(case: &mut Case) -> Outcome {
    case.ask("wait");
    let (holder, answer) = inside(case, json!({}), "list:/sys/class/net")?;
    let left = ip(&holder, "link show")?;
    let there = answer["names"].as_array().is_some_and(|names| names.contains(&json!("suite0")));
    holds(there && !left.contains("suite0:"), "suite0 inside only", format!("{answer}; left {left}"))
}

fn renamed(case: &mut Case) -> Outcome {
    let (_host, answer) = inside(case, json!({"name": "eth7"}), "list:/sys/class/net")?;
    let names = answer["names"].as_array().cloned().unwrap_or_default();
    let right = names.contains(&json!("eth7")) && !names.contains(&json!("suite0"));
    holds(right, "eth7, not suite0", answer.to_string())
}

fn conflict(case: &mut Case) -> Outcome {
    let holder = host(case)?;
    case.set("/linux/netDevices", json!({"suite0": {"name": "lo"}}));
    let evidence = case.refuses()?;
    let left = ip(&holder, "link show")?;
    holds(left.contains("suite0"), "suite0 is still on the host", format!("{left}; {evidence}"))
}

/// The third device fails, whose name is taken, and the first two have been moved or not: one that was
/// down is down again, one that was up is up, and both have their addresses.
fn given_back(case: &mut Case) -> Outcome {
    let holder = host(case)?;
    ip(&holder, "link add suite1 type veth")?;
    ip(&holder, "addr add 10.9.6.5/24 dev suite1")?;
    ip(&holder, "link set suite1 up")?;
    ip(&holder, "link add suite2 type veth")?;
    let look = |name: &str| -> Result<(bool, String), Stop> {
        let text = ip(&holder, &format!("addr show dev {name}"))?;
        let flags = text.split(['<', '>']).nth(1).unwrap_or_default();
        let up = flags.split(',').any(|flag| flag == "UP");
        let address = text.lines().find_map(|line| line.trim().strip_prefix("inet "));
        Ok((up, address.and_then(|line| line.split(' ').next()).unwrap_or_default().to_owned()))
    };
    case.set("/linux/netDevices", json!({"suite0": {}, "suite1": {}, "suite2": {"name": "lo"}}));
    let refused = case.refuses()?;
    let seen = (look("suite0")?, look("suite1")?);
    let wanted = ((false, "10.9.8.7/24".to_owned()), (true, "10.9.6.5/24".to_owned()));
    same("up and address of suite0 and suite1", &json!(wanted), &json!(seen))?;
    Ok(refused)
}

/// Two devices with the same template: both must fit.
fn template(case: &mut Case) -> Outcome {
    let holder = host(case)?;
    ip(&holder, "link add suite1 type veth")?;
    case.set("/linux/netDevices", json!({"suite0": {"name": "eth%d"}, "suite1": {"name": "eth%d"}}));
    let answer = case.answer("list:/sys/class/net")?;
    let names = answer["names"].as_array().cloned().unwrap_or_default();
    let right = ["eth0", "eth1"].iter().all(|name| names.contains(&json!(name)));
    holds(right, "eth0 and eth1", answer.to_string())
}

fn address4(case: &mut Case) -> Outcome {
    let (_host, answer) = inside(case, json!({}), "read:/proc/net/fib_trie")?;
    let text = answer["text"].as_str().unwrap_or("");
    holds(text.contains("10.9.8.7"), "10.9.8.7", text)
}

fn address6(case: &mut Case) -> Outcome {
    let holder = host(case)?;
    ip(&holder, "addr add fd00::987/64 dev suite0")?;
    case.set("/linux/netDevices", json!({"suite0": {}}));
    let answer = case.answer("read:/proc/net/if_inet6")?;
    let text = answer["text"].as_str().unwrap_or("");
    holds(text.contains("fd000000000000000000000000000987"), "fd00::987", text)
}

fn attributes(case: &mut Case) -> Outcome {
    let (_host, answer) = inside(case, json!({"name": "eth7"}), "read:/sys/class/net/eth7/mtu")?;
    same("MTU", &json!("1400"), &answer["text"])
}

/// IFF_UP is 1.
fn up(case: &mut Case) -> Outcome {
    let (_host, answer) = inside(case, json!({}), "read:/sys/class/net/suite0/flags")?;
    let text = answer["text"].as_str().unwrap_or("").trim_start_matches("0x");
    let flags = u32::from_str_radix(text, 16).unwrap_or(0);
    holds(flags & 1 == 1, "IFF_UP", answer.to_string())
}

/// The container's namespace outlives it, so that the device can still be seen there.
fn stays(case: &mut Case) -> Outcome {
    let host = host(case)?;
    let own = Holder::new("net")?;
    case.drop_namespace("network");
    case.push("/linux/namespaces", json!({"type": "network", "path": own.path("net")}));
    case.set("/linux/netDevices", json!({"suite0": {}}));
    case.report()?;
    case.wait()?;
    crate::case::must(case.delete()?)?;
    let (left, there) = (ip(&host, "link show")?, ip(&own, "link show")?);
    let right = !left.contains("suite0:") && there.contains("suite0");
    holds(right, "suite0 is where the container was", format!("host: {left}; container: {there}"))
}

/// A namespace with an address on loopback: it is no business of the runtime's.
fn untouched(case: &mut Case) -> Outcome {
    let _host = host(case)?;
    let own = Holder::new("net")?;
    ip(&own, "addr add 10.1.1.1/32 dev lo")?;
    case.drop_namespace("network");
    case.push("/linux/namespaces", json!({"type": "network", "path": own.path("net")}));
    case.set("/linux/netDevices", json!({"suite0": {}}));
    case.report()?;
    case.wait()?;
    crate::case::must(case.delete()?)?;
    let there = ip(&own, "addr show")?;
    holds(there.contains("10.1.1.1") && there.contains("suite0"), "10.1.1.1 on lo, and suite0", there)
}
