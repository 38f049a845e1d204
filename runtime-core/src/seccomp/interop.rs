//! Filters of the crate `seccompiler`, and ours as its type.

use seccompiler::{BpfProgram, sock_filter};

use super::{Filter, Instruction};
use crate::error::{Error, Result};

/// The most instructions that the kernel takes (BPF_MAXINSNS).
const LARGEST: usize = 4096;

/// A program that the crate `seccompiler` has compiled, for [`Sandbox::filter`](crate::Sandbox::filter) or
/// [`Filter::install`]. With the feature `seccompiler`.
///
/// It has no flags of seccomp(2). What such a program cannot do, a [`Profile`](super::Profile) can: several actions in one
/// filter, several architectures, a listener. Its program is a list that the kernel walks; ours is a search tree. A
/// program of `seccompiler` ends a process that makes a call of another architecture, such as i386 on x86_64.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use runtime_core::Sandbox;
/// use runtime_core::seccomp::Filter;
/// use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // chroot(2), number 161 on x86_64, fails with EPERM; all other calls are allowed.
/// let filter = SeccompFilter::new(
///     BTreeMap::from([(161, Vec::new())]),
///     SeccompAction::Allow,
///     SeccompAction::Errno(1),
///     TargetArch::x86_64,
/// )?;
/// let filter = Filter::try_from(BpfProgram::try_from(filter)?)?;
/// let process = Sandbox::new("/bin/true").filter(filter).no_new_privileges().spawn()?;
/// assert!(process.wait()?.success());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a program without instructions, or with more than 4096.
impl TryFrom<BpfProgram> for Filter {
    type Error = Error;

    fn try_from(program: BpfProgram) -> Result<Self> {
        if program.is_empty() || program.len() > LARGEST {
            let reason = format!("has {} instructions, not 1 to {LARGEST}", program.len());
            return Err(Error::invalid("BPF program", reason));
        }
        let ours = |&sock_filter { code, jt, jf, k }: &sock_filter| Instruction { code, jt, jf, k };
        Ok(Self { program: program.iter().map(ours).collect(), flags: 0, warnings: Vec::new() })
    }
}

/// The program of a filter, for `seccompiler::apply_filter`. With the feature `seccompiler`.
///
/// That function loads it without [`Filter::flags`], so nothing is logged that asks for it, and it always sets
/// `no_new_privs`. A filter that [needs a listener](Filter::needs_listener) does not work there: its calls fail
/// with ENOSYS.
///
/// ```
/// use runtime_core::seccomp::{Action, CallName, Filter, Profile, SyscallRule};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let names = CallName::new("chroot").into_iter().collect();
/// let rule = SyscallRule { names, action: Action::errno(1).ok_or("too large")?, conditions: Vec::new() };
/// let profile =
///     Profile { default_action: Action::ALLOW, architectures: Vec::new(), flags: None, syscalls: vec![rule] };
/// let program = seccompiler::BpfProgram::from(&Filter::from_profile(&profile)?);
/// seccompiler::apply_filter(&program)?; // for this thread, for good
/// # Ok(())
/// # }
/// ```
impl From<&Filter> for BpfProgram {
    fn from(filter: &Filter) -> Self {
        let theirs = |&Instruction { code, jt, jf, k }: &Instruction| sock_filter { code, jt, jf, k };
        filter.program.iter().map(theirs).collect()
    }
}
