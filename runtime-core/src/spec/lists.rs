//! Lists in the place of objects.
//!
//! serde reads a structure from a list too, member by member: `"memory": [1000]` would be a limit, and `"hooks": []` no
//! hooks. The specification knows no such form.

use std::borrow::Cow;

use super::names::string_length;

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

/// JSON paths of the lists that stand where an object has to, each once.
pub(super) fn in_place_of_objects(bytes: &[u8], text: Text) -> Vec<String> {
    let Text::Object(whole) = text else { return Vec::new() };
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins == Some(&b'[') {
        return vec![String::new()];
    }
    let mut scan = Scan { whole, open: Vec::new(), depth: 0, name: None, found: Vec::new() };
    let mut rest = bytes;
    // Each byte is looked at once: a text may have 64 MiB.
    while let Some((sign, behind)) = rest.split_first() {
        rest = match sign {
            b'"' => {
                let Some((text, behind)) = string_length(behind).and_then(|end| behind.split_at_checked(end))
                else {
                    break;
                };
                scan.string(text);
                behind.get(1..).unwrap_or_default()
            }
            _ => {
                scan.sign(*sign);
                behind
            }
        };
    }
    scan.found
}

/// The way through a text. Of the objects and lists that are open it knows the outer ones that [`PLACES`] has, and the number
/// of all.
struct Scan {
    whole: &'static str,
    /// The places of the outermost objects.
    open: Vec<&'static str>,
    /// How many objects and lists are open.
    depth: usize,
    /// The last string, if it can be the name of an object.
    name: Option<&'static str>,
    found: Vec<String>,
}

impl Scan {
    fn string(&mut self, text: &[u8]) {
        // A value that looks like a name has no object or list behind it.
        self.name = self.place().and_then(|place| name_in(place, text));
    }

    fn sign(&mut self, sign: u8) {
        match sign {
            b'{' => {
                if let Some(place) = self.place_of_object() {
                    self.open.push(place);
                }
                self.begin();
            }
            b'[' => {
                self.list();
                self.begin();
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.open.truncate(self.depth);
                self.name = None;
            }
            b',' => self.name = None,
            _ => {}
        }
    }

    fn begin(&mut self) {
        self.depth = self.depth.saturating_add(1);
        self.name = None;
    }

    /// The innermost of what is open, if it is an object that is known.
    fn place(&self) -> Option<&'static str> {
        self.open.last().copied().filter(|_| self.open.len() == self.depth)
    }

    /// The place of the object that begins.
    fn place_of_object(&self) -> Option<&'static str> {
        let path = match (self.depth, self.name) {
            (0, _) => self.whole.to_owned(),
            (_, name) => below(self.place()?, name?),
        };
        PLACES.iter().map(|(place, _)| *place).find(|place| *place == path)
    }

    /// Notes the list that begins, if it has the name of an object.
    fn list(&mut self) {
        let (Some(place), Some(name)) = (self.place(), self.name) else { return };
        let path = below(place, name);
        let inner = path.strip_prefix(self.whole).and_then(|path| path.strip_prefix('.'));
        let path = inner.map_or_else(|| path.clone(), str::to_owned);
        if !self.found.contains(&path) {
            self.found.push(path);
        }
    }
}

fn below(place: &str, name: &str) -> String {
    match place {
        "" => name.to_owned(),
        place => format!("{place}.{name}"),
    }
}

/// The name of an object at this place that a string of a text is; it may be written with escapes.
fn name_in(place: &str, text: &[u8]) -> Option<&'static str> {
    let name = match text.contains(&b'\\') {
        true => Cow::Owned(serde_json::from_slice::<String>(&[b"\"", text, b"\""].concat()).ok()?),
        false => Cow::Borrowed(std::str::from_utf8(text).ok()?),
    };
    let (_, names) = PLACES.iter().find(|(known, _)| *known == place)?;
    names.iter().copied().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::{PLACES, Text, in_place_of_objects};

    #[test]
    fn every_place_is_an_object_of_another() {
        let (whole, rest) = PLACES.split_first().unwrap();
        assert_eq!(whole.0, "");
        for (place, _) in rest {
            let (holder, name) = place.rsplit_once('.').unwrap_or(("", place));
            assert!(PLACES.iter().any(|(known, names)| *known == holder && names.contains(&name)), "{place}");
        }
    }

    /// 80,000 lists in 1 MiB: who went through all that is before each of them would need minutes.
    #[test]
    fn a_large_text_is_read_once() {
        let begun = std::time::Instant::now();
        let text = format!("{{{}\"linux\":[]}}", "\"hooks\": [1],".repeat(80_000));
        assert_eq!(in_place_of_objects(text.as_bytes(), Text::Object("")), ["hooks", "linux"]);
        let deep = format!("{{\"linux\":{}", "[".repeat(1 << 20));
        assert_eq!(in_place_of_objects(deep.as_bytes(), Text::Object("")), ["linux"]);
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
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
            // Names as serde reads them.
            (
                r#"{"l\u0069nux":{"resources":{"memo\u0072y":[1],"p\u0069ds":{}}},"x\ud800":[]}"#,
                config,
                &["linux.resources.memory"],
            ),
            (
                r#"{"linux":{"a":[{}],"seccomp":{"linux":[]},"resources":{"cpu":[]}},"root":[]}"#,
                config,
                &["linux.resources.cpu", "root"],
            ),
            (r#"{"hooks":"hooks","a":["hooks",[]],"b":{"hooks":[]},"hooks":{"hooks":[]}}"#, config, &[]),
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
