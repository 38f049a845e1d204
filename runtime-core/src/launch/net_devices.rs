//! Network interfaces of the host that move into the container (`linux.netDevices`).
//!
//! The kernel takes addresses off an interface that changes its namespace and sets it down: both are
//! given back on the other side. Nothing is done when the container ends: the interfaces belong to
//! its namespace, whose end is the kernel's business.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::NetDevice;
use crate::sys::namespace;
use crate::sys::netlink::Netlink;

/// The network namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";
/// How many names a template may try.
const TEMPLATE_LIMIT: u32 = 4096;

/// A network namespace and a socket that works in it.
struct Side {
    namespace: OwnedFd,
    netlink: Netlink,
}

/// The interfaces that were moved, by their names on the host and their indices in the container: what
/// is undone when `create` fails. In a namespace that the container joined somebody else may give the
/// name to an interface of his, which must not get to the host in its place.
#[derive(Default)]
pub(crate) struct Moved(Option<Sides>, Vec<(String, u32)>);

struct Sides {
    host: Side,
    container: Side,
}

/// Moves the devices into the network namespace of `pid`; `moved` holds what was moved also when
/// this fails half way.
pub(crate) fn give(pid: i32, devices: &[NetDevice], moved: &mut Moved) -> Result<()> {
    let sides = moved.0.insert(Sides::open(pid)?);
    for device in devices {
        let index = sides.give(device).map_err(|error| error.origin(device.origin()))?;
        moved.1.push((device.host.clone(), index));
    }
    Ok(())
}

impl Moved {
    /// Moves everything back, as far as that goes: the failure that led here is the one to tell.
    pub(crate) fn undo(self) {
        let Some(Sides { mut host, mut container }) = self.0 else { return };
        for (name, index) in self.1.iter().rev() {
            transfer(&mut container, &mut host, *index, name, "move the network device back").ok();
        }
    }
}

impl Sides {
    fn open(pid: i32) -> Result<Self> {
        const NEWNET: i32 = CloneFlags::CLONE_NEWNET.bits();
        let open = |path: &str| File::open(path).map_err(|error| Error::io(format!("open {path:?}"), &error));
        let own = OwnedFd::from(open(OWN)?);
        let other = OwnedFd::from(open(&format!("/proc/{pid}/ns/net"))?);
        let failed = |call: &'static str| move |errno| Error::system(call, errno);
        let host =
            Side { netlink: Netlink::open().map_err(failed("open a netlink socket"))?, namespace: own };
        namespace::setns(other.as_fd(), NEWNET)
            .map_err(failed("setns to the container's network namespace"))?;
        let socket = Netlink::open();
        // As in `network`: a thread that stayed would act on the wrong network, unnoticed.
        namespace::setns(host.namespace.as_fd(), NEWNET)
            .map_err(failed("setns back to the caller's network namespace"))?;
        let netlink = socket.map_err(failed("open a netlink socket in the container's network namespace"))?;
        Ok(Self { host, container: Side { namespace: other, netlink } })
    }

    /// Moves one device and tells its index inside.
    fn give(&mut self, device: &NetDevice) -> Result<u32> {
        let name = match device.name.strip_suffix("%d") {
            None => device.name.clone(),
            Some(stem) => self.container.free_name(stem)?,
        };
        let operation = moving(&device.host, &name);
        if self.container.find(&name)?.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, operation)
                .reason("the container has a network device of that name"));
        }
        let missing = || Error::system(operation.clone(), Errno::ENODEV);
        let index = self.host.find(&device.host)?.ok_or_else(missing)?;
        transfer(&mut self.host, &mut self.container, index, &name, &operation)
    }
}

impl Side {
    fn find(&mut self, name: &str) -> Result<Option<u32>> {
        self.netlink
            .index_of(name)
            .map_err(|errno| Error::system(format!("look for the network device {name:?}"), errno))
    }

    /// The first name of a template that nobody has.
    fn free_name(&mut self, stem: &str) -> Result<String> {
        for number in 0..TEMPLATE_LIMIT {
            let name = format!("{stem}{number}");
            if self.find(&name)?.is_none() {
                return Ok(name);
            }
        }
        Err(Error::system(format!("find a free name for \"{stem}%d\""), Errno::ENFILE))
    }
}

fn moving(old: &str, new: &str) -> String {
    format!("move the network device {old:?} into the container as {new:?}")
}

/// Moves a device with its permanent global addresses, and brings it up; its index there.
fn transfer(from: &mut Side, to: &mut Side, index: u32, new: &str, operation: &str) -> Result<u32> {
    let failed = |errno| Error::system(operation.to_owned(), errno);
    let addresses = from.netlink.addresses(index).map_err(failed)?;
    from.netlink.give(index, to.namespace.as_fd(), new).map_err(|errno| {
        let error = failed(errno);
        match errno {
            Errno::EINVAL => error.hint("the device may be bound to its network namespace"),
            _ => error,
        }
    })?;
    let index = to.find(new)?.ok_or_else(|| failed(Errno::ENODEV))?;
    // Up before the addresses: IPv6 takes none on some devices that are down.
    to.netlink
        .up(index)
        .map_err(|errno| Error::system(format!("bring up the network device {new:?}"), errno))?;
    for address in &addresses {
        to.netlink.add_address(index, address).map_err(|errno| {
            Error::system(format!("give the network device {new:?} its address back"), errno)
        })?;
    }
    Ok(index)
}
