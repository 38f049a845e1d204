//! The options of a mount, as mount(8) has them.

use std::path::PathBuf;

use nix::mount::MsFlags;
use runtime_core::idmap::IdMap;

use crate::fault::Fault;

/// mount(2) takes one page of options.
pub(super) const PAGE: usize = 4096;

/// Options of mount(8) in the two parts that mount(2) takes, and the ids that the mount shows.
pub(super) struct Parsed<'a> {
    pub(super) flags: MsFlags,
    uidmap: Option<&'a str>,
    gidmap: Option<&'a str>,
    data: Vec<&'a str>,
}

impl<'a> Parsed<'a> {
    pub(super) fn new(options: &'a [String]) -> Result<Self, Fault> {
        let mut parsed = Self { flags: MsFlags::empty(), uidmap: None, gidmap: None, data: Vec::new() };
        for option in options {
            match flag(option) {
                Some((true, flag)) => parsed.flags |= flag,
                Some((false, flag)) => parsed.flags &= !flag,
                None => parsed.other(option)?,
            }
        }
        Ok(parsed)
    }

    fn other(&mut self, option: &'a str) -> Result<(), Fault> {
        if let Some(map) = option.strip_prefix("uidmap=") {
            self.uidmap = Some(map);
        } else if let Some(map) = option.strip_prefix("gidmap=") {
            self.gidmap = Some(map);
        } else if option == "loop" || option.starts_with("X-") {
            // A loop device, or an order to containerd's own mount manager, which has not followed it.
            return Err(Fault::invalid(format!("mount option {option:?}: this shim has no such mount")));
        } else {
            self.data.push(option);
        }
        Ok(())
    }

    /// The maps of users and groups of an id-mapped mount, which containerd 2 asks for where a pod has `hostUsers: false`.
    pub(super) fn maps(&self) -> Result<Option<(IdMap, IdMap)>, Fault> {
        let parse = |name: &str, text: &str| {
            let wrong = |error| Fault::from(error).during(&format!("mount option \"{name}={text}\""));
            text.parse::<IdMap>().map_err(wrong)
        };
        match (self.uidmap, self.gidmap) {
            (None, None) => Ok(None),
            (Some(uids), Some(gids)) => Ok(Some((parse("uidmap", uids)?, parse("gidmap", gids)?))),
            (Some(_), None) => Err(Fault::invalid("mount option uidmap without gidmap")),
            (None, Some(_)) => Err(Fault::invalid("mount option gidmap without uidmap")),
        }
    }

    /// The layers of an overlay, the uppermost first.
    pub(super) fn layers(&self) -> Option<Vec<&'a str>> {
        let layers = self.data.iter().find_map(|option| option.strip_prefix("lowerdir="))?;
        Some(layers.split(':').collect())
    }

    pub(super) fn is_bind(&self) -> bool {
        self.flags.contains(MsFlags::MS_BIND)
    }

    /// A bind mount takes the flags of its source; read-only comes with a second call.
    pub(super) fn first_flags(&self) -> MsFlags {
        if self.is_bind() { self.flags - MsFlags::MS_RDONLY } else { self.flags }
    }

    /// The data. Where it would be over a page, the layers of an overlay are named relative to the directory that all of them
    /// are in.
    pub(super) fn compact(&self) -> Data {
        let whole = Data { text: self.data.join(","), directory: None };
        if whole.text.len() < PAGE {
            return whole;
        }
        let Some(layers) = self.layers() else { return whole };
        let Some(directory) = common_directory(&layers) else { return whole };
        let short: Vec<_> =
            layers.iter().map(|layer| layer.strip_prefix(&directory).unwrap_or(layer)).collect();
        self.with_layers(&short, directory)
    }

    /// The data with other names for the layers of an overlay, relative to a directory.
    pub(super) fn with_layers(&self, layers: &[impl AsRef<str>], directory: impl Into<PathBuf>) -> Data {
        let names: Vec<_> = layers.iter().map(AsRef::as_ref).collect();
        let layers = format!("lowerdir={}", names.join(":"));
        let option = |option: &&'a str| match option.starts_with("lowerdir=") {
            true => layers.clone(),
            false => (*option).to_owned(),
        };
        let text = self.data.iter().map(option).collect::<Vec<_>>().join(",");
        Data { text, directory: Some(directory.into()) }
    }
}

/// What mount(2) takes for the file system, and the working directory that relative names in it need.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) text: String,
    pub(super) directory: Option<PathBuf>,
}

/// The longest directory, with its slash, that all layers are below.
fn common_directory(layers: &[&str]) -> Option<String> {
    let first = layers.first()?;
    let mut length = first.len();
    for layer in layers {
        let same =
            first.as_bytes().iter().zip(layer.as_bytes()).take_while(|(one, other)| one == other).count();
        length = length.min(same);
    }
    let end = first.as_bytes().get(..length)?.iter().rposition(|byte| *byte == b'/')?;
    (end > 0).then(|| first.get(..=end).unwrap_or_default().to_owned())
}

/// Whether an option sets or clears a flag, and which.
fn flag(option: &str) -> Option<(bool, MsFlags)> {
    Some(match option {
        "ro" => (true, MsFlags::MS_RDONLY),
        "rw" => (false, MsFlags::MS_RDONLY),
        "bind" => (true, MsFlags::MS_BIND),
        "rbind" => (true, MsFlags::MS_BIND | MsFlags::MS_REC),
        "async" => (false, MsFlags::MS_SYNCHRONOUS),
        "sync" => (true, MsFlags::MS_SYNCHRONOUS),
        "dirsync" => (true, MsFlags::MS_DIRSYNC),
        "atime" => (false, MsFlags::MS_NOATIME),
        "noatime" => (true, MsFlags::MS_NOATIME),
        "diratime" => (false, MsFlags::MS_NODIRATIME),
        "nodiratime" => (true, MsFlags::MS_NODIRATIME),
        "relatime" => (true, MsFlags::MS_RELATIME),
        "norelatime" => (false, MsFlags::MS_RELATIME),
        "strictatime" => (true, MsFlags::MS_STRICTATIME),
        "nostrictatime" => (false, MsFlags::MS_STRICTATIME),
        "dev" => (false, MsFlags::MS_NODEV),
        "nodev" => (true, MsFlags::MS_NODEV),
        "exec" => (false, MsFlags::MS_NOEXEC),
        "noexec" => (true, MsFlags::MS_NOEXEC),
        "suid" => (false, MsFlags::MS_NOSUID),
        "nosuid" => (true, MsFlags::MS_NOSUID),
        "defaults" => (true, MsFlags::empty()),
        "remount" => (true, MsFlags::MS_REMOUNT),
        "mand" => (true, MsFlags::MS_MANDLOCK),
        "nomand" => (false, MsFlags::MS_MANDLOCK),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn flags_and_data() {
        let given = options("rbind ro nosuid suid index=off");
        let parsed = Parsed::new(&given).unwrap();
        assert_eq!(parsed.flags, MsFlags::MS_BIND | MsFlags::MS_REC | MsFlags::MS_RDONLY);
        assert_eq!(parsed.compact(), Data { text: "index=off".to_owned(), directory: None });
        assert_eq!(parsed.maps().unwrap(), None);
        assert!(Parsed::new(&options("loop")).err().unwrap().message.contains("loop"));
    }

    #[test]
    fn maps_of_ids() {
        let given = options("uidmap=0:65536:65536 gidmap=0:131072:65536 lowerdir=/b:/a ro");
        let parsed = Parsed::new(&given).unwrap();
        let (uids, gids) = parsed.maps().unwrap().unwrap();
        assert_eq!((uids, gids), (IdMap::range(0, 65536, 65536), IdMap::range(0, 131_072, 65536)));
        assert_eq!(parsed.layers().unwrap(), ["/b", "/a"]);
        let data = parsed.with_layers(&["0", "1"], "/dir");
        assert_eq!(data, Data { text: "lowerdir=0:1".to_owned(), directory: Some("/dir".into()) });
        let refused = |text: &str| Parsed::new(&options(text)).unwrap().maps().unwrap_err().message;
        assert!(refused("uidmap=0:1:2").contains("without gidmap"));
        assert!(refused("gidmap=0:1:2").contains("without uidmap"));
        assert!(refused("uidmap=0:1:2 gidmap=0:x:2").contains("gidmap=0:x:2"));
    }

    #[test]
    fn many_layers_are_named_relative_to_their_directory() {
        let root = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots";
        let layers: Vec<_> = (1..=60).map(|number| format!("{root}/{number}/fs")).collect();
        let given = [format!("upperdir={root}/99/fs"), format!("lowerdir={}", layers.join(":"))];
        let parsed = Parsed::new(&given).unwrap();
        let Data { text, directory } = parsed.compact();
        assert_eq!(directory, Some(format!("{root}/").into()));
        assert!(
            text.starts_with(&format!("upperdir={root}/99/fs,lowerdir=1/fs:2/fs:")) && text.len() < PAGE,
            "{text}"
        );
    }
}
