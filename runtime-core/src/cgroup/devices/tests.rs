//! The compiled program, run by an interpreter, against the rules read one by one.

use super::*;

/// Runs the few instructions that a device program is made of.
fn run(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> u64 {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0u64; 11];
    let mut at = 0;
    for _ in 0..100_000 {
        let word = program[at];
        let (code, target, source) = (word as u8, (word >> 8 & 15) as usize, (word >> 12 & 15) as usize);
        let (offset, value) = ((word >> 16) as i16, (word >> 32) as u32);
        at += 1;
        match code {
            0x61 => registers[target] = u64::from(context[offset as usize / 4]),
            0xbc => registers[target] = u64::from(registers[source] as u32),
            0xb4 => registers[target] = u64::from(value),
            0x54 => registers[target] = u64::from(registers[target] as u32 & value),
            0x74 => registers[target] = u64::from(registers[target] as u32 >> value),
            0x56 if registers[target] as u32 != value => at += offset as usize,
            0x16 if registers[target] as u32 == value => at += offset as usize,
            0x56 | 0x16 => {}
            0x95 => return registers[0],
            _ => panic!("code {code:#x}"),
        }
    }
    panic!("the program does not end");
}

fn rules(json: &str) -> Result<DeviceRules> {
    let text = format!(r#"{{"devices": {json}}}"#);
    let (resources, _) = crate::spec::parse_resources(text.as_bytes(), "resources")?;
    DeviceRules::from_resources(resources.devices.as_deref())
}

/// The oracle: the list of rules from its end, the last that says something counts.
fn oracle(
    list: &[(bool, Option<Devices>, Access)],
    kind: Kind,
    access: Access,
    major: u32,
    minor: u32,
) -> bool {
    let start = list.iter().rposition(|(_, devices, _)| devices.is_none());
    let default = start.is_some_and(|start| list[start].0);
    let after = start.map_or(0, |start| start + 1);
    let node = Devices { major: Some(major), minor: Some(minor), kind };
    // What each group of devices ended up with; a group is the same numbers and wildcards.
    let mut exceptions: Vec<(Devices, u8)> = Vec::new();
    for (allow, devices, access) in &list[after..] {
        let devices = devices.unwrap();
        let bits = match exceptions.iter_mut().find(|(known, _)| *known == devices) {
            Some((_, bits)) => bits,
            None => {
                exceptions.push((devices, 0));
                &mut exceptions.last_mut().unwrap().1
            }
        };
        *bits = if *allow == default { *bits & !access.0 } else { *bits | access.0 };
    }
    let mut matching = exceptions.iter().filter(|(devices, _)| devices.covers(node)).map(|(_, bits)| *bits);
    if default {
        !matching.any(|bits| bits & access.0 != 0)
    } else {
        matching.any(|bits| access.0 & !bits == 0)
    }
}

#[test]
fn program_equals_the_rules() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let numbers = [0, 1, 3, 5, 8, 136, 0xffff_fff0];
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..3000 {
        let mut list = Vec::new();
        let mut json = Vec::new();
        for _ in 0..random(7) {
            let allow = random(3) > 0;
            let access = Access(random(7) as u8 + 1);
            let mut number = || (random(3) > 0).then(|| numbers[random(7) as usize]);
            let (major, minor) = (number(), number());
            let kind = match random(7) {
                0 => None,
                1 | 2 => Some(Kind::Block),
                _ => Some(Kind::Character),
            };
            let name = kind.map_or("a", |kind| if kind == Kind::Block { "b" } else { "c" });
            list.push((allow, kind.map(|kind| Devices { major, minor, kind }), access));
            json.push(format!(
                r#"{{"allow": {allow}, "type": "{name}", "major": {}, "minor": {}, "access": "{access}"}}"#,
                major.map_or(-1, i64::from),
                minor.map_or(-1, i64::from)
            ));
        }
        let Ok(rules) = rules(&format!("[{}]", json.join(","))) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        list.extend(DEFAULTS.map(|(devices, access)| (true, Some(devices), access)));
        let program = rules.program();
        for kind in [Kind::Block, Kind::Character] {
            for major in [0, 1, 2, 5, 10, 136, 0xffff_fff0] {
                for minor in [0, 3, 4, 200, 0xffff_fff0] {
                    for access in 1..=7 {
                        let number = if kind == Kind::Block { 1 } else { 2 };
                        let got = run(&program, number, access, major, minor) == 1;
                        let wanted = oracle(&list, kind, Access(access as u8), major, minor);
                        assert_eq!(
                            got,
                            wanted,
                            "{json:?}: {kind:?} {major}:{minor} {}",
                            Access(access as u8)
                        );
                    }
                }
            }
        }
    }
    println!("{accepted} rule lists compared, {refused} refused");
    assert!(accepted > 1000);
}

/// More than one part, and more minor numbers than one answer has.
#[test]
fn many_rules_stay_in_reach() {
    let rule = |number: u32| {
        let (major, minor) = (number % 2, number / 2);
        format!(r#"{{"allow": true, "type": "c", "major": {major}, "minor": {minor}, "access": "rwm"}}"#)
    };
    let list: Vec<_> = (0..240).map(rule).collect();
    let partial = (0..700).map(|number| {
        format!(r#"{{"allow": true, "type": "b", "major": {number}, "minor": 7, "access": "r"}}"#)
    });
    let deny = r#"{"allow": false, "access": "rwm"}"#.to_owned();
    let all: Vec<_> = std::iter::once(deny).chain(list).chain(partial).collect();
    let program = rules(&format!("[{}]", all.join(","))).unwrap().program();
    assert!(program.len() > 4_900, "{}", program.len());
    for (kind, access, major, minor, wanted) in [
        (2, 6, 0, 0, 1),
        (2, 6, 1, 119, 1),
        (2, 6, 1, 120, 0),
        (2, 6, 7, 10, 0),
        (1, 2, 0, 7, 1),
        (1, 2, 699, 7, 1),
        (1, 4, 699, 7, 0),
        (1, 2, 700, 7, 0),
    ] {
        assert_eq!(run(&program, kind, access, major, minor), wanted, "{kind} {access} {major}:{minor}");
    }
}

#[test]
fn docker_rules() {
    let rules = rules(
        r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]"#,
    )
    .unwrap();
    assert!(!rules.allows_everything());
    let program = rules.program();
    println!("{} instructions", program.len());
    assert_eq!(run(&program, 2, 2, 1, 5), 1);
    assert_eq!(run(&program, 2, 6, 10, 229), 1);
    assert_eq!(run(&program, 1, 2, 8, 0), 0);
    assert_eq!(run(&program, 1, 1, 8, 0), 1, "mknod of anything");
    let lines = rules.v1_lines();
    assert_eq!(lines[0], ("devices.deny", "a *:* rwm".to_owned()));
    assert!(lines.contains(&("devices.allow", "c 136:* rwm".to_owned())));
    assert_eq!(rules.v1_changes("c 10:229 rwm\nb *:* m\n").unwrap().last().unwrap().1, "c 10:229 m");
    assert_eq!(rules.v1_changes("a *:* rwm\n").unwrap(), lines);
    assert!(rules.v1_changes("x\n").is_err());
}

#[test]
fn everything_is_no_program() {
    assert!(rules(r#"[{"allow": true, "access": "rwm"}]"#).unwrap().allows_everything());
    assert!(!DeviceRules::from_resources(None).unwrap().allows_everything());
}

#[test]
fn bad_rules_say_where() {
    for (json, wanted) in [
        (r#"[{"allow": true, "type": "c"}]"#, "linux.resources.devices[0].access"),
        (r#"[{"allow": true, "type": "p", "access": "r"}]"#, "linux.resources.devices[0].type"),
        (r#"[{"allow": true, "type": "c", "major": -2, "access": "r"}]"#, "linux.resources.devices[0].major"),
        (r#"[{"allow": true, "type": "c", "major": 4294967296, "access": "r"}]"#, "devices[0].major"),
        (
            r#"[{"allow": true, "type": "c", "major": 4, "access": "rw"},
                {"allow": false, "type": "c", "major": 4, "minor": 1, "access": "w"}]"#,
            "linux.resources.devices[1]",
        ),
    ] {
        let error = rules(json).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
