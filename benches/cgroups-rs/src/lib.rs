//! Only tests: `tests/compare.rs`.
