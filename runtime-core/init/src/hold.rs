//! The page that a created container waits on, if its filter has a listener ([`crate::ops::WaitOp::Hold`]).

/// Its address in the init: below everything that the kernel maps by itself, above the program.
pub const PAGE: usize = 0x1000_0000;

/// Bytes from there on that are registered: the largest page of Linux's 64-bit architectures. One page of them is filled.
pub const PAGE_BYTES: usize = 0x1_0000;
