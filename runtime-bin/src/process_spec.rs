//! The process of `exec`: the container's own one, changed by the options, or one from a file.
//!
//! It stays JSON until the library checks it, so that what the library tolerates in a
//! config.json (a capability that only a newer kernel knows) is tolerated here, too.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::{Values, options};
use crate::error::{Error, Result};
use crate::user;

/// The longest JSON file that is read; real ones have a few kilobytes.
const LIMIT: u64 = 16 << 20;

/// The process in the file of `--process`.
pub(crate) fn from_file(path: &Path) -> Result<Vec<u8>> {
    read(path)
}

/// What is read of a configuration here; the rest is only looked over.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    process: Value,
}

/// The process of the container with this configuration, changed by the options; `args` is its
/// command line.
pub(crate) fn from_options(config: &[u8], options: &Values, args: &[OsString]) -> Result<Vec<u8>> {
    let Config { mut process } =
        serde_json::from_slice(config).map_err(|error| Error::invalid("config.json", error.to_string()))?;
    if !process.is_object() {
        return Err(Error::invalid("process", "the container's configuration has none").hint("use --process"));
    }
    change(&mut process, options, args)?;
    serde_json::to_vec(&process).map_err(|error| Error::invalid("process", error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::io(format!("read {path:?}"), &error);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::invalid(format!("{path:?}"), "larger than 16 MiB"));
    }
    Ok(bytes)
}

fn change(process: &mut Value, options: &Values, args: &[OsString]) -> Result<()> {
    *member(process, "args")? = arguments(args)?;
    drop_ignored_size(process);
    // A terminal of the container's own process is not one for this process.
    *member(process, "terminal")? = json!(options.flag(&options::TTY));
    for (option, field) in [
        (&options::CWD, "cwd"),
        (&options::APPARMOR, "apparmorProfile"),
        (&options::PROCESS_LABEL, "selinuxLabel"),
    ] {
        if let Some(text) = options.text(option) {
            *member(process, field)? = json!(text);
        }
    }
    if let Some(set) = options.given_flag(&options::NO_NEW_PRIVS) {
        *member(process, "noNewPrivileges")? = json!(set);
    }
    // Of several values of a name the library takes the last.
    append(process, "env", options.all(&options::ENV).map(Value::from).collect())?;
    change_user(process, options)?;
    add_capabilities(process, options)
}

/// The `consoleSize` of a process without a terminal is ignored, so it may hold anything: only a whole one is one
/// for the terminal of this process.
fn drop_ignored_size(process: &mut Value) {
    let whole =
        |size: &Value| ["height", "width"].iter().all(|name| size.get(name).is_some_and(Value::is_u64));
    let ignored = process.get("terminal") != Some(&Value::Bool(true));
    if let Some(fields) = process.as_object_mut().filter(|_| ignored)
        && !fields.get("consoleSize").is_some_and(whole)
    {
        fields.remove("consoleSize");
    }
}

fn arguments(args: &[OsString]) -> Result<Value> {
    if args.is_empty() {
        return Err(Error::invalid("exec", "exec args cannot be empty"));
    }
    let texts: Option<Vec<&str>> = args.iter().map(|argument| argument.to_str()).collect();
    texts.map(|texts| json!(texts)).ok_or_else(|| Error::invalid("exec", "an argument is not UTF-8"))
}

fn change_user(process: &mut Value, options: &Values) -> Result<()> {
    let user = member(process, "user")?;
    if let Some(text) = options.text(&options::USER) {
        let given = user::parse(text)?;
        *member(user, "uid")? = json!(given.uid);
        if let Some(gid) = given.gid {
            *member(user, "gid")? = json!(gid);
        }
    }
    let groups: Result<Vec<_>> = options.all(&options::ADDITIONAL_GIDS).map(user::group).collect();
    append(user, "additionalGids", groups?.into_iter().map(Value::from).collect())
}

/// Adds each capability to the bounding, effective and permitted set, never to the inheritable
/// one (CVE-2022-29162), and to the ambient set only where inheritable ones are configured,
/// which the kernel demands of an ambient one.
fn add_capabilities(process: &mut Value, options: &Values) -> Result<()> {
    let added: Vec<_> = options.all(&options::CAP).map(Value::from).collect();
    if added.is_empty() {
        return Ok(());
    }
    let sets = member(process, "capabilities")?;
    for set in ["bounding", "effective", "permitted"] {
        append(sets, set, added.clone())?;
    }
    let inheritable = sets.get("inheritable").and_then(Value::as_array);
    if inheritable.is_some_and(|inheritable| !inheritable.is_empty()) {
        append(sets, "ambient", added)?;
    }
    Ok(())
}

/// The member of a JSON object, null if it is new; a missing object is made.
fn member<'a>(object: &'a mut Value, name: &str) -> Result<&'a mut Value> {
    if object.is_null() {
        *object = json!({});
    }
    let object = object
        .as_object_mut()
        .ok_or_else(|| Error::invalid("process", format!("the parent of {name:?} is not a JSON object")))?;
    Ok(object.entry(name).or_insert(Value::Null))
}

/// Appends to the array of that name; a missing one is made.
fn append(object: &mut Value, name: &str, mut more: Vec<Value>) -> Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    let list = member(object, name)?;
    if list.is_null() {
        *list = json!([]);
    }
    let list = list
        .as_array_mut()
        .ok_or_else(|| Error::invalid("process", format!("{name:?} is not a JSON array")))?;
    list.append(&mut more);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Request, parse};

    fn changed(process: Value, words: &[&str]) -> Result<Value> {
        let words = ["exec"].iter().chain(words).map(OsString::from);
        let (_, Ok(Request::Run(matches))) = parse(words) else { panic!("not a command line") };
        let mut process = process;
        change(&mut process, &matches.options, &matches.positionals[1..])?;
        Ok(process)
    }

    #[test]
    fn options_change_the_process() {
        let base = json!({"terminal": true, "args": ["sh"], "cwd": "/", "env": ["A=1"], "user": {"uid": 5, "gid": 5}});
        let words = ["-e", "A=2", "--cwd=/tmp", "-u", "7:8", "-g", "9", "--no-new-privs", "id", "ls", "-l"];
        let process = changed(base, &words).expect("a process");
        assert_eq!(
            process,
            json!({
                "terminal": false, "args": ["ls", "-l"], "cwd": "/tmp", "env": ["A=1", "A=2"],
                "user": {"uid": 7, "gid": 8, "additionalGids": [9]}, "noNewPrivileges": true,
            })
        );
    }

    #[test]
    fn capabilities_are_never_inheritable() {
        let none = changed(json!({}), &["-c", "CAP_KILL", "id", "ls"]).expect("a process");
        let sets = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]});
        assert_eq!(none["capabilities"].get("inheritable").filter(|set| !set.is_null()), None);
        for set in ["bounding", "effective", "permitted"] {
            assert_eq!(none["capabilities"][set], sets[set]);
        }
        let base = json!({"capabilities": {"inheritable": ["CAP_CHOWN"]}});
        let some = changed(base, &["-c", "CAP_KILL", "id", "ls"]).expect("a process");
        assert_eq!(some["capabilities"]["inheritable"], json!(["CAP_CHOWN"]));
        assert_eq!(some["capabilities"]["ambient"], json!(["CAP_KILL"]));
    }

    #[test]
    fn bad_options_are_errors() {
        assert!(changed(json!({}), &["id"]).is_err());
        assert!(changed(json!({}), &["-u", "-1", "id", "ls"]).is_err());
        assert!(changed(json!({}), &["-g", "0x1", "id", "ls"]).is_err());
        assert!(changed(json!({"user": "root"}), &["-u", "1", "id", "ls"]).is_err());
        assert!(changed(json!({"env": {}}), &["-e", "A=1", "id", "ls"]).is_err());
    }
}
