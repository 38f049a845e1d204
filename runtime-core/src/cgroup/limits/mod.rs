//! `linux.resources` as writes: one file per controller.
//!
//! The conversions are those of runc, because engines and their users see the results; the texts of
//! the runtime specification (config-linux.md, "Control groups") leave them open.

mod cpu;
mod io;
mod memory;
mod other;
mod unified;

use super::plan::Compiler;
use super::resources::Resources;

/// Adds the writes for every resource. Devices are not among them.
pub(super) fn compile(compiler: &mut Compiler<'_>, resources: &Resources) {
    let Resources { devices: _, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } =
        resources;
    if let Some(limit) = *pids {
        other::pids(compiler, limit);
    }
    memory::compile(compiler, memory);
    io::compile(compiler, block_io);
    cpu::compile(compiler, cpu);
    other::hugetlb(compiler, hugepage_limits);
    other::network(compiler, network);
    other::rdma(compiler, rdma);
    unified::compile(compiler, unified);
}

/// Appends `field` to the JSON path of an object.
fn field(object: &str, field: &str) -> String {
    format!("{object}.{field}")
}

#[cfg(test)]
mod tests;
