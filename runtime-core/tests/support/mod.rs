//! What the tests of whole containers share. Each of them uses a part.

#![allow(dead_code)]

pub(crate) mod apart;
pub(crate) mod leftovers;
pub(crate) mod scene;
pub(crate) mod tracer;
pub(crate) mod views;
pub(crate) mod worker;
