//! Thin system-call wrappers: with `child` and `launch` the only unsafe code of the library.
#![allow(unsafe_code)]

pub(crate) mod raw;
