//! The container's terminal.

use crate::abi::{
    DEVPTS_SUPER_MAGIC, O_DIRECTORY, O_NOCTTY, O_RDWR, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, errno,
};
use crate::ops::Slot;
use crate::program::{At, Failure, Init, Step, file, mount, sync};
use crate::report::{Detail, Report};
use crate::sys::file::{KEEP, fchown, filesystem, stat};
use crate::sys::{Fd, Owned, dup_onto, terminal};

/// Size in characters; 0 by 0 leaves the kernel's.
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// `Console`. The slave is taken from the master (TIOCGPTPEER), never by a name that the image
/// could have put a link at (CVE-2025-52565).
pub(crate) fn make(init: &Init, size: Size, uid: u32, mount: bool) -> Step {
    let master = open_master(init.fd(Slot::ROOT))?;
    terminal::unlock(master.fd()).at(Detail::Ioctl)?;
    let slave = terminal::slave(master.fd(), O_RDWR | O_NOCTTY).at(Detail::Ioctl)?;
    if (size.rows, size.columns) != (0, 0) {
        terminal::set_size(master.fd(), size.rows, size.columns).at(Detail::Ioctl)?;
    }
    // The group is that of the devpts (its option gid=5): the one that write(1) and its kind run as.
    fchown(slave.fd(), uid, KEEP).at(Detail::Chown)?;
    if mount {
        mount_on_console(init, slave.fd())?;
    }
    let report = Report { step: init.step, errno: 0, detail: 0 };
    sync::send(init.fd(Slot::SYNC), report, Some(master.fd()))?;
    drop(master);
    (0..3).try_for_each(|stream| dup_onto(slave.fd(), stream, 0).at(Detail::Dup))
}

/// `TakeTerminal`.
pub(crate) fn take() -> Step {
    terminal::control(Fd::numbered(0)).at(Detail::Ioctl)
}

/// A new master of the container's devpts.
///
/// Opening a device can have effects (a watchdog starts), so it is not an image's node that is opened
/// and verified then: the directory is verified to be a devpts, where only the kernel makes nodes.
fn open_master(root: Fd<'_>) -> Step<Owned> {
    let not_devpts = Failure::new(errno::EINVAL, Detail::NotTheRequestedNode);
    let directory = file::real(root, c"dev/pts", O_DIRECTORY).at(Detail::Open)?;
    if filesystem(directory.fd()) != Ok(DEVPTS_SUPER_MAGIC) {
        return Err(not_devpts);
    }
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    let master = file::open(directory.fd(), c"ptmx", O_RDWR | O_NOCTTY, 0, resolve).at(Detail::Open)?;
    match stat(master.fd(), c"").at(Detail::Stat)?.is_character_device(5, 2) {
        true => Ok(master),
        false => Err(not_devpts),
    }
}

/// Puts the slave on /dev/console.
fn mount_on_console(init: &Init, slave: Fd<'_>) -> Step {
    let root = init.fd(Slot::ROOT);
    let target = match file::real(root, c"dev/console", 0) {
        Err(errno::ENOENT) => file::regular(root, c"dev/console")?,
        other => other.at(Detail::Open)?,
    };
    let tree = mount::clone_descriptor(slave, false)?;
    mount::move_to(tree.fd(), target.fd())
}
