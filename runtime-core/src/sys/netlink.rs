//! Route netlink (rtnetlink(7)): find, move and configure network interfaces.
//!
//! A socket belongs to the network namespace in which it was made, wherever its user goes.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::retry;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct ifinfomsg`.
const LINK: usize = 16;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS: usize = 8;
/// Newer than libc's list: the device of the machine that an interface is, since Linux 5.14.
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
/// `IFA_FLAGS`, newer than libc's list: all 32 flags of an address.
const IFA_FLAGS: u16 = 8;
/// Flags that belong to the address and not to its history: NODAD, HOMEADDRESS, MANAGETEMPADDR,
/// NOPREFIXROUTE, MCAUTOJOIN.
const KEPT_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;
/// The kernel answers at once: a socket that stays silent is broken, not slow.
const ANSWER_SECONDS: i64 = 10;

/// What an interface is, as this network namespace sees it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LinkIdentity {
    /// `veth`, `macvlan` …; empty for hardware.
    pub(crate) kind: String,
    /// The index of the interface that it works with: the other end, the one below.
    link: Option<u32>,
    /// The number that this network namespace has for the one of `link`, where that is another.
    link_namespace: Option<u32>,
    /// The device of the machine that it is, and the bus of that: `0000:00:03.0`, `pci`.
    parent: Option<(Vec<u8>, Vec<u8>)>,
}

impl LinkIdentity {
    /// Kinds that work with another interface, whose place tells one from another; of two on the same one below
    /// either is as good. A dummy has nobody at its other end.
    const LINKED: [&str; 5] = ["veth", "vlan", "macvlan", "ipvlan", "dummy"];

    /// True if no interface that somebody makes in another namespace looks the same: hardware, and what has its
    /// link to show. Whoever makes a tunnel or a tap has its other end, unseen.
    pub(crate) fn is_telling(&self) -> bool {
        match self.kind.as_str() {
            // Some that are made have no kind; no device of the machine either.
            "" => self.parent.is_some(),
            kind => Self::LINKED.contains(&kind),
        }
    }
}

/// An address of an interface, as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// IFA_ADDRESS, IFA_LOCAL and IFA_BROADCAST.
    parts: Vec<(u16, Vec<u8>)>,
}

/// A route netlink socket.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens one in the network namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, Errno> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Self::of(socket)
    }

    /// With a socket (NETLINK_ROUTE) that may be of another network namespace.
    pub(crate) fn of(socket: OwnedFd) -> Result<Self, Errno> {
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The index of the interface with that name.
    pub(crate) fn index_of(&mut self, name: &str) -> Result<Option<u32>, Errno> {
        let mut body = vec![0; LINK];
        attribute(&mut body, libc::IFLA_IFNAME, &terminated(name));
        match self.request(libc::RTM_GETLINK, 0, &body) {
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(errno),
            Ok(replies) => Ok(replies.first().and_then(|link| number(link, 4))),
        }
    }

    /// Whether there is an interface with that index.
    pub(crate) fn has(&mut self, index: u32) -> Result<bool, Errno> {
        match self.is_up(index) {
            Err(Errno::ENODEV) => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// An index that no interface has, the next one above `index` if there is one.
    pub(crate) fn free_index(&mut self, index: u32) -> Result<u32, Errno> {
        let replies = self.request(libc::RTM_GETLINK, libc::NLM_F_DUMP, &link(0, 0))?;
        let taken: BTreeSet<u32> = replies.iter().filter_map(|link| number(link, 4)).collect();
        let greatest = i32::MAX.cast_unsigned();
        (index..=greatest).chain(1..index).find(|index| !taken.contains(index)).ok_or(Errno::ENOSPC)
    }

    /// Whether an interface is up.
    pub(crate) fn is_up(&mut self, index: u32) -> Result<bool, Errno> {
        let replies = self.request(libc::RTM_GETLINK, 0, &link(index, 0))?;
        let flags = replies.first().and_then(|link| number(link, 8)).ok_or(Errno::EPROTO)?;
        Ok(flags & libc::IFF_UP as u32 != 0)
    }

    /// What an interface is.
    pub(crate) fn identity(&mut self, index: u32) -> Result<LinkIdentity, Errno> {
        let replies = self.request(libc::RTM_GETLINK, 0, &link(index, 0))?;
        replies.first().and_then(|reply| identity(reply)).ok_or(Errno::EPROTO)
    }

    /// The permanent addresses of global scope that an interface has.
    pub(crate) fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        let replies = self.request(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS])?;
        Ok(replies.iter().filter_map(|reply| permanent(reply, index)).collect())
    }

    /// Gives an interface to another network namespace, under a name and an index that are free there: EBUSY
    /// if the index is not. The kernel moves first and renames then, so one that got another error for
    /// its name may have moved.
    pub(crate) fn give(
        &mut self,
        index: u32,
        to: BorrowedFd<'_>,
        new_index: u32,
        name: &str,
    ) -> Result<(), Errno> {
        let mut body = link(index, 0);
        let descriptor = to.as_raw_fd().to_ne_bytes();
        attribute(&mut body, libc::IFLA_NET_NS_FD, &descriptor);
        // Since Linux 5.13.
        attribute(&mut body, libc::IFLA_NEW_IFINDEX, &new_index.to_ne_bytes());
        attribute(&mut body, libc::IFLA_IFNAME, &terminated(name));
        self.request(libc::RTM_NEWLINK, 0, &body).map(drop)
    }

    /// Removes an interface that somebody has made.
    pub(crate) fn delete(&mut self, index: u32) -> Result<(), Errno> {
        self.request(libc::RTM_DELLINK, 0, &link(index, 0)).map(drop)
    }

    /// Adds an address; one that is there already is as good.
    pub(crate) fn add_address(&mut self, index: u32, address: &Address) -> Result<(), Errno> {
        // A scope of 0 is the global one.
        let mut body = vec![address.family, address.prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        for (kind, value) in &address.parts {
            attribute(&mut body, *kind, value);
        }
        attribute(&mut body, IFA_FLAGS, &address.flags.to_ne_bytes());
        match self.request(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body) {
            Err(Errno::EEXIST) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Brings an interface up.
    pub(crate) fn up(&mut self, index: u32) -> Result<(), Errno> {
        self.request(libc::RTM_NEWLINK, 0, &link(index, libc::IFF_UP as u32)).map(drop)
    }

    /// Sends one request and gives the bodies of the replies.
    fn request(&mut self, kind: u16, flags: i32, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = (flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        let mut message = (HEADER.saturating_add(body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        retry(|| send(self.socket.as_raw_fd(), &message, MsgFlags::empty()))?;
        let mut replies = Vec::new();
        // What the kernel puts into one datagram is at most 32 KiB.
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = retry(|| recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()))?;
            if collect(buffer.get(..length).unwrap_or_default(), self.sequence, &mut replies)? {
                return Ok(replies);
            }
        }
    }
}

/// Takes the messages of one datagram; true at the end of the answer.
fn collect(mut datagram: &[u8], sequence: u32, replies: &mut Vec<Vec<u8>>) -> Result<bool, Errno> {
    while let (Some(length), Some(kind), Some(number_seen)) =
        (number(datagram, 0), short(datagram, 4), number(datagram, 8))
    {
        let length = length as usize;
        let Some(body) = datagram.get(HEADER..length) else { return Err(Errno::EPROTO) };
        if number_seen == sequence {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(true),
                libc::NLMSG_ERROR => {
                    let code = number(body, 0).ok_or(Errno::EPROTO)? as i32;
                    return if code == 0 { Ok(true) } else { Err(Errno::from_raw(code.wrapping_neg())) };
                }
                _ => replies.push(body.to_vec()),
            }
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn link(index: u32, up: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    // Flags, then the mask of those that change.
    body.extend(up.to_ne_bytes());
    body.extend(up.to_ne_bytes());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((value.len().saturating_add(4) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn terminated(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The attributes of a message behind its header: type and value.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(short(rest, 0)?), short(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn identity(reply: &[u8]) -> Option<LinkIdentity> {
    let mut identity = LinkIdentity::default();
    let (mut device, mut bus) = (None, None);
    for (kind, value) in attributes(reply.get(LINK..)?) {
        match kind {
            libc::IFLA_LINK => identity.link = number(value, 0),
            libc::IFLA_LINK_NETNSID => identity.link_namespace = number(value, 0),
            IFLA_PARENT_DEV_NAME => device = Some(value.to_vec()),
            IFLA_PARENT_DEV_BUS_NAME => bus = Some(value.to_vec()),
            libc::IFLA_LINKINFO => {
                let name = attributes(value).find(|(kind, _)| *kind == libc::IFLA_INFO_KIND);
                let name = name.map(|(_, name)| name.strip_suffix(&[0]).unwrap_or(name));
                identity.kind = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
            }
            _ => {}
        }
    }
    identity.parent = device.zip(bus);
    Some(identity)
}

/// The address of a reply, if it is the interface's, permanent and of global scope.
fn permanent(reply: &[u8], index: u32) -> Option<Address> {
    let (family, prefix, flags, scope) = (*reply.first()?, *reply.get(1)?, *reply.get(2)?, *reply.get(3)?);
    if number(reply, 4)? != index || scope != libc::RT_SCOPE_UNIVERSE {
        return None;
    }
    let mut address = Address { family, prefix, flags: u32::from(flags), parts: Vec::new() };
    for (kind, value) in attributes(reply.get(ADDRESS..)?) {
        match kind {
            libc::IFA_ADDRESS | libc::IFA_LOCAL | libc::IFA_BROADCAST => {
                address.parts.push((kind, value.to_vec()));
            }
            IFA_FLAGS => address.flags = number(value, 0)?,
            _ => {}
        }
    }
    let permanent = address.flags & libc::IFA_F_PERMANENT != 0;
    address.flags &= KEPT_FLAGS;
    permanent.then_some(address)
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz {
    /// A datagram of the kernel.
    pub(crate) fn datagram(bytes: &[u8]) {
        let mut replies = Vec::new();
        if super::collect(bytes, 1, &mut replies).is_ok() {
            replies.iter().for_each(|reply| drop(super::identity(reply)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_nonsense_is_not() {
        let mut netlink = Netlink::open().unwrap();
        assert!(netlink.index_of("lo").unwrap().is_some());
        assert_eq!(netlink.index_of("no-such-device").unwrap(), None);
    }

    #[test]
    fn a_free_index_is_one_that_nobody_has() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.index_of("lo").unwrap().unwrap();
        assert!(netlink.has(lo).unwrap());
        let free = netlink.free_index(lo).unwrap();
        assert!(free > lo && !netlink.has(free).unwrap(), "{free}");
        let greatest = i32::MAX as u32;
        assert_eq!(netlink.free_index(greatest).unwrap(), greatest);
    }

    #[test]
    fn an_interface_that_is_not_there_is_neither_up_nor_down() {
        assert_eq!(Netlink::open().unwrap().is_up(i32::MAX as u32), Err(Errno::ENODEV));
    }

    #[test]
    fn loopback_is_no_virtual_device() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.index_of("lo").unwrap().unwrap();
        assert_eq!(netlink.identity(lo).unwrap().kind, "");
        assert_eq!(netlink.identity(i32::MAX as u32), Err(Errno::ENODEV));
        let mut info = Vec::new();
        attribute(&mut info, libc::IFLA_INFO_KIND, b"veth\0");
        let mut reply = vec![0; LINK];
        attribute(&mut reply, libc::IFLA_LINK, &7_u32.to_ne_bytes());
        attribute(&mut reply, libc::IFLA_LINKINFO, &info);
        let expected = LinkIdentity { kind: "veth".to_owned(), link: Some(7), ..LinkIdentity::default() };
        assert!(expected.is_telling());
        assert_eq!(identity(&reply), Some(expected));
        let mut reply = vec![0; LINK];
        assert!(!identity(&reply).unwrap().is_telling(), "made by somebody, without a kind");
        attribute(&mut reply, IFLA_PARENT_DEV_NAME, b"0000:00:03.0\0");
        attribute(&mut reply, IFLA_PARENT_DEV_BUS_NAME, b"pci\0");
        assert!(identity(&reply).unwrap().is_telling());
        assert_eq!(identity(&[0; 3]), None);
    }

    #[test]
    fn only_permanent_global_addresses_count() {
        let reply = |scope: u8, flags: u32| {
            let mut reply = vec![2, 24, 0, scope];
            reply.extend(7_u32.to_ne_bytes());
            attribute(&mut reply, libc::IFA_LOCAL, &[10, 0, 0, 1]);
            attribute(&mut reply, IFA_FLAGS, &flags.to_ne_bytes());
            reply
        };
        let address = permanent(&reply(0, 0x280), 7).unwrap();
        assert_eq!((address.prefix, address.flags), (24, 0x200));
        assert_eq!(address.parts, [(libc::IFA_LOCAL, vec![10, 0, 0, 1])]);
        for (reply, index) in [(reply(253, 0x80), 7), (reply(0, 0), 7), (reply(0, 0x80), 8)] {
            assert_eq!(permanent(&reply, index), None);
        }
        assert_eq!(permanent(&[2, 24], 7), None);
    }

    #[test]
    fn cut_datagrams_are_refused() {
        let mut replies = Vec::new();
        let mut datagram = 40_u32.to_ne_bytes().to_vec();
        datagram.extend([0; 20]);
        assert_eq!(collect(&datagram, 0, &mut replies), Err(Errno::EPROTO));
        assert_eq!(collect(&[], 0, &mut replies), Ok(false));
    }
}
