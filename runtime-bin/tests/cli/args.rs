//! Options, help and version.

use crate::support::{Bundle, Running as _, runtime};

const COMMANDS: &[&str] = &[
    "checkpoint",
    "completion",
    "create",
    "delete",
    "events",
    "exec",
    "features",
    "info",
    "kill",
    "list",
    "mounts",
    "pause",
    "ps",
    "restore",
    "resume",
    "run",
    "spec",
    "start",
    "state",
    "update",
];

/// The options of runc 1.5 and of crun 1.28, as their help texts list them; those of no command come first.
const OPTIONS: &[(&str, &str)] = &[
    (
        "",
        "--debug --log --log-format --log-level --root --rootless --systemd-cgroup --cgroup-manager --help -h \
         --version -v -V",
    ),
    (
        "checkpoint",
        "--auto-dedup --criu-timeout --empty-ns --ext-unix-sk --file-locks --image-path --lazy-pages --leave-running \
         --link-remap --manage-cgroups-mode --network-lock --page-server --parent-path --pre-dump --shell-job \
         --status-fd --tcp-established --tcp-skip-in-flight --work-path",
    ),
    (
        "create",
        "--bundle -b --config -f --console-socket --no-new-keyring --no-pivot --no-subreaper --pid-file \
         --pidfd-socket --preserve-fds",
    ),
    ("delete", "--force -f --regex -r"),
    ("events", "--interval --stats"),
    (
        "exec",
        "--additional-gids -g --apparmor --cap -c --cgroup --console-socket --cwd --detach -d --env -e \
         --ignore-paused --no-new-privs --pid-file --pidfd-socket --preserve-fds --process -p --process-label \
         --tty -t --user -u",
    ),
    ("features", ""),
    ("kill", "--all -a --regex -r"),
    ("list", "--format -f --quiet -q"),
    ("mounts", ""),
    ("pause", ""),
    ("ps", "--format -f"),
    (
        "restore",
        "--auto-dedup --bundle -b --console-socket --criu-timeout --detach -d --empty-ns --ext-unix-sk --file-locks \
         --image-path --lazy-pages --lsm-mount-context --lsm-profile --manage-cgroups-mode --network-lock \
         --no-pivot --no-subreaper --pid-file --shell-job --tcp-close --tcp-established --work-path",
    ),
    ("resume", ""),
    (
        "run",
        "--bundle -b --config -f --console-socket --detach -d --keep --no-new-keyring --no-pivot --no-subreaper \
         --pid-file --pidfd-socket --preserve-fds",
    ),
    ("spec", "--bundle -b --file -f --rootless"),
    ("start", ""),
    ("state", ""),
    (
        "update",
        "--blkio-weight --cpu-burst --cpu-idle --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime \
         --cpu-share --cpuset-cpus --cpuset-mems --kernel-memory --kernel-memory-tcp --l3-cache-schema \
         --mem-bw-schema --memory --memory-reservation --memory-swap --pids-limit --resources -r",
    ),
];

#[test]
fn every_option_of_runc_and_crun() {
    // Some name a file that is made.
    let directory = tempfile::tempdir().expect("a directory");
    for (command, options) in OPTIONS {
        for option in options.split_ascii_whitespace().chain(["--help"]) {
            // A value that some refuse: they know the option then.
            let words = [*command, &format!("{option}=1"), "--nonesuch"];
            let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let run = runtime().current_dir(directory.path()).go(&words);
            let unknown = format!("not defined: -{}", option.trim_start_matches('-'));
            assert!(run.code != 0 && !run.stderr.contains(&unknown), "{run:?}");
            assert!(!run.stderr.contains("No help topic"), "{run:?}");
        }
    }
}

#[test]
fn help_of_the_program() {
    for args in [[].as_slice(), &["-h"], &["--help"], &["help"]] {
        let help = runtime().go(args).ok().stdout;
        let lines: Vec<_> = help.lines().collect();
        assert_eq!(lines[..2], ["NAME:", "   runtime - Open Container Initiative runtime"]);
        for command in COMMANDS {
            assert!(help.contains(&format!("\n   {command} ")), "{command}");
        }
    }
}

#[test]
fn help_of_each_command() {
    for command in COMMANDS {
        for args in [[command, "--help"], [command, "-h"], ["help", command]] {
            let help = runtime().go(&args).ok().stdout;
            let lines: Vec<_> = help.lines().collect();
            assert_eq!(lines[0], "NAME:");
            assert!(lines[1].starts_with(&format!("   runtime {command} - ")), "{help}");
        }
    }
}

#[test]
fn version_as_docker_reads_it() {
    for flag in ["--version", "-v"] {
        let text = runtime().go(&[flag]).ok().stdout;
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("runtime version {}", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: "));
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}

#[test]
fn mistakes() {
    for (args, code, text) in [
        (["foo", "-h"].as_slice(), 3, "No help topic for 'foo'"),
        (&["--nosuch"], 1, "flag provided but not defined: -nosuch"),
        (&["state", "--nosuch", "x"], 1, "flag provided but not defined: -nosuch"),
        (&["state"], 1, "requires exactly 1 argument(s)"),
        (&["exec"], 1, "requires a minimum of 1 argument(s)"),
        (&["kill", "a", "b", "c"], 1, "requires a maximum of 2 argument(s)"),
        (&["create", "--bundle"], 1, "flag needs an argument: --bundle"),
        (&["--debug=x", "list"], 1, "for flag -debug"),
        (&["--log-format", "xml", "list"], 1, "xml"),
        (&["--root", "/", "list"], 1, "Option --root argument should not be set to /"),
        (&["--log", "/nonexistent/log", "list"], 1, "no such file or directory"),
        (&["completion", "tcsh"], 1, "tcsh"),
    ] {
        let run = runtime().go(args).fails(code, text);
        assert_eq!((run.stdout.as_str(), run.stderr.lines().count()), ("", 1), "{run:?}");
    }
}

#[test]
fn options_after_the_id() {
    let bundle = Bundle::new(&["true"]);
    for args in [
        ["state", "-log-format", "json", "nosuch", "--debug=false"],
        ["state", "nosuch", "--root=/nonexistent", "--root", "state"],
    ] {
        bundle.go(&args).fails(1, "does not exist");
    }
}

#[test]
fn completion_scripts() {
    let script = runtime().go(&["completion", "bash"]).ok().stdout;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("runtime.bash");
    std::fs::write(&file, script).expect("the script");
    let complete = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let test = format!(
            "PATH={}:$PATH; source {}; COMP_WORDS=({}''); COMP_CWORD={}; COMP_WORDS[COMP_CWORD]='{}'; _runtime; echo \"${{COMPREPLY[@]}}\"",
            crate::support::runtime_path().parent().expect("a directory").display(),
            file.display(),
            words[..words.len() - 1].iter().map(|word| format!("'{word}' ")).collect::<String>(),
            words.len() - 1,
            words[words.len() - 1],
        );
        std::process::Command::new("bash").go(&["-c", &test]).ok().stdout.trim().to_owned()
    };
    assert_eq!(complete("runtime st"), "start state");
    assert_eq!(complete("runtime --log-format "), "text json");
    assert_eq!(complete("runtime run --no-p"), "--no-pivot");
    assert_eq!(complete("runtime --root /x completion z"), "zsh");
    for (shell, text) in [("zsh", "#compdef runtime"), ("fish", "complete -c runtime")] {
        assert!(runtime().go(&["completion", shell]).ok().stdout.contains(text));
    }
}

#[test]
fn features_as_engines_read_them() {
    let text = runtime().go(&["features"]).ok().stdout;
    let features: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    let has = |list: &serde_json::Value, word: &str| {
        list.as_array().is_some_and(|list| list.iter().any(|item| item == word))
    };
    assert!(has(&features["mountOptions"], "rro"));
    assert!(has(&features["linux"]["namespaces"], "user"));
    assert!(has(&features["hooks"], "createContainer"));
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
}

#[test]
fn spec_writes_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bundle = directory.path().to_str().expect("a path");
    runtime().go(&["spec", "--bundle", bundle]).ok();
    let text = std::fs::read(directory.path().join("config.json")).expect("config.json");
    let config: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(config["process"]["args"], serde_json::json!(["sh"]));
    runtime().go(&["spec", "-b", bundle]).fails(1, "exists. Remove it first");
    std::fs::remove_file(directory.path().join("config.json")).expect("removed");
    runtime().current_dir(bundle).go(&["spec", "--rootless"]).ok();
    let text = std::fs::read(directory.path().join("config.json")).expect("config.json");
    let config: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(config["linux"]["uidMappings"][0]["size"], 1);
}
