//! `linux.resources.memory`: limits in bytes, where -1 is "no limit" and 0 "unset".

use oci_spec::runtime::LinuxMemory;

use super::super::hierarchy::Version;
use super::super::plan::{Compiler, Guard, Missing};
use super::field;

const MEMORY: &str = "linux.resources.memory";

/// What the specification leaves as Option and engines fill with 0.
struct Limits {
    limit: i64,
    swap: i64,
    reservation: i64,
}

pub(super) fn compile(compiler: &mut Compiler<'_>, memory: &LinuxMemory) {
    let limits = Limits {
        limit: memory.limit().unwrap_or(0),
        swap: memory.swap().unwrap_or(0),
        reservation: memory.reservation().unwrap_or(0),
    };
    let (swappiness, no_killer) = (swappiness(memory), memory.disable_oom_killer() == Some(true));
    let asked = [
        ("limit", limits.limit != 0),
        ("swap", limits.swap != 0),
        ("reservation", limits.reservation != 0),
        ("disableOOMKiller", no_killer),
        ("swappiness", swappiness.is_some()),
    ];
    let Some((name, _)) = asked.into_iter().find(|(_, asked)| *asked) else {
        return;
    };
    // Kernel memory is ignored everywhere, swappiness and the OOM killer's switch on v2, as by runc:
    // there is nothing to set them with.
    let limited = limits.limit != 0 || limits.swap != 0 || limits.reservation != 0;
    if !limited && compiler.view.mode == super::super::Mode::Unified {
        return;
    }
    match compiler.version("memory", Some("memory"), &field(MEMORY, name)) {
        Some(Version::V1) => {
            v1(compiler, &limits);
            if no_killer {
                compiler.write("memory", "memory.oom_control", 1, field(MEMORY, "disableOOMKiller"));
            }
            match swappiness {
                Some(value @ 0..=100) => {
                    compiler.write("memory", "memory.swappiness", value, field(MEMORY, "swappiness"));
                }
                Some(value) => compiler.invalid(
                    field(MEMORY, "swappiness"),
                    format!("invalid memory swappiness value: {value} (valid range is 0-100)"),
                ),
                None => {}
            }
        }
        Some(Version::V2) => v2(compiler, &limits, memory.check_before_update() == Some(true)),
        None => {}
    }
}

/// Docker writes -1 for "unset".
fn swappiness(memory: &LinuxMemory) -> Option<u64> {
    memory.swappiness().filter(|value| *value != u64::MAX)
}

/// `memory.memsw.limit_in_bytes` must never be below `memory.limit_in_bytes`. Which of the two has to
/// go first depends on the present values: both may be tried again.
fn v1(compiler: &mut Compiler<'_>, limits: &Limits) {
    const SWAP_FILE: &str = "memory.memsw.limit_in_bytes";
    if limits.limit != 0 {
        compiler.write("memory", "memory.limit_in_bytes", limits.limit, field(MEMORY, "limit")).reorder();
    }
    if limits.swap != 0 {
        compiler.write("memory", SWAP_FILE, limits.swap, field(MEMORY, "swap")).reorder();
    } else if limits.limit == -1 {
        let write = compiler.write("memory", SWAP_FILE, -1, field(MEMORY, "limit"));
        write.reorder().or(Missing::Ignored);
    }
    if limits.reservation != 0 {
        compiler.write(
            "memory",
            "memory.soft_limit_in_bytes",
            limits.reservation,
            field(MEMORY, "reservation"),
        );
    }
}

fn v2(compiler: &mut Compiler<'_>, limits: &Limits, check: bool) {
    if check {
        guard(compiler, limits.swap, "memory+swap", "linux.resources.memory.swap");
        guard(compiler, limits.limit, "memory", "linux.resources.memory.limit");
    }
    match swap_only(limits) {
        Ok(None) => {}
        Ok(Some(swap)) => {
            let origin = field(MEMORY, if limits.swap == 0 { "limit" } else { "swap" });
            let write = compiler.write("memory", "memory.swap.max", max(swap), origin);
            // A kernel without swap accounting has no file: "none" and "any" hold there by themselves.
            if swap <= 0 {
                write.or(Missing::Ignored);
            }
        }
        Err(reason) => compiler.invalid(field(MEMORY, "swap"), reason),
    }
    for (value, file, name) in
        [(limits.limit, "memory.max", "limit"), (limits.reservation, "memory.low", "reservation")]
    {
        match value {
            0 => {}
            -1 | 1.. => {
                compiler.write("memory", file, max(value), field(MEMORY, name));
            }
            _ => compiler.invalid(field(MEMORY, name), format!("invalid memory value: {value}")),
        }
    }
}

fn guard(compiler: &mut Compiler<'_>, limit: i64, name: &'static str, origin: &'static str) {
    if let Ok(limit @ 1..) = u64::try_from(limit) {
        compiler.guards.push(Guard { controller: "memory", file: "memory.current", limit, name, origin });
    }
}

fn max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// The specification's swap is memory+swap, v2's is swap alone. `None`: unset.
fn swap_only(limits: &Limits) -> Result<Option<i64>, String> {
    match (limits.limit, limits.swap) {
        (-1, 0) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (_, -1) => Ok(Some(-1)),
        (-1, swap) => Ok(Some(swap)),
        (0, _) => Err("unable to set swap limit without memory limit".to_owned()),
        (limit, _) if limit < 0 => Err(format!("invalid memory value: {limit}")),
        (limit, swap) if swap < limit => Err("memory+swap limit should be >= memory limit".to_owned()),
        (limit, swap) => Ok(Some(swap - limit)),
    }
}
