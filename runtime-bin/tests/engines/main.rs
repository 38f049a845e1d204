//! The runtime under real engines: Docker and docker-compose, containerd by `ctr` and by its CRI, CRI-O's monitor,
//! Podman and Buildah with and without root; and inside containers of Docker and Podman. ENGINES.md says
//! which check shows what.
//!
//! The tests know the runtime only by its path: `RUNTIME_UNDER_TEST`, or else the `runtime` of this build.
//! What holds for the runtime must hold for runc, so a failure counts only if
//! `RUNTIME_UNDER_TEST=/usr/sbin/runc` passes at the same place.
//!
//! Each `#[test]` is one engine. It starts itself again inside private mount, network and PID
//! namespaces (see [`support::engine_test`]), so that nothing on the machine is touched and the end
//! of the test is the end of every process it started. Inside it runs many named checks; a failed
//! check does not stop the next one.
//!
//! | variable | effect |
//! |---|---|
//! | `RUNTIME_UNDER_TEST` | path of the runtime |
//! | `ENGINE_SECCOMP=unconfined` | no seccomp profile, for a runtime that cannot load one yet |
//! | `ENGINES_ONLY=TEXT` | only the checks whose name contains the text |
//! | `CGROUP_VIEW=v1` | without the cgroup2 mount of a hybrid machine |
//! | `ENGINES_KEEP=1` | leave the directory with the daemons' logs |
//!
//! The Debian packages that are needed are listed in `.ci/packages-engines.txt`; a missing one is a
//! failure, never a skip. Skipped are only checks whose cgroup controller the machine lacks.

mod buildah;
mod cri;
mod crio;
mod ctr;
mod docker;
mod image;
mod inner;
mod page;
mod podman;
#[path = "../cli/seccomp_agent.rs"]
#[allow(dead_code, reason = "the tests of the command line use more of it")]
mod seccomp_agent;
mod support;
