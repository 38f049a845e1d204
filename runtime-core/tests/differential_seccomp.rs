//! The seccomp compiler against libseccomp, the library that runc and crun use.
//!
//! The oracle is libseccomp's own program (found at run time; Debian: libseccomp2) with a model of runc's
//! ENOSYS rule in front. Both programs are followed over ranges of numbers, so that each architecture's whole
//! space of 2^32 numbers is compared, and run with argument values around every constant of the profile. Our
//! program is also loaded: the kernel's verdicts on calls of x86_64, x32 and i386 must be the interpreter's.
//!
//! For the recorded profiles of engines no verdict may differ. With random profiles libseccomp 2.5.4 shows
//! faults of its own. A difference counts as one of them only if ours is a verdict that a direct reading of
//! the profile justifies, and if one of these holds, else the test fails:
//!
//! * `confused`: libseccomp's program makes a comparison, on the way of this call, without knowing of what: ways
//!   lead there with different words in the accumulator, or with the architecture's token where a number is
//!   meant. It lost a load.
//! * `unjustified`: two rules of the call share a 32-bit comparison, which libseccomp makes one node of its
//!   tree, and its verdict is that of no rule that matches.
//! * `merged`: two rules share a comparison and several rules match; which one libseccomp takes depends on
//!   the order of the rules and on the half of the argument that decides.
//! * `refused_shared`: libseccomp refuses two rules that share a comparison though they do not contradict
//!   each other. (It also keeps, and refuses, rules for calls that an architecture lacks.)
//! * `taken_shared`: a rule contradicts a longer one that begins with the same comparisons, which both
//!   compilers refuse; but libseccomp does not see it when it has merged the end of the longer one into a
//!   third rule.
//!
//! Where no comparison is shared, the order of rules that match together is compared too.
//!
//! `SECCOMP_PROFILES` is the number of random profiles (default 10000), `SECCOMP_SEED` the seed; profile
//! number n of a seed is the first of the seed plus n.

mod differential {
    pub(super) mod compare;
    pub(super) mod kernel;
    pub(super) mod libseccomp;
    pub(super) mod model;
    pub(super) mod random;
    pub(super) mod walk;
}

use std::collections::BTreeSet;

use differential::compare::{self, Count};
use differential::libseccomp::{Library, action};
use differential::random;
use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall, Spec};
use runtime_core::seccomp::{Architecture, Call, Filter, ListedArchitecture};
use serde_json::Value;

const CONFIGS: [(&str, &str); 5] = [
    ("Docker", include_str!("fixtures/configs/docker-config.json")),
    ("Docker, user namespace", include_str!("fixtures/configs/docker-config-userns.json")),
    ("containerd CRI", include_str!("fixtures/configs/containerd-2.4-cri-container-config.json")),
    ("Podman", include_str!("fixtures/configs/podman-config.json")),
    ("Podman, rootless", include_str!("fixtures/configs/podman-rootless-config.json")),
];

const X32_BIT: u32 = 0x4000_0000;

/// Of Debian's `golang-github-containers-common`.
const CONTAINERS_COMMON: &str = "/usr/share/containers/seccomp.json";

/// Whether nothing may be skipped.
fn is_required() -> bool {
    std::env::var_os("REQUIRE_PRIVILEGED").is_some_and(|value| value == "1")
}

/// The library, or `None` where it is not installed and does not have to be.
fn library() -> Option<Library> {
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: the oracle is only set up for x86_64");
        return None;
    }
    let library = Library::open();
    if library.is_none() {
        assert!(!is_required(), "libseccomp2 is required");
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

#[test]
fn recorded_profiles() {
    let Some(library) = library() else { return };
    for (name, config) in CONFIGS {
        let spec: Spec = serde_json::from_str(config).unwrap();
        let profile = spec.linux().as_ref().unwrap().seccomp().clone().unwrap();
        recorded(&library, name, &profile);
    }
    let Ok(text) = std::fs::read(CONTAINERS_COMMON) else {
        assert!(!is_required(), "{CONTAINERS_COMMON} is required");
        return eprintln!("skipped: no {CONTAINERS_COMMON}");
    };
    for capable in [false, true] {
        recorded(&library, &format!("containers-common, capable {capable}"), &common_profile(&text, capable));
    }
}

/// The profile of Debian's `golang-github-containers-common`, as its engine would resolve it for x86_64: with
/// every capability or with none.
fn common_profile(text: &[u8], capable: bool) -> LinuxSeccomp {
    let mut profile: Value = serde_json::from_slice(text).unwrap();
    let arches: Vec<Value> = profile["archMap"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|entry| {
            [&entry["architecture"]]
                .into_iter()
                .chain(entry["subArchitectures"].as_array().unwrap())
                .cloned()
                .collect::<Vec<_>>()
        })
        .filter(|name| {
            ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].contains(&name.as_str().unwrap())
        })
        .collect();
    profile["architectures"] = Value::Array(arches);
    let applies = |rule: &Value| {
        let has = |what: &str, key: &str| rule[what][key].as_array().is_some_and(|list| !list.is_empty());
        let arches = rule["includes"]["arches"].as_array();
        (!has("includes", "caps") || capable)
            && (!has("excludes", "caps") || !capable)
            && arches.is_none_or(|names| names.is_empty() || names.contains(&Value::from("amd64")))
    };
    let rules = profile["syscalls"].as_array_mut().unwrap();
    rules.retain(applies);
    for rule in rules {
        let rule = rule.as_object_mut().unwrap();
        rule.retain(|key, value| {
            ["names", "action", "errnoRet", "args"].contains(&key.as_str()) && !value.is_null()
        });
    }
    serde_json::from_value(profile).unwrap()
}

fn recorded(library: &Library, name: &str, profile: &LinuxSeccomp) {
    let (known, unknown) = known_to(library, profile);
    let mut count = Count::default();
    compare::profile(library, &known, name, &mut count);
    let one_by_one = compare::every_number(library, &known, name);
    let full = compare::ours(profile).unwrap();
    let by_number = compare_unknown(profile, &full, &unknown, name);
    println!(
        "{name}: {one_by_one} verdicts one by one, {} ranges of numbers, {} verdicts on arguments, {} of the kernel: {} differ; {} instructions \
         (libseccomp {}, as binary tree {}); {by_number} verdicts on names that libseccomp lacks: {unknown:?}",
        count.ranges,
        count.verdicts,
        count.in_kernel,
        count.differing(),
        full.program().len(),
        library.compile(&known).unwrap().len(),
        library.compile_tree(&known).unwrap().len(),
    );
    assert_eq!((count.profiles, count.differing()), (1, 0));
}

/// Calls that libseccomp has no name for, by their numbers; how many. None of them has conditions.
fn compare_unknown(profile: &LinuxSeccomp, full: &Filter, unknown: &BTreeSet<String>, label: &str) -> usize {
    let mut compared = 0;
    let listed =
        profile.architectures().iter().flatten().filter_map(|arch| ListedArchitecture::from(*arch).known());
    for architecture in listed {
        for name in unknown {
            let Some(number) = architecture.syscall_number(name) else { continue };
            let rule = profile.syscalls().iter().flatten().find(|rule| rule.names().contains(name)).unwrap();
            assert!(rule.args().is_none(), "{label}: {name}");
            let call = Call { number, arch: architecture.audit_token(), arguments: [0; 6] };
            assert_eq!(full.verdict(&call), action(rule.action(), rule.errno_ret()), "{label}: {name}");
            compared += 1;
        }
    }
    compared
}

/// Half of the random profiles: two tests, for two processors.
fn random_profiles(half: u64) {
    let Some(library) = library() else { return };
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a decimal number"))
    };
    let profiles = number("SECCOMP_PROFILES", 10_000) / 2;
    let seed = number("SECCOMP_SEED", u64::from(std::process::id()) << 20 | 0x5ecc);
    println!("SECCOMP_SEED={seed} SECCOMP_PROFILES={}", profiles * 2);
    let mut count = Count::default();
    for index in (0..profiles).map(|index| index * 2 + half) {
        let profile = random::Random::new(seed.wrapping_add(index)).profile(&library);
        compare::profile(&library, &profile, &format!("SECCOMP_SEED={seed}, profile {index}"), &mut count);
    }
    println!("{count:?}");
    // Its faults are rare; many differences would be ours.
    assert!(count.differing() * 20 < count.verdicts);
    assert!(count.profiles as u64 * 2 > profiles);
}

#[test]
fn random_profiles_even() {
    random_profiles(0);
}

#[test]
fn random_profiles_odd() {
    random_profiles(1);
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
