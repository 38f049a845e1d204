//! The runtime inside a container of an engine: a bundle made there, and what the inner container shows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Cmd, Outcome, Output, Stop, has, same, that};

/// Debian's own runtime, as the outer one.
pub(crate) const OTHER: &str = "/usr/sbin/runc";
/// Stands between the parts of what a script prints.
const PART: &str = "--- next ---";
/// The namespaces that `spec` gives, and those of `spec --rootless`.
const KINDS: [&str; 5] = ["ipc", "mnt", "net", "pid", "uts"];
const ROOTLESS_KINDS: [&str; 5] = ["ipc", "mnt", "user", "pid", "uts"];
/// What the inner container shows of itself.
const PROBE: &str = r#"
for kind in ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done
echo "pid $$"; echo "root" $(ls -A /); echo "map" $(cat /proc/self/uid_map); echo "host $(hostname)"
grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status
mkdir /bin/made 2>&1; stat -c 'keys %F' /proc/keys; exit 3"#;

/// The directory with the program and the configurations, which outer containers mount.
pub(crate) struct Inner {
    directory: PathBuf,
    runtime: PathBuf,
}

/// How an engine runs a script in a new container with options.
pub(crate) type Outer<'a> = &'a dyn Fn(&[&str], &str) -> Result<Output, Stop>;

/// What came of one call of the inner runtime.
#[derive(Debug)]
pub(crate) struct Nested {
    code: i32,
    namespaces: Vec<String>,
    lines: Vec<String>,
    stderr: String,
    /// Inner cgroups, and entries of the state.
    left: String,
}

impl Inner {
    /// Below a directory that every user may enter.
    pub(crate) fn new(directory: &Path, runtime: &Path) -> Result<Self, Stop> {
        let this = Self { directory: directory.join("inner"), runtime: runtime.to_owned() };
        fs::create_dir_all(&this.directory)?;
        fs::set_permissions(&this.directory, fs::Permissions::from_mode(0o755))?;
        fs::copy(runtime, this.directory.join("runtime"))?;
        Ok(this)
    }

    /// Whether the checks may look for the program's own words, and for what runc cannot do here.
    pub(crate) fn is_ours(&self) -> Outcome {
        if self.runtime.file_name().is_some_and(|name| name == "runc") {
            return Err(Stop::Skipped("not for runc, which has other words, or fails there".into()));
        }
        Ok(())
    }

    /// What the outer container has to mount: the directory, and the libraries of a program that has any.
    pub(crate) fn options(&self) -> Vec<String> {
        let inner = format!("{}:/inner:ro", self.directory.display());
        let volumes = [inner.as_str(), "/lib:/lib:ro", "/lib64:/lib64:ro"];
        volumes.iter().flat_map(|volume| ["-v".to_owned(), (*volume).to_owned()]).collect()
    }

    /// Writes a configuration: what `spec` gives, with a script and a change.
    pub(crate) fn configure(&self, rootless: bool, script: &str, change: fn(&mut Value)) -> Outcome {
        let path = self.directory.join("config.json");
        if path.exists() {
            fs::remove_file(&path)?;
        }
        let spec = Cmd::new(&self.runtime).arg("spec").arg("--bundle").arg(&self.directory);
        if rootless { spec.arg("--rootless") } else { spec }.run()?.ok()?;
        let mut config: Value =
            serde_json::from_slice(&fs::read(&path)?).map_err(|error| error.to_string())?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", script]);
        change(&mut config);
        fs::write(&path, config.to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok(())
    }

    /// The beginning of each script in an outer container: the bundle, and `$r`, the runtime.
    fn script(&self, rest: &str) -> String {
        format!(
            "set -e; mkdir -p /bundle/rootfs/bin; cp /bin/busybox /bundle/rootfs/bin
             for name in sh cat grep hostname ls mkdir readlink sleep stat; do
                 ln -s busybox /bundle/rootfs/bin/$name
             done
             cd /bundle; cp /inner/config.json .; r=/inner/runtime\n{rest}"
        )
    }

    /// Runs a script in an outer container, which must succeed; `$r` is the runtime.
    pub(crate) fn sh(&self, outer: Outer<'_>, options: &[&str], script: &str) -> Result<String, Stop> {
        outer(options, &self.script(script))?.ok()
    }

    /// `runtime OPTIONS run`.
    pub(crate) fn run(
        &self,
        outer: Outer<'_>,
        options: &[&str],
        inner_options: &str,
    ) -> Result<Nested, Stop> {
        let script = format!(
            "for kind in ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done
             echo '{PART}'; set +e; $r {inner_options} run nested 2>/tmp/stderr; code=$?
             echo '{PART}'; echo $code; echo '{PART}'; cat /tmp/stderr; echo '{PART}'
             $r list --quiet; find /sys/fs/cgroup -name nested 2>/dev/null; true"
        );
        let out = self.sh(outer, options, &script)?;
        let parts: Vec<&str> = out.split(PART).map(str::trim).collect();
        let [namespaces, stdout, code, stderr, left] = parts[..] else {
            return Err(format!("not five parts: {out:?}").into());
        };
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        Ok(Nested {
            code: code.parse().map_err(|_| format!("the code {code:?}"))?,
            namespaces: lines(namespaces),
            lines: lines(stdout),
            // A log line has quotes in quotes.
            stderr: stderr.replace("\\\"", "\""),
            left: left.to_owned(),
        })
    }

    /// A container that shows itself, which has to be one.
    pub(crate) fn shows(
        &self,
        outer: Outer<'_>,
        options: &[&str],
        (rootless, inner_options): (bool, &str),
    ) -> Result<Nested, Stop> {
        self.configure(rootless, PROBE, |_| {})?;
        let nested = self.run(outer, options, inner_options)?;
        nested.is_whole(if rootless { ROOTLESS_KINDS } else { KINDS })?;
        Ok(nested)
    }

    /// A container that cannot be: the one error has these texts.
    pub(crate) fn refused(
        &self,
        outer: Outer<'_>,
        options: &[&str],
        (rootless, inner_options): (bool, &str),
        texts: &[&str],
    ) -> Outcome {
        self.is_ours()?;
        self.configure(rootless, PROBE, |_| {})?;
        let nested = self.run(outer, options, inner_options)?;
        same("code", nested.code, 1)?;
        for text in texts {
            has("the error", &nested.stderr, text)?;
        }
        let errors = nested.stderr.lines().filter(|line| line.contains("level=error"));
        same(&format!("errors in {:?}", nested.stderr), errors.count(), 1)?;
        same("left", nested.left.as_str(), "")
    }

    /// Fails unless the container that is configured prints these words in lines.
    pub(crate) fn prints(&self, outer: Outer<'_>, options: &[&str], lines: &[&str]) -> Outcome {
        let nested = self.run(outer, options, "")?;
        let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let printed: Vec<String> = nested.lines.iter().map(words).collect();
        same(&format!("what {nested:?} printed"), printed, lines)?;
        same("left", nested.left.as_str(), "")
    }

    /// create, start, exec, kill and delete, each with its effect in the inner container.
    pub(crate) fn lives(&self, outer: Outer<'_>, options: &[&str]) -> Outcome {
        self.configure(false, "echo began >/dev/shm/state; sleep 1000 & wait", |_| {})?;
        let out = self.sh(
            outer,
            options,
            r#"$r create nested </dev/null >/dev/null; $r state nested | grep '"status"'
               $r start nested; until $r exec nested cat /dev/shm/state 2>/dev/null; do :; done
               $r exec nested sh -c 'hostname; cat /proc/1/cmdline | grep -c began; readlink /proc/self/ns/pid'
               readlink /proc/self/ns/pid; $r state nested | grep '"status"'
               $r kill nested KILL; until $r state nested | grep '"status": "stopped"'; do :; done
               $r delete nested; $r list --quiet; find /sys/fs/cgroup -name nested 2>/dev/null || true"#,
        )?;
        let lines: Vec<_> = out.lines().map(|line| line.trim().trim_end_matches(',')).collect();
        let [created, began, host, first, own, outside, running, stopped] = lines[..] else {
            return Err(format!("not eight lines: {out:?}").into());
        };
        let status = |name: &str| format!(r#""status": "{name}""#);
        same("after create", created, status("created"))?;
        same("the program and its host name", (began, host, first), ("began", "runc", "1"))?;
        that(&format!("{own} is not {outside}"), own.starts_with("pid:[") && own != outside)?;
        same("then", [running, stopped], [status("running"), status("stopped")])
    }

    /// Limits in the inner cgroup, felt by the inner container.
    pub(crate) fn limits(&self, outer: Outer<'_>, options: &[&str]) -> Outcome {
        let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max
            n=0; while [ $n -lt 30 ]; do sleep 1000 & n=$((n + 1)); done; echo all";
        self.configure(false, script, |config| {
            config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
            config["linux"]["resources"]["pids"] = json!({"limit": 20});
        })?;
        let nested = self.run(outer, options, "")?;
        same("limits, and no end of the loop", nested.lines, [(64 << 20).to_string(), "20".into()])?;
        has("the shell", &nested.stderr, "can't fork")?;
        that("the shell failed", nested.code != 0)?;
        same("left", nested.left.as_str(), "")
    }
}

impl Nested {
    /// Fails unless the inner container is one of its own, with what `spec` asks for.
    fn is_whole(&self, kinds: [&str; 5]) -> Outcome {
        let has =
            |line: &str| that(&format!("{line:?} is in {self:?}"), self.lines.iter().any(|l| l == line));
        same(&format!("code of {self:?}"), self.code, 3)?;
        for line in ["pid 1", "root bin dev proc sys", "host runc", "NoNewPrivs:\t1"] {
            has(line)?;
        }
        has("mkdir: can't create directory '/bin/made': Read-only file system")?;
        has("keys character special file")?;
        for kind in kinds {
            let own = self.lines.iter().find(|line| line.starts_with(&format!("{kind}:[")));
            let own = own.ok_or_else(|| format!("no {kind} namespace in {self:?}"))?;
            that(&format!("{own} is its own in {self:?}"), !self.namespaces.contains(own))?;
        }
        same("left", self.left.as_str(), "")
    }

    /// The line of the user namespace's map.
    pub(crate) fn map(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix("map "))
    }

    /// Whether a filter is around the inner container.
    pub(crate) fn filtered(&self) -> bool {
        self.lines.iter().any(|line| line == "Seccomp:\t2")
    }
}
