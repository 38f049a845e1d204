//! What every test of the program needs: its path, commands with a limit of time, bundles.
//!
//! | variable | effect |
//! |---|---|
//! | `RUNTIME_UNDER_TEST` | path of the runtime (default: this build's) |
//! | `REQUIRE_PRIVILEGED=1` | fail instead of skipping what needs root |
//! | `CGROUP_VIEW=v1\|v2` | see only cgroup version 1 or 2 (default: the machine as it is) |

#[path = "../../../runtime-core/tests/support/apart.rs"]
pub(crate) mod apart;
mod bundle;
mod command;
mod privileged;

pub(crate) use bundle::{Bundle, Container};
pub(crate) use command::{Run, Running, copy_runtime, finish, read_until, runtime, runtime_path, until};
pub(crate) use privileged::privileged;
