//! The options of a container's runtime, in the two forms that containerd sends: those of the runc shim, and those of any
//! other shim, which name a file.

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{CodedInputStream, Message, UnknownValueRef};
use containerd_shim_protos::shim::oci;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Where states of containers are, without another wish; containerd's namespace is a directory below it.
pub(crate) const DEFAULT_ROOT: &str = "/run/containerd/runtime";

/// What is honoured of the options. It is also the file that `delete` reads after the end of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Moves the root over "/" instead of pivoting.
    pub(crate) no_pivot_root: bool,
    /// Keeps the shim's session keyring.
    pub(crate) no_new_keyring: bool,
    /// The cgroup of the shim itself.
    pub(crate) shim_cgroup: String,
    /// The owner of the pipes.
    pub(crate) io_uid: u32,
    pub(crate) io_gid: u32,
    /// Where states are.
    pub(crate) root: String,
    /// systemd makes the cgroups.
    pub(crate) systemd_cgroup: bool,
    /// CRIU's program and its directory of work files; empty for the defaults.
    pub(crate) criu_path: String,
    pub(crate) criu_work_path: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            no_pivot_root: false,
            no_new_keyring: false,
            shim_cgroup: String::new(),
            io_uid: 0,
            io_gid: 0,
            root: DEFAULT_ROOT.to_owned(),
            systemd_cgroup: false,
            criu_path: String::new(),
            criu_work_path: String::new(),
        }
    }
}

impl Options {
    /// Reads what a request has.
    pub(crate) fn parse(any: Option<&Any>) -> Result<Self, Fault> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else { return Ok(Self::default()) };
        match any.type_url.rsplit('/').next().unwrap_or_default() {
            "containerd.runc.v1.Options" => Self::from_runc(&any.value),
            "runtimeoptions.v1.Options" => Self::from_generic(&any.value),
            "containerd.linux.runc.CreateOptions" => Self::from_first(&any.value),
            other => Err(Fault::invalid(format!("options of the type {other:?} are not known"))),
        }
    }

    fn from_runc(bytes: &[u8]) -> Result<Self, Fault> {
        let options = oci::Options::parse_from_bytes(bytes)
            .map_err(|error| Fault::invalid(format!("decode the options: {error}")))?;
        let criu_path = match options.special_fields.unknown_fields().get(CRIU_PATH) {
            Some(UnknownValueRef::LengthDelimited(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        // A field that a newer crate adds does not compile until it has a meaning here.
        let oci::Options {
            no_pivot_root,
            no_new_keyring,
            shim_cgroup,
            io_uid,
            io_gid,
            binary_name,
            root,
            systemd_cgroup,
            criu_image_path,
            criu_work_path,
            task_api_address,
            task_api_version,
            special_fields: _,
        } = options;
        refuse("binary_name", &binary_name, "the runtime is inside of this shim")?;
        refuse("criu_image_path", &criu_image_path, "the request names the image of a restore")?;
        refuse("task_api_address", &task_api_address, "this shim serves the task API itself")?;
        refuse("task_api_version", &number(task_api_version), "this shim serves the task API itself")?;
        Ok(Self {
            no_pivot_root,
            no_new_keyring,
            shim_cgroup,
            io_uid,
            io_gid,
            root: if root.is_empty() { DEFAULT_ROOT.to_owned() } else { root },
            systemd_cgroup,
            criu_path,
            criu_work_path,
        })
    }

    /// `runtimeoptions.v1.Options`: a type (1), a path (2) of a file, or the content of one (3).
    fn from_generic(bytes: &[u8]) -> Result<Self, Fault> {
        let (mut path, mut body) = (String::new(), Vec::new());
        for (number, value) in fields(bytes)? {
            match (number, value) {
                (2, Value::Bytes(bytes)) => path = text(bytes),
                (3, Value::Bytes(bytes)) => body = bytes,
                _ => {}
            }
        }
        if body.is_empty() && !path.is_empty() {
            body = std::fs::read(&path)
                .map_err(|error| Fault::system(format!("read the options {path:?}"), error))?;
        }
        Self::from_text(&String::from_utf8_lossy(&body))
    }

    /// `containerd.linux.runc.CreateOptions`, which clients of containerd 1 send to any shim but the runc shim.
    fn from_first(bytes: &[u8]) -> Result<Self, Fault> {
        let mut options = Self::default();
        for (number, value) in fields(bytes)? {
            match (number, value) {
                (1, Value::Number(number)) => options.no_pivot_root = number != 0,
                (8, Value::Number(number)) => options.no_new_keyring = number != 0,
                (9, Value::Bytes(bytes)) => options.shim_cgroup = text(bytes),
                (10, Value::Number(number)) => options.io_uid = number as u32,
                (11, Value::Number(number)) => options.io_gid = number as u32,
                (12, Value::Bytes(bytes)) => options.criu_work_path = text(bytes),
                (number, _) => {
                    return Err(Fault::invalid(format!("field {number} of the options has no meaning here")));
                }
            }
        }
        Ok(options)
    }

    /// Lines `Name = value` of TOML, with the names that containerd's configuration has for the runc shim.
    fn from_text(text: &str) -> Result<Self, Fault> {
        let mut options = Self::default();
        for line in
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '[']))
        {
            let wrong = || Fault::invalid(format!("the line {line:?} of the options is malformed"));
            let (name, value) = line.split_once('=').ok_or_else(wrong)?;
            let (name, value) = (name.trim(), value.trim());
            let text = || value.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
            let flag = || value.parse::<bool>().map_err(|_| wrong());
            match name {
                "NoPivotRoot" => options.no_pivot_root = flag()?,
                "NoNewKeyring" => options.no_new_keyring = flag()?,
                "ShimCgroup" => options.shim_cgroup = text().ok_or_else(wrong)?,
                "IoUid" => options.io_uid = value.parse().map_err(|_| wrong())?,
                "IoGid" => options.io_gid = value.parse().map_err(|_| wrong())?,
                "Root" => options.root = text().ok_or_else(wrong)?,
                "SystemdCgroup" => options.systemd_cgroup = flag()?,
                "CriuPath" => options.criu_path = text().ok_or_else(wrong)?,
                "CriuWorkPath" => options.criu_work_path = text().ok_or_else(wrong)?,
                _ => {
                    return Err(Fault::invalid(format!(
                        "option {name}: it is not known, or has no meaning here"
                    )));
                }
            }
        }
        Ok(options)
    }
}

/// The number of `criu_path`, which containerd 1 has and the crate's newer messages have not.
const CRIU_PATH: u32 = 8;

/// A field of a message that no crate has.
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value)>, Fault> {
    let wrong = |error| Fault::invalid(format!("decode the options: {error}"));
    let mut input = CodedInputStream::from_bytes(bytes);
    let mut fields = Vec::new();
    while let Some(tag) = input.read_raw_tag_or_eof().map_err(wrong)? {
        let value = match tag & 7 {
            0 => Value::Number(input.read_raw_varint64().map_err(wrong)?),
            2 => Value::Bytes(input.read_bytes().map_err(wrong)?),
            kind => return Err(Fault::invalid(format!("decode the options: a field of the kind {kind}"))),
        };
        fields.push((tag >> 3, value));
    }
    Ok(fields)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refuse(name: &str, value: &str, reason: &str) -> Result<(), Fault> {
    match value.is_empty() {
        true => Ok(()),
        false => Err(Fault::invalid(format!("options.{name} is {value:?}: {reason}"))),
    }
}

fn number(value: u32) -> String {
    if value == 0 { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runc(options: &oci::Options) -> Result<Options, Fault> {
        let any = Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: options.write_to_bytes().unwrap(),
            ..Any::default()
        };
        Options::parse(Some(&any))
    }

    #[test]
    fn every_field_of_the_runc_shim() {
        let mut options = oci::Options {
            no_pivot_root: true,
            no_new_keyring: true,
            shim_cgroup: "/shims".to_owned(),
            io_uid: 7,
            io_gid: 8,
            root: "/r".to_owned(),
            systemd_cgroup: true,
            criu_work_path: "/w".to_owned(),
            ..oci::Options::default()
        };
        options.special_fields.mut_unknown_fields().add_length_delimited(CRIU_PATH, b"/criu".to_vec());
        let want = Options {
            no_pivot_root: true,
            no_new_keyring: true,
            shim_cgroup: "/shims".to_owned(),
            io_uid: 7,
            io_gid: 8,
            root: "/r".to_owned(),
            systemd_cgroup: true,
            criu_path: "/criu".to_owned(),
            criu_work_path: "/w".to_owned(),
        };
        assert_eq!(runc(&options).unwrap(), want);
        assert_eq!(runc(&oci::Options::default()).unwrap(), Options::default());
        assert_eq!(Options::parse(None).unwrap(), Options::default());
    }

    #[test]
    fn refused_by_name() {
        let refused = |options: oci::Options| runc(&options).unwrap_err().message;
        let text = || "x".to_owned();
        assert!(refused(oci::Options { binary_name: text(), ..Default::default() }).contains("binary_name"));
        assert!(
            refused(oci::Options { criu_image_path: text(), ..Default::default() })
                .contains("criu_image_path")
        );
        assert!(
            refused(oci::Options { task_api_address: text(), ..Default::default() })
                .contains("task_api_address")
        );
        assert!(
            refused(oci::Options { task_api_version: 3, ..Default::default() }).contains("task_api_version")
        );
        let any = Any { type_url: "other.Options".to_owned(), ..Any::default() };
        assert!(Options::parse(Some(&any)).unwrap_err().message.contains("other.Options"));
    }

    #[test]
    fn the_first_form() {
        let parse = |value: &[u8]| {
            let type_url = "containerd.linux.runc.CreateOptions".to_owned();
            Options::parse(Some(&Any { type_url, value: value.to_vec(), ..Any::default() }))
        };
        let options = parse(&[10 << 3, 7, 9 << 3 | 2, 2, b'/', b's', 8, 1]).unwrap();
        assert_eq!((options.io_uid, options.shim_cgroup.as_str(), options.no_pivot_root), (7, "/s", true));
        assert!(parse(&[7 << 3 | 2, 1, b'x']).unwrap_err().message.contains("field 7"));
    }

    #[test]
    fn a_file_of_options() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# ours\n[x]\nSystemdCgroup = true\nRoot = \"/r\"\nIoUid = 3\n").unwrap();
        let mut value = vec![2 << 3 | 2, file.path().as_os_str().len() as u8];
        value.extend_from_slice(file.path().to_str().unwrap().as_bytes());
        let any = Any { type_url: "runtimeoptions.v1.Options".to_owned(), value, ..Any::default() };
        let options = Options::parse(Some(&any)).unwrap();
        assert_eq!((options.systemd_cgroup, options.root.as_str(), options.io_uid), (true, "/r", 3));
        assert!(Options::from_text("BinaryName = \"x\"").unwrap_err().message.contains("BinaryName"));
        assert!(Options::from_text("SystemdCgroup = yes").unwrap_err().message.contains("SystemdCgroup"));
    }
}
