//! `linux.devices`.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::findings::Findings;

/// The kind of a special file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// Character device.
    Character,
    /// Block device.
    Block,
    /// FIFO.
    Fifo,
}

impl DeviceKind {
    /// The type bits of a mode.
    pub(crate) fn mode(self) -> u32 {
        match self {
            DeviceKind::Character => libc::S_IFCHR,
            DeviceKind::Block => libc::S_IFBLK,
            DeviceKind::Fifo => libc::S_IFIFO,
        }
    }
}

/// A special file to make in the container.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// Absolute path.
    pub(crate) path: String,
    /// Kind.
    pub(crate) kind: DeviceKind,
    /// Device number: major and minor.
    pub(crate) number: (u32, u32),
    /// Permission bits.
    pub(crate) permissions: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Its place in `linux.devices`.
    pub(crate) index: usize,
}

impl Device {
    /// JSON path.
    pub(crate) fn origin(&self) -> String {
        format!("linux.devices[{}]", self.index)
    }
}

pub(super) fn devices(devices: &[LinuxDevice], findings: &mut Findings) -> Vec<Device> {
    let mut all: Vec<Device> = Vec::with_capacity(devices.len());
    for (index, device) in devices.iter().enumerate() {
        let Some(device) = one(index, device, findings) else {
            continue;
        };
        // Docker lists a device twice when it is asked for it twice: the same node is no conflict.
        let conflict = all.iter().any(|known| {
            known.path == device.path && (known.kind, known.number) != (device.kind, device.number)
        });
        if conflict {
            findings.error(device.origin(), format!("another device has the path {:?}", device.path));
        }
        all.push(device);
    }
    all
}

fn one(index: usize, device: &LinuxDevice, findings: &mut Findings) -> Option<Device> {
    let origin = format!("linux.devices[{index}]");
    let path = device.path().to_string_lossy().into_owned();
    findings.absolute(format_args!("{origin}.path"), &path);
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => {
            findings.error(format_args!("{origin}.type"), "\"a\" is not the type of one device");
            return None;
        }
    };
    let number = (
        device_number(&origin, "major", device.major(), 0xfff, findings),
        device_number(&origin, "minor", device.minor(), 0xf_ffff, findings),
    );
    Some(Device {
        path: super::mount::clean(&path),
        kind,
        number: if kind == DeviceKind::Fifo { (0, 0) } else { number },
        permissions: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        index,
    })
}

/// The kernel's device numbers have 12 bits of major and 20 bits of minor.
fn device_number(origin: &str, field: &str, value: i64, limit: u32, findings: &mut Findings) -> u32 {
    match u32::try_from(value) {
        Ok(value) if value <= limit => value,
        _ => {
            findings.error(format_args!("{origin}.{field}"), format!("{value} is not in 0 to {limit}"));
            0
        }
    }
}
