//! The values that a plan is going to change, to write them back if a part of it fails.

use std::borrow::Cow;

use super::plan::{CgroupPlan, Missing, Write};
use super::{Cgroup, Member};

/// Values of control files, in the order in which a plan writes them.
#[derive(Debug)]
pub(crate) struct Snapshot(Vec<Old>);

#[derive(Debug)]
struct Old {
    controller: Cow<'static, str>,
    file: String,
    value: String,
}

impl Cgroup {
    /// Reads the present values of what `plan` writes. What cannot be read is left out.
    pub(crate) fn snapshot(&self, plan: &CgroupPlan) -> Snapshot {
        let old = |write: &Write| {
            let member = self.member(&write.controller)?;
            let (file, text) = read(member, write)?;
            let value = writable(&file, &text, &write.value)?;
            Some(Old { controller: write.controller.clone(), file, value })
        };
        Snapshot(plan.writes.iter().filter_map(old).collect())
    }

    /// Writes the values back that are not in force, the last one first; whether all of it succeeded.
    pub(crate) fn restore(&self, snapshot: &Snapshot) -> bool {
        let is_refused = |old: &&Old| match self.member(&old.controller) {
            Some(member) => {
                !old.is_in_force(member) && member.directory.write(&old.file, &old.value).is_err()
            }
            None => true,
        };
        let mut order: Vec<&Old> = snapshot.0.iter().rev().collect();
        // The weight of all disks may take those of single ones with it.
        order.sort_by_key(|old| device(&old.value).is_some());
        // Values may depend on each other in either order: what is refused is tried once more.
        let refused: Vec<&Old> = order.into_iter().filter(is_refused).collect();
        refused.into_iter().rev().filter(is_refused).count() == 0
    }
}

impl Old {
    /// What the failure did not get to needs no permission to be taken back.
    fn is_in_force(&self, member: &Member) -> bool {
        let text = member.directory.read(&self.file);
        text.is_ok_and(|text| writable(&self.file, &text, &self.value).as_ref() == Some(&self.value))
    }
}

impl Snapshot {
    /// Control files and their values.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|old| (old.file.as_str(), old.value.as_str()))
    }
}

/// The file that the write will go to, and its text.
fn read(member: &Member, write: &Write) -> Option<(String, String)> {
    match (member.directory.read(&write.file), &write.missing) {
        (Ok(text), _) => Some((write.file.to_string(), text)),
        (Err(_), Missing::Instead(file, _)) => Some(((*file).to_owned(), member.directory.read(file).ok()?)),
        (Err(_), _) => None,
    }
}

/// From what a file says to what it takes; `new` is the value that will be written.
fn writable(file: &str, text: &str, new: &str) -> Option<String> {
    if file == "memory.oom_control" {
        let disabled = text.lines().find_map(|line| line.strip_prefix("oom_kill_disable "))?;
        return Some(disabled.to_owned());
    }
    match device(new) {
        Some(device) => Some(of_device(file, text, device)),
        None if file.starts_with("rdma.") || file.ends_with(".ifpriomap") => {
            let key = new.split(' ').next()?;
            text.lines().find(|line| line.split(' ').next() == Some(key)).map(str::to_owned)
        }
        // A newline empties a list.
        None if text.trim().is_empty() => Some("\n".to_owned()),
        // Files of weights have a first line with the weight of all devices.
        None => text.lines().next().map(|line| line.trim().to_owned()),
    }
}

/// The device number that a value begins with.
fn device(value: &str) -> Option<&str> {
    let (device, _) = value.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(major) && number(minor)).then_some(device)
}

/// The line of a device, or what takes its limit away.
fn of_device(file: &str, text: &str, device: &str) -> String {
    let line = text.lines().find(|line| line.split(' ').next() == Some(device));
    match line {
        Some(line) => line.trim().to_owned(),
        None if file == "io.max" => format!("{device} rbps=max wbps=max riops=max wiops=max"),
        None if file.contains("weight") => format!("{device} default"),
        None => format!("{device} 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_can_be_written() {
        let table = [
            ("memory.max", "max\n", "100", "max"),
            ("cpu.max", "max 100000\n", "5 10", "max 100000"),
            ("cpuset.cpus", "\n", "0", "\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "1", "0"),
            (
                "io.max",
                "8:0 rbps=1 wbps=max riops=max wiops=max\n",
                "8:0 wbps=9",
                "8:0 rbps=1 wbps=max riops=max wiops=max",
            ),
            ("io.max", "", "8:16 wbps=9", "8:16 rbps=max wbps=max riops=max wiops=max"),
            ("blkio.throttle.read_bps_device", "8:0 100\n", "8:16 5", "8:16 0"),
            ("io.bfq.weight", "default 100\n8:0 7\n", "8:0 9", "8:0 7"),
            ("io.bfq.weight", "default 100\n8:0 7\n", "9", "default 100"),
            ("blkio.bfq.weight", "100\n", "9", "100"),
            ("net_prio.ifpriomap", "lo 0\neth0 5\n", "eth0 7", "eth0 5"),
        ];
        for (file, text, new, old) in table {
            assert_eq!(writable(file, text, new).as_deref(), Some(old), "{file}: {text:?}");
        }
    }
}
