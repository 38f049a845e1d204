//! Device rules as properties, for the devices controller of cgroup v1.
//!
//! systemd writes that controller itself, at first and again whenever it thinks that it has to: for a unit
//! without rules it would allow everything. So it is told the same rules. It has no words for a minor
//! number of any major; those are left out and stay denied when systemd writes.
//!
//! On v2 the rules are a program, and systemd knows nothing of it.

use super::super::Write;
use super::properties::Property;
use super::value::Value;

const ALLOW: &str = "DeviceAllow";

/// The properties for the lines of a plan; none on v2.
pub(super) fn of_lines(writes: &[Write]) -> Vec<Property> {
    if writes.is_empty() {
        return Vec::new();
    }
    let lines = writes.iter().map(|write| (write.file.as_ref(), write.value.as_str()));
    let (policy, allowed) = rules(lines);
    [vec![policy], allowed].concat()
}

/// The properties that replace the rules of a unit by those of lines.
pub(super) fn instead<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Property> {
    let (policy, allowed) = rules(lines);
    // An empty list forgets the former one.
    [vec![policy, Property::new(ALLOW, list(Vec::new()))], allowed].concat()
}

/// The policy, and the list if there is one. Lines begin with one for all devices.
fn rules<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Property, Vec<Property>) {
    let (mut first, mut denies) = ("", false);
    let mut nodes = Vec::new();
    for (file, line) in lines {
        match line.strip_prefix("a ") {
            Some(_) => first = file,
            None if file == "devices.deny" => denies = true,
            None => nodes.extend(node(line)),
        }
    }
    let policy = |name| Property::new("DevicePolicy", Value::text(name));
    match (first, denies) {
        ("devices.deny", _) => (policy("strict"), vec![Property::new(ALLOW, list(nodes))]),
        // There is no list of what is denied: when systemd writes, nothing is allowed.
        (_, true) => (policy("strict"), Vec::new()),
        (_, false) => (policy("auto"), Vec::new()),
    }
}

fn list(nodes: Vec<Value>) -> Value {
    Value::Array("(ss)".into(), nodes)
}

/// `c 1:3 rwm` as node and access.
fn node(line: &str) -> Option<Value> {
    let (kind, rest) = line.split_once(' ')?;
    let (numbers, access) = rest.split_once(' ')?;
    let (major, minor) = numbers.split_once(':')?;
    let kind = if kind == "b" { "block" } else { "char" };
    let name = match (major, minor) {
        ("*", "*") => format!("{kind}-*"),
        ("*", _) => return None,
        // A group of /proc/devices, or (version 240) its number.
        (major, "*") => format!("{kind}-{major}"),
        // These need not exist.
        _ => format!("/dev/{kind}/{numbers}"),
    };
    Some(Value::Struct(vec![Value::text(name), Value::text(access)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, access: &str) -> Value {
        Value::Struct(vec![Value::text(name), Value::text(access)])
    }

    #[test]
    fn what_is_allowed_is_a_list() {
        let lines = [
            ("devices.deny", "a *:* rwm"),
            ("devices.allow", "b *:* m"),
            ("devices.allow", "c 136:* rw"),
            ("devices.allow", "c *:7 r"),
            ("devices.allow", "c 1:3 rwm"),
        ];
        let nodes = vec![pair("block-*", "m"), pair("char-136", "rw"), pair("/dev/char/1:3", "rwm")];
        let strict = Property::new("DevicePolicy", Value::text("strict"));
        let allowed = Property::new(ALLOW, list(nodes));
        assert_eq!(instead(lines), [strict, Property::new(ALLOW, list(Vec::new())), allowed]);
    }

    #[test]
    fn what_is_denied_is_not() {
        let lines = [("devices.allow", "a *:* rwm"), ("devices.deny", "c 1:3 rwm")];
        let policy = |name| Property::new("DevicePolicy", Value::text(name));
        let none = || Property::new(ALLOW, list(Vec::new()));
        assert_eq!(instead(lines), [policy("strict"), none()]);
        assert_eq!(instead([lines[0]]), [policy("auto"), none()]);
        assert_eq!(of_lines(&[]), []);
    }
}
