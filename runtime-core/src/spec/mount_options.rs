//! Mount options: what `mounts[].options` means, resolved once.
//!
//! The table holds every option of the runtime specification (config.md, "Linux mount options")
//! and of runc, as attributes of mount_setattr(2). Anything else is a parameter of the file system.

/// Read-only.
pub(crate) const RDONLY: u64 = 0x1;
/// Ignore set-user-ID bits and file capabilities.
pub(crate) const NOSUID: u64 = 0x2;
/// No access to device nodes.
pub(crate) const NODEV: u64 = 0x4;
/// No programs.
pub(crate) const NOEXEC: u64 = 0x8;
/// The bits that hold the access time policy, an enumeration.
pub(crate) const ATIME: u64 = 0x70;
/// Update access times as the kernel does by default.
pub(crate) const RELATIME: u64 = 0x00;
/// Never update access times.
pub(crate) const NOATIME: u64 = 0x10;
/// Always update access times.
pub(crate) const STRICTATIME: u64 = 0x20;
/// Never update access times of directories.
pub(crate) const NODIRATIME: u64 = 0x80;
/// Follow no symbolic links.
pub(crate) const NOSYMFOLLOW: u64 = 0x0020_0000;
/// All attributes that a bind mount starts without when it has options of its own.
pub(crate) const ALL: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;

/// What one option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Sets an attribute of the mount.
    Set(u64),
    /// Clears an attribute of the mount.
    Clear(u64),
    /// Chooses the access time policy.
    Atime(u64),
    /// Takes an access time policy back, if it is the chosen one.
    NotAtime(u64),
    /// Sets an attribute of the mount and of all below it.
    SetAll(u64),
    /// Clears an attribute of the mount and of all below it.
    ClearAll(u64),
    /// Chooses the access time policy of the mount and of all below it.
    AtimeAll(u64),
    /// Sets the propagation (MS_*).
    Propagation(u64, bool),
    /// A bind mount, with the mounts below its source or without.
    Bind(bool),
    /// A flag of the file system itself, which fsconfig(2) takes by this name.
    Superblock(&'static str),
    /// Changes an existing mount.
    Remount,
    /// Copies what the destination holds into the new tmpfs.
    CopyUp,
    /// Maps the ids of the mount, or of all below it too.
    IdMap(bool),
    /// Does not follow a symbolic link at the end of the source.
    SourceNoFollow,
    /// Does not follow a symbolic link at the end of the destination.
    DestinationNoFollow,
    /// Makes a symbolic link of a source that is one.
    CopySymlink,
    /// Has no effect that a caller can see.
    Nothing,
}

use Effect::*;

/// Options by name, sorted.
const TABLE: &[(&str, Effect)] = &[
    ("async", Superblock("async")),
    ("atime", NotAtime(NOATIME)),
    ("bind", Bind(false)),
    ("copy-symlink", CopySymlink),
    ("defaults", Nothing),
    ("dest-nofollow", DestinationNoFollow),
    ("dev", Clear(NODEV)),
    ("diratime", Clear(NODIRATIME)),
    ("dirsync", Superblock("dirsync")),
    ("exec", Clear(NOEXEC)),
    ("idmap", IdMap(false)),
    // fsconfig(2) has no name for these two; file systems that count versions always do now.
    ("iversion", Nothing),
    ("lazytime", Superblock("lazytime")),
    ("loud", Nothing),
    // Mandatory locks left the kernel in 5.15: mount(2) ignores the flag too.
    ("mand", Nothing),
    ("noatime", Atime(NOATIME)),
    ("nodev", Set(NODEV)),
    ("nodiratime", Set(NODIRATIME)),
    ("noexec", Set(NOEXEC)),
    ("noiversion", Nothing),
    ("nolazytime", Superblock("nolazytime")),
    ("nomand", Nothing),
    ("norelatime", NotAtime(RELATIME)),
    ("nostrictatime", NotAtime(STRICTATIME)),
    ("nosuid", Set(NOSUID)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("private", Propagation(libc::MS_PRIVATE, false)),
    ("ratime", AtimeAll(RELATIME)),
    ("rbind", Bind(true)),
    ("rdev", ClearAll(NODEV)),
    ("rdiratime", ClearAll(NODIRATIME)),
    ("relatime", Atime(RELATIME)),
    ("remount", Remount),
    ("rexec", ClearAll(NOEXEC)),
    ("ridmap", IdMap(true)),
    ("rnoatime", AtimeAll(NOATIME)),
    ("rnodev", SetAll(NODEV)),
    ("rnodiratime", SetAll(NODIRATIME)),
    ("rnoexec", SetAll(NOEXEC)),
    ("rnorelatime", AtimeAll(RELATIME)),
    ("rnostrictatime", AtimeAll(RELATIME)),
    ("rnosuid", SetAll(NOSUID)),
    ("rnosymfollow", SetAll(NOSYMFOLLOW)),
    ("ro", Set(RDONLY)),
    ("rprivate", Propagation(libc::MS_PRIVATE, true)),
    ("rrelatime", AtimeAll(RELATIME)),
    ("rro", SetAll(RDONLY)),
    ("rrw", ClearAll(RDONLY)),
    ("rshared", Propagation(libc::MS_SHARED, true)),
    ("rslave", Propagation(libc::MS_SLAVE, true)),
    ("rstrictatime", AtimeAll(STRICTATIME)),
    ("rsuid", ClearAll(NOSUID)),
    ("rsymfollow", ClearAll(NOSYMFOLLOW)),
    ("runbindable", Propagation(libc::MS_UNBINDABLE, true)),
    ("rw", Clear(RDONLY)),
    ("shared", Propagation(libc::MS_SHARED, false)),
    ("silent", Nothing),
    ("slave", Propagation(libc::MS_SLAVE, false)),
    ("src-nofollow", SourceNoFollow),
    ("strictatime", Atime(STRICTATIME)),
    ("suid", Clear(NOSUID)),
    ("symfollow", Clear(NOSYMFOLLOW)),
    ("sync", Superblock("sync")),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(libc::MS_UNBINDABLE, false)),
];

/// The options of one mount, resolved; a later option wins over an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// A bind mount; `true` with the mounts below its source.
    pub(crate) bind: Option<bool>,
    /// Changes the mount that is at the destination.
    pub(crate) remount: bool,
    /// Attributes to set.
    pub(crate) set: u64,
    /// Attributes that were named to be cleared.
    pub(crate) clear: u64,
    /// The access time policy, if one was named.
    pub(crate) atime: Option<u64>,
    /// Attributes to set on all mounts of the tree.
    pub(crate) set_all: u64,
    /// Attributes to clear on all mounts of the tree.
    pub(crate) clear_all: u64,
    /// Propagation types (MS_*) in order, and whether for the whole tree.
    pub(crate) propagation: Vec<(u64, bool)>,
    /// Copy up what the destination holds.
    pub(crate) copy_up: bool,
    /// Id-mapped; `true` for the whole tree.
    pub(crate) idmap: Option<bool>,
    /// Do not follow a final symbolic link of the source.
    pub(crate) source_nofollow: bool,
    /// Mount on a final symbolic link of the destination, not on what it leads to.
    pub(crate) destination_nofollow: bool,
    /// If the source is a symbolic link, make an equal one instead of a mount.
    pub(crate) copy_symlink: bool,
    /// Flags of the file system, as fsconfig(2) names them.
    pub(crate) superblock: Vec<&'static str>,
    /// Parameters of the file system: `key` or `key=value`.
    pub(crate) data: Vec<String>,
}

impl MountOptions {
    /// Resolves the texts of `mounts[].options`.
    pub(crate) fn parse<T: AsRef<str>>(texts: &[T]) -> Self {
        let mut options = Self::default();
        texts.iter().flat_map(|text| split(text.as_ref())).for_each(|text| options.apply(text));
        options
    }

    fn apply(&mut self, text: &str) {
        match lookup(text) {
            None if text.is_empty() => {}
            None => self.data.push(unquoted(text)),
            Some(effect) => self.apply_effect(effect),
        }
    }

    fn apply_effect(&mut self, effect: Effect) {
        match effect {
            Set(bit) => change(&mut self.set, &mut self.clear, bit),
            Clear(bit) => change(&mut self.clear, &mut self.set, bit),
            Atime(policy) => self.atime = Some(policy),
            NotAtime(policy) if self.atime == Some(policy) => self.atime = None,
            NotAtime(_) => {}
            SetAll(bit) => change(&mut self.set_all, &mut self.clear_all, bit),
            ClearAll(bit) => change(&mut self.clear_all, &mut self.set_all, bit),
            // mount_setattr(2): a new policy has to be set with the old one cleared.
            AtimeAll(policy) => {
                self.clear_all |= ATIME;
                self.set_all = self.set_all & !ATIME | policy;
            }
            Propagation(flag, all) => self.propagation.push((flag, all)),
            Bind(all) => self.bind = Some(all || self.bind == Some(true)),
            Superblock(name) => {
                self.superblock.retain(|known| *known != name && *known != opposite(name));
                self.superblock.push(name);
            }
            Remount => self.remount = true,
            CopyUp => self.copy_up = true,
            IdMap(all) => self.idmap = Some(all || self.idmap == Some(true)),
            SourceNoFollow => self.source_nofollow = true,
            DestinationNoFollow => self.destination_nofollow = true,
            CopySymlink => self.copy_symlink = true,
            Nothing => {}
        }
    }

    /// The attributes of a new mount, for fsmount(2).
    pub(crate) fn attributes(&self) -> u64 {
        self.set | self.atime.unwrap_or(RELATIME)
    }

    /// True if options name attributes of the mount itself.
    pub(crate) fn names_attributes(&self) -> bool {
        self.set != 0 || self.clear != 0 || self.atime.is_some()
    }

    /// What a change of an existing mount does to its access times, as mount(8) has it: the attributes
    /// to set and to clear. With none named they stay; with one named, the others are no longer set.
    pub(crate) fn atime_change(&self) -> (u64, u64) {
        let named = self.atime.is_some() || self.set & NODIRATIME != 0;
        match named {
            true => (self.atime.unwrap_or(RELATIME) | self.set & NODIRATIME, ATIME | NODIRATIME),
            false => (0, 0),
        }
    }

    /// The attributes of a mount that is a tree of its own: those for the whole tree come last.
    pub(crate) fn tree_attributes(&self) -> u64 {
        self.attributes() & !self.clear_all | self.set_all
    }

    /// True if the mount is to be read-only, by an option of its own or of the tree.
    pub(crate) fn read_only(&self) -> bool {
        self.tree_attributes() & RDONLY != 0
    }
}

/// The options of a text with several, as the kernel takes it from mount(2): commas are between them, but for
/// those within quotation marks (labels of SELinux) and behind a backslash (paths of an overlay).
fn split(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        let ends = character == ',' && !quoted && !escaped;
        quoted ^= character == '"';
        escaped = character == '\\' && !escaped;
        ends
    })
}

/// A label of SELinux without the quotation marks, which fsconfig(2) does not know.
fn unquoted(text: &str) -> String {
    match text.split_once('=') {
        Some((key, value)) if key.ends_with("context") => format!("{key}={}", value.trim_matches('"')),
        _ => text.to_owned(),
    }
}

fn change(into: &mut u64, from: &mut u64, bit: u64) {
    *into |= bit;
    *from &= !bit;
}

/// The flag that takes `name` back.
fn opposite(name: &str) -> &str {
    match name {
        "sync" => "async",
        "async" => "sync",
        "lazytime" => "nolazytime",
        "nolazytime" => "lazytime",
        _ => "",
    }
}

fn lookup(text: &str) -> Option<Effect> {
    let at = TABLE.binary_search_by_key(&text, |(name, _)| name).ok()?;
    TABLE.get(at).map(|(_, effect)| *effect)
}

/// The mount options that this library knows, sorted: `mountOptions` of the features document.
pub fn known_mount_options() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// The propagation that `linux.rootfsPropagation` names: MS_* flags with MS_REC.
pub(crate) fn propagation(text: &str) -> Option<u64> {
    match lookup(text)? {
        Propagation(flag, all) => Some(flag | if all { libc::MS_REC } else { 0 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_without_doubles() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn no_known_option_becomes_data() {
        for name in known_mount_options() {
            assert!(MountOptions::parse(&[name]).data.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_later_option_wins() {
        let options = MountOptions::parse(&["ro", "nosuid", "rw", "noatime", "strictatime"]);
        assert_eq!((options.set, options.clear), (NOSUID, RDONLY));
        assert_eq!(options.attributes(), NOSUID | STRICTATIME);
        assert_eq!(MountOptions::parse(&["strictatime", "nostrictatime"]).atime, None);
        assert_eq!(MountOptions::parse(&["noatime", "nostrictatime"]).atime, Some(NOATIME));
    }

    #[test]
    fn options_of_the_tree_are_kept_apart() {
        let options = MountOptions::parse(&["rbind", "rro", "rnosuid", "rsuid", "rnoatime"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!((options.set_all, options.clear_all), (RDONLY | NOATIME, NOSUID | ATIME));
        assert!(!options.names_attributes());
    }

    #[test]
    fn one_text_may_have_several_options() {
        let options = MountOptions::parse(&["size=1g,mode=700,ro", "lowerdir=/a\\,b:/c,upperdir=/d"]);
        assert_eq!(options.data, ["size=1g", "mode=700", "lowerdir=/a\\,b:/c", "upperdir=/d"]);
        assert!(options.read_only());
        let options = MountOptions::parse(&["context=\"u:r:t:s0:c1,c2\",size=1g,"]);
        assert_eq!(options.data, ["context=u:r:t:s0:c1,c2", "size=1g"]);
    }

    #[test]
    fn options_of_the_tree_come_last() {
        let read_only = |texts: &[&str]| MountOptions::parse(texts).read_only();
        assert!(read_only(&["ro"]) && read_only(&["rro"]) && read_only(&["rro", "rw"]));
        assert!(!read_only(&[]) && !read_only(&["ro", "rw"]) && !read_only(&["ro", "rrw"]));
        assert!(!read_only(&["rrw", "ro"]));
    }

    #[test]
    fn the_rest_is_data() {
        let options = MountOptions::parse(&["mode=755", "size=64k", "newinstance", "sync", "async"]);
        assert_eq!(options.data, ["mode=755", "size=64k", "newinstance"]);
        assert_eq!(options.superblock, ["async"]);
    }
}
