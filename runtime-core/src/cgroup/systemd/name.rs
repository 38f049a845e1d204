//! Names of units: from `linux.cgroupsPath` to a unit, a slice and a cgroup (systemd.unit(5),
//! systemd.slice(5)).

use crate::error::{Error, Result};

/// The longest name of a unit (`UNIT_NAME_MAX` of systemd, without its NUL).
const NAME_MAX: usize = 255;

const ORIGIN: &str = "linux.cgroupsPath";

/// Where a container's unit is, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitName {
    /// The unit: `prefix-name.scope`, or a name that ends in `.slice`.
    pub(super) unit: String,
    /// The slice that it is in.
    pub(super) slice: String,
}

impl UnitName {
    /// Reads `slice:prefix:name`; without a path, the prefix is the runtime's and the name the id.
    /// `default_slice` is the slice of an empty first part.
    ///
    /// # Errors
    ///
    /// A path of another form; a slice or a name that could lead elsewhere.
    pub(super) fn parse(path: Option<&str>, id: &str, default_slice: &str) -> Result<Self> {
        let (slice, prefix, name) = match path.filter(|path| !path.is_empty()) {
            None => ("", "runtime", id),
            Some(path) => match path.split(':').collect::<Vec<_>>()[..] {
                [slice, prefix, name] => (slice, prefix, name),
                _ => {
                    return Err(Error::invalid(
                        ORIGIN,
                        format!(
                            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                        ),
                    ));
                }
            },
        };
        let slice = match slice {
            "" => default_slice.to_owned(),
            "-" | "-.slice" => "-.slice".to_owned(),
            other => other.to_owned(),
        };
        slice_path(&slice).ok_or_else(|| {
            let hint = "a slice is a name such as a-b.slice, which is below a.slice; it has no slashes";
            Error::invalid(ORIGIN, format!("invalid slice name: {slice}")).with_hint(hint)
        })?;
        Ok(Self { unit: unit(prefix, name)?, slice })
    }

    pub(super) fn is_slice(&self) -> bool {
        self.unit.ends_with(".slice")
    }

    /// Where systemd makes the cgroup, below the manager's own.
    pub(super) fn cgroup(&self) -> String {
        let parent = slice_path(&self.slice).unwrap_or_default();
        match slice_path(&self.unit).filter(|_| self.is_slice()) {
            Some(path) => path,
            None if parent.is_empty() => self.unit.clone(),
            None => format!("{parent}/{}", self.unit),
        }
    }
}

fn unit(prefix: &str, name: &str) -> Result<String> {
    let unit = match name.ends_with(".slice") {
        true => name.to_owned(),
        false => format!("{}-{}.scope", escape(prefix), escape(name)),
    };
    let reason = if name.is_empty() {
        "the name is empty"
    } else if [prefix, name].iter().any(|part| part.contains(['/', '\0', '\n'])) {
        "the name must not contain a slash, a NUL or a newline"
    } else if unit.len() > NAME_MAX {
        "the unit's name is too long"
    } else if unit.ends_with(".slice") && slice_path(&unit).is_none_or(|path| path.is_empty()) {
        "the name is not one of a slice"
    } else {
        return Ok(unit);
    };
    Err(Error::invalid(ORIGIN, format!("{prefix:?}, {name:?}: {reason}")))
}

/// Replaces what the name of a unit may not have by `\xNN`, as systemd-escape(1) does; dashes, which
/// are part of these names, stay. A first dot is escaped too: it would be no name of a cgroup.
fn escape(part: &str) -> String {
    let mut escaped = String::with_capacity(part.len());
    for (index, byte) in part.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b":-_@".contains(&byte) || (byte == b'.' && index > 0);
        if plain {
            escaped.push(byte.into());
        } else {
            escaped.push_str(&format!("\\x{byte:02x}"));
        }
    }
    escaped
}

/// The path of a slice: `a-b.slice` is `a.slice/a-b.slice`, the root slice the empty path. `None` if it
/// is no name of a slice.
fn slice_path(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if slice.len() > NAME_MAX || !name.bytes().all(allowed) {
        return None;
    }
    let mut path = String::new();
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() || part.starts_with('.') {
            return None;
        }
        if !prefix.is_empty() {
            path.push('/');
            prefix.push('-');
        }
        prefix.push_str(part);
        path.push_str(&prefix);
        path.push_str(".slice");
    }
    Some(path)
}

/// The object of a unit: what is neither a letter nor a digit becomes `_NN`.
pub(super) fn object_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(byte.into());
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Result<(String, String, String), String> {
        let parsed = UnitName::parse(Some(path), "web", "system.slice").map_err(|error| error.to_string())?;
        Ok((parsed.slice.clone(), parsed.unit.clone(), parsed.cgroup()))
    }

    #[test]
    fn a_path_names_slice_and_unit() {
        let table = [
            ("", "system.slice", "runtime-web.scope", "system.slice/runtime-web.scope"),
            ("a-b.slice:docker:12", "a-b.slice", "docker-12.scope", "a.slice/a-b.slice/docker-12.scope"),
            (":p:n", "system.slice", "p-n.scope", "system.slice/p-n.scope"),
            ("-:p:n", "-.slice", "p-n.scope", "p-n.scope"),
            ("::n", "system.slice", "-n.scope", "system.slice/-n.scope"),
            ("::a-b.slice", "system.slice", "a-b.slice", "a.slice/a-b.slice"),
            (":p:a+b c", "system.slice", "p-a\\x2bb\\x20c.scope", "system.slice/p-a\\x2bb\\x20c.scope"),
        ];
        for (path, slice, unit, cgroup) in table {
            let expected = (slice.to_owned(), unit.to_owned(), cgroup.to_owned());
            assert_eq!(names(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = format!(":p:{}", "x".repeat(300));
        let long_slice = format!("{}.slice:p:n", "x".repeat(300));
        for path in [
            "/a/b",
            "a:b",
            "a:b:c:d",
            "::",
            "a/b.slice:p:n",
            "../x.slice:p:n",
            "..slice:p:n",
            "system:p:n",
            ".slice:p:n",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            "a-.slice:p:n",
            "a-..slice:p:n",
            "a b.slice:p:n",
            "a'b.slice:p:n",
            ":p:a/b",
            ":../p:n",
            ":p:../n.slice",
            ":p:-.slice",
            &long,
            &long_slice,
        ] {
            assert!(names(path).is_err(), "{path:?} gave {:?}", names(path));
        }
    }

    #[test]
    fn objects_have_only_letters_and_digits() {
        assert_eq!(object_path("a-1.slice"), "/org/freedesktop/systemd1/unit/a_2d1_2eslice");
    }
}
