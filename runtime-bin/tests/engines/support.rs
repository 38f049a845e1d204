//! What every engine test needs: the private namespaces, bounded commands, named checks, cgroups.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Set inside the namespaces: the directory of this engine instance.
const INSIDE: &str = "ENGINES_INSIDE";
/// Set inside the namespaces: a name for cgroups that is unique on the machine.
const TAG: &str = "ENGINES_TAG";
/// The longest time that one engine's checks may take together.
const ENGINE_LIMIT: Duration = Duration::from_secs(600);
/// The longest time that one command of a check may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Runs as PID 1 of the private namespaces. `/run` is private because containerd's shims and Podman
/// keep sockets at fixed paths there; `/sys/fs/cgroup` gets a tmpfs of its own because Podman makes
/// directories beside the controllers. A shell is enough as init: while it waits it reaps any orphan.
const ENTER: &str = r#"
set -e
mount -t tmpfs -o mode=755 tmpfs /run
for dir in /var/lib/cni /var/lib/containers /var/lib/containerd /etc/cni/net.d; do
    if [ -d "$dir" ] && [ "$dir" != /etc/cni/net.d ]; then mount -t tmpfs tmpfs "$dir"; fi
done
if [ "$(stat -f -c %T /sys/fs/cgroup)" = tmpfs ]; then
    mkdir "$ENGINES_INSIDE/cgroup"
    mount -t tmpfs -o mode=755 cgroup "$ENGINES_INSIDE/cgroup"
    for controller in /sys/fs/cgroup/*; do
        name=${controller##*/}
        if [ -L "$controller" ]; then
            cp -P "$controller" "$ENGINES_INSIDE/cgroup/$name"
        else
            mkdir "$ENGINES_INSIDE/cgroup/$name"
            mount --bind "$controller" "$ENGINES_INSIDE/cgroup/$name"
        fi
    done
    umount -R /sys/fs/cgroup
    mount --move "$ENGINES_INSIDE/cgroup" /sys/fs/cgroup
fi
busybox ifconfig lo 127.0.0.1 up
set +e
"$@"
exit $?
"#;

/// Why a check did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The effect was not the one expected.
    Failed(String),
    /// This machine cannot show the effect, with any runtime.
    Skipped(String),
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Stop::Failed(text)
    }
}

impl From<&str> for Stop {
    fn from(text: &str) -> Self {
        Stop::Failed(text.to_owned())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Stop::Failed(error.to_string())
    }
}

/// What a check returns.
pub(crate) type Outcome = Result<(), Stop>;

/// Fails unless the two are equal.
pub(crate) fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
    what: &str,
    got: T,
    want: U,
) -> Outcome {
    if got == want {
        return Ok(());
    }
    Err(format!("{what}: got {got:?}, want {want:?}").into())
}

/// Fails unless the text contains the part.
pub(crate) fn has(what: &str, text: &str, part: &str) -> Outcome {
    if text.contains(part) {
        return Ok(());
    }
    Err(format!("{what}: {part:?} is not in {text:?}").into())
}

/// Fails unless the condition holds.
pub(crate) fn that(what: &str, condition: bool) -> Outcome {
    if condition { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

/// Repeats a check until it passes, at most for the given time.
pub(crate) fn eventually(limit: Duration, mut check: impl FnMut() -> Outcome) -> Outcome {
    let deadline = Instant::now() + limit;
    loop {
        match check() {
            Err(Stop::Failed(_)) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

/// The result of a command that ended by itself.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code, or 128 and the signal.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    command: String,
}

impl Output {
    /// Standard output without the last newlines, if the command succeeded.
    pub(crate) fn ok(self) -> Result<String, Stop> {
        self.code(0)
    }

    /// Standard output without the last newlines, if the command ended with this code.
    pub(crate) fn code(self, want: i32) -> Result<String, Stop> {
        if self.code == want {
            return Ok(self.stdout.trim_end().to_owned());
        }
        Err(format!(
            "`{}` ended with {}, want {want}; stdout {:?}, stderr {:?}",
            self.command,
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
        .into())
    }

    /// Standard error, if the command failed in any way.
    pub(crate) fn fails(self) -> Result<String, Stop> {
        if self.code != 0 {
            return Ok(self.stderr);
        }
        Err(format!("`{}` succeeded, stdout {:?}", self.command, self.stdout.trim_end()).into())
    }
}

/// A command with a clean environment, a time limit, and output that never blocks: it goes to
/// files, because detached processes of an engine may hold a pipe open for ever.
pub(crate) struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    stdin: Option<String>,
    limit: Duration,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/run"), ("LANG", "C")];
        Cmd {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: env.map(|(name, value)| (name.to_owned(), value.into())).into(),
            stdin: None,
            limit: COMMAND_LIMIT,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same command, started by another one that takes it as its last arguments.
    pub(crate) fn under(mut self, outer: &[&str]) -> Self {
        let inner = std::mem::replace(&mut self.program, outer[0].into());
        let outer = outer[1..].iter().map(OsString::from);
        self.args = outer.chain([inner]).chain(self.args).collect();
        self
    }

    /// The same command on a pseudo-terminal of its own.
    pub(crate) fn on_terminal(self) -> Self {
        let words = std::iter::once(&self.program).chain(&self.args);
        let quoted = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")));
        let line = quoted.collect::<Vec<_>>().join(" ");
        Cmd {
            program: "script".into(),
            args: ["-qec", &line, "/dev/null"].map(OsString::from).into(),
            ..self
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env);
        command
    }

    fn text(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Runs the command to its end; a command over its limit is killed and is a failure.
    pub(crate) fn run(self) -> Result<Output, Stop> {
        let text = self.text();
        let failed = |error: std::io::Error| Stop::Failed(format!("`{text}`: {error}"));
        let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let stdin = match &self.stdin {
            None => Stdio::null(),
            Some(text) => {
                let mut file = tempfile::tempfile()?;
                std::io::Write::write_all(&mut file, text.as_bytes())?;
                file.seek(SeekFrom::Start(0))?;
                file.into()
            }
        };
        let mut child = self
            .command()
            .stdin(stdin)
            .stdout(out.try_clone()?)
            .stderr(err.try_clone()?)
            .spawn()
            .map_err(failed)?;
        let status = wait(&mut child, self.limit).map_err(failed)?;
        let (stdout, stderr) = (read_back(&mut out)?, read_back(&mut err)?);
        let Some(status) = status else {
            let limit = self.limit;
            return Err(
                format!("`{text}` still ran after {limit:?}; stdout {stdout:?}, stderr {stderr:?}").into()
            );
        };
        Ok(Output { code: exit_code(status), stdout, stderr, command: text })
    }

    /// Starts a daemon whose output goes to a file.
    pub(crate) fn daemon(self, log: &Path) -> Result<Child, Stop> {
        let log = File::create(log)?;
        Ok(self.command().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn read_back(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for a child; `None` if it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Waits until a daemon answers; its log is part of the failure.
pub(crate) fn await_daemon(daemon: &mut Child, log: &Path, ready: impl Fn() -> Result<(), Stop>) -> Outcome {
    let result = eventually(Duration::from_secs(60), || match daemon.try_wait()? {
        Some(status) => Err(Stop::Skipped(format!("the daemon ended: {status}"))),
        None => ready(),
    });
    let log = || last_lines(&fs::read_to_string(log).unwrap_or_default(), 15);
    match result {
        Ok(()) => Ok(()),
        Err(Stop::Failed(text) | Stop::Skipped(text)) => Err(format!("{text}\n{}", log()).into()),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Stops a daemon that this test started: TERM, then KILL.
pub(crate) fn stop_daemon(daemon: &mut Child) {
    Cmd::new("kill").arg(daemon.id().to_string()).run().ok();
    wait(daemon, Duration::from_secs(20)).ok();
}

/// The named checks of one engine, and their count.
pub(crate) struct Checks {
    engine: String,
    only: Option<String>,
    counts: RefCell<Counts>,
}

#[derive(Default)]
struct Counts {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

impl Checks {
    fn new(engine: &str) -> Self {
        Checks {
            engine: engine.to_owned(),
            only: std::env::var("ENGINES_ONLY").ok(),
            counts: RefCell::default(),
        }
    }

    /// Runs one check and prints its line.
    pub(crate) fn run(&self, name: &str, check: impl FnOnce() -> Outcome) {
        if self.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            self.always(name, check);
        }
    }

    /// Runs a check that `ENGINES_ONLY` cannot leave out.
    fn always(&self, name: &str, check: impl FnOnce() -> Outcome) {
        let started = Instant::now();
        let outcome = check();
        let seconds = started.elapsed().as_secs_f64();
        let (engine, mut counts) = (&self.engine, self.counts.borrow_mut());
        match outcome {
            Ok(()) => {
                counts.passed += 1;
                println!("ok {engine}: {name} ({seconds:.2} s)");
            }
            Err(Stop::Skipped(why)) => {
                counts.skipped += 1;
                println!("skip {engine}: {name}: {why}");
            }
            Err(Stop::Failed(why)) => {
                println!("FAIL {engine}: {name} ({seconds:.2} s): {why}");
                counts.failed.push(name.to_owned());
            }
        }
    }

    /// Runs a table of checks on an engine.
    pub(crate) fn table<E>(&self, engine: &E, table: &[(&str, fn(&E) -> Outcome)]) {
        for (name, check) in table {
            self.run(name, || check(engine));
        }
    }

    fn finish(&self) {
        let Counts { passed, skipped, failed } = &*self.counts.borrow();
        println!("{}: {passed} passed, {} failed, {skipped} skipped", self.engine, failed.len());
        assert!(failed.is_empty(), "failed checks: {}", failed.join("; "));
        assert!(*passed > 0, "no check ran");
    }
}

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
    // One engine at a time also under plain `cargo test`, which runs tests as threads.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(is_root(), "{engine}: this test needs root");
    let prefix = format!("engines-{engine}-");
    sweep_cgroups(|name| stale(name, &prefix));
    let tag = format!("{prefix}{}", std::process::id());
    let mut dir = tempfile::Builder::new().prefix(&tag).tempdir().expect("temporary directory");
    dir.disable_cleanup(std::env::var_os("ENGINES_KEEP").is_some());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("chmod");
    let result = enter(test, dir.path(), &tag);
    sweep_cgroups(|name| name.starts_with(&tag));
    match result {
        Ok(0) => {}
        Ok(code) => panic!("{engine}: the checks ended with {code}"),
        Err(why) => panic!("{engine}: {why:?}"),
    }
}

/// The runtime under test, absolute and without symbolic links.
pub(crate) fn runtime_path() -> PathBuf {
    let path = std::env::var_os("RUNTIME_UNDER_TEST").unwrap_or_else(|| env!("CARGO_BIN_EXE_runtime").into());
    fs::canonicalize(&path).unwrap_or_else(|error| panic!("runtime under test {path:?}: {error}"))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// Starts the test again inside, and passes on what it prints while it prints it.
fn enter(test: &str, dir: &Path, tag: &str) -> Result<i32, Stop> {
    let log = dir.join("checks.log");
    let out = File::create(&log)?;
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--propagation", "private", "sh", "-c", ENTER, "engines"])
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
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

/// A cgroup left by an earlier run that was killed: its number is no process any more.
fn stale(name: &str, prefix: &str) -> bool {
    let pid =
        name.strip_prefix(prefix).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
    pid.is_some_and(|pid| !pid.is_empty() && !Path::new("/proc").join(pid).exists())
}

/// The roots of all cgroup hierarchies.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return vec![root];
    }
    directories(&root)
}

/// The directories in a directory, without symbolic links.
pub(crate) fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn sweep_cgroups(matches: impl Fn(&str) -> bool) {
    for cgroup in hierarchies().iter().flat_map(|root| directories(root)) {
        if cgroup.file_name().and_then(OsStr::to_str).is_some_and(&matches) {
            remove_cgroup(&cgroup);
        }
    }
}

/// Removes a cgroup and those below it. Processes of a killed PID namespace may take a moment to go.
fn remove_cgroup(path: &Path) {
    for below in directories(path) {
        remove_cgroup(&below);
    }
    let gone = eventually(Duration::from_secs(2), || match fs::remove_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    });
    if let Err(why) = gone {
        println!("warning: {} stays: {why:?}", path.display());
    }
}

/// Where a controller of a process's cgroup is, by `/proc/PID/cgroup`.
///
/// Skips if the machine (or its cgroup view) has no such controller.
pub(crate) fn cgroup_of(pid: u32, controller: &str) -> Result<PathBuf, Stop> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let unified = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
    for line in table.lines() {
        let [_, names, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if unified && names.is_empty() {
            let cgroup = Path::new("/sys/fs/cgroup").join(path);
            let controllers = fs::read_to_string(cgroup.join("cgroup.controllers"))?;
            if controllers.split_whitespace().any(|name| name == controller) {
                return Ok(cgroup);
            }
        } else if !unified && names.split(',').any(|name| name == controller) {
            return Ok(Path::new("/sys/fs/cgroup").join(controller).join(path));
        }
    }
    Err(Stop::Skipped(format!("no cgroup controller {controller:?} here")))
}

/// A file of a process's cgroup: the first name is of v1, the second of v2.
pub(crate) fn cgroup_value(pid: u32, controller: &str, v1: &str, v2: &str) -> Result<String, Stop> {
    let cgroup = cgroup_of(pid, controller)?;
    let name = if Path::new("/sys/fs/cgroup/cgroup.procs").exists() { v2 } else { v1 };
    let path = cgroup.join(name);
    let value = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(value.trim_end().to_owned())
}

/// The value of a field of `/proc/PID/status` text, without blanks around it.
pub(crate) fn status_field<'a>(status: &'a str, name: &str) -> Result<&'a str, Stop> {
    let field = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
    status.lines().find_map(field).ok_or_else(|| format!("no {name} in {status:?}").into())
}

/// Fails, naming the Debian package, if a program is missing.
pub(crate) fn need(program: &str, package: &str) -> Outcome {
    if Path::new(program).exists() {
        return Ok(());
    }
    Err(format!("{program} is missing: install the Debian package {package} (see .ci/packages-engines.txt)")
        .into())
}

/// Whether the checks leave the engine's seccomp profile on.
pub(crate) fn seccomp_is_on() -> bool {
    std::env::var("ENGINE_SECCOMP").as_deref() != Ok("unconfined")
}

/// The set of all capabilities that a container can get here.
///
/// Skips for runc on a machine that does not have every capability: it starts no such container.
pub(crate) fn grants_everything(runtime: &Path) -> Result<String, Stop> {
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status_field(&status, "CapBnd")?;
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse().unwrap_or(63);
    let full = u64::from_str_radix(bounding, 16).is_ok_and(|set| set.count_ones() == last + 1);
    if !full && runtime.file_name().is_some_and(|name| name == "runc") {
        return Err(Stop::Skipped(format!("the bounding set here is only {bounding}, which runc refuses")));
    }
    Ok(bounding.to_owned())
}

/// How far a file grows in a while: what a container writes all the time shows whether it runs.
pub(crate) fn growth(file: &Path, during: Duration) -> Result<u64, Stop> {
    let before = fs::metadata(file)?.len();
    std::thread::sleep(during);
    Ok(fs::metadata(file)?.len() - before)
}

/// Lines that are now in `/proc/self/mountinfo` and name this text.
pub(crate) fn mounts_with(text: &str) -> Result<Vec<String>, Stop> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter(|line| line.contains(text)).map(str::to_owned).collect())
}
