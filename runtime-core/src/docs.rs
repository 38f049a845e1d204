//! Guides: pages about what concerns a whole program, not one item.

#[doc = include_str!("../docs/reaping.md")]
pub mod reaping {}
