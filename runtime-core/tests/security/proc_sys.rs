//! proc_sys
