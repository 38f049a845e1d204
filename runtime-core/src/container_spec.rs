//! A container, put together by calls instead of JSON.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::held::HeldNamespace;
use crate::namespaces::Namespaces;
use crate::process::Process;
use crate::process_spec::{PATH, ProcessSpec};
use crate::spec::{Kind, Parsed, default_value};

/// The configuration of a common container: a program in a root file system, in namespaces of its own (PID, network, IPC,
/// UTS, mount, cgroup), with the usual mounts, masked files and device rules, and with limits.
///
/// What it cannot say, the configuration can: [`ContainerSpec::to_oci`] gives that as a value of the `oci_spec` crate, and
/// [`Bundle::from_spec`] takes it back.
///
/// ```
/// use runtime_core::ContainerSpec;
///
/// # fn main() -> Result<(), runtime_core::Error> {
/// let bundle = ContainerSpec::new("/var/lib/engine/images/web")
///     .args(["httpd", "-f"])
///     .env("TZ", "UTC")
///     .bind("/srv/www", "/www", true)
///     .memory_max(64 << 20)
///     .pids_max(50)
///     .build()?;
/// # let _ = bundle;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    rootfs: PathBuf,
    directory: Option<PathBuf>,
    process: ProcessSpec,
    /// Without its process.
    config: Value,
    /// Namespaces that it joins and that are open already.
    held: Vec<HeldNamespace>,
    /// A path of a mount that is no text, as JSON has it.
    not_text: Option<PathBuf>,
}

/// The group of terminals in the mount of devpts: where it is not mapped, the mount fails.
const TTY_GROUP: u32 = 5;

impl ContainerSpec {
    /// A container whose root file system is the directory `rootfs`, which it may write to. It runs `sh` until
    /// [`args`](Self::args) says otherwise, as root of the container with three capabilities: CAP_AUDIT_WRITE, CAP_KILL and
    /// CAP_NET_BIND_SERVICE.
    pub fn new(rootfs: impl Into<PathBuf>) -> Self {
        let mut config = default_value();
        *field(&mut config, &["root", "readonly"]) = json!(false);
        *field(&mut config, &["hostname"]) = json!("container");
        if let Value::Array(namespaces) = field(&mut config, &["linux", "namespaces"]) {
            namespaces.push(json!({"type": "cgroup"}));
        }
        let process = field(&mut config, &["process"]).take();
        let process = ProcessSpec::of_value(process).without_terminal().plain(&[PATH]);
        Self { rootfs: rootfs.into(), directory: None, process, config, held: Vec::new(), not_text: None }
    }

    /// Changes the process: user, working directory, capabilities, terminal.
    ///
    /// ```
    /// # use runtime_core::ContainerSpec;
    /// let spec = ContainerSpec::new("/image").process(|process| process.user(1000, 1000).cwd("/home"));
    /// # let _ = spec;
    /// ```
    #[must_use]
    pub fn process(mut self, change: impl FnOnce(ProcessSpec) -> ProcessSpec) -> Self {
        self.process = change(self.process);
        self
    }

    /// The arguments of its program: see [`ProcessSpec::args`].
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.process(|process| process.args(args))
    }

    /// A variable of the program's environment.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.process(|process| process.env(name, value))
    }

    /// A terminal for the program: see [`ProcessSpec::terminal`].
    #[must_use]
    pub fn terminal(self, rows: u16, columns: u16) -> Self {
        self.process(|process| process.terminal(rows, columns))
    }

    /// The name of the host in the container.
    #[must_use]
    pub fn hostname(self, name: impl Into<String>) -> Self {
        self.put(&["hostname"], json!(name.into()))
    }

    /// Whether the container may only read its root file system.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        self.put(&["root", "readonly"], json!(read_only))
    }

    /// Shows the file or directory `source` of the host, with the mounts below it, at `destination` in the container.
    #[must_use]
    pub fn bind(mut self, source: impl AsRef<Path>, destination: impl Into<String>, read_only: bool) -> Self {
        let mode = if read_only { "ro" } else { "rw" };
        let source = source.as_ref();
        if source.to_str().is_none() {
            self.not_text = Some(source.to_owned());
        }
        let source = source.to_string_lossy();
        self.mount(json!({
            "destination": destination.into(), "type": "bind", "source": source, "options": ["rbind", mode],
        }))
    }

    /// An empty file system in memory, of at most `size` bytes, at `destination` in the container; everybody may write to it.
    #[must_use]
    pub fn tmpfs(self, destination: impl Into<String>, size: u64) -> Self {
        self.mount(json!({
            "destination": destination.into(), "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777", format!("size={size}")],
        }))
    }

    fn mount(mut self, mount: Value) -> Self {
        if let Value::Array(mounts) = field(&mut self.config, &["mounts"]) {
            mounts.push(mount);
        }
        self
    }

    /// The network of the host instead of one of its own, which has a loopback interface alone.
    #[must_use]
    pub fn host_network(mut self) -> Self {
        if let Value::Array(namespaces) = field(&mut self.config, &["linux", "namespaces"]) {
            namespaces.retain(|namespace| !is_of(namespace, "network"));
        }
        self
    }

    /// The namespaces of these kinds that a process has, instead of new ones: containers of a pod share some of theirs. They are
    /// opened now, so they stay the same ones and in existence until the container has them, whether the process has ended by
    /// then or not. With a joined UTS namespace, the host name is the one that it has, unless [`hostname`](Self::hostname) is
    /// called afterwards.
    ///
    /// ```
    /// use runtime_core::ContainerSpec;
    /// use runtime_core::namespaces::Namespaces;
    ///
    /// # fn spec(infra: &runtime_core::Process) -> runtime_core::Result<ContainerSpec> {
    /// ContainerSpec::new("/srv/web").join_process(infra, Namespaces::NETWORK | Namespaces::IPC)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// ESRCH or ENOENT for a process that has ended; those of open(2) for `/proc/PID/ns`, such as EACCES.
    pub fn join_process(self, process: &Process, kinds: Namespaces) -> Result<Self> {
        let held = HeldNamespace::of(process.pid(), process.as_fd(), kinds)?;
        let mut joined = held.iter().fold(self, |spec, one| spec.join(Namespaces::of(one.kind), &*one.path));
        joined.held.extend(held);
        Ok(joined)
    }

    /// The namespace of this kind at `path` instead of a new one, such as one that `ip netns add` has made: otherwise as
    /// [`join_process`](Self::join_process). The path is opened when the container is made: that of a process, in `/proc/PID`,
    /// may be one of another process by then, at worst of one of the host.
    #[must_use]
    pub fn join(mut self, kind: Namespaces, path: impl Into<String>) -> Self {
        let path = path.into();
        self.held.retain(|held| !kind.kinds().any(|kind| kind == held.kind));
        if kind.contains(Namespaces::UTS)
            && let Value::Object(fields) = &mut self.config
        {
            fields.remove("hostname");
        }
        if let Value::Array(namespaces) = field(&mut self.config, &["linux", "namespaces"]) {
            for kind in kind.kinds().map(Kind::name) {
                namespaces.retain(|namespace| !is_of(namespace, kind));
                namespaces.push(json!({"type": kind, "path": path}));
            }
        }
        self
    }

    /// A user namespace (user_namespaces(7)): ids 0 to `count` - 1 of the container are `first_uid` and `first_gid` and those
    /// after them on the host. With an own uid, an own gid and `count` 1 every user may have it.
    #[must_use]
    pub fn user_namespace(mut self, first_uid: u32, first_gid: u32, count: u32) -> Self {
        let map = |first: u32| json!([{"containerID": 0, "hostID": first, "size": count}]);
        let linux = field(&mut self.config, &["linux"]);
        *field(linux, &["uidMappings"]) = map(first_uid);
        *field(linux, &["gidMappings"]) = map(first_gid);
        if let Value::Array(namespaces) = field(linux, &["namespaces"]) {
            namespaces.retain(|namespace| !is_of(namespace, "user"));
            namespaces.push(json!({"type": "user"}));
        }
        if count <= TTY_GROUP {
            self.without_option("gid=5");
        }
        self
    }

    fn without_option(&mut self, option: &str) {
        for mount in field(&mut self.config, &["mounts"]).as_array_mut().into_iter().flatten() {
            if let Some(Value::Array(options)) = mount.get_mut("options") {
                options.retain(|known| known != option);
            }
        }
    }

    /// The most memory that its processes may use, in bytes (memory.max of cgroup v2); what reaches it is swapped out, or
    /// killed.
    #[must_use]
    pub fn memory_max(self, bytes: u64) -> Self {
        self.limit("memory", "limit", json!(bytes))
    }

    /// The most processes and threads that it may have (pids.max).
    #[must_use]
    pub fn pids_max(self, count: u32) -> Self {
        self.limit("pids", "limit", json!(count))
    }

    /// The time of CPUs that it may use: `quota` microseconds in each `period` of microseconds (cpu.max). 50,000 and 100,000
    /// are half of a CPU.
    #[must_use]
    pub fn cpu_max(self, quota: u64, period: u64) -> Self {
        self.limit("cpu", "quota", json!(quota)).limit("cpu", "period", json!(period))
    }

    fn limit(self, controller: &str, name: &str, value: Value) -> Self {
        self.put(&["linux", "resources", controller, name], value)
    }

    fn put(mut self, path: &[&str], value: Value) -> Self {
        *field(&mut self.config, path) = value;
        self
    }

    /// Where its cgroup is: a path from the root of the hierarchy, or `slice:prefix:name` with systemd. By default it has the
    /// container's id.
    #[must_use]
    pub fn cgroups_path(self, path: impl Into<String>) -> Self {
        self.put(&["linux", "cgroupsPath"], json!(path.into()))
    }

    /// An annotation, which hooks and [`State`](crate::State) have.
    #[must_use]
    pub fn annotation(self, key: &str, value: &str) -> Self {
        self.put(&["annotations", key], json!(value))
    }

    /// The directory that the container's state names as its bundle; by default the one that holds the root file system.
    #[must_use]
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// The configuration, checked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) with everything that is wrong, each with its JSON path.
    pub fn build(&self) -> Result<Bundle> {
        let rootfs = self.rootfs()?;
        let directory = self.directory.as_deref().or(rootfs.parent()).unwrap_or(Path::new("/"));
        Ok(Bundle::from_bytes(directory, self.json(&rootfs)?)?.holding(&self.held))
    }

    /// The configuration as a value of the `oci_spec` crate ([`oci_spec`](crate::oci_spec)), to be changed further. Namespaces of
    /// [`join_process`](Self::join_process) are paths in it, as with [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// A working directory that has gone, for a relative root file system.
    pub fn to_oci(&self) -> Result<Parsed> {
        let bytes = self.json(&self.rootfs()?)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::json("config.json", error))
    }

    fn rootfs(&self) -> Result<PathBuf> {
        std::path::absolute(&self.rootfs)
            .map_err(|error| Error::io(format!("find {:?}", self.rootfs), &error))
    }

    fn json(&self, rootfs: &Path) -> Result<Vec<u8>> {
        let no_text = |path: &Path| Error::invalid(format!("the path {path:?}"), "is not UTF-8, as JSON is");
        if let Some(path) = &self.not_text {
            return Err(no_text(path));
        }
        let rootfs = rootfs.to_str().ok_or_else(|| no_text(rootfs))?;
        let mut config = self.config.clone();
        *field(&mut config, &["root", "path"]) = json!(rootfs);
        *field(&mut config, &["process"]) = self.process.clone().into_value();
        serde_json::to_vec(&config).map_err(|error| Error::json("config.json", error))
    }
}

/// The field at a path; what is missing on the way, or is no object, becomes an empty one.
fn field<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(value, |value, name| {
        if !value.is_object() {
            *value = json!({});
        }
        match value {
            Value::Object(fields) => fields.entry(*name).or_insert(Value::Null),
            other => other,
        }
    })
}

/// Whether a namespace of the configuration is of this type.
fn is_of(namespace: &Value, kind: &str) -> bool {
    namespace.get("type").is_some_and(|known| known == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn each_call_reaches_its_field() {
        let spec = ContainerSpec::new("/images/web")
            .args(["httpd"])
            .env("A", "1")
            .terminal(20, 70)
            .hostname("web")
            .read_only(true)
            .bind("/srv", "/www", true)
            .tmpfs("/tmp", 1 << 20)
            .host_network()
            .user_namespace(100_000, 200_000, 65_536)
            .memory_max(64 << 20)
            .pids_max(50)
            .cpu_max(50_000, 100_000)
            .cgroups_path("/engine/web")
            .annotation("k", "v");
        let bundle = spec.build().unwrap();
        assert_eq!(bundle.directory(), Path::new("/images"));
        let valid = bundle.spec();
        assert_eq!((valid.root.as_str(), valid.root_readonly), ("/images/web", true));
        let process = valid.process.as_ref().unwrap();
        assert_eq!((process.args.as_slice(), process.terminal), (["httpd".to_owned()].as_slice(), true));
        assert_eq!(process.env, [PATH, "A=1"]);
        assert_eq!(valid.hostname.as_deref(), Some("web"));
        assert!(valid.mounts.iter().any(|mount| mount.destination == "/www" && mount.source == "/srv"));
        assert!(valid.mounts.iter().any(|mount| mount.destination == "/tmp" && mount.kind == "tmpfs"));
        assert!(!valid.namespaces.makes(Kind::Network) && valid.namespaces.makes(Kind::User));
        assert_eq!((valid.uid_map[0].host, valid.gid_map[0].host), (100_000, 200_000));
        assert_eq!(valid.cgroups_path.as_deref(), Some("/engine/web"));
        assert_eq!(valid.annotations["k"], "v");
        let oci = spec.to_oci().unwrap();
        let resources = oci.linux().as_ref().unwrap().resources().as_ref().unwrap();
        assert_eq!(resources.memory().unwrap().limit(), Some(64 << 20));
        assert_eq!(resources.pids().unwrap().limit(), 50);
        assert_eq!(resources.cpu().as_ref().unwrap().quota(), Some(50_000));
        // And back.
        assert_eq!(Bundle::from_spec("/images", &oci).unwrap().spec().root, "/images/web");
    }

    #[test]
    fn a_path_that_is_no_text_is_an_error() {
        use std::os::unix::ffi::OsStringExt as _;
        let path = PathBuf::from(std::ffi::OsString::from_vec(b"/image/\xff".to_vec()));
        let specs = [ContainerSpec::new(&path), ContainerSpec::new("/image").bind(&path, "/x", true)];
        for spec in specs {
            let error = spec.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(r"/image/\xFF"), "{error}");
        }
    }

    #[test]
    fn a_joined_namespace_takes_the_place_of_a_new_one() {
        let bundle =
            ContainerSpec::new("/image").join(Namespaces::NETWORK, "/run/netns/pod").build().unwrap();
        let namespaces = &bundle.spec().namespaces;
        let path = namespaces.get(Kind::Network).and_then(|namespace| namespace.path.as_deref());
        assert_eq!(path, Some("/run/netns/pod"));
        assert!(namespaces.makes(Kind::Pid) && !namespaces.makes(Kind::Network));
        assert!(bundle.spec().hostname.is_some());
        let bundle = ContainerSpec::new("/image").join(Namespaces::UTS, "/run/uts/pod").build().unwrap();
        assert_eq!(bundle.spec().hostname, None, "the pod's name would be changed");
    }

    #[test]
    fn the_least_that_works() {
        let bundle = ContainerSpec::new("relative").build().unwrap();
        assert!(bundle.directory().is_absolute() && bundle.spec().root.starts_with('/'));
        let none = ContainerSpec::new("/image").args([""; 0]).build().unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        assert!(none.to_string().contains("process.args"), "{none}");
    }
}
