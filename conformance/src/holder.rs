//! A process in a namespace of its own, for checks that join one.

use crate::verdict::{Stop, skip};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Ended when dropped.
pub(crate) struct Holder(Child);

impl Holder {
    /// `unshare` makes the namespace, named as in /proc/PID/ns.
    pub(crate) fn new(kind: &str) -> Result<Self, Stop> {
        let option = match kind {
            "mnt" => "--mount".to_owned(),
            "pid" => "--kill-child".to_owned(),
            other => format!("--{other}"),
        };
        let mut command = Command::new("unshare");
        command.arg(option);
        if kind == "pid" {
            command.args(["--pid", "--fork"]);
        }
        // The word says that it is inside; what it reads ends with the check.
        command.args(["sh", "-c", "echo ready; read word"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut holder = Holder(command.spawn()?);
        let mut line = String::new();
        if let Some(output) = holder.0.stdout.as_mut() {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.as_str() {
            "ready\n" if kind == "user" => {
                // Written from outside, so that setgroups(2) stays allowed.
                for map in ["uid_map", "gid_map"] {
                    std::fs::write(format!("/proc/{}/{map}", holder.0.id()), "0 0 65536")?;
                }
                Ok(holder)
            }
            "ready\n" => Ok(holder),
            _ => skip(format!("unshare makes no {kind} namespace here")),
        }
    }

    /// The namespace's file; those of pid and time are of the holder's children.
    pub(crate) fn path(&self, kind: &str) -> String {
        let suffix = if matches!(kind, "pid" | "time") { "_for_children" } else { "" };
        format!("/proc/{}/ns/{kind}{suffix}", self.0.id())
    }

    /// What that file links to.
    pub(crate) fn link(&self, kind: &str) -> std::io::Result<Value> {
        Ok(json!(std::fs::read_link(self.path(kind))?))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Its standard input ends, and with it the shell.
        drop(self.0.stdin.take());
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("# end the namespace's holder: {error}");
        }
    }
}
