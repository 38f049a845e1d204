//! `ps`.

use std::ffi::OsString;
use std::process::Command;

use runtime_core::ErrorKind;

use super::{Context, json, print};
use crate::args::options;
use crate::error::{Error, Result};

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    let pids = context.container()?.processes()?;
    if context.options().text(&options::FORMAT) == Some("json") {
        return print(&format!("{}\n", json(&pids)?));
    }
    let table = ps(context.matches.positionals.get(1..).unwrap_or_default())?;
    print(&select(&table, &pids)?)
}

/// What ps(1) prints with these options.
fn ps(options: &[OsString]) -> Result<String> {
    let mut command = Command::new("ps");
    if options.is_empty() {
        command.arg("-ef");
    }
    let output = command
        .args(options)
        .output()
        .map_err(|error| Error::io("run ps", &error).hint("install procps, or use --format json"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        return Err(Error::new(ErrorKind::System, "run ps").reason(format!("{}: {text}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The head of the table and the lines of these processes.
fn select(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let column = head
        .split_ascii_whitespace()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::invalid("ps", "couldn't find PID field in ps output"))?;
    let mut text = format!("{head}\n");
    for line in lines {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|field| field.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_containers_lines() {
        let table = "USER   PID CMD\nroot     1 init\nroot    12 sleep\nroot   123 sh\n";
        assert_eq!(super::select(table, &[12]).expect("a table"), "USER   PID CMD\nroot    12 sleep\n");
        assert!(super::select("CMD\nx\n", &[1]).is_err());
        assert!(super::select("", &[1]).is_err());
    }
}
