//! Completion scripts for shells, made from the table.

use std::fmt::Write as _;

use super::commands::{COMMANDS, Command, SHELLS, Subject};
use super::options::{GLOBAL, Opt, VERSION, Value};

/// The script for `shell`; `None` for a shell that is not known.
pub(crate) fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn visible<'a>(options: impl Iterator<Item = &'a &'static Opt>) -> Vec<&'static Opt> {
    options.filter(|option| !option.hidden).copied().collect()
}

fn words(options: &[&Opt]) -> String {
    let mut words = Vec::new();
    for option in options {
        words.push(format!("--{}", option.name));
        words.extend(option.short.map(|short| format!("-{short}")));
    }
    words.join(" ")
}

fn global_options() -> Vec<&'static Opt> {
    visible(GLOBAL.iter().chain(&[&VERSION]))
}

fn command_options(command: &Command) -> Vec<&'static Opt> {
    // A command's own option hides the global one of the same name.
    let hidden = |global: &&&'static Opt| command.options.iter().all(|own| own.name != global.name);
    visible(command.options.iter().chain(GLOBAL.iter().filter(hidden)))
}

fn command_names() -> String {
    COMMANDS.iter().map(|command| command.name).chain(["help"]).collect::<Vec<_>>().join(" ")
}

/// The pattern of a shell's `case` that matches options for which `wanted` holds.
fn pattern(wanted: impl Fn(&Opt) -> bool) -> String {
    let mut names: Vec<String> = Vec::new();
    let all = COMMANDS.iter().flat_map(|command| command.options.iter()).chain(GLOBAL);
    for option in all.filter(|option| wanted(option)) {
        let short = option.short.map(|short| format!("-{short}"));
        for name in [Some(format!("--{}", option.name)), short].into_iter().flatten() {
            // --rootless is a flag of spec, -f and -r have meanings of their own elsewhere.
            let ambiguous = name.len() == 2 || name == "--rootless";
            if !ambiguous && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.join("|")
}

fn bash() -> String {
    let files = pattern(|option| option.value == Value::File);
    let directories = pattern(|option| option.value == Value::Directory);
    let texts = pattern(|option| matches!(option.value, Value::Text(_) | Value::Number));
    let mut choices = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for option in COMMANDS.iter().flat_map(|command| command.options.iter()).chain(GLOBAL) {
        if let Value::Choice(words) = option.value
            && option.name != "rootless"
            && !seen.contains(&option.name)
        {
            seen.push(option.name);
            line(
                &mut choices,
                &format!(
                    "    --{}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return ;;",
                    option.name,
                    words.join(" ")
                ),
            );
        }
    }
    let mut cases = String::new();
    for command in COMMANDS {
        let subject = match command.subject {
            Subject::None => String::new(),
            Subject::Container => {
                "$(\"${COMP_WORDS[0]}\" \"${root[@]}\" list --quiet 2>/dev/null)".to_owned()
            }
            Subject::Shell => SHELLS.join(" "),
            Subject::Words(words) => words.join(" "),
        };
        line(
            &mut cases,
            &format!(
                "    {}) options='{}'; subjects=\"{subject}\" ;;",
                command.name,
                words(&command_options(command))
            ),
        );
    }
    let globals = words(&global_options());
    let commands = command_names();
    format!(
        r#"# bash completion for runtime
_runtime() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  local i word command='' options subjects='' root=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case $word in
    --root) root=(--root "${{COMP_WORDS[i+1]}}"); i=$((i + 1)) ;;
    --log|--log-format|--log-level|--rootless|--cgroup-manager|--criu) [[ -n $command ]] || i=$((i + 1)) ;;
    -*) ;;
    *) [[ -n $command ]] || command=$word ;;
    esac
  done
  COMPREPLY=()
  case $prev in
    {files}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    {directories}) COMPREPLY=($(compgen -d -- "$cur")); return ;;
{choices}    {texts}) return ;;
  esac
  case $command in
    '') options='{globals}'; subjects='{commands}' ;;
    help) options=''; subjects='{commands}' ;;
{cases}  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$subjects" -- "$cur"))
  fi
}}
complete -F _runtime runtime
"#
    )
}

fn zsh_option(option: &Opt) -> String {
    let action = match option.value {
        Value::Flag => String::new(),
        Value::File => ":file:_files".to_owned(),
        Value::Directory => ":directory:_files -/".to_owned(),
        Value::Choice(words) => format!(":word:({})", words.join(" ")),
        Value::Text(_) | Value::Number => ":value:".to_owned(),
    };
    let help = option.help.replace('\'', "").replace('[', "(").replace(']', ")").replace(':', "");
    let names = match option.short {
        Some(short) => vec![format!("--{}", option.name), format!("-{short}")],
        None => vec![format!("--{}", option.name)],
    };
    let repeat = if option.repeat { "*" } else { "" };
    names.iter().map(|name| format!("'{repeat}{name}[{help}]{action}'")).collect::<Vec<_>>().join(" ")
}

fn zsh() -> String {
    let mut text = String::from(
        "#compdef runtime\n_runtime_containers() {\n  local -a ids\n  ids=(${(f)\"$(runtime list --quiet 2>/dev/null)\"})\n  _describe container ids\n}\n_runtime() {\n  local curcontext=$curcontext state line\n  _arguments -C \\\n",
    );
    for option in global_options() {
        line(&mut text, &format!("    {} \\", zsh_option(option)));
    }
    text.push_str("    '1:command:->command' '*::argument:->argument'\n  case $state in\n  command)\n    local -a commands\n    commands=(\n");
    for command in COMMANDS.iter() {
        line(&mut text, &format!("      '{}:{}'", command.name, command.about.replace('\'', "")));
    }
    text.push_str("      'help:show a help'\n    )\n    _describe command commands ;;\n  argument)\n    case $line[1] in\n");
    for command in COMMANDS {
        let options: Vec<_> = command_options(command).iter().map(|option| zsh_option(option)).collect();
        let subject = match command.subject {
            Subject::None => "'1: :'".to_owned(),
            Subject::Container => "'1:container:_runtime_containers'".to_owned(),
            Subject::Shell => format!("'1:shell:({})'", SHELLS.join(" ")),
            Subject::Words(words) => {
                format!("'1:word:({})' '2:container:_runtime_containers'", words.join(" "))
            }
        };
        line(&mut text, &format!("    {}) _arguments {} {subject} ;;", command.name, options.join(" ")));
    }
    text.push_str("    esac ;;\n  esac\n}\ncompdef _runtime runtime\n");
    text
}

fn fish_option(text: &mut String, condition: &str, option: &Opt) {
    let mut entry = format!("complete -c runtime -n '{condition}' -l {}", option.name);
    if let Some(short) = option.short {
        entry.push_str(&format!(" -s {short}"));
    }
    match option.value {
        Value::Flag => {}
        Value::File => entry.push_str(" -r -F"),
        Value::Directory => entry.push_str(" -x -a '(__fish_complete_directories)'"),
        Value::Choice(words) => entry.push_str(&format!(" -x -a '{}'", words.join(" "))),
        Value::Text(_) | Value::Number => entry.push_str(" -x"),
    }
    line(text, &format!("{entry} -d '{}'", option.help.replace('\'', "\\'")));
}

fn fish() -> String {
    let mut text = String::from("# fish completion for runtime\ncomplete -c runtime -f\n");
    for option in global_options() {
        fish_option(&mut text, "__fish_use_subcommand", option);
    }
    for command in COMMANDS.iter() {
        line(
            &mut text,
            &format!(
                "complete -c runtime -n __fish_use_subcommand -a {} -d '{}'",
                command.name,
                command.about.replace('\'', "\\'")
            ),
        );
    }
    for command in COMMANDS {
        let condition = format!("__fish_seen_subcommand_from {}", command.name);
        for option in command_options(command) {
            fish_option(&mut text, &condition, option);
        }
        match command.subject {
            Subject::None => {}
            Subject::Container => line(
                &mut text,
                &format!("complete -c runtime -n '{condition}' -a '(runtime list --quiet 2>/dev/null)'"),
            ),
            Subject::Shell => {
                line(&mut text, &format!("complete -c runtime -n '{condition}' -a '{}'", SHELLS.join(" ")))
            }
            Subject::Words(words) => line(
                &mut text,
                &format!(
                    "complete -c runtime -n '{condition}' -a '{} (runtime list --quiet 2>/dev/null)'",
                    words.join(" ")
                ),
            ),
        }
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    if writeln!(text, "{line}").is_err() {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_every_command() {
        for shell in SHELLS {
            let script = script(shell).expect("a known shell");
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
            }
        }
        assert!(script("tcsh").is_none());
    }
}
