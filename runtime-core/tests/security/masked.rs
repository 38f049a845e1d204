//! masked
