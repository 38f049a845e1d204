//! The help texts, in the layout that callers of runc know.

use std::fmt::Write as _;

use super::commands::{COMMANDS, Command};
use super::options::{GLOBAL, Opt, VERSION};
use crate::name;

pub(super) const ABOUT: &str = "Open Container Initiative runtime";

/// What the program does; `runtime run` in it stands for the program's own.
pub(super) const DESCRIPTION: &str = "Creates and runs containers from bundles. A bundle is a directory with a\n\
    config.json and the container's root file system.\n\
    \n\
    To run a container from the bundle in the current directory:\n\
    \n    # runtime run <container-id>";

/// The help of `command`, or of the program.
pub(crate) fn text(command: Option<&Command>) -> String {
    let program = name::program();
    match command {
        Some(command) => command_text(program, command),
        None => program_text(program),
    }
}

fn program_text(program: &str) -> String {
    let mut text = format!("NAME:\n   {program} - {ABOUT}\n\n");
    section(&mut text, "USAGE", &format!("{program} [global options] command [command options]"));
    section(&mut text, "VERSION", crate::version::VERSION);
    section(&mut text, "DESCRIPTION", &DESCRIPTION.replace("runtime run", &format!("{program} run")));
    let mut rows: Vec<_> = COMMANDS.iter().map(|command| (command.name.to_owned(), command.about)).collect();
    rows.push(("help, h".to_owned(), "show the help of the program or of a command"));
    table(&mut text, "COMMANDS", &rows);
    let version = [&VERSION];
    table(&mut text, "GLOBAL OPTIONS", &option_rows(GLOBAL.iter().chain(&version)));
    text
}

fn command_text(program: &str, command: &Command) -> String {
    let mut text = format!("NAME:\n   {program} {} - {}\n\n", command.name, command.about);
    let usage = format!("{program} {} [options] {}", command.name, command.usage);
    section(&mut text, "USAGE", usage.trim_end());
    section(&mut text, "DESCRIPTION", command.description);
    if command.options.iter().any(|option| !option.hidden) {
        table(&mut text, "OPTIONS", &option_rows(command.options.iter()));
    }
    // A command's own option hides the global one of the same name.
    let hidden = |global: &&&'static Opt| command.options.iter().all(|own| own.name != global.name);
    table(&mut text, "GLOBAL OPTIONS", &option_rows(GLOBAL.iter().filter(hidden)));
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    text.push_str(title);
    text.push_str(":\n");
    for line in body.lines() {
        let line = format!("   {line}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
}

fn option_rows<'a>(options: impl Iterator<Item = &'a &'static Opt>) -> Vec<(String, &'static str)> {
    options.filter(|option| !option.hidden).map(|option| (option_names(option), option.help)).collect()
}

fn option_names(option: &Opt) -> String {
    let value = option.value_name().map(|name| format!(" {name}")).unwrap_or_default();
    let short = option.short.map(|short| format!(", -{short}{value}")).unwrap_or_default();
    let more = if option.repeat { " ..." } else { "" };
    format!("--{}{value}{short}{more}", option.name)
}

fn table(text: &mut String, title: &str, rows: &[(String, &str)]) {
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    text.push_str(title);
    text.push_str(":\n");
    for (left, right) in rows {
        // Writing to a String cannot fail.
        if writeln!(text, "   {left:width$}  {right}").is_err() {
            break;
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_the_layout() {
        for command in COMMANDS {
            let help = command_text("runtime", command);
            let lines: Vec<_> = help.lines().filter(|line| !line.is_empty()).collect();
            assert_eq!(lines[0], "NAME:");
            assert!(lines[1].starts_with(&format!("   runtime {} - ", command.name)));
            assert!(help.contains("GLOBAL OPTIONS:"));
            assert!(!command.about.is_empty() && !command.description.is_empty());
        }
        assert!(
            program_text("runtime").starts_with("NAME:\n   runtime - Open Container Initiative runtime\n")
        );
    }
}
