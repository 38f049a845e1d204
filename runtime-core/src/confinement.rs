//! What confines the runtime itself: the seccomp filter of a container that it runs in.
//!
//! A filter's answer looks like the kernel's. So when a call was refused, the calls of a launch are tried
//! with arguments that do nothing, and the error names those that the filter denies.

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::probe::{self, Denied};

/// Adds to an error what a filter has to do with it.
pub(crate) trait Explained {
    /// The same, with a hint if a filter denies what was tried.
    fn explained(self) -> Self;
}

impl<T> Explained for Result<T> {
    fn explained(self) -> Self {
        self.map_err(|error| match error.raw_errno() {
            Some(Errno::EPERM | Errno::ENOSYS) => explain(error, &probe::denied()),
            None if is_bad_call(&error) => explain_death(error, &probe::denied()),
            _ => error,
        })
    }
}

/// Whether a child was killed for a call.
fn is_bad_call(error: &Error) -> bool {
    error.to_string().contains(&format!("killed by signal {}", libc::SIGSYS))
}

/// The container's own profile may have done that: only a filter around the runtime is told.
fn explain_death(error: Error, denied: &Denied) -> Error {
    if denied.deadly.is_empty() || error.has_hint() {
        return error;
    }
    error.hint(hint("kills the callers of", &denied.deadly))
}

fn explain(error: Error, denied: &Denied) -> Error {
    let text = error.to_string();
    let is_named =
        |call: &&&str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == **call);
    let named: Vec<&str> = denied.surely.iter().filter(is_named).copied().collect();
    let perhaps: Vec<&str> = denied.perhaps.iter().filter(is_named).copied().collect();
    match () {
        () if !named.is_empty() => error.hint(hint("denies", &named)),
        // The kernel's own reason is likelier.
        () if !perhaps.is_empty() => error.or_hint(hint("may deny", &perhaps)),
        () if denied.surely.is_empty() || error.has_hint() => error,
        () => error.hint(hint("denies", &denied.surely)),
    }
}

fn hint(does: &str, calls: &[&str]) -> String {
    format!(
        "a seccomp filter around the runtime {does} {}: if it is that of an outer container, allow this in its \
         profile or start it with --security-opt seccomp=unconfined",
        calls.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(surely: &[&'static str], perhaps: &[&'static str]) -> Denied {
        Denied { surely: surely.to_vec(), perhaps: perhaps.to_vec(), deadly: Vec::new() }
    }

    fn hint_of(text: &'static str, denied: &Denied) -> String {
        let text = explain(Error::system(text, Errno::EPERM), denied).to_string();
        text.split_once("hint: ").map(|(_, hint)| hint.to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_call_that_failed_is_named_alone() {
        let filter = denied(&["bpf", "open_tree"], &["fsopen"]);
        assert!(hint_of("open the root: open_tree", &filter).contains("denies open_tree:"));
        assert!(hint_of("mount \"proc\": fsopen", &filter).contains("may deny fsopen:"));
        assert!(hint_of("open the state directory", &filter).contains("denies bpf, open_tree:"));
        assert_eq!(hint_of("open the state directory", &denied(&[], &["fsopen"])), "");
    }

    #[test]
    fn a_filter_that_kills_is_told_where_something_was_killed_for_a_call() {
        let killed = |signal: i32| Error::invalid("init", format!("it was killed by signal {signal}"));
        assert!(is_bad_call(&killed(libc::SIGSYS)) && !is_bad_call(&killed(libc::SIGKILL)));
        let deadly = Denied { deadly: vec!["bpf"], ..Denied::default() };
        let text = explain_death(killed(libc::SIGSYS), &deadly).to_string();
        assert!(text.contains("kills the callers of bpf:"), "{text}");
        assert!(!explain_death(killed(libc::SIGSYS), &denied(&["bpf"], &[])).has_hint());
    }

    #[test]
    fn a_hint_of_the_call_itself_stays_unless_the_filter_denies_that_call() {
        let error = || Error::system("clone3 of the container's init", Errno::EPERM).hint("ask root");
        assert!(explain(error(), &denied(&["bpf"], &[])).to_string().ends_with("hint: ask root"));
        assert!(explain(error(), &denied(&["clone3"], &[])).to_string().contains("denies clone3"));
        let both = explain(error(), &denied(&[], &["clone3"])).to_string();
        assert!(both.contains("hint: ask root; or a seccomp filter") && both.contains("may deny clone3"));
    }
}
