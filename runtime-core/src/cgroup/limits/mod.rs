//! `linux.resources` as writes: one file per controller.
//!
//! The conversions are those of runc, because engines and their users see the results; the texts of
//! the runtime specification (config-linux.md, "Control groups") leave them open.

mod cpu;
mod io;
mod memory;
mod other;
mod unified;

use oci_spec::runtime::LinuxResources;

use super::plan::Compiler;

/// Adds the writes for every resource. Devices are not among them.
pub(super) fn compile(compiler: &mut Compiler<'_>, resources: &LinuxResources) {
    if let Some(pids) = resources.pids() {
        other::pids(compiler, pids.limit());
    }
    if let Some(memory) = resources.memory() {
        memory::compile(compiler, memory);
    }
    if let Some(io) = resources.block_io() {
        io::compile(compiler, io);
    }
    if let Some(cpu) = resources.cpu() {
        cpu::compile(compiler, cpu);
    }
    other::hugetlb(compiler, resources.hugepage_limits().as_deref().unwrap_or_default());
    if let Some(network) = resources.network() {
        other::network(compiler, network);
    }
    if let Some(rdma) = resources.rdma() {
        other::rdma(compiler, rdma);
    }
    if let Some(entries) = resources.unified() {
        unified::compile(compiler, entries);
    }
}

/// Appends `field` to the JSON path of an object.
fn field(object: &str, field: &str) -> String {
    format!("{object}.{field}")
}

#[cfg(test)]
mod tests;
