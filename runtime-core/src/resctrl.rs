//! Cache and memory bandwidth of a container (`linux.intelRdt`): a directory of the resctrl file
//! system, see Documentation/filesystems/resctrl.rst of the kernel.

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::cgroup::{Directory, mount_point};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::IntelRdt;

/// Where the container is in resctrl: part of its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Name of its directory below the root of resctrl; empty for the root.
    clos: String,
    /// `create` made the directory.
    made: bool,
    /// The directory was named by the configuration, so that it stays.
    named: bool,
    /// The monitoring group that `create` made below it.
    monitor: Option<String>,
}

/// The mounted resctrl file system.
pub(crate) fn mounted() -> Result<Directory> {
    let missing = || {
        Error::new(ErrorKind::Unsupported, "look for the resctrl file system")
            .reason("it is not mounted")
            .origin("linux.intelRdt")
            .with_hint("mount -t resctrl resctrl /sys/fs/resctrl, on a processor that has it")
    };
    let path = mount_point("resctrl")?.ok_or_else(missing)?;
    Directory::open_absolute(&path).map_err(|errno| failed("open", &path, errno))
}

impl Place {
    /// The place of the container `id`, with nothing made yet.
    pub(crate) fn new(wanted: &IntelRdt, id: &str) -> Self {
        let clos = match wanted.clos.as_deref() {
            Some("/") => String::new(),
            Some(name) => name.to_owned(),
            None => id.to_owned(),
        };
        Self { clos, made: false, named: wanted.clos.is_some(), monitor: None }
    }

    /// What it will be when `make` has succeeded: recorded before, so that a runtime that is killed there
    /// leaves nothing that a deletion does not find.
    pub(crate) fn planned(&self, root: &Directory, wanted: &IntelRdt, id: &str) -> Self {
        let monitor = wanted.monitoring.then(|| id.to_owned());
        Self { made: !self.is_there(root), monitor, ..self.clone() }
    }

    fn is_there(&self, root: &Directory) -> bool {
        self.clos.is_empty() || self.open(root).is_ok()
    }

    /// Makes or checks the class of service of the container `id`, and its monitoring group. `self` holds
    /// what was made also when this fails half way.
    pub(crate) fn make(&mut self, root: &Directory, wanted: &IntelRdt, id: &str) -> Result<()> {
        let there = self.is_there(root);
        match (there, self.named, wanted.lines.is_empty()) {
            (false, true, true) => {
                return Err(failed("open", &root.path_of(&self.clos), Errno::ENOENT)
                    .origin("linux.intelRdt.closID")
                    .with_hint("a class without schemata must exist"));
            }
            (false, _, _) => {
                root.mkdir(&self.clos)
                    .map_err(|errno| failed("make the directory", &root.path_of(&self.clos), errno))?;
                self.made = true;
            }
            (true, ..) => {}
        }
        let directory = self.open(root)?;
        self.apply(&directory, wanted, there)?;
        if wanted.monitoring {
            let groups = directory.open_dir("mon_groups");
            let path = format!("{}/{id}", directory.path_of("mon_groups"));
            groups
                .and_then(|groups| groups.mkdir(id))
                .map_err(|errno| failed("make the monitoring group", &path, errno))?;
            self.monitor = Some(id.to_owned());
        }
        Ok(())
    }

    fn open(&self, root: &Directory) -> Result<Directory> {
        root.open_dir(&self.clos).map_err(|errno| failed("open", &root.path_of(&self.clos), errno))
    }

    /// Writes the lines; those that an existing class must have already are compared first.
    fn apply(&self, directory: &Directory, wanted: &IntelRdt, there: bool) -> Result<()> {
        if wanted.lines.is_empty() {
            return Ok(());
        }
        let compared = if there && self.named { wanted.compared } else { 0 };
        if compared > 0 {
            let path = directory.path_of("schemata");
            let text = directory.read("schemata").map_err(|errno| failed("read", &path, errno))?;
            let lacking = wanted.lines.iter().take(compared).find(|line| !has(&text, line));
            if let Some(line) = lacking {
                return Err(Error::new(ErrorKind::InvalidInput, format!("compare {path:?} with {line:?}"))
                    .reason("the class of service has another schema")
                    .origin("linux.intelRdt.closID"));
            }
        }
        for line in wanted.lines.iter().skip(compared) {
            directory.write("schemata", &format!("{line}\n")).map_err(|errno| {
                failed(&format!("write {line:?} to"), &directory.path_of("schemata"), errno)
            })?;
        }
        Ok(())
    }

    /// Puts a process into the class and the monitoring group.
    pub(crate) fn join(&self, root: &Directory, pid: i32) -> Result<()> {
        let class = self.open(root)?;
        let write = |directory: &Directory| {
            directory
                .write("tasks", &pid.to_string())
                .map_err(|errno| failed("join", &directory.path_of("tasks"), errno))
        };
        write(&class)?;
        let Some(monitor) = &self.monitor else { return Ok(()) };
        let group = class.open_dir("mon_groups").and_then(|groups| groups.open_dir(monitor));
        write(&group.map_err(|errno| failed("open", &class.path_of("mon_groups"), errno))?)
    }

    /// Removes the monitoring group, and the class if it was made for this container alone.
    pub(crate) fn remove(&self, root: &Directory) -> Result<()> {
        self.remove_if(root, self.made && !self.named)
    }

    /// Removes whatever `make` made.
    pub(crate) fn undo(&self, root: &Directory) {
        // The failure that led here is the one to tell.
        self.remove_if(root, self.made).ok();
    }

    fn remove_if(&self, root: &Directory, class: bool) -> Result<()> {
        let unless_gone = |result: nix::Result<()>, path: String| match result {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed("remove", &path, errno)),
        };
        if let Some(monitor) = &self.monitor {
            let groups = root.open_dir(&self.clos).and_then(|class| class.open_dir("mon_groups"));
            unless_gone(groups.and_then(|groups| groups.rmdir(monitor.as_str())), root.path_of(monitor))?;
        }
        if class {
            unless_gone(root.rmdir(self.clos.as_str()), root.path_of(&self.clos))?;
        }
        Ok(())
    }
}

fn failed(operation: &str, path: &str, errno: Errno) -> Error {
    Error::system(format!("{operation} {path:?}"), errno).origin("linux.intelRdt")
}

/// Whether a schemata text has every domain of a line such as `L3:0=f;1=f`. The kernel pads names with
/// spaces and numbers with zeros.
fn has(text: &str, line: &str) -> bool {
    let entries = |line: &str| {
        let (name, domains) = line.split_once(':')?;
        let domains = domains.split(';').map(|domain| {
            let (id, value) = domain.split_once('=').unwrap_or((domain, ""));
            (id.trim().to_owned(), value.trim().trim_start_matches('0').to_ascii_lowercase())
        });
        Some((name.trim().to_owned(), domains.collect::<Vec<_>>()))
    };
    let Some((name, wanted)) = entries(line) else { return false };
    let found = text.lines().filter_map(entries).find(|(other, _)| *other == name);
    found.is_some_and(|(_, domains)| wanted.iter().all(|domain| domains.contains(domain)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Fake(tempfile::TempDir);

    impl Fake {
        /// A root with a class of service `gold`.
        fn new() -> Self {
            let fake = Fake(tempfile::tempdir().unwrap());
            for class in ["", "gold"] {
                fake.class(class, "    L3:0=00f;1=0ff\n    MB:0=100;1=100\n");
            }
            fake
        }

        /// What the kernel puts into a new directory.
        fn class(&self, name: &str, schemata: &str) {
            let directory = self.0.path().join(name);
            fs::create_dir_all(directory.join("mon_groups")).unwrap();
            fs::write(directory.join("schemata"), schemata).unwrap();
            fs::write(directory.join("tasks"), "").unwrap();
        }

        fn root(&self) -> Directory {
            Directory::open_absolute(&self.0.path().to_string_lossy()).unwrap()
        }

        fn text(&self, path: &str) -> String {
            fs::read_to_string(self.0.path().join(path)).unwrap()
        }
    }

    /// `Place::make` for the container c1, whose place is returned also when that fails.
    fn make(fake: &Fake, wanted: &IntelRdt) -> (Place, Result<()>) {
        let mut place = Place::new(wanted, "c1");
        let result = place.make(&fake.root(), wanted, "c1");
        (place, result)
    }

    fn wanted(clos: Option<&str>, lines: &[&str], compared: usize) -> IntelRdt {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        IntelRdt { clos: clos.map(str::to_owned), lines, compared, monitoring: false }
    }

    #[test]
    fn an_existing_class_is_joined_and_stays() {
        let fake = Fake::new();
        let (place, made) = make(&fake, &wanted(Some("gold"), &["L3:0=f", "MB:1=100"], 2));
        made.unwrap();
        place.join(&fake.root(), 42).unwrap();
        assert_eq!(fake.text("gold/tasks"), "42");
        place.remove(&fake.root()).unwrap();
        assert!(fake.0.path().join("gold").exists());
    }

    #[test]
    fn another_schema_is_an_error() {
        let fake = Fake::new();
        let (_, made) = make(&fake, &wanted(Some("gold"), &["L3:0=3"], 1));
        assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn schemata_are_written_as_they_are() {
        let fake = Fake::new();
        make(&fake, &wanted(Some("gold"), &["L3:0=f", "L2:0=1"], 1)).1.unwrap();
        assert!(fake.text("gold/schemata").starts_with("L2:0=1\n"));
    }

    #[test]
    fn a_class_without_schemata_must_exist() {
        let fake = Fake::new();
        assert!(make(&fake, &wanted(Some("silver"), &[], 0)).1.is_err());
        assert!(!fake.0.path().join("silver").exists());
    }

    #[test]
    fn the_root_is_a_class_too() {
        let fake = Fake::new();
        let (place, made) = make(&fake, &wanted(Some("/"), &[], 0));
        made.unwrap();
        place.join(&fake.root(), 7).unwrap();
        assert_eq!(fake.text("tasks"), "7");
        place.remove(&fake.root()).unwrap();
        assert!(fake.0.path().join("tasks").exists());
    }

    #[test]
    fn a_class_of_the_containers_own_goes_with_it() {
        let fake = Fake::new();
        let (place, made) = make(&fake, &wanted(None, &[], 0));
        made.unwrap();
        assert!(fake.0.path().join("c1").exists());
        place.remove(&fake.root()).unwrap();
        assert!(!fake.0.path().join("c1").exists());
    }

    #[test]
    fn a_failed_create_takes_a_named_class_back() {
        let fake = Fake::new();
        // A plain directory has no schemata, so that the write fails.
        let (place, made) = make(&fake, &wanted(Some("silver"), &["L3:0=f"], 1));
        assert!(made.is_err());
        place.undo(&fake.root());
        assert!(!fake.0.path().join("silver").exists());
    }

    #[test]
    fn a_monitoring_group_is_made_joined_and_removed() {
        let fake = Fake::new();
        let (place, made) = make(&fake, &IntelRdt { monitoring: true, ..wanted(Some("gold"), &[], 0) });
        made.unwrap();
        let group = fake.0.path().join("gold/mon_groups/c1");
        fs::write(group.join("tasks"), "").unwrap();
        place.join(&fake.root(), 9).unwrap();
        assert_eq!(fake.text("gold/mon_groups/c1/tasks"), "9");
        fs::remove_file(group.join("tasks")).unwrap();
        place.remove(&fake.root()).unwrap();
        assert!(!group.exists());
    }

    /// The record of a runtime that is killed before, while or after it makes them.
    #[test]
    fn what_is_planned_is_removed_at_whichever_step_the_runtime_ended() {
        for (clos, step) in
            [None, Some("gold"), Some("/")].into_iter().flat_map(|clos| (0..3).map(move |step| (clos, step)))
        {
            let fake = Fake::new();
            let wanted = IntelRdt { monitoring: true, ..wanted(clos, &[], 0) };
            let place = Place::new(&wanted, "c1");
            let planned = place.planned(&fake.root(), &wanted, "c1");
            let class = fake.0.path().join(&place.clos);
            if step > 0 && clos.is_none() {
                fs::create_dir(&class).unwrap();
            }
            if step > 1 && clos.is_some() {
                fs::create_dir(class.join("mon_groups/c1")).unwrap();
            }
            planned.remove(&fake.root()).unwrap();
            assert!(
                !fake.0.path().join("c1").exists() && !class.join("mon_groups/c1").exists(),
                "{clos:?} {step}"
            );
            assert!(fake.0.path().join("gold/tasks").exists());
        }
    }

    #[test]
    fn a_class_that_had_the_name_of_the_container_before_stays() {
        let fake = Fake::new();
        fake.class("c1", "");
        let wanted = wanted(None, &[], 0);
        let planned = Place::new(&wanted, "c1").planned(&fake.root(), &wanted, "c1");
        planned.remove(&fake.root()).unwrap();
        assert!(fake.0.path().join("c1").exists());
    }

    #[test]
    fn schemata_compare_by_value() {
        let text = "    MB:0=100\n    L3:0=00ff;1=0F\n";
        assert!(has(text, "L3:0=ff") && has(text, "L3:1=f;0=ff") && has(text, "MB:0=100"));
        assert!(!has(text, "L3:0=f") && !has(text, "L2:0=ff") && !has(text, "nonsense"));
    }
}
