//! Disks: what is read and written takes as long as the limit says.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::{Value, json};

use crate::scene::{ASLEEP, Group, controllers, limited};
use crate::support::{Bundle, Container, Running as _};

const MIB: usize = 1 << 20;

/// Major and minor number of the disk that holds a path; a partition is not one.
pub(crate) fn disk_of(path: &Path) -> [u64; 2] {
    let device = fs::metadata(path).expect("a path").dev();
    let sys = format!("/sys/dev/block/{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let own = if Path::new(&sys).join("partition").exists() { "../dev" } else { "dev" };
    let text = fs::read_to_string(Path::new(&sys).join(own)).expect("a disk: set TMPDIR to a place on one");
    let numbers: Vec<u64> = text.trim().split(':').map(|number| number.parse().expect("a number")).collect();
    [numbers[0], numbers[1]]
}

/// A limit of `rate` on the disk that holds the bundle.
fn rate(bundle: &Bundle, rate: usize) -> Value {
    let [major, minor] = disk_of(bundle.path());
    json!([{"major": major, "minor": minor, "rate": rate}])
}

fn update(bundle: &Bundle, container: &Container<'_>, limits: &Value) {
    let request = json!({ "blockIO": limits });
    fs::write(bundle.path().join("request"), request.to_string()).expect("a file");
    container.go(&["update", "--resources=request"]).ok();
}

/// How long a command in the container takes.
fn time(container: &Container<'_>, args: &[&str]) -> Duration {
    let begin = Instant::now();
    assert_eq!(container.go_with(&["exec"], args).code, 0);
    begin.elapsed()
}

/// Takes a file out of the page cache.
fn forget(path: &Path) {
    let file = File::open(path).expect("a file");
    file.sync_all().expect("written");
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("out of the cache");
}

#[test]
fn reading_takes_its_time() {
    if !controllers(&["io"]) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({}));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let path = bundle.path().join("rootfs/data");
    fs::write(&path, vec![7; 4 * MIB]).expect("a file");
    let read = &["dd", "if=/data", "of=/dev/null", "bs=64k"];
    forget(&path);
    let free = time(&container, read);
    forget(&path);
    update(&bundle, &container, &json!({"throttleReadBpsDevice": rate(&bundle, MIB)}));
    let group = Group::of(&container);
    assert!(group.read("io.max").contains(&format!("rbps={MIB} ")), "{}", group.read("io.max"));
    let throttled = time(&container, read);
    assert!(throttled >= Duration::from_secs(3), "4 MiB in {throttled:?} at 1 MiB/s");
    assert!(free < throttled, "without a limit in {free:?}");
    let disk = disk_of(bundle.path()).map(|number| number.to_string()).join(":");
    let stat = group.read("io.stat");
    let line = stat.lines().find(|line| line.starts_with(&disk)).expect("the disk was used");
    let bytes = line.split(' ').find_map(|word| word.strip_prefix("rbytes=")).expect("bytes");
    assert!(bytes.parse::<usize>().expect("a number") >= 8 * MIB, "{stat}");
}

#[test]
fn writing_takes_its_time() {
    if !controllers(&["io", "memory"]) {
        return;
    }
    let bundle = limited(ASLEEP, &json!({}));
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let write = &["dd", "if=/dev/zero", "of=/data", "bs=64k", "count=64", "conv=fsync"];
    let free = time(&container, write);
    update(&bundle, &container, &json!({"throttleWriteBpsDevice": rate(&bundle, MIB)}));
    let throttled = time(&container, write);
    assert!(throttled >= Duration::from_secs(3), "4 MiB in {throttled:?} at 1 MiB/s");
    assert!(free < throttled, "without a limit in {free:?}");
    // None again.
    update(&bundle, &container, &json!({"throttleWriteBpsDevice": rate(&bundle, 0)}));
    assert!(time(&container, write) < throttled);
}

/// A disk of the test's own.
struct Loop {
    path: String,
    number: String,
    _file: tempfile::NamedTempFile,
}

impl Loop {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(MIB as u64).expect("its length");
        let run = Command::new("losetup").args(["--find", "--show"]).go(&[file.path()]).ok();
        let path = run.stdout.trim().to_owned();
        let name = path.strip_prefix("/dev/").expect("a device");
        let number = fs::read_to_string(format!("/sys/block/{name}/dev")).expect("a number");
        Self { number: number.trim().to_owned(), path, _file: file }
    }

    fn scheduler(&self, name: &str) {
        let disk = self.path.trim_start_matches("/dev/");
        fs::write(format!("/sys/block/{disk}/queue/scheduler"), name).expect("a scheduler");
    }

    /// A weight for all disks, and another for this one.
    fn weights(&self) -> Value {
        let (major, minor) = self.number.split_once(':').expect("a number");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let device = json!({"major": number(major), "minor": number(minor), "weight": 321});
        json!({"blockIO": {"weight": 300, "weightDevice": [device]}})
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.scheduler("none");
        let run = Command::new("losetup").arg("--detach").go(&[&self.path]);
        assert!(run.code == 0 || std::thread::panicking(), "{run:?}");
    }
}

/// The scheduler that has weights of its own, from 1 to 1000: they are written as they are.
#[test]
fn weights_of_bfq() {
    if !controllers(&["io"]) {
        return;
    }
    /// The files of all cgroups change with the module.
    struct Module;
    impl Drop for Module {
        fn drop(&mut self) {
            let run = Command::new("modprobe").arg("--remove").go(&["bfq"]);
            assert!(run.code == 0 || std::thread::panicking(), "{run:?}");
        }
    }
    Command::new("modprobe").go(&["bfq"]).ok();
    let _module = Module;
    let disk = Loop::new();
    disk.scheduler("bfq");
    let bundle = limited(ASLEEP, &disk.weights());
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    let group = Group::of(&container);
    group.has("io.bfq.weight", &format!("default 300\n{} 321", disk.number));
    container.go(&["update", "--blkio-weight", "10"]).ok();
    group.has("io.bfq.weight", &format!("default 10\n{} 321", disk.number));
}

/// The kernel's own weights, from 1 to 10000.
#[test]
fn weights_of_io_cost() {
    if !controllers(&["io"]) {
        return;
    }
    let disk = Loop::new();
    let cost = |enable: u8| {
        fs::write("/sys/fs/cgroup/io.cost.qos", format!("{} enable={enable}", disk.number)).expect("io.cost");
    };
    cost(1);
    let bundle = limited(ASLEEP, &disk.weights());
    let container = bundle.container();
    container.go(&["run", "-d"]).ok();
    // 1 + (weight - 10) * 9999 / 990
    Group::of(&container).has("io.weight", &format!("default 2930\n{} 3142", disk.number));
    cost(0);
}
