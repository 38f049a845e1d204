//! Where the tests of a mutant run: a runtime without one of its protections may change what it should not.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the tests of one mutant may take. A mutant that makes them hang has been noticed.
const LIMIT: Duration = Duration::from_secs(120);

/// A /dev of its own, whose nodes are not those of the machine; the standard input is from there too.
const SCRIPT: &str = r#"
set -e
dev=$(mktemp -d)
mount -t tmpfs -o mode=755 dev "$dev"
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    set -f; IFS=:; set -- $node "$@"; IFS=' '
    mknod -m 666 "$dev/$1" c "$2" "$3"; shift 3
done
mkdir "$dev/pts" "$dev/shm" "$dev/mqueue"
mount --rbind /dev/pts "$dev/pts"
mount -t tmpfs -o mode=1777 shm "$dev/shm"
ln -s /proc/self/fd "$dev/fd"
ln -s pts/ptmx "$dev/ptmx"
for node in fuse net kvm loop-control; do
    [ ! -e "/dev/$node" ] || cp -a "/dev/$node" "$dev/"
done
mount --move "$dev" /dev
rmdir "$dev"
# It stays: as the first process of the PID namespace it waits for orphans.
set +e
"$@" </dev/null
exit $?
"#;

/// How a command ended.
pub(crate) struct Ended {
    /// None after the limit of time.
    pub(crate) success: Option<bool>,
    /// What it has printed.
    pub(crate) output: String,
}

/// Runs the tests of a binary in mount and PID namespaces of their own: what a mutant leaves running ends with them.
pub(crate) fn run(binary: &Path, directory: &Path, filter: &[String], env: &[(String, String)]) -> Ended {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SCRIPT, "sh"])
        .arg(binary)
        .args(["--exact", "--test-threads=2"])
        .args(filter)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().expect("unshare(1) runs");
    let readers = [
        child.stdout.take().map(|pipe| reader(Box::new(pipe))),
        child.stderr.take().map(|pipe| reader(Box::new(pipe))),
    ];
    let success = wait(&mut child);
    let text = |reader: std::thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let output = readers.into_iter().flatten().map(text).collect();
    Ended { success, output }
}

fn reader(mut pipe: Box<dyn Read + Send>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child) -> Option<bool> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("the tests are a child") {
            return Some(status.success());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // The death of unshare(1) is the death of the PID namespace (--kill-child).
    child.kill().ok();
    child.wait().ok();
    None
}
