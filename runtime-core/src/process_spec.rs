//! A process for a container, put together by calls instead of JSON.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::spec::ValidProcess;

/// A process to run in a container with [`Container::exec`](crate::Container::exec): the fields of `process` in `config.json`
/// (config.md, "Process") that programs usually set. [`ValidProcess::parse`] takes all of them, as JSON.
///
/// Without more than arguments it runs as root, in `/`, without capabilities, with `PATH` alone in its environment, and
/// cannot gain privileges.
///
/// ```
/// use runtime_core::ProcessSpec;
///
/// # fn main() -> Result<(), runtime_core::Error> {
/// let process = ProcessSpec::new(["sh", "-c", "echo $GREETING"]).env("GREETING", "hello").user(1000, 1000).build()?;
/// # let _ = process;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessSpec(Map<String, Value>);

/// The directories of programs, as every engine names them.
pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl ProcessSpec {
    /// A process with these arguments; the first is the program.
    pub fn new(args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut fields = Map::new();
        fields.insert("cwd".to_owned(), json!("/"));
        fields.insert("env".to_owned(), json!([PATH]));
        fields.insert("noNewPrivileges".to_owned(), json!(true));
        Self(fields).args(args)
    }

    /// The process of a configuration: a start for others with the same user, environment and rights.
    pub(crate) fn of_config(config: &[u8]) -> Result<Self> {
        let mut config: Value =
            serde_json::from_slice(config).map_err(|error| Error::json("process", error))?;
        match config.get_mut("process").map(Value::take).unwrap_or_default() {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Error::invalid("process", "the container has none")),
        }
    }

    /// The same of a value; what is no object has no fields.
    pub(crate) fn of_value(process: Value) -> Self {
        match process {
            Value::Object(fields) => Self(fields),
            _ => Self(Map::new()),
        }
    }

    /// With these variables alone, and the limits of the caller.
    pub(crate) fn plain(mut self, variables: &[&str]) -> Self {
        self.0.remove("rlimits");
        self.set("env", json!(variables))
    }

    /// Its arguments; the first is the program: a path, or a name that is looked for in `PATH`.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        self.set("args", json!(args))
    }

    /// A variable of its environment, instead of one with this name.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let variables = self.0.entry("env").or_insert_with(|| json!([]));
        if let Value::Array(variables) = variables {
            let start = format!("{name}=");
            variables.retain(|known| known.as_str().is_none_or(|known| !known.starts_with(&start)));
            variables.push(json!(format!("{start}{value}")));
        }
        self
    }

    /// Its working directory, an absolute path in the container.
    #[must_use]
    pub fn cwd(self, path: impl Into<String>) -> Self {
        self.set("cwd", json!(path.into()))
    }

    /// Its user and group, ids of the container.
    #[must_use]
    pub fn user(self, uid: u32, gid: u32) -> Self {
        self.set("user", json!({"uid": uid, "gid": gid}))
    }

    /// A terminal of its own, with this size in characters. [`Process::take_terminal`](crate::Process::take_terminal) has the
    /// other end.
    #[must_use]
    pub fn terminal(self, rows: u16, columns: u16) -> Self {
        self.set("terminal", json!(true)).set("consoleSize", json!({"height": rows, "width": columns}))
    }

    /// No terminal.
    #[must_use]
    pub fn without_terminal(mut self) -> Self {
        self.0.remove("consoleSize");
        self.set("terminal", json!(false))
    }

    /// The capabilities that it has, such as `CAP_KILL` (capabilities(7)), and the only ones that its programs may get.
    #[must_use]
    pub fn capabilities<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = json!(names.into_iter().collect::<Vec<_>>());
        self.set("capabilities", json!({"bounding": names, "effective": names, "permitted": names}))
    }

    /// Whether its programs may gain privileges, such as by set-user-ID files.
    #[must_use]
    pub fn may_gain_privileges(self, may: bool) -> Self {
        self.set("noNewPrivileges", json!(!may))
    }

    /// The process, checked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with everything that is wrong, each with its field.
    pub fn build(&self) -> Result<ValidProcess> {
        ValidProcess::parse(&serde_json::to_vec(&self.0).map_err(|error| Error::json("process", error))?)
    }

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    fn set(mut self, field: &str, value: Value) -> Self {
        self.0.insert(field.to_owned(), value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn each_call_reaches_its_field() {
        let process = ProcessSpec::new(["program", "argument"])
            .env("A", "1")
            .env("AB", "2")
            .env("A", "3")
            .cwd("/work")
            .user(5, 6)
            .terminal(20, 70)
            .capabilities(["CAP_KILL"])
            .may_gain_privileges(true);
        let valid = process.build().unwrap();
        assert_eq!(valid.args, ["program", "argument"]);
        assert_eq!(valid.env, [PATH, "AB=2", "A=3"]);
        assert_eq!((valid.cwd.as_str(), valid.uid, valid.gid), ("/work", 5, 6));
        assert_eq!((valid.terminal, valid.console_size), (true, (20, 70)));
        let capabilities = valid.capabilities.unwrap();
        assert_eq!(
            (capabilities.bounding, capabilities.effective, capabilities.ambient),
            (1 << 5, 1 << 5, 0)
        );
        assert!(!valid.no_new_privileges);
        assert!(!process.without_terminal().build().unwrap().terminal);
    }

    #[test]
    fn what_is_wrong_is_told_by_field() {
        let error = ProcessSpec::new(["x"]).cwd("relative").capabilities(["CAP_NONE"]).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("cwd"), "{error}");
    }

    #[test]
    fn another_process_like_that_of_a_container() {
        let config = br#"{"process": {"args": ["first"], "cwd": "/here", "env": ["A=1"], "user": {"uid": 7, "gid": 8}}}"#;
        let valid = ProcessSpec::of_config(config).unwrap().args(["second"]).build().unwrap();
        assert_eq!((valid.args, valid.cwd, valid.uid), (vec!["second".to_owned()], "/here".to_owned(), 7));
        assert!(ProcessSpec::of_config(b"{}").is_err());
    }
}
