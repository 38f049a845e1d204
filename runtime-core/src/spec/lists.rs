//! Lists in the place of objects.
//!
//! serde reads a structure from a list too, member by member: `"memory": [1000]` would be a limit, and `"hooks": []` no
//! hooks. The specification knows no such form.

use super::locate::path_of;
use super::names::string_length;

/// The objects of a configuration, by their names and sorted; which of a name are meant says [`PLACES`].
const NAMES: &[&str] = &[
    "blockIO",
    "capabilities",
    "cpu",
    "execCPUAffinity",
    "hooks",
    "intelRdt",
    "ioPriority",
    "linux",
    "memory",
    "memoryPolicy",
    "network",
    "personality",
    "pids",
    "process",
    "resources",
    "root",
    "scheduler",
    "seccomp",
    "user",
];

/// Where the objects stand, by the name of what holds them.
const PLACES: &[(&str, &[&str])] = &[
    ("", &["hooks", "linux", "process", "root"]),
    ("process", &["capabilities", "execCPUAffinity", "ioPriority", "scheduler", "user"]),
    ("linux", &["intelRdt", "memoryPolicy", "personality", "resources", "seccomp"]),
    ("linux.resources", &["blockIO", "cpu", "memory", "network", "pids"]),
];

/// What a text is, for the JSON paths in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// A whole configuration, or the object of it that has this JSON path.
    Object(&'static str),
    /// A list, in which nothing of this is looked for.
    List,
}

/// JSON paths of the lists that stand where an object has to.
pub(super) fn in_place_of_objects(bytes: &[u8], text: Text) -> Vec<String> {
    let Text::Object(whole) = text else { return Vec::new() };
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins == Some(&b'[') {
        return vec![String::new()];
    }
    candidates(bytes).into_iter().filter(|path| is_object(whole, path)).collect()
}

/// Whether the specification has an object at this path of a text.
fn is_object(whole: &str, path: &str) -> bool {
    let path = match whole {
        "" => path.to_owned(),
        whole => format!("{whole}.{path}"),
    };
    let (place, name) = path.rsplit_once('.').unwrap_or(("", &path));
    PLACES.iter().any(|(known, names)| *known == place && names.contains(&name))
}

/// JSON paths of lists behind a name of an object.
fn candidates(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0_usize;
    while let Some(rest) = bytes.get(at..) {
        let Some(quote) = rest.iter().position(|byte| *byte == b'"') else { break };
        let begin = at.saturating_add(quote).saturating_add(1);
        let Some(length) = bytes.get(begin..).and_then(string_length) else { break };
        let end = begin.saturating_add(length);
        at = end.saturating_add(1);
        let is_named = bytes
            .get(begin..end)
            .is_some_and(|name| NAMES.binary_search_by(|known| known.as_bytes().cmp(name)).is_ok());
        if let Some(list) = is_named.then(|| list_behind(bytes, at)).flatten() {
            found.push(path_of(bytes.get(..list).unwrap_or_default()));
        }
    }
    found
}

/// Where a list begins, if `at` is followed by a colon and one.
fn list_behind(bytes: &[u8], at: usize) -> Option<usize> {
    let mut signs = bytes.iter().enumerate().skip(at).filter(|(_, byte)| !byte.is_ascii_whitespace());
    let is_colon = signs.next().is_some_and(|(_, byte)| *byte == b':');
    signs.next().filter(|(_, byte)| is_colon && **byte == b'[').map(|(list, _)| list)
}

#[cfg(test)]
mod tests {
    use super::{NAMES, PLACES, Text, in_place_of_objects};

    #[test]
    fn every_object_has_its_name_and_its_place() {
        assert!(NAMES.is_sorted());
        let mut names: Vec<&str> = PLACES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        names.sort_unstable();
        assert_eq!(names, NAMES);
    }

    #[test]
    fn lists_where_objects_have_to_be() {
        let config = Text::Object("");
        let cases: &[(&str, Text, &[&str])] = &[
            (
                r#"{"hooks": [], "linux":{"resources":{"memory" : [1]}}}"#,
                config,
                &["hooks", "linux.resources.memory"],
            ),
            (r#"{"memory":[1],"user":[]}"#, Text::Object("linux.resources"), &["memory"]),
            (r#"{"user":[0,0],"args":[]}"#, Text::Object("process"), &["user"]),
            (" [ ]", config, &[""]),
            ("[]", Text::List, &[]),
            // What the specification does not know is passed over, values are no names, and lists are lists.
            (r#"{"other":{"memory":[]},"memory":[],"mounts":[],"annotations":{"a":"hooks"}}"#, config, &[]),
            (r#"{"linux":{"resources":{"devices":[]},"x\"hooks":[]}}"#, config, &[]),
            (r#"{"hooks":"#, config, &[]),
            (r#"{"hooks"#, config, &[]),
        ];
        for (text, kind, wanted) in cases {
            assert_eq!(in_place_of_objects(text.as_bytes(), *kind), *wanted, "{text}");
        }
    }
}
