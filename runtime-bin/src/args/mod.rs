//! The command line: one table of commands and options, and what is made from it.
//!
//! [`commands::COMMANDS`] and [`options::GLOBAL`] describe every command and option once; the
//! parser, the help texts and the shell completions are all read from them.

pub(crate) mod commands;
pub(crate) mod completion;
pub(crate) mod help;
pub(crate) mod man;
pub(crate) mod options;
mod parse;
mod values;

pub(crate) use options::Opt;
pub(crate) use parse::{Matches, Request, parse};
pub(crate) use values::Values;
