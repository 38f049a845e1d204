//! What a process can see of its surroundings. The same questions are asked on the host and in the
//! container.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;

/// A question and its answer here.
pub(crate) type Fact = (&'static str, String);

/// Asks everything.
pub(crate) fn gather() -> Vec<Fact> {
    vec![
        ("process id", std::process::id().to_string()),
        ("processes in sight", processes()),
        ("user", user()),
        ("user ids, inside = outside", id_map()),
        ("host name", line("/proc/sys/kernel/hostname")),
        ("in the root directory", names("/")),
        ("devices", count(names("/dev"))),
        ("mounts", count(mounts())),
        ("network interfaces", interfaces()),
        ("capabilities", capabilities()),
        ("no_new_privs", status("NoNewPrivs")),
        ("system call filters", status("Seccomp_filters")),
        ("processes allowed", limit("pids", "pids.max", "pids.max")),
        ("memory allowed", limit("memory", "memory.limit_in_bytes", "memory.max")),
        ("write to the root directory", may_make_files("/")),
        ("change a kernel setting", may_write("/proc/sys/kernel/core_pattern")),
        ("read the kernel's timers", readable("/proc/timer_list")),
    ]
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|error| reason(&error), |text| text.trim().to_owned())
}

/// A field of proc_pid_status(5).
fn status(field: &str) -> String {
    let text = line("/proc/self/status");
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or("unknown").trim().to_owned()
}

fn user() -> String {
    let ids = status("Uid");
    ids.split_whitespace().next().unwrap_or("unknown").to_owned()
}

fn id_map() -> String {
    let text = line("/proc/self/uid_map");
    let ranges = text.lines().map(|line| {
        let numbers: Vec<u64> = line.split_whitespace().flat_map(str::parse).collect();
        match numbers[..] {
            [0, 0, 4_294_967_295] => "all, the same".to_owned(),
            [inside, outside, 1] => format!("{inside} = {outside}"),
            [inside, outside, size] => {
                format!("{inside}..{} = {outside}..{}", inside + size - 1, outside + size - 1)
            }
            _ => line.to_owned(),
        }
    });
    ranges.collect::<Vec<_>>().join(", ")
}

fn processes() -> String {
    let is_process = |name: &&str| name.bytes().all(|byte| byte.is_ascii_digit());
    names("/proc").split(' ').filter(is_process).count().to_string()
}

/// The names in a directory, sorted.
fn names(path: &str) -> String {
    let Ok(entries) = fs::read_dir(path) else { return String::new() };
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.join(" ")
}

/// The number of words, and the words when they are few.
fn count(words: String) -> String {
    match words.split_whitespace().count() {
        many @ 12.. => format!("{many}"),
        few => format!("{few}: {words}"),
    }
}

/// Where file systems are mounted (proc_pid_mountinfo(5)).
fn mounts() -> String {
    let table = line("/proc/self/mountinfo");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.collect::<Vec<_>>().join(" ")
}

/// After two lines of headings, each line begins with a name and a colon.
fn interfaces() -> String {
    let table = line("/proc/self/net/dev");
    let names = table.lines().skip(2).filter_map(|line| line.split(':').next());
    names.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn capabilities() -> String {
    let set = u64::from_str_radix(&status("CapEff"), 16).unwrap_or_default();
    format!("{} of them", set.count_ones())
}

/// A limit of this process's cgroup: in a container its files are at the root of the mount.
fn limit(controller: &str, v1: &str, v2: &str) -> String {
    let files = [format!("/sys/fs/cgroup/{v2}"), format!("/sys/fs/cgroup/{controller}/{v1}")];
    let found = files.iter().find_map(|file| fs::read_to_string(file).ok());
    match found.as_deref().map(str::trim) {
        None | Some("max") => "no limit".to_owned(),
        Some(value) => match value.parse::<u64>() {
            // v1 has no word for "no limit" but the largest number of pages.
            Ok(bytes) if bytes > 1 << 60 => "no limit".to_owned(),
            Ok(bytes) if controller == "memory" => format!("{} MiB", bytes >> 20),
            _ => value.to_owned(),
        },
    }
}

/// Makes a file without a name, which ends with its descriptor: nothing is to stay.
fn may_make_files(directory: &str) -> String {
    const O_TMPFILE: i32 = 0o20_200_000;
    let made = fs::OpenOptions::new().write(true).custom_flags(O_TMPFILE).open(directory);
    made.map_or_else(|error| reason(&error), |_| "allowed".to_owned())
}

/// Opens for writing and writes nothing.
fn may_write(path: &str) -> String {
    let opened = fs::OpenOptions::new().write(true).open(path);
    opened.map_or_else(|error| reason(&error), |_| "allowed".to_owned())
}

/// A masked file is there, and empty.
fn readable(path: &str) -> String {
    let mut byte = [0];
    let read = fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut byte));
    match read {
        Ok(0) => "nothing there".to_owned(),
        Ok(_) => "allowed".to_owned(),
        Err(error) => reason(&error),
    }
}

/// The error's text without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
