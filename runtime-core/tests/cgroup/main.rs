//! Cgroups against the kernel, in each view of them that a machine can have.
//!
//! The v1 and v2 views are made in a private mount namespace, in which the test runs itself again;
//! the machine's own mounts are never touched. Every cgroup has a name of its own and is removed.

mod felt;
mod fields;
mod life;
mod limits;
mod page;
mod table;
mod view;
#[path = "../support/views.rs"]
mod views;
