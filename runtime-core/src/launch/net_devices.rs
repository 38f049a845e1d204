//! Network interfaces of the host that move into the container (`linux.netDevices`).
//!
//! The kernel takes addresses off an interface that changes its namespace and sets it down: both are
//! given back on the other side. Nothing is done when the container ends: the interfaces belong to
//! its namespace, whose end is the kernel's business.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::NetDevice;
use crate::sys::netlink::{Address, LinkIdentity, Netlink};

/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// How many names a template may try.
const TEMPLATE_LIMIT: u32 = 4096;
/// How many indexes may be taken by others between the look and the move.
const INDEX_TRIES: u32 = 16;
/// The name of an interface that comes home when another has its name: the kernel's own choice where the end
/// of a namespace sends one back.
const SPARE_NAME: &str = "dev%d";

/// A network namespace and a socket that works in it.
struct Side {
    namespace: OwnedFd,
    netlink: Netlink,
}

/// The interfaces that were moved: what is undone when `create` fails.
#[derive(Default)]
pub(crate) struct Moved(Option<Sides>, Vec<MovedDevice>);

/// An interface as it was on the host.
struct MovedDevice {
    name: String,
    /// Its name in the container.
    given: String,
    identity: LinkIdentity,
    up: bool,
    addresses: Vec<Address>,
    /// Its index on the host.
    home: u32,
    /// Its index in the container. In a namespace that the container joined somebody else may give the
    /// name to an interface of his, which must not get to the host in its place. So the index is chosen before
    /// the move, not looked up after it.
    index: u32,
}

struct Sides {
    host: Side,
    container: Side,
    /// Others may have made interfaces in the container's.
    shared: bool,
}

/// Moves the devices into the network namespace of `pid`; `moved` holds what was moved also when
/// this fails half way.
///
/// A `shared` namespace is one that others may use.
pub(crate) fn give(pid: i32, shared: bool, devices: &[NetDevice], moved: &mut Moved) -> Result<()> {
    let sides = moved.0.insert(Sides::open(pid, shared)?);
    for device in devices {
        sides.give(device, &mut moved.1).map_err(|error| error.origin(device.origin()))?;
    }
    Ok(())
}

/// Asks that the devices are in a network namespace already: they stay there when a container ends that has
/// joined it. One whose name was the kernel's choice is not looked for.
pub(crate) fn require(namespace: BorrowedFd<'_>, devices: &[NetDevice]) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut netlink = socket_in(namespace)?;
    for device in devices.iter().filter(|device| !device.name.ends_with("%d")) {
        if find(&mut netlink, &device.name)?.is_none() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("find the network device {:?}", device.name),
            )
            .reason("the network namespace does not have it")
            .origin(device.origin())
            .with_hint("move it there before the restore"));
        }
    }
    Ok(())
}

impl Moved {
    /// From now on the container's program may make interfaces, too.
    pub(crate) fn share(&mut self) {
        self.0.iter_mut().for_each(|sides| sides.shared = true);
    }

    /// Moves everything back, as far as that goes: the failure that led here is the one to tell. Into a
    /// shared namespace others may put interfaces of theirs: what could be one stays there.
    pub(crate) fn undo(self) {
        let Some(mut sides) = self.0 else { return };
        for device in self.1.iter().rev() {
            if !sides.shared || device.identity.is_telling() {
                sides.take_back(device).ok();
            }
        }
    }
}

impl Sides {
    fn open(pid: i32, shared: bool) -> Result<Self> {
        let own = open_namespace(OWN)?;
        let other = open_namespace(&format!("/proc/{pid}/ns/net"))?;
        let netlink = Netlink::open().map_err(|errno| Error::system("open a netlink socket", errno))?;
        let there = socket_in(other.as_fd())?;
        let host = Side { netlink, namespace: own };
        Ok(Self { host, container: Side { namespace: other, netlink: there }, shared })
    }

    /// Moves one device with its addresses, and brings it up.
    fn give(&mut self, device: &NetDevice, moved: &mut Vec<MovedDevice>) -> Result<()> {
        let name = match device.name.strip_suffix("%d") {
            None => device.name.clone(),
            Some(stem) => self.container.free_name(stem)?,
        };
        let operation = moving(&device.host, &name);
        if find(&mut self.container.netlink, &name)?.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, operation)
                .reason("the container has a network device of that name"));
        }
        let failed = |errno| Error::system(operation.clone(), errno);
        let index = find(&mut self.host.netlink, &device.host)?.ok_or_else(|| failed(Errno::ENODEV))?;
        let up = self.host.netlink.is_up(index).map_err(failed)?;
        let addresses = self.host.netlink.addresses(index).map_err(failed)?;
        let identity = self.host.netlink.identity(index).map_err(failed)?;
        let mut device = MovedDevice {
            name: device.host.clone(),
            given: name.clone(),
            identity,
            up,
            addresses,
            home: index,
            index,
        };
        let sent = self.host.send(&mut self.container, index, &mut device.index, &name);
        // Of a move and a change of the name the first may have succeeded alone.
        if sent.is_ok() || self.host.netlink.has(index) == Ok(false) {
            let settled = sent
                .map_err(failed)
                .and_then(|()| self.container.settle(device.index, &name, true, &device.addresses));
            moved.push(device);
            return settled;
        }
        sent.map_err(|errno| match errno {
            Errno::EINVAL => failed(errno).with_hint("the device may be bound to its network namespace"),
            _ => failed(errno),
        })
    }

    fn take_back(&mut self, device: &MovedDevice) -> Result<()> {
        let (host, container) = (&mut self.host, &mut self.container);
        let mut home = device.home;
        let vacant = host.netlink.has(home) == Ok(false);
        let sent = match container.send(host, device.index, &mut home, &device.name) {
            // With its name taken it is home already under the one that it had in the container, unless that
            // was taken, too. Only the host is asked: what is in the container others may choose.
            Err(Errno::EEXIST) if (vacant || home != device.home) && host.netlink.has(home) == Ok(true) => {
                Ok(())
            }
            Err(Errno::EEXIST) => container.send(host, device.index, &mut home, SPARE_NAME),
            sent => sent,
        };
        sent.map_err(|errno| Error::system("move the network device back", errno))?;
        // Who may make interfaces there may have put his own in its place. It is down here, and nobody else can
        // change it: what it is can be told now, and not before.
        if self.shared && host.netlink.identity(home).as_ref() != Ok(&device.identity) {
            return self.expel(home, &device.given);
        }
        host.settle(home, &device.name, device.up, &device.addresses)
    }

    /// Takes an interface of somebody else off the host: back to where it came from, or away.
    fn expel(&mut self, index: u32, name: &str) -> Result<()> {
        let (host, container) = (&mut self.host, &mut self.container);
        let mut place = index;
        host.send(container, index, &mut place, name)
            .or_else(|_| host.send(container, index, &mut place, SPARE_NAME))
            .or_else(|_| host.netlink.delete(index))
            .map_err(|errno| Error::system("move a foreign network device back", errno))
    }
}

impl Side {
    /// The first name of a template that nobody has.
    fn free_name(&mut self, stem: &str) -> Result<String> {
        for number in 0..TEMPLATE_LIMIT {
            let name = format!("{stem}{number}");
            if find(&mut self.netlink, &name)?.is_none() {
                return Ok(name);
            }
        }
        Err(Error::system(format!("find a free name for \"{stem}%d\""), Errno::ENFILE))
    }

    /// Moves an interface to the other side, which leaves it down and without addresses. Its index there is
    /// `place`, or if that is taken another one, which is then put there.
    fn send(
        &mut self,
        other: &mut Side,
        index: u32,
        place: &mut u32,
        name: &str,
    ) -> std::result::Result<(), Errno> {
        for _ in 0..INDEX_TRIES {
            match self.netlink.give(index, other.namespace.as_fd(), *place, name) {
                Err(Errno::EBUSY) if other.netlink.has(*place)? => {
                    *place = other.netlink.free_index(*place)?;
                }
                sent => return sent,
            }
        }
        Err(Errno::EBUSY)
    }

    /// Brings an interface up if it is to be, and gives it its addresses.
    fn settle(&mut self, index: u32, name: &str, up: bool, addresses: &[Address]) -> Result<()> {
        // Up before the addresses: IPv6 takes none on some devices that are down.
        if up {
            self.netlink
                .up(index)
                .map_err(|errno| Error::system(format!("bring up the network device {name:?}"), errno))?;
        }
        for address in addresses {
            self.netlink.add_address(index, address).map_err(|errno| {
                Error::system(format!("give the network device {name:?} its address back"), errno)
            })?;
        }
        Ok(())
    }
}

fn open_namespace(path: &str) -> Result<OwnedFd> {
    File::open(path).map(OwnedFd::from).map_err(|error| Error::io(format!("open {path:?}"), &error))
}

/// A socket that works in another network namespace than the caller's.
fn socket_in(namespace: BorrowedFd<'_>) -> Result<Netlink> {
    let socket = super::errand::netlink_socket(namespace)?;
    Netlink::of(socket).map_err(|errno| Error::system("configure a netlink socket", errno))
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Option<u32>> {
    netlink
        .index_of(name)
        .map_err(|errno| Error::system(format!("look for the network device {name:?}"), errno))
}

fn moving(old: &str, new: &str) -> String {
    format!("move the network device {old:?} into the container as {new:?}")
}
