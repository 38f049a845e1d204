//! Rules of devices, and the lines that the v1 controller shows.

use super::{Access, DeviceRules, parse_v1_line};
use crate::spec::parse_resources;

pub(crate) fn rules(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        parse_v1_line(line);
        Access::parse(line);
    }
    let Ok((resources, _)) = parse_resources(bytes, "resources") else { return };
    let Ok(rules) = DeviceRules::from_resources(resources.devices.as_deref()) else { return };
    let program = rules.program();
    for (at, instruction) in program.iter().enumerate() {
        // Jumps (class 5) lead forward and into the program; the call of the verifier ends.
        let [code, _, low, high, ..] = instruction.to_ne_bytes();
        let to = at as i64 + 1 + i64::from(i16::from_ne_bytes([low, high]));
        assert!(code & 7 != 5 || code == 0x95 || (at as i64 + 1..program.len() as i64).contains(&to), "{at}");
    }
    for (file, line) in rules.v1_lines() {
        assert!(matches!(file, "devices.allow" | "devices.deny") && !line.contains('\n'), "{line:?}");
    }
}
