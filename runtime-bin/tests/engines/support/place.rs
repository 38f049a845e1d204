//! The private namespaces in which an engine runs, and what is taken away after it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cgroup::sweep;
use super::command::exit_code;
use super::{Checks, Outcome, Stop, directories};

/// Set inside the namespaces: the directory of this engine instance.
const INSIDE: &str = "ENGINES_INSIDE";
/// Set inside the namespaces: a name for cgroups that is unique on the machine.
const TAG: &str = "ENGINES_TAG";
/// The longest time that one engine's checks may take together.
const ENGINE_LIMIT: Duration = Duration::from_secs(900);
/// How many engines run at a time: they wait for each other's processes more than they compute.
const LANES: usize = 2;
/// Runs as PID 1 of the private namespaces. `/run` is private because containerd's shims and Podman
/// keep sockets at fixed paths there; `/sys/fs/cgroup` gets a tmpfs of its own because Podman makes
/// directories beside the controllers. A shell is enough as init: while it waits it reaps any orphan.
const ENTER: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /run
for dir in /var/lib/cni /var/lib/containers /var/lib/containerd; do
    if [ -d "$dir" ]; then mount -t tmpfs tmpfs "$dir"; fi
done
if [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ]; then
    mkdir "$ENGINES_INSIDE/cgroup"
    mount -t tmpfs -o mode=755 cgroup "$ENGINES_INSIDE/cgroup"
    for controller in /sys/fs/cgroup/*; do
        name=${controller##*/}
        if [ -L "$controller" ]; then
            cp -P "$controller" "$ENGINES_INSIDE/cgroup/$name"
        elif mountpoint -q "$controller"; then
            mkdir "$ENGINES_INSIDE/cgroup/$name"
            mount --bind "$controller" "$ENGINES_INSIDE/cgroup/$name"
        fi
    done
    if [ "$CGROUP_VIEW" = v1 ] && mountpoint -q "$ENGINES_INSIDE/cgroup/unified"; then
        umount "$ENGINES_INSIDE/cgroup/unified"
        rmdir "$ENGINES_INSIDE/cgroup/unified"
    fi
    umount -R /sys/fs/cgroup
    mount --move "$ENGINES_INSIDE/cgroup" /sys/fs/cgroup
fi
busybox ifconfig lo 127.0.0.1 up
set +e
"$@"
exit $?
"#;

/// What an engine's checks know about their surroundings.
pub(crate) struct Place {
    /// Directory of this instance, mode 0711, removed at the end.
    pub(crate) dir: PathBuf,
    /// Unique on the machine; cgroups below it are removed at the end.
    pub(crate) tag: String,
    /// The runtime under test, absolute.
    pub(crate) runtime: PathBuf,
}

impl Place {
    /// A new directory in the instance's directory, open to every user.
    pub(crate) fn shared_dir(&self, name: &str) -> Result<PathBuf, Stop> {
        let path = self.dir.join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(path)
    }
}

/// Runs the checks of one engine in namespaces of their own. `test` is the path of the calling test.
///
/// The test binary is started again, by that path, under a shell that is PID 1 of a PID namespace: when
/// the inner test ends, or when this process is killed, the kernel ends every process of the engine.
/// Only cgroup directories and files outlive it; they are removed here.
pub(crate) fn engine_test(engine: &str, test: &str, checks: fn(&Place, &Checks) -> Outcome) {
    if let Some(dir) = std::env::var_os(INSIDE) {
        let tag = std::env::var(TAG).expect("set together with the directory");
        let place = Place { dir: dir.into(), tag, runtime: runtime_path() };
        let report = Checks::new(engine);
        report.always("the checks run to their end", || checks(&place, &report));
        report.finish();
        return;
    }
    let _lane = Lane::enter();
    assert!(is_root(), "{engine}: this test needs root");
    let prefix = format!("engines-{engine}-");
    sweep(|name| stale(name, &prefix));
    sweep_directories(&prefix);
    let tag = format!("{prefix}{}", std::process::id());
    let mut dir = tempfile::Builder::new().prefix(&format!("{tag}.")).tempdir().expect("temporary directory");
    dir.disable_cleanup(std::env::var_os("ENGINES_KEEP").is_some());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
    let result = enter(test, dir.path(), &tag);
    sweep(|name| name.starts_with(&tag));
    match result {
        Ok(0) => {}
        Ok(code) => panic!("{engine}: the checks ended with {code}"),
        Err(why) => panic!("{engine}: {why:?}"),
    }
}

/// One of the places for engines that run at the same time, also where all tests are threads of one process.
struct Lane;

static FREE: Mutex<usize> = Mutex::new(LANES);
static FREED: Condvar = Condvar::new();

impl Lane {
    fn enter() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Lane
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}

/// The runtime under test, absolute and without symbolic links.
pub(crate) fn runtime_path() -> PathBuf {
    let path = std::env::var_os("RUNTIME_UNDER_TEST").unwrap_or_else(|| env!("CARGO_BIN_EXE_runtime").into());
    fs::canonicalize(&path).unwrap_or_else(|error| panic!("runtime under test {path:?}: {error}"))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Starts the test again inside, and passes on what it prints while it prints it.
fn enter(test: &str, dir: &Path, tag: &str) -> Result<i32, Stop> {
    let log = dir.join("checks.log");
    let out = File::create(&log)?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--propagation", "private", "sh", "-c", ENTER, "engines"])
        .arg(std::env::current_exe()?)
        .args(["--exact", "--include-ignored", test, "--nocapture"])
        .env(INSIDE, dir)
        .env(TAG, tag)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()?;
    let deadline = Instant::now() + ENGINE_LIMIT;
    let mut follow = Follow { file: File::open(&log)?, rest: String::new() };
    let status = loop {
        follow.print_new()?;
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            follow.print_new()?;
            return Err(format!("still ran after {ENGINE_LIMIT:?}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    follow.print_new()?;
    Ok(exit_code(status))
}

/// Prints the whole lines that were added to a file, without the inner test harness's own.
struct Follow {
    file: File,
    rest: String,
}

impl Follow {
    fn print_new(&mut self) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            let line = line.trim_end();
            let harness = ["running ", "test ", "failures:", "note: "];
            if !line.is_empty() && !harness.iter().any(|start| line.starts_with(start)) {
                println!("{line}");
            }
        }
        Ok(())
    }
}

/// Removes what earlier runs left that were killed.
fn sweep_directories(prefix: &str) {
    for path in directories(&std::env::temp_dir()) {
        let name = path.file_name().and_then(OsStr::to_str);
        if name.is_some_and(|name| stale(name, prefix))
            && let Err(why) = fs::remove_dir_all(&path)
        {
            println!("warning: {} stays: {why}", path.display());
        }
    }
}

/// A name left by an earlier run that was killed: its number is no process any more.
fn stale(name: &str, prefix: &str) -> bool {
    let pid =
        name.strip_prefix(prefix).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
    pid.is_some_and(|pid| !pid.is_empty() && !Path::new("/proc").join(pid).exists())
}
