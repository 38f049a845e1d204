//! The example does what its page says, as root and as a user.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A user that no machine has.
const NOBODY: u32 = 64_323;

fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the handler as the page says.
fn handler() -> &'static Path {
    static HANDLER: OnceLock<PathBuf> = OnceLock::new();
    HANDLER.get_or_init(|| {
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("handler");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--locked", "-p", "wasm-handler", "--target", &triple])
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(directory())
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the handler is not built");
        target.join(triple).join("release/wasm-handler")
    })
}

/// Runs the example on a module, as `user`. Its pid comes with what it printed.
fn run(handler: &Path, module: &str, arguments: &[&str], user: Option<u32>) -> (u32, Output) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let copy = |from: &Path, name: &str| {
        let to = place.path().join(name);
        // Not by this process: a child of another test would hold the program open for writing.
        let copied = Command::new("cp").arg(from).arg(&to).status();
        assert!(copied.is_ok_and(|status| status.success()));
        to
    };
    let program = copy(Path::new(env!("CARGO_BIN_EXE_executor")), "executor");
    let (handler, module) = (copy(handler, "handler"), copy(&directory().join(module), "module.wat"));
    let temporary = place.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    for (path, mode) in [(place.path(), 0o755), (&temporary, 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let mut command = Command::new(program);
    command.arg(handler).arg(module).args(arguments).env("TMPDIR", &temporary).env("EXECUTOR_PLAN", "1");
    if let Some(id) = user {
        command.uid(id).gid(id);
    }
    let child = command.current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the example starts");
    let pid = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(temporary.read_dir().expect("the directory").count(), 0, "something is left");
    (pid, output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_module_runs_as_a_container() {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    for user in [None, Some(NOBODY).filter(|_| is_root)] {
        let (pid, output) = run(handler(), "hello.wat", &["a", "b c"], user);
        let printed = text(&output.stdout);
        assert_eq!(output.status.code(), Some(7), "{printed}{}", text(&output.stderr));
        assert!(printed.ends_with("/module.wasm\na\nb c\n"), "{printed}");
        assert!(printed.contains("child: execute handler \"wasm\" ("), "{printed}");
        // Two executors at the same time have two containers.
        assert!(printed.contains(&format!("module-{pid}")), "{printed}");
    }
}

/// A program with a loader would get that of the image.
#[test]
fn a_handler_has_to_be_static() {
    let own = std::env::current_exe().expect("this test has a path");
    let (_, output) = run(&own, "hello.wat", &[], None);
    assert!(text(&output.stderr).contains("dynamically linked"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

/// The code of the page is that of the example.
#[test]
fn the_page_shows_the_code() {
    let page = std::fs::read_to_string(directory().join("README.md")).expect("the page");
    let source = |name: &str| std::fs::read_to_string(directory().join(name)).expect("a source");
    let sources = ["src/main.rs", "handler/src/main.rs", "handler/src/wasi.rs"].map(source);
    let blocks: Vec<&str> =
        page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect();
    assert!(blocks.len() >= 4, "{} blocks", blocks.len());
    for block in blocks {
        assert!(sources.iter().any(|source| source.contains(block)), "not in the example:\n{block}");
    }
}
