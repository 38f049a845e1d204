//! The runtime inside other containers: under their seccomp filters, in their namespaces, with what they
//! mask and make read-only. It works as it does outside, or says in one error what denies which call, and
//! leaves nothing.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod denied;
mod filter;
mod inside;
mod listener;
mod missing;
mod outer;
mod profiles;
mod traces;
mod unshared;
