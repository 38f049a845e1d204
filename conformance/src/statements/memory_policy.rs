//! config-linux.md: the memory policy.

use super::{Statement, must};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, same, skip};
use serde_json::{Value, json};

const POLICY: &str = "config-linux.md#memory-policy";

/// The table. The numbers are those of set_mempolicy(2).
pub(super) const STATEMENTS: &[Statement] = &[
    must("memory-policy", POLICY, "the memory policy is applied", |case| {
        let seen = seen(case, json!({"mode": "MPOL_BIND", "nodes": "0"}))?;
        same("policy (MPOL_BIND is 2)", &json!({"mode": 2, "nodes": 1}), &seen)
    }),
    must("memory-policy-default", POLICY, "MPOL_DEFAULT is taken", |case| {
        policy(case, "MPOL_DEFAULT", "", &[], 0)
    }),
    must("memory-policy-interleave", POLICY, "MPOL_INTERLEAVE is applied", |case| {
        policy(case, "MPOL_INTERLEAVE", "0", &[], 3)
    }),
    must("memory-policy-preferred", POLICY, "MPOL_PREFERRED is applied", |case| {
        policy(case, "MPOL_PREFERRED", "0", &[], 1)
    }),
    must("memory-policy-local", POLICY, "MPOL_LOCAL is applied", |case| {
        policy(case, "MPOL_LOCAL", "", &[], 4)
    }),
    must("memory-policy-many", POLICY, "MPOL_PREFERRED_MANY is applied", |case| {
        policy(case, "MPOL_PREFERRED_MANY", "0", &[], 5)
    }),
    must("memory-policy-flags", POLICY, "MPOL_F_STATIC_NODES is applied", |case| {
        policy(case, "MPOL_BIND", "0", &["MPOL_F_STATIC_NODES"], 2 | 1 << 15)
    }),
    must("memory-policy-relative", POLICY, "MPOL_F_RELATIVE_NODES is applied", |case| {
        policy(case, "MPOL_BIND", "0", &["MPOL_F_RELATIVE_NODES"], 2 | 1 << 14)
    }),
    must("memory-policy-balancing", POLICY, "MPOL_F_NUMA_BALANCING is applied", |case| {
        policy(case, "MPOL_BIND", "0", &["MPOL_F_NUMA_BALANCING"], 2 | 1 << 13)
    }),
    must("memory-policy-weighted", POLICY, "MPOL_WEIGHTED_INTERLEAVE is applied", |case| {
        policy(case, "MPOL_WEIGHTED_INTERLEAVE", "0", &[], 6)
    }),
    must("memory-policy-no-nodes", POLICY, "a policy for nodes that names none is an error", |case| {
        let good = json!({"mode": "MPOL_BIND", "nodes": "0"});
        case.refuses_but("/linux/memoryPolicy", good, json!({"mode": "MPOL_BIND"}))
    }),
    must("memory-policy-nodes", POLICY, "a policy that has no nodes takes none", |case| {
        let good = json!({"mode": "MPOL_LOCAL"});
        case.refuses_but("/linux/memoryPolicy", good, json!({"mode": "MPOL_LOCAL", "nodes": "0"}))
    }),
];

fn seen(case: &mut Case, policy: Value) -> Result<Value, Stop> {
    case.set("/linux/memoryPolicy", policy);
    match case.report()?["mempolicy"].clone() {
        Value::Null => skip("the kernel has no memory policies"),
        seen => Ok(seen),
    }
}

fn policy(case: &mut Case, mode: &str, nodes: &str, flags: &[&str], wanted: u64) -> Outcome {
    let policy = match nodes {
        "" => json!({"mode": mode}),
        _ => json!({"mode": mode, "nodes": nodes, "flags": flags}),
    };
    same("mode and flags", &json!(wanted), &seen(case, policy)?["mode"])
}
