//! What is remembered of a container between calls, and what is true of it now.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod holder;
mod record;
mod standstill;
mod status;
mod store;

pub use status::{OCI_VERSION, State, Status};

pub(crate) use record::{AddedMount, Identity, Record, SCHEMA};
pub(crate) use status::{alive, is_ending, owner_name, status_and_init, status_of, thaw_leftover};
pub(crate) use store::{Entry, Lock, Presence, Store};
