//! Types of other crates that engines hold: filters of seccompiler, cgroups of cgroups-rs.

#[cfg(feature = "seccompiler")]
mod filters {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use runtime_core::seccomp::{Action, CallName, Filter, Profile, SyscallRule};
    use runtime_core::{ErrorKind, Sandbox, Stdio};
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    fn theirs() -> BpfProgram {
        let rules = BTreeMap::from([(libc::SYS_uname, Vec::new())]);
        let deny = SeccompAction::Errno(libc::EPERM as u32);
        let filter =
            SeccompFilter::new(rules, SeccompAction::Allow, deny, TargetArch::x86_64).expect("rules");
        filter.try_into().expect("a program")
    }

    /// The control is the same command without the filter.
    #[test]
    fn a_program_of_seccompiler_confines_a_sandbox() {
        let filter = Filter::try_from(theirs()).expect("a filter");
        for (filter, wanted) in [(Some(filter), ""), (None, "Linux\n")] {
            let sandbox =
                Sandbox::new("/bin/uname").no_new_privileges().stdout(Stdio::piped()).stderr(Stdio::null());
            let sandbox = if let Some(filter) = filter { sandbox.filter(filter) } else { sandbox };
            let mut process = sandbox.spawn().expect("executed");
            let mut seen = String::new();
            process.take_stdout().expect("a pipe").read_to_string(&mut seen).expect("read");
            assert_eq!(seen, wanted);
            assert_eq!(process.wait().expect("waited").success(), !wanted.is_empty());
        }
    }

    #[test]
    fn a_filter_is_one_of_seccompiler() {
        let filter = Filter::try_from(theirs()).expect("a filter");
        assert!(BpfProgram::from(&filter) == theirs(), "and back");
        let names = CallName::new("uname").into_iter().collect();
        let action = Action::errno(libc::EPERM as u16).expect("small");
        let rule = SyscallRule { names, action, conditions: Vec::new() };
        let profile = Profile {
            default_action: Action::ALLOW,
            architectures: Vec::new(),
            flags: None,
            syscalls: vec![rule],
        };
        let program = BpfProgram::from(&Filter::from_profile(&profile).expect("compiled"));
        // The filter stays on the thread, so that is one of its own.
        let seen = std::thread::spawn(move || {
            let before = nix::sys::utsname::uname().map(drop);
            seccompiler::apply_filter(&program).expect("loaded");
            (before, nix::sys::utsname::uname().map(drop))
        });
        assert_eq!(seen.join().expect("ended"), (Ok(()), Err(nix::errno::Errno::EPERM)));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for length in [0, 4097] {
            let instruction = theirs().remove(0);
            let program: BpfProgram = std::iter::repeat_n(instruction, length).collect();
            assert_eq!(Filter::try_from(program).map_err(|error| error.kind()), Err(ErrorKind::InvalidInput));
        }
    }
}

#[cfg(feature = "cgroups-rs")]
mod cgroups {
    use cgroups_rs::fs::{Cgroup as Theirs, hierarchies};
    use runtime_core::cgroup::{Cgroup, CgroupPlan, Hierarchies, Resources};
    use runtime_core::{ErrorKind, Sandbox, Signal};

    fn name() -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return None;
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
        Some(format!("rt-interop-{}-{}", std::process::id(), now.as_nanos()))
    }

    #[test]
    fn ours_is_theirs() {
        let Some(name) = name() else { return };
        let machine = Hierarchies::detect().expect("cgroups");
        let plan =
            CgroupPlan::compile(machine.view(), Some(&format!("/{name}")), &name, &Resources::default());
        let ours = Cgroup::create(&machine, &plan.expect("a plan")).expect("made");
        let process = ours.spawn(Sandbox::new("/bin/sleep").arg("600")).expect("executed");
        let theirs = ours.to_cgroups_rs().expect("opened");
        assert_eq!(theirs.path(), name);
        assert!(theirs.exists());
        let pids: Vec<u64> = theirs.procs().iter().map(|pid| pid.pid).collect();
        assert_eq!(pids, [u64::try_from(process.pid()).expect("a pid")]);
        ours.kill_all().expect("killed");
        process.wait().expect("waited");
        ours.remove().expect("removed");
        assert!(!theirs.exists());
        let gone = ours.to_cgroups_rs().map(|theirs| theirs.exists());
        assert_eq!(gone.ok(), Some(false));
        assert_eq!(
            Cgroup::none().to_cgroups_rs().map_err(|error| error.kind()).err(),
            Some(ErrorKind::Unsupported)
        );
    }

    #[test]
    fn theirs_is_ours() {
        let Some(name) = name() else { return };
        let theirs = Theirs::new(hierarchies::auto(), &name).expect("made");
        let ours = Cgroup::from_cgroups_rs(&theirs).expect("opened");
        let process = ours.spawn(Sandbox::new("/bin/sleep").arg("600")).expect("executed");
        assert_eq!(theirs.procs().len(), 1);
        assert_eq!(ours.signal_all(Signal::NONE).expect("asked"), 1);
        ours.kill_all().expect("killed");
        process.wait().expect("waited");
        ours.remove().expect("removed");
        assert!(!theirs.exists());
        let kind = |theirs: &Theirs| Cgroup::from_cgroups_rs(theirs).map_err(|error| error.kind()).err();
        assert_eq!(kind(&theirs), Some(ErrorKind::NotFound));
        for path in ["", "/", "a/../../b", "a/./b"] {
            assert_eq!(
                kind(&Theirs::load(hierarchies::auto(), path)),
                Some(ErrorKind::InvalidInput),
                "{path:?}"
            );
        }
    }
}
