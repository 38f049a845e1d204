//! Names of fields in another case than the specification's.
//!
//! Go's `encoding/json` takes a field's name in any case, and there are configurations that rely on it: a Go
//! program that marshals a structure without tags writes `Memory` and `Cpus`, a hand `pagesize`. Such a limit
//! works with a runtime in Go, and without this module it would be passed over here like an unknown
//! field. It costs a look at every key; only a text with an odd one is parsed once more.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

use super::parse::repair;

/// The specification's names with a capital, in the order of their small letters.
const CAPITALS: &[&str] = &[
    "additionalGids",
    "apparmorProfile",
    "blockIO",
    "cgroupsPath",
    "checkBeforeUpdate",
    "classID",
    "closID",
    "consoleSize",
    "containerID",
    "createContainer",
    "createRuntime",
    "defaultAction",
    "defaultErrnoRet",
    "disableOOMKiller",
    "enableMonitoring",
    "errnoRet",
    "execCPUAffinity",
    "fileMode",
    "gidMappings",
    "hcaHandles",
    "hcaObjects",
    "hostID",
    "hugepageLimits",
    "intelRdt",
    "ioPriority",
    "kernelTCP",
    "l3CacheSchema",
    "leafWeight",
    "listenerMetadata",
    "listenerPath",
    "maskedPaths",
    "memBwSchema",
    "memoryPolicy",
    "mountLabel",
    "netDevices",
    "noNewPrivileges",
    "ociVersion",
    "oomScoreAdj",
    "pageSize",
    "readonlyPaths",
    "realtimePeriod",
    "realtimeRuntime",
    "rootfsPropagation",
    "selinuxLabel",
    "startContainer",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "timeOffsets",
    "uidMappings",
    "useHierarchy",
    "valueTwo",
    "weightDevice",
];

/// How often a repair may bring the renaming further: each takes it over the rest of a value.
const PASSES: usize = 16;

/// A text with the names of fields as its type has them.
#[derive(Debug, Default)]
pub(super) struct Canonical<'a> {
    /// The text itself if there is nothing to change, or if it is no JSON.
    pub(super) bytes: Cow<'a, [u8]>,
    /// JSON paths and reasons of what was left out.
    pub(super) warnings: Vec<(String, String)>,
}

impl<'a> Canonical<'a> {
    /// `bytes` with the names that `T` has.
    pub(super) fn of<T: DeserializeOwned>(bytes: &'a [u8]) -> Self {
        let unchanged = || Self { bytes: Cow::Borrowed(bytes), warnings: Vec::new() };
        if !has_odd_key(bytes) {
            return unchanged();
        }
        let Ok(before) = serde_json::from_slice::<Value>(bytes) else {
            return unchanged();
        };
        let mut value = before.clone();
        let mut warnings = Vec::new();
        for _ in 0..PASSES {
            // It renames on its way, and ends at a value that the type refuses. What the parser repairs must
            // not hide the names behind it; what it does not repair is an error in the end.
            if T::deserialize(Renamer(&mut value)).is_ok() {
                break;
            }
            let refused = value.clone();
            repair(&mut value, &mut warnings);
            if value == refused {
                break;
            }
        }
        match value == before {
            true => unchanged(),
            false => Self { bytes: Cow::Owned(value.to_string().into_bytes()), warnings },
        }
    }
}

/// Whether a key may be the name of a field in another case. A colon behind a string makes it a key.
fn has_odd_key(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        let Some((_, begun)) = split_at_quote(rest, |text| text.iter().position(|byte| *byte == b'"')) else {
            return false;
        };
        let Some((text, behind)) = split_at_quote(begun, string_length) else { return false };
        rest = behind;
        let next = rest.iter().find(|byte| !byte.is_ascii_whitespace());
        if next == Some(&b':') && is_odd(text) {
            return true;
        }
    }
}

/// What is before and behind the quote that `find` finds.
fn split_at_quote(text: &[u8], find: impl Fn(&[u8]) -> Option<usize>) -> Option<(&[u8], &[u8])> {
    let (before, rest) = text.split_at_checked(find(text)?)?;
    Some((before, rest.split_first()?.1))
}

fn is_odd(key: &[u8]) -> bool {
    // Names of annotations and sysctls, which are no fields, have dots.
    if !key.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    match CAPITALS.binary_search_by(|name| small_letters(name.as_bytes(), key)) {
        Ok(found) => CAPITALS.get(found).is_none_or(|name| name.as_bytes() != key),
        Err(_) => key.iter().any(u8::is_ascii_uppercase),
    }
}

fn small_letters(one: &[u8], other: &[u8]) -> Ordering {
    one.iter().map(u8::to_ascii_lowercase).cmp(other.iter().map(u8::to_ascii_lowercase))
}

/// Bytes up to the quotation mark that ends a string.
pub(super) fn string_length(rest: &[u8]) -> Option<usize> {
    let mut escaped = false;
    rest.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })
}

/// A value that is read as some type, and whose names of fields become those of the type.
struct Renamer<'a>(&'a mut Value);

impl<'de> Deserializer<'de> for Renamer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                visitor.visit_seq(&mut SeqDeserializer::new(items.iter_mut().map(Renamer)))
            }
            Value::Object(fields) => visitor.visit_map(&mut MapDeserializer::new(
                fields.iter_mut().map(|(name, value)| (name.clone(), Renamer(value))),
            )),
            scalar => scalar.clone().deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Value::Object(object) = &mut *self.0 {
            rename(object, fields);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.clone().deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for Renamer<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Gives the fields that have no name of `known` that which differs in case alone.
fn rename(object: &mut Map<String, Value>, known: &[&str]) {
    let odd: Vec<(String, &str)> = object
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .filter_map(|name| {
            Some((name.clone(), *known.iter().find(|known| name.eq_ignore_ascii_case(known))?))
        })
        .collect();
    for (name, right) in odd {
        let Some(value) = object.remove(&name) else { continue };
        match object.get_mut(right) {
            Some(present) => add(present, value),
            None => drop(object.insert(right.to_owned(), value)),
        }
    }
}

/// Adds what `more` has to a value under the right name, which counts where both say something.
fn add(present: &mut Value, more: Value) {
    match (present, more) {
        (Value::Object(present), Value::Object(more)) => {
            for (name, value) in more {
                match present.get_mut(&name) {
                    Some(present) => add(present, value),
                    None => drop(present.insert(name, value)),
                }
            }
        }
        (present @ Value::Null, more) => *present = more,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxResources, Spec};

    use super::*;

    fn resources(text: &str) -> Value {
        serde_json::from_slice(&Canonical::of::<LinuxResources>(text.as_bytes()).bytes).expect("JSON")
    }

    #[test]
    fn names_get_the_case_of_the_specification() {
        let found = resources(r#"{"CPU": {"Cpus": "0", "MEMS": "1"}, "Pids": {"Limit": 7}}"#);
        assert_eq!(found, serde_json::json!({"cpu": {"cpus": "0", "mems": "1"}, "pids": {"limit": 7}}));
    }

    #[test]
    fn both_cases_are_one_field() {
        let found = resources(r#"{"CPU": {"Cpus": "0", "shares": 5}, "cpu": {"shares": 6, "quota": 9}}"#);
        assert_eq!(found, serde_json::json!({"cpu": {"cpus": "0", "shares": 6, "quota": 9}}));
    }

    #[test]
    fn in_a_list_and_in_a_whole_configuration() {
        let found = resources(r#"{"devices": [{"Allow": false, "Access": "r"}]}"#);
        assert_eq!(found, serde_json::json!({"devices": [{"allow": false, "access": "r"}]}));
        let text = r#"{"ociVersion": "1.0.0", "linux": {"resources": {"CPU": {"Cpus": "0"}}}}"#;
        let found: Value =
            serde_json::from_slice(&Canonical::of::<Spec>(text.as_bytes()).bytes).expect("JSON");
        assert_eq!(found["linux"]["resources"], serde_json::json!({"cpu": {"cpus": "0"}}));
    }

    #[test]
    fn a_wrong_type_does_not_hide_what_comes_before_it() {
        let found = resources(r#"{"CPU": {"Shares": "x"}}"#);
        assert_eq!(found["cpu"], serde_json::json!({"shares": "x"}));
    }

    /// An unknown capability is refused by the type and not by the parser.
    #[test]
    fn what_is_repaired_hides_no_name() {
        let text = r#"{"ociVersion": "1.0.0", "process": {"args": ["a"], "cwd": "/", "User": {"UID": 1000, "gid": 5},
            "capabilities": {"bounding": ["CAP_NONESUCH", "CAP_KILL"]}}, "root": {"path": "r", "Readonly": true}}"#;
        let found = Canonical::of::<Spec>(text.as_bytes());
        let value: Value = serde_json::from_slice(&found.bytes).expect("JSON");
        assert_eq!(value["process"]["user"], serde_json::json!({"uid": 1000, "gid": 5}));
        assert_eq!(value["root"], serde_json::json!({"path": "r", "readonly": true}));
        assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
        let text = r#"{"Process": {"args": ["a"], "Cwd": "/"}, "root": {"path": "r", "Readonly": true}, "ociVersion": "1.0.0"}"#;
        let found = Canonical::of::<Spec>(text.as_bytes());
        let value: Value = serde_json::from_slice(&found.bytes).expect("JSON");
        assert_eq!(value["root"]["readonly"], true);
        assert_eq!(value["process"]["cwd"], "/");
    }

    #[test]
    fn names_without_their_capitals() {
        let found =
            resources(r#"{"hugepageLimits": [{"pagesize": "2MB", "limit": 1}], "blockio": {"Weight": 5}}"#);
        let right = serde_json::json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}], "blockIO": {"weight": 5}});
        assert_eq!(found, right);
    }

    #[test]
    fn keys_of_maps_are_as_they_are() {
        let text = br#"{"ociVersion": "1.0.0", "annotations": {"OciVersion": "x", "A\"b": "c"}}"#;
        assert!(matches!(Canonical::of::<Spec>(text).bytes, Cow::Borrowed(_)));
        assert!(has_odd_key(text));
    }

    #[test]
    fn the_table_is_in_order() {
        let before = |pair: &[&str]| small_letters(pair[0].as_bytes(), pair[1].as_bytes()).is_lt();
        assert!(CAPITALS.windows(2).all(before));
    }

    #[test]
    fn a_usual_text_is_not_parsed() {
        assert!(!has_odd_key(br#"{"a": ["CAP_KILL", "B\\"], "c": "D:", "e" : "\"F\":", "io.x/Y": "Z"}"#));
        assert!(has_odd_key(br#"{"a": 1, "Bc" : 2}"#));
        let usual = crate::spec::default_spec(None, true).expect("a specification");
        assert!(!has_odd_key(&serde_json::to_vec(&usual).expect("JSON")));
        for broken in [&br#"{"A"#[..], br#"""#, br#""""#, b"", br#"{"A\"#] {
            assert!(matches!(Canonical::of::<Spec>(broken).bytes, Cow::Borrowed(_)));
        }
    }
}
