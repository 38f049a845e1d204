//! CRIU's requests and responses, with the field numbers of its `rpc.proto`.

use super::message::{Reader, Writer};

/// What is asked for, and answered (`criu_req_type`).
pub(super) mod kind {
    pub(crate) const DUMP: i32 = 1;
    pub(crate) const RESTORE: i32 = 2;
    pub(crate) const PRE_DUMP: i32 = 4;
    pub(crate) const NOTIFY: i32 = 6;
    pub(crate) const FEATURE_CHECK: i32 = 9;
    pub(crate) const VERSION: i32 = 10;

    /// The name in messages.
    pub(crate) fn name(kind: i32) -> &'static str {
        match kind {
            DUMP => "DUMP",
            RESTORE => "RESTORE",
            PRE_DUMP => "PRE_DUMP",
            NOTIFY => "NOTIFY",
            FEATURE_CHECK => "FEATURE_CHECK",
            VERSION => "VERSION",
            _ => "EMPTY",
        }
    }
}

/// The fields of `criu_opts`.
pub(super) mod field {
    pub(crate) const IMAGES_DIR_FD: u32 = 1;
    pub(crate) const PID: u32 = 2;
    pub(crate) const LEAVE_RUNNING: u32 = 3;
    pub(crate) const EXT_UNIX_SK: u32 = 4;
    pub(crate) const TCP_ESTABLISHED: u32 = 5;
    pub(crate) const EVASIVE_DEVICES: u32 = 6;
    pub(crate) const SHELL_JOB: u32 = 7;
    pub(crate) const FILE_LOCKS: u32 = 8;
    pub(crate) const LOG_LEVEL: u32 = 9;
    pub(crate) const LOG_FILE: u32 = 10;
    pub(crate) const PAGE_SERVER: u32 = 11;
    pub(crate) const NOTIFY_SCRIPTS: u32 = 12;
    pub(crate) const ROOT: u32 = 13;
    pub(crate) const PARENT_IMG: u32 = 14;
    pub(crate) const TRACK_MEM: u32 = 15;
    pub(crate) const AUTO_DEDUP: u32 = 16;
    pub(crate) const WORK_DIR_FD: u32 = 17;
    pub(crate) const LINK_REMAP: u32 = 18;
    pub(crate) const EXT_MNT: u32 = 23;
    pub(crate) const MANAGE_CGROUPS: u32 = 24;
    pub(crate) const CG_ROOT: u32 = 25;
    pub(crate) const RST_SIBLING: u32 = 26;
    pub(crate) const INHERIT_FD: u32 = 27;
    pub(crate) const MANAGE_CGROUPS_MODE: u32 = 34;
    pub(crate) const EXTERNAL: u32 = 37;
    pub(crate) const EMPTY_NS: u32 = 38;
    pub(crate) const JOIN_NS: u32 = 39;
    pub(crate) const FREEZE_CGROUP: u32 = 44;
    pub(crate) const TCP_SKIP_IN_FLIGHT: u32 = 46;
    pub(crate) const LAZY_PAGES: u32 = 48;
    pub(crate) const STATUS_FD: u32 = 49;
    pub(crate) const ORPHAN_PTS_MASTER: u32 = 50;
    pub(crate) const CONFIG_FILE: u32 = 51;
    pub(crate) const TCP_CLOSE: u32 = 52;
    pub(crate) const LSM_PROFILE: u32 = 53;
    pub(crate) const LSM_MOUNT_CONTEXT: u32 = 63;
    pub(crate) const NETWORK_LOCK: u32 = 64;
}

/// Everything: the lines that matter after a failure are of all levels.
pub(super) const LOG_LEVEL: i32 = 4;

/// `criu_opts`: what a dump or restore takes.
#[derive(Debug, Default, Clone)]
pub(super) struct Fields(Writer);

impl Fields {
    pub(super) fn number(&mut self, field: u32, value: i32) {
        self.0.number(field, value);
    }

    pub(super) fn flag(&mut self, field: u32, value: bool) {
        // All defaults of CRIU are false.
        if value {
            self.0.number(field, 1);
        }
    }

    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.0.bytes(field, value.as_bytes());
    }

    /// A message of two texts: a mount's key and value, a controller and its path, a namespace and
    /// its file.
    pub(super) fn pair(&mut self, field: u32, first: &str, second: &str) {
        let mut pair = Writer::default();
        pair.bytes(1, first.as_bytes());
        pair.bytes(2, second.as_bytes());
        self.0.message(field, &pair);
    }

    /// A message of a text and a number: a descriptor's key and number, an address and its port.
    pub(super) fn numbered(&mut self, field: u32, text: &str, number: i32) {
        let mut pair = Writer::default();
        pair.bytes(1, text.as_bytes());
        pair.number(2, number);
        self.0.message(field, &pair);
    }
}

/// A request for a dump, a pre-dump or a restore.
pub(super) fn request(kind: i32, fields: &Fields) -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, kind);
    request.message(2, &fields.0);
    request.as_bytes().to_vec()
}

/// A request for CRIU's version.
pub(super) fn version() -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, kind::VERSION);
    request.as_bytes().to_vec()
}

/// The answer to a notification.
pub(super) fn acknowledgement() -> Vec<u8> {
    let mut request = Writer::default();
    request.number(1, kind::NOTIFY);
    request.number(3, 1);
    request.as_bytes().to_vec()
}

/// A feature of the kernel that CRIU is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    MemTrack = 1,
    LazyPages = 2,
}

/// Asks whether CRIU and the kernel have a feature.
pub(super) fn feature_check(feature: Feature) -> Vec<u8> {
    let mut features = Writer::default();
    features.number(feature as u32, 1);
    let mut request = Writer::default();
    request.number(1, kind::FEATURE_CHECK);
    request.message(5, &features);
    request.as_bytes().to_vec()
}

/// Something that CRIU tells in between, and waits for an answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Notification {
    /// Which: `post-restore` and the like.
    pub(super) script: String,
    /// The pid of the container's init, where that is known.
    pub(super) pid: i32,
}

/// `criu_resp`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) kind: i32,
    pub(super) success: bool,
    pub(super) notification: Notification,
    pub(super) errno: i32,
    pub(super) message: String,
    /// The features that there are, as bits by their number.
    pub(super) features: u32,
    /// The version: 31701 is 3.17.1.
    pub(super) version: u32,
}

impl Response {
    /// Parses a response; `None` for what is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut response = Self::default();
        let mut reader = Reader::new(bytes);
        for (field, value) in reader.by_ref() {
            match field {
                1 => response.kind = value.number(),
                2 => response.success = value.number() != 0,
                5 => response.notification = notification(value.bytes()),
                7 => response.errno = value.number(),
                8 => response.features = features(value.bytes()),
                9 => response.message = value.text(),
                10 => response.version = parse_version(value.bytes()),
                _ => {}
            }
        }
        (reader.whole() && response.kind != 0).then_some(response)
    }
}

fn notification(bytes: &[u8]) -> Notification {
    let mut notification = Notification::default();
    for (field, value) in Reader::new(bytes) {
        match field {
            1 => notification.script = value.text(),
            2 => notification.pid = value.number(),
            _ => {}
        }
    }
    notification
}

fn features(bytes: &[u8]) -> u32 {
    let present = Reader::new(bytes).filter(|(field, value)| *field < 32 && value.number() != 0);
    present.fold(0, |bits, (field, _)| bits | 1 << field)
}

fn parse_version(bytes: &[u8]) -> u32 {
    let version = |major: u32, minor: u32, sublevel: u32| {
        major.saturating_mul(10_000).saturating_add(minor.saturating_mul(100)).saturating_add(sublevel)
    };
    let (mut major, mut minor, mut sublevel, mut from_git) = (0, 0, 0, false);
    for (field, value) in Reader::new(bytes) {
        let number = u32::try_from(value.number()).unwrap_or(0).min(99);
        match field {
            1 => major = number,
            2 => minor = number,
            3 => from_git = true,
            4 => sublevel = number,
            _ => {}
        }
    }
    match from_git {
        // A build between two releases has what the next one will have.
        true => version(major, minor.saturating_add(1), 0),
        false => version(major, minor, sublevel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(build: impl FnOnce(&mut Writer)) -> Option<Response> {
        let mut writer = Writer::default();
        build(&mut writer);
        Response::parse(writer.as_bytes())
    }

    #[test]
    fn responses() {
        let mut version = Writer::default();
        version.number(1, 3);
        version.number(2, 17);
        version.number(4, 1);
        let parsed = response(|writer| {
            writer.number(1, kind::VERSION);
            writer.number(2, 1);
            writer.message(10, &version);
        });
        assert_eq!(parsed.map(|response| (response.success, response.version)), Some((true, 31_701)));
        version.bytes(3, b"v3.17-4");
        assert_eq!(parse_version(version.as_bytes()), 31_800);

        let mut notify = Writer::default();
        notify.bytes(1, b"post-restore");
        notify.number(2, 42);
        let parsed = response(|writer| {
            writer.number(1, kind::NOTIFY);
            writer.number(2, 1);
            writer.message(5, &notify);
        });
        let expected = Notification { script: "post-restore".to_owned(), pid: 42 };
        assert_eq!(parsed.map(|response| response.notification), Some(expected));
        assert_eq!(Response::parse(b""), None);
        assert_eq!(Response::parse(b"\x08\x01\x12\x7f"), None);
    }

    #[test]
    fn requests_hold_their_fields() {
        let mut fields = Fields::default();
        fields.number(field::IMAGES_DIR_FD, 9);
        fields.flag(field::SHELL_JOB, false);
        fields.pair(field::EXT_MNT, "/etc/hosts", "/etc/hosts");
        let bytes = request(kind::DUMP, &fields);
        let opts = Reader::new(&bytes).find(|(field, _)| *field == 2).map(|(_, value)| value.bytes());
        let fields: Vec<u32> = Reader::new(opts.unwrap_or_default()).map(|(field, _)| field).collect();
        assert_eq!(fields, [field::IMAGES_DIR_FD, field::EXT_MNT]);
    }
}
