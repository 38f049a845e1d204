//! Images made by hand, because no registry is reachable: a busybox root, as a plain tar (`docker
//! import`, `podman import`) and as the archive of `docker save` (`ctr image import`).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Cmd, Stop, need};

/// A user of the image who is not root, with a second group.
pub(crate) const USER: &str = "tester";
pub(crate) const USER_ID: u32 = 1234;
pub(crate) const EXTRA_GROUP: u32 = 4321;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ntester:x:1234:1234::/home/tester:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntester:x:1234:\nextra:x:4321:tester\n";
const BUSYBOX: &str = "/bin/busybox";

/// The program of a pod that only holds its namespaces: it is in the image under this name.
pub(crate) const PAUSE: &str = "/pause";

/// A static program that waits for ever: one segment, and a loop around pause(2).
fn pause_program() -> Vec<u8> {
    const LOAD_AT: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let code = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]; // mov $34, %eax; syscall; jmp to the mov
    let size = HEADERS + code.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01".to_vec(); // 64 bits, little endian
    program.resize(16, 0);
    let halves = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let longs = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    program.extend(halves(&[2, 62])); // an executable, for x86_64
    program.extend(words(&[1]));
    program.extend(longs(&[LOAD_AT + HEADERS, 64, 0])); // entry, program headers, no sections
    program.extend(words(&[0]));
    program.extend(halves(&[64, 56, 1, 0, 0, 0]));
    program.extend(words(&[1, 5])); // load; readable and executable
    program.extend(longs(&[0, LOAD_AT, LOAD_AT, size, size, 4096]));
    program.extend(code);
    program
}

/// A tar archive in the ustar format, in memory.
#[derive(Default)]
struct Tar(Vec<u8>);

/// The type flags of ustar that are used here.
#[derive(Clone, Copy)]
enum Entry<'a> {
    File(&'a [u8]),
    HardLink(&'a str),
    Symlink(&'a str),
    Directory,
}

impl Tar {
    fn add(&mut self, name: &str, mode: u32, owner: u32, entry: Entry<'_>) {
        let (flag, link, data) = match entry {
            Entry::File(data) => (b'0', "", data),
            Entry::HardLink(target) => (b'1', target, &[][..]),
            Entry::Symlink(target) => (b'2', target, &[][..]),
            Entry::Directory => (b'5', "", &[][..]),
        };
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, format!("{owner:07o}").as_bytes());
        put(116, format!("{owner:07o}").as_bytes());
        put(124, format!("{:011o}", data.len()).as_bytes());
        put(136, format!("{:011o}", 1_700_000_000).as_bytes());
        put(148, b"        ");
        put(156, &[flag]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Writes `busybox.tar`: the applets are hard links, and there is no `/proc`, `/sys` or `/dev`, as in
/// the usual busybox image.
pub(crate) fn root_tar(dir: &Path) -> Result<PathBuf, Stop> {
    need(BUSYBOX, "busybox-static")?;
    let program = fs::read(BUSYBOX)?;
    let mut tar = Tar::default();
    for (name, mode, owner) in [
        ("bin/", 0o755, 0),
        ("etc/", 0o755, 0),
        ("root/", 0o700, 0),
        ("tmp/", 0o1777, 0),
        ("home/", 0o755, 0),
        ("home/tester/", 0o755, USER_ID),
    ] {
        tar.add(name, mode, owner, Entry::Directory);
    }
    tar.add("bin/busybox", 0o755, 0, Entry::File(&program));
    for applet in Cmd::new(BUSYBOX).arg("--list").run()?.ok()?.lines().filter(|applet| *applet != "busybox") {
        tar.add(&format!("bin/{applet}"), 0o755, 0, Entry::HardLink("bin/busybox"));
    }
    tar.add("usr", 0o777, 0, Entry::Symlink("/"));
    tar.add("etc/passwd", 0o644, 0, Entry::File(PASSWD.as_bytes()));
    tar.add("etc/group", 0o644, 0, Entry::File(GROUP.as_bytes()));
    // Exit code 126: there, but not a program that may run.
    tar.add("not-executable", 0o644, 0, Entry::File(b"#!/bin/sh\nexit 0\n"));
    tar.add("script", 0o755, 0, Entry::File(b"#!/bin/sh\necho script \"$@\"\n"));
    tar.add("pause", 0o755, 0, Entry::File(&pause_program()));
    let path = dir.join("busybox.tar");
    fs::write(&path, tar.finish())?;
    Ok(path)
}

/// Unpacks the root into a directory, for engines that take a plain root file system.
pub(crate) fn unpack(tar: &Path, into: &Path) -> Result<(), Stop> {
    fs::create_dir_all(into)?;
    Cmd::new("tar").arg("-xf").arg(tar).arg("-C").arg(into).run()?.ok()?;
    Ok(())
}

/// Writes the archive that `docker save` would make of an image of the root, named `name`, that runs
/// `command`.
pub(crate) fn saved_image(root: &Path, dir: &Path, name: &str, command: &str) -> Result<PathBuf, Stop> {
    let layer = fs::read(root)?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "FROM_IMAGE=yes"], "Cmd": [command] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(root)?)] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut tar = Tar::default();
    tar.add("config.json", 0o644, 0, Entry::File(config.to_string().as_bytes()));
    tar.add("layer.tar", 0o644, 0, Entry::File(&layer));
    tar.add("manifest.json", 0o644, 0, Entry::File(manifest.to_string().as_bytes()));
    let path = dir.join(format!("saved-{}.tar", command.trim_start_matches('/')));
    fs::write(&path, tar.finish())?;
    Ok(path)
}

fn sha256(path: &Path) -> Result<String, Stop> {
    let sum = Cmd::new("sha256sum").arg(path).run()?.ok()?;
    Ok(sum.split_whitespace().next().unwrap_or_default().to_owned())
}

/// The name that images use for this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
