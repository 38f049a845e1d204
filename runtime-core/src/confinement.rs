//! What confines the runtime itself: an old kernel, or the seccomp filter of a container that it runs in.
//!
//! A filter's answer looks like the kernel's. So when a call was refused, the calls of a launch are tried
//! with arguments that do nothing, and the error names those that are missing or that the filter denies. The
//! version of the kernel decides nothing: distributions add newer calls to their older kernels.

use nix::errno::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::sys::probe::{self, Denied};

/// The first kernel that has every call for which there is no substitute.
const NEEDED: &str = "5.15";

/// Adds to an error what a filter has to do with it.
pub(crate) trait Explained {
    /// The same, with a hint if a filter denies what was tried.
    fn explained(self) -> Self;
}

impl<T> Explained for Result<T> {
    fn explained(self) -> Self {
        self.map_err(|error| match error.raw_errno() {
            Some(Errno::ENOSYS) => {
                let error = without_calls(error, &probe::missing(), Host::new().kernel());
                explain(error, &probe::denied())
            }
            Some(Errno::EPERM) => explain(error, &probe::denied()),
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
    if denied.deadly.is_empty() || error.hint().is_some() {
        return error;
    }
    error.with_hint(hint("kills the callers of", &denied.deadly))
}

/// The error of a kernel that lacks calls: the one that the error is about, else all. What was to be done with
/// it does not matter, since nothing of the kind can be done.
fn without_calls(error: Error, missing: &[&str], (major, minor): (u32, u32)) -> Error {
    let text = error.to_string();
    let named: Vec<&str> = missing.iter().copied().filter(|call| names(&text, call)).collect();
    let calls = if named.is_empty() { missing } else { &named };
    let are = match calls {
        [] => return error,
        [_] => "is",
        [_, _, ..] => "are",
    };
    Error::new(ErrorKind::Unsupported, format!("needs Linux {NEEDED}, this is {major}.{minor}"))
        .reason(format!("{} {are} missing", calls.join(", ")))
}

/// Whether the text has the name of the call as a word.
fn names(text: &str, call: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == call)
}

fn explain(error: Error, denied: &Denied) -> Error {
    let text = error.to_string();
    let is_named = |call: &&&str| names(&text, call);
    let named: Vec<&str> = denied.surely.iter().filter(is_named).copied().collect();
    let perhaps: Vec<&str> = denied.perhaps.iter().filter(is_named).copied().collect();
    match () {
        () if !named.is_empty() => error.with_hint(hint("denies", &named)),
        // The kernel's own reason is likelier.
        () if !perhaps.is_empty() => error.or_hint(hint("may deny", &perhaps)),
        () if denied.surely.is_empty() || error.hint().is_some() => error,
        () => error.with_hint(hint("denies", &denied.surely)),
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
    fn an_old_kernel_is_named_with_what_it_lacks() {
        let error =
            |operation: &'static str| Error::system(operation, Errno::ENOSYS).frame("error during init");
        let text = |operation, missing: &[&str]| {
            let error = without_calls(error(operation), missing, (5, 10));
            (error.launch_frame().is_some(), error.to_string())
        };
        let all = ["mount_setattr", "openat2"];
        let one = "needs Linux 5.15, this is 5.10: mount_setattr is missing";
        assert_eq!(text("change \"/x\": mount_setattr", &all), (false, one.to_owned()));
        let both = "needs Linux 5.15, this is 5.10: mount_setattr, openat2 are missing";
        assert_eq!(text("open the state directory", &all), (false, both.to_owned()));
        assert_eq!(text("keyctl", &[]), (true, "keyctl: function not implemented".to_owned()));
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
        assert!(explain_death(killed(libc::SIGSYS), &denied(&["bpf"], &[])).hint().is_none());
    }

    #[test]
    fn a_hint_of_the_call_itself_stays_unless_the_filter_denies_that_call() {
        let error = || Error::system("clone3 of the container's init", Errno::EPERM).with_hint("ask root");
        assert!(explain(error(), &denied(&["bpf"], &[])).to_string().ends_with("hint: ask root"));
        assert!(explain(error(), &denied(&["clone3"], &[])).to_string().contains("denies clone3"));
        let both = explain(error(), &denied(&[], &["clone3"])).to_string();
        assert!(both.contains("hint: ask root; or a seccomp filter") && both.contains("may deny clone3"));
    }
}
