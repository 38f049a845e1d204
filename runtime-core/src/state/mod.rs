//! What is remembered of a container between calls, and what is true of it now.

mod record;
mod status;
mod store;

pub use status::{State, Status};

pub(crate) use record::{Identity, Record};
pub(crate) use status::{alive, status_of};
pub(crate) use store::{Entry, Lock, Store};
