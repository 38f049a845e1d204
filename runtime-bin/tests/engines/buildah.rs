//! Buildah: it calls the runtime for `buildah run` and for each RUN line of a build, with root and without.

use std::fs;
use std::path::{Path, PathBuf};

use crate::image::{self, USER, USER_ID};
use crate::podman;
use crate::support::{
    Cmd, Outcome, Output, Place, Stop, Table, directories, engine_test, has, hierarchies, is_unified,
    names_of, need, same, seccomp_is_on, status_field, that,
};

const CLIENT: &str = "/usr/bin/buildah";
/// The working container in which `buildah run` runs.
const WORK: &str = "work";

const SHARED: &Table<Buildah> = &[
    ("run: the runtime under test is called", uses_runtime),
    ("run: output and exit code", output),
    ("run: stdin reaches the program", stdin),
    ("run: no such program", no_such_program),
    ("run: --user, --workingdir, --env, --hostname", process),
    ("run: --volume, read-only and writable", volumes),
    ("run: --cap-drop and --cap-add", capabilities),
    ("run: default seccomp profile", seccomp),
    ("run: default mounts", mounts),
    ("run: --terminal", terminal),
    ("run: what it writes stays in the working container", stays),
    ("bud: RUN, ENV, WORKDIR, USER", build),
    ("bud: a RUN that fails", build_fails),
    ("bud: --mount of a cache and a secret", build_mounts),
    ("bud: --ulimit, --shm-size", build_limits),
    ("nothing is left behind", nothing_left),
];

const ROOTFUL: &Table<Buildah> = &[
    ("bud: --memory, --cpu-quota, --cpu-shares, --cgroup-parent", build_cgroup),
    ("run: --pid host, --uts host, --network host", namespaces_host),
    ("run: --network none", network_none),
    ("run: a user namespace", user_namespace),
];

/// How to call Buildah.
struct Buildah {
    tag: String,
    dir: PathBuf,
    runtime: PathBuf,
    /// One line for each call of the runtime.
    calls: PathBuf,
    rootless: bool,
}

impl Buildah {
    fn start(place: &Place, rootless: bool) -> Result<Self, Stop> {
        need(CLIENT, "buildah")?;
        need("/usr/share/containers/seccomp.json", "golang-github-containers-common")?;
        let real = if rootless { podman::make_user(place)? } else { place.runtime.clone() };
        let (runtime, calls) = logged(place, &real)?;
        let (tag, dir) = (place.tag.clone(), place.dir.clone());
        let buildah = Buildah { tag, dir, runtime, calls, rootless };
        image::root_tar(&buildah.dir)?;
        buildah.client().args(["from", "--name", WORK, "scratch"]).run()?.ok()?;
        let tar = buildah.dir.join("busybox.tar");
        buildah.client().args(["add", WORK]).arg(tar).arg("/").run()?.ok()?;
        Ok(buildah)
    }

    fn client(&self) -> Cmd {
        if self.rootless {
            return podman::as_user(&self.dir, CLIENT).args(["--storage-driver", "vfs"]);
        }
        Cmd::new(CLIENT).arg("--root").arg(self.dir.join("storage")).args(["--runroot", "/run/buildah"])
    }

    /// Options that `run` and `bud` share.
    fn runtime(&self) -> Vec<String> {
        let isolation = if self.rootless { "rootless" } else { "oci" };
        let runtime = self.runtime.to_string_lossy().into_owned();
        ["--isolation", isolation, "--runtime", &runtime].map(str::to_owned).to_vec()
    }

    fn new_run(&self, options: &[&str], command: &[&str]) -> Cmd {
        let run = self.client().arg("run").args(self.runtime());
        let network: &[&str] = if options.contains(&"--network") { &[] } else { &["--network", "none"] };
        run.args(network).args(options).args([WORK, "--"]).args(command)
    }

    /// `buildah run OPTIONS CONTAINER -- ARGUMENTS`.
    fn run(&self, options: &[&str], command: &[&str]) -> Result<Output, Stop> {
        self.new_run(options, command).run()
    }

    fn sh(&self, options: &[&str], script: &str) -> Result<String, Stop> {
        self.run(options, &["sh", "-c", script])?.ok()
    }

    /// `buildah bud OPTIONS DIRECTORY` of the root with some more lines.
    fn build(&self, options: &[&str], lines: &str) -> Result<Output, Stop> {
        let context = self.shared_dir("context")?;
        fs::copy(self.dir.join("busybox.tar"), context.join("busybox.tar"))?;
        fs::write(context.join("Containerfile"), format!("FROM scratch\nADD busybox.tar /\n{lines}"))?;
        let build =
            self.client().arg("bud").args(self.runtime()).args(["--network", "none", "--layers=false"]);
        build.args(options).arg(context).run()
    }

    fn shared_dir(&self, name: &str) -> Result<PathBuf, Stop> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir.join("shared").join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(path)
    }
}

/// A program beside the runtime that writes down each call before it becomes the runtime.
fn logged(place: &Place, runtime: &Path) -> Result<(PathBuf, PathBuf), Stop> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = place.shared_dir("logged")?;
    let (program, calls) = (dir.join("runtime"), dir.join("calls"));
    fs::write(&calls, "")?;
    fs::set_permissions(&calls, fs::Permissions::from_mode(0o666))?;
    let text = format!("#!/bin/sh\necho \"$*\" >> {}\nexec {} \"$@\"\n", calls.display(), runtime.display());
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok((program, calls))
}

/// The names of the checks that hold without root, too.
pub(crate) fn shared_names() -> Vec<&'static str> {
    names_of(SHARED)
}

/// The names of all checks, for the page of the engines.
pub(crate) fn names() -> Vec<&'static str> {
    [names_of(ROOTFUL), names_of(SHARED)].concat()
}

#[test]
fn rootful() {
    engine_test("buildah", "buildah::rootful", |place, checks| {
        let buildah = Buildah::start(place, false)?;
        checks.table(&buildah, ROOTFUL);
        checks.table(&buildah, SHARED);
        Ok(())
    });
}

#[test]
fn rootless() {
    engine_test("buildah-rootless", "buildah::rootless", |place, checks| {
        let buildah = Buildah::start(place, true)?;
        checks.table(&buildah, SHARED);
        Ok(())
    });
}

fn uses_runtime(buildah: &Buildah) -> Outcome {
    fs::write(&buildah.calls, "")?;
    buildah.sh(&[], "true")?;
    let calls = fs::read_to_string(&buildah.calls)?;
    for verb in ["create --bundle ", "start ", "delete "] {
        has("calls", &calls, verb)?;
    }
    Ok(())
}

fn output(buildah: &Buildah) -> Outcome {
    let output = buildah.run(&[], &["sh", "-c", "echo out; echo err >&2"])?;
    has("stderr", &output.stderr, "err\n")?;
    same("stdout", output.ok()?, "out")?;
    buildah.run(&[], &["sh", "-c", "exit 3"])?.code(3).map(drop)
}

fn stdin(buildah: &Buildah) -> Outcome {
    same("sorted", buildah.new_run(&[], &["sort"]).stdin("b\na\n").run()?.ok()?, "a\nb")
}

fn no_such_program(buildah: &Buildah) -> Outcome {
    let text = buildah.run(&[], &["no-such-program"])?.fails()?;
    has("by name", &text, "executable file not found in $PATH")
}

fn process(buildah: &Buildah) -> Outcome {
    let options = ["--user", USER, "--workingdir", "/home/tester", "--env", "A=b c", "--hostname", "box"];
    let text = buildah.sh(&options, "hostname; echo $A; pwd; id -u")?;
    same("process", text, format!("box\nb c\n/home/tester\n{USER_ID}"))
}

fn volumes(buildah: &Buildah) -> Outcome {
    let dir = buildah.shared_dir("volumes")?;
    fs::write(dir.join("in"), "from host")?;
    let (read, write) = (format!("{}:/read:ro", dir.display()), format!("{}:/new/write", dir.display()));
    let script = "cat /read/in; echo from box > /new/write/out; ! echo x > /read/out";
    let output = buildah.run(&["--volume", &read, "--volume", &write], &["sh", "-c", script])?;
    has("read-only", &output.stderr, "Read-only file system")?;
    same("read", output.ok()?, "from host")?;
    same("written", fs::read_to_string(dir.join("out"))?, "from box\n")
}

fn capabilities(buildah: &Buildah) -> Outcome {
    let effective = |options: &[&str]| {
        let text = buildah.sh(options, "cat /proc/self/status")?;
        let set = status_field(&text, "CapEff")?;
        u64::from_str_radix(set, 16).map_err(|error| Stop::from(error.to_string()))
    };
    let default = effective(&[])?;
    same("less CHOWN", effective(&["--cap-drop", "CAP_CHOWN"])?, default & !1)?;
    same("plus NET_ADMIN", effective(&["--cap-add", "CAP_NET_ADMIN"])?, default | 1 << 12)
}

fn seccomp(buildah: &Buildah) -> Outcome {
    if !seccomp_is_on() {
        return Err(Stop::Skipped("ENGINE_SECCOMP=unconfined".to_owned()));
    }
    let script = "grep Seccomp: /proc/self/status; unshare -U -r -u hostname other; echo $?";
    same("filtered", buildah.sh(&[], script)?, "Seccomp:\t2\n1")
}

fn mounts(buildah: &Buildah) -> Outcome {
    let text = buildah.sh(&[], "cat /proc/mounts; cat /proc/kcore | wc -c; head -c 3 /dev/zero | wc -c")?;
    for (path, kind) in [("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/sys", "sysfs")] {
        has("mounts", &text, &format!(" {path} {kind} "))?;
    }
    that("/proc/kcore is empty, /dev/zero is not", text.ends_with("\n0\n3"))
}

fn network_none(buildah: &Buildah) -> Outcome {
    same("interfaces", buildah.sh(&["--network", "none"], "ls /sys/class/net")?, "lo")
}

fn terminal(buildah: &Buildah) -> Outcome {
    let run = buildah.new_run(&["--terminal"], &["sh", "-c", "tty; test -t 0 && echo terminal; exit 4"]);
    // The terminal shows the NUL that script(1) types at the end of its own input, at any moment.
    let text = run.on_terminal().env("TERM", "vt100").run()?.code(4)?.replace("^@", "");
    has("tty", &text, "/dev/pts/0\r\nterminal")
}

fn stays(buildah: &Buildah) -> Outcome {
    buildah.sh(&[], "echo kept > /root/kept")?;
    same("read", buildah.sh(&[], "cat /root/kept")?, "kept")
}

fn build(buildah: &Buildah) -> Outcome {
    let lines = "ENV COLOR=\"deep blue\"\nWORKDIR /made/here\nRUN pwd; echo color $COLOR; id -u; echo 1 > one\n\
        USER tester\nRUN id -u; cat one; ! touch two 2>/dev/null\n";
    let text = buildah.build(&["--tag", "built"], lines)?.ok()?;
    for part in ["/made/here\ncolor deep blue\n0\n", &format!("{USER_ID}\n1\n")] {
        has("output", &text, part)?;
    }
    // The result of the RUN lines is in the image.
    buildah.client().args(["from", "--name", "of-built", "localhost/built"]).run()?.ok()?;
    let run =
        buildah.client().arg("run").args(buildah.runtime()).args(["--network", "none", "of-built", "--"]);
    same(
        "image",
        run.args(["sh", "-c", "pwd; cat one; echo $COLOR"]).run()?.ok()?,
        "/made/here\n1\ndeep blue",
    )?;
    buildah.client().args(["rm", "of-built"]).run()?.ok().map(drop)
}

fn build_fails(buildah: &Buildah) -> Outcome {
    let output = buildah.build(&[], "RUN echo before; exit 7\nRUN echo after\n")?;
    has("before", &output.stdout, "before")?;
    that("nothing after it", !output.stdout.contains("\nafter"))?;
    has("message", &output.stderr, "exit status 7")?;
    output.code(7).map(drop)
}

fn build_mounts(buildah: &Buildah) -> Outcome {
    let secret = buildah.shared_dir("secret")?.join("file");
    fs::write(&secret, "hidden")?;
    let lines = "RUN --mount=type=secret,id=word,target=/word cat /word; echo\n\
        RUN --mount=type=tmpfs,target=/scratch touch /scratch/a && grep -c ' /scratch tmpfs' /proc/mounts\n\
        RUN ! test -s /word && ! test -e /scratch/a && echo gone\n";
    let text = buildah.build(&["--secret", &format!("id=word,src={}", secret.display())], lines)?.ok()?;
    for part in ["hidden\n", "\n1\n", "gone"] {
        has("output", &text, part)?;
    }
    Ok(())
}

fn build_limits(buildah: &Buildah) -> Outcome {
    let options = ["--ulimit", "nofile=100:200", "--shm-size", "3m"];
    let lines = "RUN echo limits $(ulimit -Sn) $(ulimit -Hn); grep ' /dev/shm ' /proc/mounts\n";
    let text = buildah.build(&options, lines)?.ok()?;
    for part in ["limits 100 200\n", "size=3072k"] {
        has("output", &text, part)?;
    }
    Ok(())
}

fn build_cgroup(buildah: &Buildah) -> Outcome {
    if is_unified() {
        return Err(Stop::Skipped("the files of cgroup v1 are read here".to_owned()));
    }
    let parent = format!("/{}", buildah.tag);
    let options = [
        "--cgroup-parent",
        &parent,
        "--memory",
        "64m",
        "--cpu-period",
        "60000",
        "--cpu-quota",
        "30000",
        "--cpu-shares",
        "512",
    ];
    let lines = "RUN cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_period_us \
        cpu/cpu.cfs_quota_us cpu/cpu.shares; cat /proc/self/cgroup\n";
    let text = buildah.build(&options, lines)?.ok()?;
    has("limits", &text, "67108864\n60000\n30000\n512\n")
}

fn namespaces_host(buildah: &Buildah) -> Outcome {
    let kinds = ["net", "pid", "uts", "ipc", "mnt"];
    let script = kinds.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
    let options = ["--pid", "host", "--uts", "host", "--network", "host"];
    let text = buildah.sh(&options, &script)?;
    for (kind, inside) in kinds.iter().zip(text.lines()) {
        let own = fs::read_link(format!("/proc/self/ns/{kind}"))?;
        same(kind, own.to_string_lossy() == inside, ["net", "pid", "uts"].contains(kind))?;
    }
    Ok(())
}

fn user_namespace(buildah: &Buildah) -> Outcome {
    let maps = ["--userns-uid-map", "0:100000:65536", "--userns-gid-map", "0:200000:65536"];
    // Places for mounts: only the host's root could make them, in a root directory that is the host's.
    let places = buildah.shared_dir("places")?;
    for place in ["proc", "sys", "dev", "run"] {
        fs::create_dir_all(places.join(place))?;
    }
    let from = buildah.client().arg("from").args(maps).args(["--name", "mapped", "scratch"]);
    from.run()?.ok()?;
    let tar = buildah.dir.join("busybox.tar");
    buildah.client().args(["add", "mapped"]).arg(tar).arg(places).arg("/").run()?.ok()?;
    let run = buildah.client().arg("run").args(buildah.runtime()).args(["--network", "none", "mapped", "--"]);
    let script = "id -u; awk '{print $1, $2, $3}' /proc/self/uid_map /proc/self/gid_map; touch /tmp/a && stat -c %u /tmp/a";
    let text = run.args(["sh", "-c", script]).run()?.ok()?;
    buildah.client().args(["rm", "mapped"]).run()?.ok()?;
    same("inside", text, "0\n0 100000 65536\n0 200000 65536\n0")
}

/// No container of the runtime, no cgroup.
fn nothing_left(buildah: &Buildah) -> Outcome {
    if !buildah.rootless {
        same("the runtime's list", Cmd::new(&buildah.runtime).args(["list", "-q"]).run()?.ok()?, "")?;
    }
    let below = |root: &Path| directories(root).into_iter().chain(directories(&root.join(&buildah.tag)));
    let named = hierarchies().into_iter().flat_map(|root| below(&root).collect::<Vec<_>>()).filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("buildah-"))
    });
    same("cgroups", named.collect::<Vec<_>>(), Vec::<PathBuf>::new())
}
