//! The container's terminal.

use crate::ops::Slot;
use crate::program::file::{
    self, AT_EMPTY_PATH, O_CLOEXEC, O_DIRECTORY, O_NOCTTY, O_RDWR, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
};
use crate::program::{At, Failure, Init, Step, call, errno, mount, sync};
use crate::report::{Detail, Report};
use crate::syscall::{common, nr};

const TIOCSPTLCK: usize = 0x4004_5431;
const TIOCGPTPEER: usize = 0x5441;
const TIOCSWINSZ: usize = 0x5414;
const TIOCSCTTY: usize = 0x540e;
const DEVPTS_SUPER_MAGIC: usize = 0x1cd1;

/// Size in characters; 0 by 0 leaves the kernel's.
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// `Console`. The slave is taken from the master (TIOCGPTPEER), never by a name that the image
/// could have put a link at (CVE-2025-52565).
pub(crate) fn make(init: &Init, size: Size, uid: u32, mount: bool) -> Step {
    let master = open_master(init.fd(Slot::ROOT))?;
    let unlock = 0i32;
    call!(nr::IOCTL, master, TIOCSPTLCK, &raw const unlock).at(Detail::Ioctl)?;
    let slave =
        call!(nr::IOCTL, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC).at(Detail::Ioctl)? as i32;
    if (size.rows, size.columns) != (0, 0) {
        let size = [size.rows, size.columns, 0, 0];
        call!(nr::IOCTL, master, TIOCSWINSZ, size.as_ptr()).at(Detail::Ioctl)?;
    }
    // The group is that of the devpts (its option gid=5): the one that write(1) and its kind run as.
    call!(nr::FCHOWN, slave, uid, u32::MAX).at(Detail::Chown)?;
    if mount {
        mount_on_console(init, slave)?;
    }
    sync::send(init.fd(Slot::SYNC), Report { step: init.step, errno: 0, detail: 0 }, master)?;
    file::close(master);
    for stream in 0..3 {
        call!(nr::DUP3, slave, stream, 0).at(Detail::Dup)?;
    }
    file::close(slave);
    Ok(())
}

/// `TakeTerminal`.
pub(crate) fn take() -> Step {
    call!(nr::IOCTL, 0, TIOCSCTTY, 0).at(Detail::Ioctl).map(drop)
}

/// A new master of the container's devpts.
///
/// Opening a device can have effects (a watchdog starts), so it is not an image's node that is opened
/// and verified then: the directory is verified to be a devpts, where only the kernel makes nodes.
fn open_master(root: i32) -> Step<i32> {
    let not_devpts = Failure { errno: errno::EINVAL, detail: Detail::NotTheRequestedNode as u32 };
    let directory = file::real(root, c"dev/pts", O_DIRECTORY).at(Detail::Open)?;
    let master = match file::filesystem(directory) {
        Ok(DEVPTS_SUPER_MAGIC) => {
            let resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
            file::open(directory, c"ptmx", O_RDWR | O_NOCTTY, 0, resolve).at(Detail::Open)
        }
        _ => Err(not_devpts),
    };
    file::close(directory);
    let master = master?;
    let stat = file::stat(master, c"").at(Detail::Stat)?;
    match stat.kind() == file::S_IFCHR && (stat.device_major, stat.device_minor) == (5, 2) {
        true => Ok(master),
        false => Err(not_devpts),
    }
}

/// Puts the slave on /dev/console.
fn mount_on_console(init: &Init, slave: i32) -> Step {
    const OPEN_TREE_CLONE: usize = 1;
    let root = init.fd(Slot::ROOT);
    let target = match file::real(root, c"dev/console", 0) {
        Err(errno::ENOENT) => file::regular(root, c"dev/console")?,
        other => other.at(Detail::Open)?,
    };
    let flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH;
    let tree = call!(common::OPEN_TREE, slave, c"".as_ptr(), flags).at(Detail::OpenTree)? as i32;
    let moved = mount::move_to(tree, target);
    file::close(tree);
    file::close(target);
    moved
}
