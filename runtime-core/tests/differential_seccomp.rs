//! The seccomp compiler against libseccomp, the library that runc and crun use.
//!
//! The oracle is libseccomp's own program (found at run time; Debian: libseccomp2) run by our interpreter, with a model
//! of runc's ENOSYS rule in front. libseccomp 2.5.4 has faults of its own: with several architectures it can
//! leave out the load of the number and compare the architecture's token instead; where conditions of one
//! call share a 32-bit comparison it loses or adds a match, or takes another of several matching rules
//! depending on the half of the argument. There a direct reading of the profile decides; such verdicts are
//! counted, ours must be one that the profile justifies, and none may occur in a recorded profile.
//!
//! `SECCOMP_PROFILES` is the number of random profiles (default 300), `SECCOMP_SEED` the seed.

mod differential {
    pub(super) mod libseccomp;
    pub(super) mod model;
    pub(super) mod random;
}

use std::collections::BTreeSet;

use differential::libseccomp::{Library, Refused};
use differential::{model, random};
use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall, Spec};
use runtime_core::seccomp::{Architecture, Call, Filter, evaluate};

const CONFIGS: [(&str, &str); 5] = [
    ("Docker", include_str!("fixtures/configs/docker-config.json")),
    ("Docker, user namespace", include_str!("fixtures/configs/docker-config-userns.json")),
    ("containerd CRI", include_str!("fixtures/configs/containerd-2.4-cri-container-config.json")),
    ("Podman", include_str!("fixtures/configs/podman-config.json")),
    ("Podman, rootless", include_str!("fixtures/configs/podman-rootless-config.json")),
];

const X32_BIT: u32 = 0x4000_0000;

#[derive(Default)]
struct Count {
    profiles: usize,
    verdicts: usize,
    refused_by_both: usize,
    refused_by_libseccomp: usize,
    refused_by_us: usize,
    libseccomp_faults: usize,
    other_of_several: usize,
    libseccomp_lost: usize,
}

/// The library, or `None` where it is not installed and does not have to be.
fn library() -> Option<Library> {
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: the oracle is only set up for x86_64");
        return None;
    }
    let library = Library::open();
    if library.is_none() {
        assert!(
            std::env::var_os("REQUIRE_PRIVILEGED").is_none_or(|value| value != "1"),
            "libseccomp2 is required"
        );
        eprintln!("skipped: no libseccomp.so.2");
    }
    library
}

/// The profile without names that the library does not know, and how many those were.
fn known_to(library: &Library, profile: &LinuxSeccomp) -> (LinuxSeccomp, BTreeSet<String>) {
    let mut unknown = BTreeSet::new();
    let mut profile = profile.clone();
    let syscalls: Vec<LinuxSyscall> = profile.syscalls().iter().flatten().cloned().collect();
    let syscalls = syscalls
        .into_iter()
        .map(|mut syscall| {
            let (kept, lost): (Vec<String>, Vec<String>) =
                syscall.names().iter().cloned().partition(|name| library.knows(name));
            unknown.extend(lost);
            syscall.set_names(kept);
            syscall
        })
        .collect();
    profile.set_syscalls(Some(syscalls));
    (profile, unknown)
}

/// The values around each constant of the profile, for one argument at a time and for all.
fn argument_sets(rules: &[&LinuxSyscall], sets: &mut Vec<[u64; 6]>) {
    sets.clear();
    sets.push([0; 6]);
    sets.push([u64::MAX; 6]);
    let mut values = BTreeSet::new();
    let mut satisfying = [0u64; 6];
    for argument in rules.iter().flat_map(|rule| rule.args().iter().flatten()) {
        for constant in [argument.value(), argument.value_two().unwrap_or(0)] {
            values.extend([
                constant,
                constant.wrapping_add(1),
                constant.wrapping_sub(1),
                constant ^ 1 << 32,
                constant.wrapping_add(1 << 32),
                constant.wrapping_sub(1 << 32),
                constant & 0xffff_ffff,
            ]);
        }
        satisfying[argument.index() % 6] = argument.value_two().unwrap_or(argument.value());
    }
    sets.push(satisfying);
    for value in values {
        sets.push([value; 6]);
        for index in 0..6 {
            let mut set = satisfying;
            set[index] = value;
            sets.push(set);
        }
    }
}

/// Compares one profile; panics at a difference that is ours.
fn compare(library: &Library, profile: &LinuxSeccomp, label: &str, count: &mut Count) {
    let ours = Filter::from_profile(profile);
    let theirs = library.compile(profile);
    if matches!(theirs, Err(Refused::Lost)) {
        count.libseccomp_lost += 1;
        return;
    }
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return count.refused_by_both += 1,
        (Ok(_), Err(_)) => return count.refused_by_libseccomp += 1,
        (Err(error), Ok(_)) => {
            assert!(error.to_string().contains("contradicts"), "{label}: {error}");
            return count.refused_by_us += 1;
        }
    };
    count.profiles += 1;
    let reading = model::Reading::new(library, profile);
    let mut sets = Vec::new();
    for architecture in Architecture::ALL {
        let mut bases = vec![0, 0x8000_0000, 0xffff_fe00];
        if architecture == Architecture::X86_64 {
            bases.extend([X32_BIT, 0xc000_0000]);
        }
        if architecture == Architecture::Arm {
            bases.push(0xf_0000);
        }
        for number in
            bases.into_iter().flat_map(|base: u32| (0..600).filter_map(move |n: u32| n.checked_add(base)))
        {
            let rules = reading.rules(architecture, number);
            argument_sets(&rules, &mut sets);
            for arguments in &sets {
                let call = Call { number, arch: architecture.audit_token(), arguments: *arguments };
                let got = ours.verdict(&call);
                let stub = reading.enosys(&call);
                let wanted =
                    stub.or_else(|| evaluate(&theirs, &call)).expect("libseccomp's program is valid");
                count.verdicts += 1;
                if got != wanted {
                    let allowed = reading.allows(&rules, &call);
                    assert!(
                        allowed.contains(&got) && (allowed.len() > 1 || !allowed.contains(&wanted)),
                        "{label}: {architecture} {call:x?}: {got:#x} instead of {wanted:#x}; {rules:?}"
                    );
                    if allowed.contains(&wanted) {
                        count.other_of_several += 1;
                    } else {
                        count.libseccomp_faults += 1;
                    }
                }
            }
        }
    }
}

#[test]
fn recorded_profiles() {
    let Some(library) = library() else { return };
    for (name, config) in CONFIGS {
        let spec: Spec = serde_json::from_str(config).unwrap();
        let profile = spec.linux().as_ref().unwrap().seccomp().clone().unwrap();
        let (known, unknown) = known_to(&library, &profile);
        let mut count = Count::default();
        compare(&library, &known, name, &mut count);
        let full = Filter::from_profile(&profile).unwrap();
        println!(
            "{name}: {} verdicts equal, {} instructions (libseccomp {}, as binary tree {}), not in libseccomp: {unknown:?}",
            count.verdicts,
            full.program().len(),
            library.compile(&known).unwrap().len(),
            library.compile_tree(&known).unwrap().len(),
        );
        assert_eq!((count.profiles, count.libseccomp_faults, count.other_of_several), (1, 0, 0));
    }
}

#[test]
fn random_profiles() {
    let Some(library) = library() else { return };
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a decimal number"))
    };
    let profiles = number("SECCOMP_PROFILES", 300);
    let seed = number("SECCOMP_SEED", u64::from(std::process::id()) << 20 | 0x5ecc);
    println!("SECCOMP_SEED={seed} SECCOMP_PROFILES={profiles}");
    let mut random = random::Random::new(seed);
    let mut count = Count::default();
    for index in 0..profiles {
        let profile = random.profile(&library);
        compare(&library, &profile, &format!("SECCOMP_SEED={seed}, profile {index}"), &mut count);
    }
    println!(
        "{} profiles, {} verdicts compared; refused by both {}, by libseccomp only {}, by us only {}; \
         libseccomp hangs or crashes on {}; \
         {} verdicts where libseccomp breaks the profile, {} where it takes another of several matching rules",
        count.profiles,
        count.verdicts,
        count.refused_by_both,
        count.refused_by_libseccomp,
        count.refused_by_us,
        count.libseccomp_lost,
        count.libseccomp_faults,
        count.other_of_several
    );
    // Its faults are rare; many differences would be ours.
    assert!((count.libseccomp_faults + count.other_of_several) * 100 < count.verdicts);
    assert!(count.profiles as u64 * 2 > profiles);
}

#[test]
fn tables_agree() {
    let Some(library) = library() else { return };
    let mut compared = 0;
    let mut different = Vec::new();
    for number in 0..600 {
        for architecture in Architecture::ALL {
            let Some(name) = library.name(architecture, number) else {
                continue;
            };
            let multiplexed =
                architecture == Architecture::X86 && library.number(architecture, &name).is_none();
            compared += 1;
            let wanted = if architecture == Architecture::X32 { number | X32_BIT } else { number };
            if !multiplexed && architecture.syscall_number(&name) != Some(wanted) {
                different.push((architecture, name, number));
            }
        }
    }
    println!("{compared} numbers compared, different: {different:?}");
    assert!(compared > 1900 && different.is_empty());
}
