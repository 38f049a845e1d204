//! The program inside: says what a container's process sees, as one JSON object on stdout.
//!
//! `probe [QUESTION...]` reports; a question is `verb:operand` (see `answer`).
//! `probe hook FILE NAME [CODE]` is a hook: appends one line to FILE, leaves with CODE.

use std::ffi::{CString, c_char, c_int, c_long};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn access(path: *const c_char, mode: c_int) -> c_int;
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const SCHED_GETATTR: i64 = 315;
    pub const IOPRIO_GET: i64 = 252;
    pub const GET_MEMPOLICY: i64 = 239;
    pub const GETCPU: i64 = 309;
    pub const KEYCTL: i64 = 250;
    pub const IOCTL: i64 = 16;
}
#[cfg(not(target_arch = "x86_64"))]
mod number {
    pub const SCHED_GETATTR: i64 = 275;
    pub const IOPRIO_GET: i64 = 31;
    pub const GET_MEMPOLICY: i64 = 236;
    pub const GETCPU: i64 = 168;
    pub const KEYCTL: i64 = 219;
    pub const IOCTL: i64 = 29;
}

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|word| word == "hook") {
        std::process::exit(hook(&args));
    }
    let mut report = common(&args);
    let answers: Vec<String> = args[1..]
        .iter()
        .filter(|question| question.contains(':'))
        .map(|question| format!("{}:{}", quote(question), answer(question)))
        .collect();
    report.push(format!("\"answers\":{{{}}}", answers.join(",")));
    let line = format!("{{{}}}\n", report.join(","));
    let file = args[1..].iter().find_map(|word| word.strip_prefix("report="));
    let written = match file {
        Some(file) => fs::write(file, &line),
        None => std::io::stdout().write_all(line.as_bytes()),
    };
    if written.is_err() {
        std::process::exit(99);
    }
    for word in &args[1..] {
        match word.split_once('=') {
            None if word == "wait" => loop {
                std::thread::sleep(std::time::Duration::from_secs(60));
            },
            Some(("exit", code)) => std::process::exit(code.parse().unwrap_or(98)),
            _ => {}
        }
    }
}

/// What every report holds.
fn common(args: &[String]) -> Vec<String> {
    let list = |items: Vec<String>| {
        format!("[{}]", items.iter().map(|item| quote(item)).collect::<Vec<_>>().join(","))
    };
    let cwd = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    let environment = std::env::vars_os()
        .map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy()));
    vec![
        format!("\"pid\":{}", std::process::id()),
        format!("\"args\":{}", list(args.to_vec())),
        format!("\"cwd\":{}", quote(&cwd)),
        format!("\"env\":{}", list(environment.collect())),
        format!("\"namespaces\":{}", namespaces()),
        format!("\"status\":{}", status()),
        format!("\"fds\":{}", descriptors()),
        format!("\"sched\":{}", scheduling()),
        format!("\"ioprio\":{}", ioprio()),
        format!("\"mempolicy\":{}", mempolicy()),
        format!("\"cpu\":{}", current_cpu()),
        format!("\"keyring\":{}", keyring()),
        text("hostname", "/proc/sys/kernel/hostname"),
        text("domainname", "/proc/sys/kernel/domainname"),
        text("mountinfo", "/proc/self/mountinfo"),
        text("limits", "/proc/self/limits"),
        text("oom_score_adj", "/proc/self/oom_score_adj"),
        text("personality", "/proc/self/personality"),
        text("cgroup", "/proc/self/cgroup"),
        text("uid_map", "/proc/self/uid_map"),
        text("gid_map", "/proc/self/gid_map"),
        text("timens_offsets", "/proc/self/timens_offsets"),
    ]
}

fn text(name: &str, path: &str) -> String {
    let content = fs::read_to_string(path).unwrap_or_default();
    format!("{}:{}", quote(name), quote(content.trim_end()))
}

fn namespaces() -> String {
    let links = NAMESPACES.iter().map(|name| {
        let link = fs::read_link(format!("/proc/self/ns/{name}"));
        let link = link.map(|link| link.display().to_string()).unwrap_or_default();
        format!("{}:{}", quote(name), quote(&link))
    });
    format!("{{{}}}", links.collect::<Vec<_>>().join(","))
}

/// The fields of /proc/self/status: ids, groups, umask, capabilities, seccomp, no_new_privs.
fn status() -> String {
    let content = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let fields = content.lines().filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(key, value)| {
        let words: Vec<&str> = value.split_whitespace().collect();
        format!("{}:{}", quote(key), quote(&words.join(" ")))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// The open descriptors, without the one that lists them.
fn descriptors() -> String {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return "null".into();
    };
    let names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let open = names.iter().filter(|name| fs::read_link(format!("/proc/self/fd/{name}")).is_ok());
    format!("[{}]", open.cloned().collect::<Vec<_>>().join(","))
}

/// `struct sched_attr`, the first version's 48 bytes.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn scheduling() -> String {
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes at most the 48 bytes that the structure has.
    let rc = unsafe { syscall(number::SCHED_GETATTR, 0_i64, &raw mut attr, 48_i64, 0_i64) };
    if rc != 0 {
        return "null".into();
    }
    format!(
        "{{\"policy\":{},\"flags\":{},\"nice\":{},\"priority\":{},\"runtime\":{},\
         \"deadline\":{},\"period\":{}}}",
        attr.policy, attr.flags, attr.nice, attr.priority, attr.runtime, attr.deadline, attr.period
    )
}

fn ioprio() -> i64 {
    // SAFETY: three integers (IOPRIO_WHO_PROCESS is 1, 0 means oneself), no memory.
    unsafe { syscall(number::IOPRIO_GET, 1_i64, 0_i64) }
}

fn mempolicy() -> String {
    let mut mode: c_int = -1;
    let mut nodes = [0_u64; 16];
    // SAFETY: the kernel writes one int and at most 1024 bits, which is what the two hold.
    let rc = unsafe {
        syscall(number::GET_MEMPOLICY, &raw mut mode, nodes.as_mut_ptr(), 1024_i64, 0_i64, 0_i64)
    };
    if rc != 0 { "null".into() } else { format!("{{\"mode\":{mode},\"nodes\":{}}}", nodes[0]) }
}

fn current_cpu() -> u32 {
    let mut cpu: u32 = u32::MAX;
    // SAFETY: the kernel writes one u32; the two other pointers may be null.
    unsafe { syscall(number::GETCPU, &raw mut cpu, 0_i64, 0_i64) };
    cpu
}

/// The serial of the session keyring (KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING).
fn keyring() -> i64 {
    // SAFETY: integers only.
    unsafe { syscall(number::KEYCTL, 0_i64, -3_i64, 0_i64) }
}

/// One question, answered as a JSON object; `errno` is there when it failed.
fn answer(question: &str) -> String {
    let (verb, operand) = question.split_once(':').unwrap_or((question, ""));
    let result = match verb {
        "read" => fs::read_to_string(operand).map(|text| format!("\"text\":{}", quote(text.trim_end()))),
        "size" => fs::read(operand).map(|bytes| format!("\"size\":{}", bytes.len())),
        "write" => fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(operand)
            .map(|_| String::new()),
        "open" => fs::File::open(operand).map(|_| String::new()),
        "tty" => terminal_size(operand.parse().unwrap_or(0)),
        "mkdir" => fs::create_dir(operand).map(|()| String::new()),
        "list" => list(operand),
        "input" => std::io::read_to_string(std::io::stdin()).map(|text| format!("\"text\":{}", quote(&text))),
        "error" => writeln!(std::io::stderr(), "{operand}").map(|()| String::new()),
        "link" => fs::read_link(operand)
            .map(|link| format!("\"text\":{}", quote(&link.display().to_string()))),
        "stat" => fs::metadata(operand).map(|data| describe(&data)),
        "lstat" => fs::symlink_metadata(operand).map(|data| describe(&data)),
        "access" => executable(operand),
        "chroot" => std::os::unix::fs::chroot(operand).map(|()| String::new()),
        other => Ok(format!("\"unknown\":{}", quote(other))),
    };
    match result {
        Ok(fields) => format!("{{{fields}}}"),
        Err(error) => format!("{{\"errno\":{}}}", error.raw_os_error().unwrap_or(-1)),
    }
}

/// Rows and columns of the terminal at a descriptor (TIOCGWINSZ).
fn terminal_size(fd: i64) -> std::io::Result<String> {
    let mut size = [0_u16; 4];
    // SAFETY: the kernel writes the four numbers of `struct winsize`.
    let rc = unsafe { syscall(number::IOCTL, fd, 0x5413_i64, size.as_mut_ptr()) };
    match rc {
        0 => Ok(format!("\"size\":[{},{}]", size[0], size[1])),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn list(operand: &str) -> std::io::Result<String> {
    let names = fs::read_dir(Path::new(operand))?.flatten();
    let names: Vec<String> =
        names.map(|entry| quote(&entry.file_name().to_string_lossy())).collect();
    Ok(format!("\"names\":[{}]", names.join(",")))
}

fn executable(operand: &str) -> std::io::Result<String> {
    let path = CString::new(operand)?;
    // SAFETY: a terminated string that lives until the call is over; X_OK is 1.
    match unsafe { access(path.as_ptr(), 1) } {
        0 => Ok(String::new()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn describe(data: &fs::Metadata) -> String {
    let kind = data.file_type();
    let kind = match () {
        () if kind.is_char_device() => "c",
        () if kind.is_block_device() => "b",
        () if kind.is_fifo() => "p",
        () if kind.is_dir() => "d",
        () if kind.is_symlink() => "l",
        () => "f",
    };
    let device = data.rdev();
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    format!(
        "\"type\":\"{kind}\",\"mode\":{},\"uid\":{},\"gid\":{},\"major\":{major},\
         \"minor\":{minor},\"inode\":{},\"filesystem\":{}",
        data.mode() & 0o7777,
        data.uid(),
        data.gid(),
        data.ino(),
        data.dev()
    )
}

/// A hook that leaves a line: its name, what came on stdin, and where it ran.
fn hook(args: &[String]) -> i32 {
    // Before anything else is opened.
    let (open, directory) = (descriptors(), std::env::current_dir().unwrap_or_default());
    let mut state = String::new();
    let heard = std::io::stdin().read_to_string(&mut state).is_ok();
    let environment: Vec<String> =
        std::env::vars().map(|(key, value)| quote(&format!("{key}={value}"))).collect();
    let words: Vec<String> = args.iter().map(|word| quote(word)).collect();
    let line = format!(
        "{{\"name\":{},\"heard\":{heard},\"state\":{},\"namespaces\":{},\"env\":[{}],\
         \"fds\":{open},\"cwd\":{},\"args\":[{}],\"probe_seen\":{},\"init_pid_namespace\":{}}}\n",
        quote(args.get(3).map_or("", String::as_str)),
        quote(&state),
        namespaces(),
        environment.join(","),
        quote(&directory.display().to_string()),
        words.join(","),
        Path::new("/probe").exists(),
        quote(&namespace_of_init(&state)),
    );
    let file = args.get(2).map_or("/hooks", String::as_str);
    let opened = fs::OpenOptions::new().append(true).create(true).open(file);
    if opened.and_then(|mut file| file.write_all(line.as_bytes())).is_err() {
        return 97;
    }
    args.get(4).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The pid namespace of the process that the state names; empty where it cannot be seen.
fn namespace_of_init(state: &str) -> String {
    let pid = state.split_once("\"pid\":").map_or("", |(_, rest)| rest.trim_start());
    let digits: String = pid.chars().take_while(char::is_ascii_digit).collect();
    let link = fs::read_link(format!("/proc/{digits}/ns/pid"));
    link.map(|link| link.display().to_string()).unwrap_or_default()
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            other if other < ' ' => out.push_str(&format!("\\u{:04x}", other as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
