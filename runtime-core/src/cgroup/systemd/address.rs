//! Where a service manager can be reached.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::sys::socket::UnixAddr;

use super::Manager;

/// The socket of systemd itself, which only root may use: no bus daemon is between, so it works while
/// that one restarts.
const SYSTEM_PRIVATE: &str = "/run/systemd/private";

/// The bus of the system (D-Bus specification, "Well-known Message Bus Instances").
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// A socket to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// A path, or the name of an abstract socket.
    name: OsString,
    is_abstract: bool,
    /// A bus is at the other end, not systemd itself.
    pub(super) is_bus: bool,
}

impl Address {
    pub(super) fn bus(path: impl Into<OsString>) -> Self {
        Self { name: path.into(), is_abstract: false, is_bus: true }
    }

    pub(super) fn private(path: impl Into<OsString>) -> Self {
        Self { name: path.into(), is_abstract: false, is_bus: false }
    }

    pub(super) fn socket(&self) -> nix::Result<UnixAddr> {
        match self.is_abstract {
            true => UnixAddr::new_abstract(self.name.as_bytes()),
            false => UnixAddr::new(Path::new(&self.name)),
        }
    }

    /// For messages.
    pub(super) fn text(&self) -> String {
        format!("{}{}", if self.is_abstract { "@" } else { "" }, self.name.to_string_lossy())
    }
}

/// The sockets of a manager, the best first.
pub(super) fn candidates(manager: Manager) -> Vec<Address> {
    match manager {
        Manager::System => vec![Address::private(SYSTEM_PRIVATE), Address::bus(SYSTEM_BUS)],
        Manager::User => {
            let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
            of_user(variable("DBUS_SESSION_BUS_ADDRESS").as_deref(), variable("XDG_RUNTIME_DIR").as_deref())
        }
    }
}

/// An address that somebody has set is meant; the user's runtime directory is where sockets are without.
fn of_user(address: Option<&OsStr>, runtime_directory: Option<&OsStr>) -> Vec<Address> {
    let mut found: Vec<Address> = address
        .iter()
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b';'))
        .filter_map(parse)
        .collect();
    if let Some(directory) = runtime_directory.map(Path::new).filter(|path| path.is_absolute()) {
        found.push(Address::private(directory.join("systemd/private")));
        found.push(Address::bus(directory.join("bus")));
    }
    found
}

/// One address of a list (D-Bus specification, "Server Addresses"); other transports than Unix sockets are left out.
pub(super) fn parse(text: &[u8]) -> Option<Address> {
    let keys = text.strip_prefix(b"unix:")?;
    keys.split(|byte| *byte == b',').find_map(|pair| {
        let (is_abstract, value) = match (pair.strip_prefix(b"path="), pair.strip_prefix(b"abstract=")) {
            (Some(path), _) => (false, path),
            (_, Some(name)) => (true, name),
            _ => return None,
        };
        Some(Address { name: OsString::from_vec(unescape(value)?), is_abstract, is_bus: true })
    })
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = text;
    let mut plain = Vec::with_capacity(text.len());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            plain.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        plain.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(2..)?;
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(address: Option<&str>, directory: Option<&str>) -> Vec<String> {
        let found = of_user(address.map(OsStr::new), directory.map(OsStr::new));
        found
            .iter()
            .map(|one| format!("{}{}", one.text(), if one.is_bus { "" } else { " (private)" }))
            .collect()
    }

    #[test]
    fn the_sockets_of_a_user() {
        assert_eq!(
            texts(Some("unix:path=/run/user/7/bus,guid=ab;tcp:host=x"), Some("/run/user/7")),
            ["/run/user/7/bus", "/run/user/7/systemd/private (private)", "/run/user/7/bus"]
        );
        assert_eq!(texts(Some("unix:abstract=/tmp/dbus%2dx"), None), ["@/tmp/dbus-x"]);
        assert_eq!(texts(Some("unix:path=/a%2"), Some("relative")), [""; 0]);
        assert_eq!(texts(None, None), [""; 0]);
    }
}
