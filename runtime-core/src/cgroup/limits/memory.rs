//! `linux.resources.memory`: limits in bytes.

use super::super::hierarchy::{Mode, Version};
use super::super::plan::{Compiler, Guard, Missing};
use super::super::resources::{Limit, Memory};
use super::field;

const MEMORY: &str = "linux.resources.memory";

pub(super) fn compile(compiler: &mut Compiler<'_>, memory: &Memory) {
    let Memory { limit, reservation, swap, swappiness, disable_oom_killer, check_before_update } = *memory;
    let no_killer = disable_oom_killer == Some(true);
    let asked = [
        ("limit", limit.is_some()),
        ("swap", swap.is_some()),
        ("reservation", reservation.is_some()),
        ("disableOOMKiller", no_killer),
        ("swappiness", swappiness.is_some()),
    ];
    let Some((name, _)) = asked.into_iter().find(|(_, asked)| *asked) else {
        return;
    };
    // Swappiness and the OOM killer's switch are ignored on v2, as by runc: there is nothing to set them with.
    let limited = limit.is_some() || swap.is_some() || reservation.is_some();
    if !limited && compiler.view.mode == Mode::Unified {
        return;
    }
    match compiler.version("memory", Some("memory"), &field(MEMORY, name)) {
        Some(Version::V1) => {
            v1(compiler, memory);
            if no_killer {
                compiler.write("memory", "memory.oom_control", 1, field(MEMORY, "disableOOMKiller"));
            }
            if let Some(value) = swappiness {
                compiler.write("memory", "memory.swappiness", value.get(), field(MEMORY, "swappiness"));
            }
        }
        Some(Version::V2) => v2(compiler, memory, check_before_update == Some(true)),
        None => {}
    }
}

/// `memory.memsw.limit_in_bytes` must never be below `memory.limit_in_bytes`. Which of the two has to
/// go first depends on the present values: both may be tried again.
fn v1(compiler: &mut Compiler<'_>, memory: &Memory) {
    const SWAP_FILE: &str = "memory.memsw.limit_in_bytes";
    if let Some(limit) = memory.limit {
        compiler.write("memory", "memory.limit_in_bytes", limit, field(MEMORY, "limit")).reorder();
    }
    if let Some(swap) = memory.swap {
        compiler.write("memory", SWAP_FILE, swap, field(MEMORY, "swap")).reorder();
    } else if memory.limit == Some(Limit::Unlimited) {
        let write = compiler.write("memory", SWAP_FILE, Limit::Unlimited, field(MEMORY, "limit"));
        write.reorder().or(Missing::Ignored);
    }
    if let Some(reservation) = memory.reservation {
        let origin = field(MEMORY, "reservation");
        compiler.write("memory", "memory.soft_limit_in_bytes", reservation, origin);
    }
}

fn v2(compiler: &mut Compiler<'_>, memory: &Memory, check: bool) {
    if check {
        guard(compiler, memory.swap, "memory+swap", "linux.resources.memory.swap");
        guard(compiler, memory.limit, "memory", "linux.resources.memory.limit");
    }
    match swap_only(memory) {
        Ok(None) => {}
        Ok(Some(swap)) => {
            let origin = field(MEMORY, if memory.swap.is_none() { "limit" } else { "swap" });
            let write = compiler.write("memory", "memory.swap.max", max(swap), origin);
            // A kernel without swap accounting has no file: "none" and "any" hold there by themselves.
            if matches!(swap, Limit::Unlimited | Limit::Of(0)) {
                write.or(Missing::Ignored);
            }
        }
        Err(reason) => compiler.invalid(field(MEMORY, "swap"), reason),
    }
    let files = [(memory.limit, "memory.max", "limit"), (memory.reservation, "memory.low", "reservation")];
    for (value, file, name) in files {
        if let Some(value) = value {
            compiler.write("memory", file, max(value), field(MEMORY, name));
        }
    }
}

fn guard(compiler: &mut Compiler<'_>, limit: Option<Limit>, name: &'static str, origin: &'static str) {
    if let Some(Limit::Of(limit)) = limit {
        compiler.guards.push(Guard { controller: "memory", file: "memory.current", limit, name, origin });
    }
}

fn max(value: Limit) -> String {
    match value {
        Limit::Unlimited => "max".to_owned(),
        Limit::Of(value) => value.to_string(),
    }
}

/// The specification's swap is memory+swap, v2's is swap alone. `None`: unset.
fn swap_only(memory: &Memory) -> Result<Option<Limit>, &'static str> {
    match (memory.limit, memory.swap) {
        (Some(Limit::Unlimited), None) => Ok(Some(Limit::Unlimited)),
        (_, None) => Ok(None),
        (_, Some(Limit::Unlimited)) => Ok(Some(Limit::Unlimited)),
        (Some(Limit::Unlimited), swap) => Ok(swap),
        (None, _) => Err("unable to set swap limit without memory limit"),
        (Some(Limit::Of(limit)), Some(Limit::Of(swap))) if swap < limit => Err(Memory::SWAP_BELOW_LIMIT),
        (Some(Limit::Of(limit)), Some(Limit::Of(swap))) => Ok(Some(Limit::Of(swap.saturating_sub(limit)))),
    }
}
