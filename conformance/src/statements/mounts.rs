//! config.md: mounts and their options.

use super::{Statement, must, should, untestable};
use crate::case::Case;
use crate::verdict::{Outcome, Stop, fail, holds};
use serde_json::{Value, json};

const MOUNTS: &str = "config.md#mounts";
pub(super) const OPTIONS: &str = "config.md#linux-mount-options";
const POSIX: &str = "config.md#posix-platform-mounts";

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("mount-order", MOUNTS, "mounts are made in the listed order", order),
    must("mount-listed-order", MOUNTS, "the kernel's list of mounts has the listed order", listed_order),
    must("mount-root-first", MOUNTS, "the root comes before the mounts in the kernel's list", root_first),
    must("mount-relative", MOUNTS, "a relative destination is taken from the root", relative),
    must("mount-type-source", MOUNTS, "type and source are those of the entry", type_source),
    should("mount-data", OPTIONS, "an unknown option is handed to the file system", data),
    must("mount-ro", OPTIONS, "ro", |case| flag(case, "ro", true)),
    must("mount-nosuid", OPTIONS, "nosuid", |case| flag(case, "nosuid", true)),
    must("mount-nodev", OPTIONS, "nodev", |case| flag(case, "nodev", true)),
    must("mount-noexec", OPTIONS, "noexec", |case| flag(case, "noexec", true)),
    must("mount-noatime", OPTIONS, "noatime", |case| flag(case, "noatime", true)),
    must("mount-nodiratime", OPTIONS, "nodiratime", |case| flag(case, "nodiratime", true)),
    must("mount-relatime", OPTIONS, "relatime", |case| flag(case, "relatime", true)),
    must("mount-strictatime", OPTIONS, "strictatime", strictatime),
    should("mount-nosymfollow", OPTIONS, "nosymfollow", |case| flag(case, "nosymfollow", true)),
    must("mount-sync", OPTIONS, "sync", |case| flag(case, "sync", false)),
    must("mount-dirsync", OPTIONS, "dirsync", |case| flag(case, "dirsync", false)),
    must("mount-rw-after-ro", OPTIONS, "rw after ro wins", |case| cancel(case, "ro", "rw", "ro")),
    must("mount-suid", OPTIONS, "suid after nosuid wins", |case| cancel(case, "nosuid", "suid", "nosuid")),
    must("mount-exec", OPTIONS, "exec after noexec wins", |case| cancel(case, "noexec", "exec", "noexec")),
    must("mount-dev", OPTIONS, "dev after nodev wins", |case| cancel(case, "nodev", "dev", "nodev")),
    must("mount-bind", OPTIONS, "bind shows the source", bind),
    must("mount-bind-ro", OPTIONS, "ro holds for a bind mount", bind_ro),
    must("mount-rbind", OPTIONS, "rbind takes the mounts below along", rbind),
    should("mount-rro", OPTIONS, "rro reaches the mounts below", rro),
    must("mount-remount", OPTIONS, "remount changes a mount that is there", remount),
    must("mount-shared", OPTIONS, "shared", |case| propagation(case, "shared", "shared:")),
    must("mount-slave", OPTIONS, "slave: not in the peer group of the host", |case| {
        propagation(case, "slave", "")
    }),
    must("mount-private", OPTIONS, "private: neither in a peer group nor with a master", private),
    must("mount-unbindable", OPTIONS, "unbindable", |case| propagation(case, "unbindable", "unbindable")),
    should("mount-idmap", OPTIONS, "an idmap mount shows mapped owners", idmap),
    must("mount-idmap-nothing", OPTIONS, "idmap without any mapping is an error", idmap_nothing),
    must("mount-idmap-half", POSIX, "uidMappings without gidMappings is an error", idmap_half),
    untestable(
        "mount-iversion",
        OPTIONS,
        "iversion and noiversion",
        "the kernel shows the flag of few file systems only",
    ),
];

/// The mountinfo line of the last mount at `destination`, in two halves.
pub(super) fn mount_line(report: &Value, destination: &str) -> Result<(Vec<String>, String, String), Stop> {
    let text = report["mountinfo"].as_str().unwrap_or("");
    let at = |line: &&str| line.split(' ').nth(4) == Some(destination);
    let Some((head, tail)) = text.lines().rfind(at).and_then(|line| line.split_once(" - ")) else {
        return fail(format!("a mount at {destination}"), text);
    };
    let mut fields = head.splitn(7, ' ').skip(5);
    let options = fields.next().unwrap_or("").split(',').map(str::to_owned).collect();
    Ok((options, fields.next().unwrap_or("").to_owned(), tail.to_owned()))
}

/// Adds a tmpfs at /tmp.
pub(super) fn tmpfs(case: &mut Case, options: Value) {
    case.push(
        "/mounts",
        json!({"destination": "/tmp", "type": "tmpfs", "source": "conf-source", "options": options}),
    );
}

pub(super) fn flag(case: &mut Case, option: &str, of_mount: bool) -> Outcome {
    tmpfs(case, json!([option]));
    let (options, _, tail) = mount_line(&case.report()?, "/tmp")?;
    // Flags of the super block are listed after the source.
    let all = if of_mount { options } else { tail.split([' ', ',']).map(str::to_owned).collect() };
    holds(all.iter().any(|word| word == option), &format!("/tmp is mounted {option}"), all.join(","))
}

fn strictatime(case: &mut Case) -> Outcome {
    tmpfs(case, json!(["strictatime"]));
    let (options, _, _) = mount_line(&case.report()?, "/tmp")?;
    let lazy = ["relatime", "noatime"].iter().any(|word| options.iter().any(|o| o == word));
    holds(!lazy, "neither relatime nor noatime", options.join(","))
}

/// The later of two opposite options counts; a runtime that ignores order or options fails.
pub(super) fn cancel(case: &mut Case, first: &str, second: &str, word: &str) -> Outcome {
    tmpfs(case, json!([first, second]));
    case.push(
        "/mounts",
        json!({"destination": "/out", "type": "tmpfs", "source": "t", "options": [second, first]}),
    );
    let report = case.report()?;
    let (open, ..) = mount_line(&report, "/tmp")?;
    let (shut, ..) = mount_line(&report, "/out")?;
    let right = !open.iter().any(|o| o == word) && shut.iter().any(|o| o == word);
    holds(
        right,
        &format!("{word} off when {second} is last, on when {first} is"),
        format!("{open:?} and {shut:?}"),
    )
}

fn order(case: &mut Case) -> Outcome {
    std::fs::write(case.share().join("below"), "")?;
    tmpfs(case, json!([]));
    let source = case.share().display().to_string();
    case.push(
        "/mounts",
        json!({"destination": "/tmp/inner", "type": "bind", "source": source, "options": ["bind"]}),
    );
    let answer = case.answer("stat:/tmp/inner/below")?;
    holds(answer["errno"].is_null(), "the second mount lies on the first", answer.to_string())
}

/// Mounts of each kind, in an order that no rule of thumb gives; a new network namespace, since some
/// runtimes mount its sysfs apart from the rest. Where each is in the kernel's list, the root before them.
fn places(case: &mut Case) -> Result<Vec<(String, Option<usize>)>, Stop> {
    case.push("/linux/namespaces", json!({"type": "network"}));
    tmpfs(case, json!(["mode=755"]));
    case.bind_share(json!(["bind"]));
    let plain = |place: &str, kind: &str| json!({"destination": place, "type": kind, "source": kind});
    for (place, kind) in
        [("/sys", "sysfs"), ("/dev/mqueue", "mqueue"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
    {
        case.push("/mounts", plain(place, kind));
    }
    case.push("/mounts", plain("/etc", "tmpfs"));
    let report = case.report()?;
    let text = report["mountinfo"].as_str().unwrap_or("");
    let points: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let listed = case.config["mounts"].as_array().into_iter().flatten();
    let listed = listed.filter_map(|mount| mount["destination"].as_str());
    let place = |name: &str| (name.to_owned(), points.iter().position(|point| *point == name));
    Ok(["/"].into_iter().chain(listed).map(place).collect())
}

/// `/ 0, /proc 1`: the places and their lines.
fn lines_of(places: &[(String, Option<usize>)]) -> String {
    let line = |(name, line): &(String, Option<usize>)| match line {
        Some(line) => format!("{name} {line}"),
        None => format!("{name} not there"),
    };
    format!("lines of mountinfo: {}", places.iter().map(line).collect::<Vec<_>>().join(", "))
}

fn listed_order(case: &mut Case) -> Outcome {
    let places = places(case)?;
    let sorted = places[1..].is_sorted_by(|(_, a), (_, b)| a.is_some() && a < b);
    holds(sorted, "the order of the configuration", lines_of(&places[1..]))
}

fn root_first(case: &mut Case) -> Outcome {
    let places = places(case)?;
    let first = places[0].1.is_some() && places[1..].iter().all(|(_, place)| *place > places[0].1);
    holds(first, "/ before the others", lines_of(&places))
}

fn relative(case: &mut Case) -> Outcome {
    case.push("/mounts", json!({"destination": "tmp", "type": "tmpfs", "source": "conf-source"}));
    let (_, _, tail) = mount_line(&case.report()?, "/tmp")?;
    holds(tail.starts_with("tmpfs "), "a tmpfs at /tmp", tail)
}

fn type_source(case: &mut Case) -> Outcome {
    tmpfs(case, json!([]));
    let (_, _, tail) = mount_line(&case.report()?, "/tmp")?;
    holds(tail.starts_with("tmpfs conf-source "), "tmpfs from conf-source", tail)
}

fn data(case: &mut Case) -> Outcome {
    tmpfs(case, json!(["size=1024k", "mode=711"]));
    let (_, _, tail) = mount_line(&case.report()?, "/tmp")?;
    holds(tail.contains("size=1024k") && tail.contains("mode=711"), "size=1024k and mode=711", tail)
}

fn bind(case: &mut Case) -> Outcome {
    std::fs::write(case.share().join("seen"), "through the bind")?;
    case.bind_share(json!(["bind"]));
    let answer = case.answer("read:/out/seen")?;
    holds(answer["text"] == "through the bind", "the file of the source", answer.to_string())
}

fn bind_ro(case: &mut Case) -> Outcome {
    case.bind_share(json!(["bind", "ro"]));
    let answer = case.answer("write:/out/new")?;
    holds(answer["errno"] == 30, "EROFS (30)", answer.to_string())
}

/// Binds the host's /dev at /out: most hosts have mounts below it (pts, shm).
fn tree(case: &mut Case, option: &str) {
    let source = "/dev";
    case.push(
        "/mounts",
        json!({"destination": "/out", "type": "bind", "source": source, "options": [option]}),
    );
}

/// The mounts below /dev on the host, relative to it.
fn below_dev() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter_map(|point| point.strip_prefix("/dev/").map(str::to_owned)).collect()
}

fn rbind(case: &mut Case) -> Outcome {
    let below = below_dev();
    let Some(first) = below.first() else { return crate::verdict::skip("the host has no mount below /dev") };
    tree(case, "rbind");
    let (_, _, tail) = mount_line(&case.report()?, &format!("/out/{first}"))?;
    Ok(format!("/out/{first} is {tail}"))
}

fn rro(case: &mut Case) -> Outcome {
    let below = below_dev();
    let Some(first) = below.first() else { return crate::verdict::skip("the host has no mount below /dev") };
    case.need_root("mounts below a host directory are locked")?;
    tree(case, "rbind");
    if let Some(options) = case.config.pointer_mut("/mounts/2/options").and_then(Value::as_array_mut) {
        options.push(json!("rro"));
    }
    let (options, ..) = mount_line(&case.report()?, &format!("/out/{first}"))?;
    holds(options.iter().any(|word| word == "ro"), &format!("/out/{first} is ro"), options.join(","))
}

fn remount(case: &mut Case) -> Outcome {
    tmpfs(case, json!([]));
    tmpfs(case, json!(["remount", "ro"]));
    let (options, ..) = mount_line(&case.report()?, "/tmp")?;
    holds(options.iter().any(|word| word == "ro"), "/tmp is ro", options.join(","))
}

/// The tags of a bind mount with that option alone. The bundle is on a shared mount, so that a bind mount
/// of it without any option could be a peer of the host's.
fn bind_tags(case: &mut Case, option: &str) -> Result<String, Stop> {
    case.set("/linux/rootfsPropagation", json!("slave"));
    case.bind_share(json!(["bind", option]));
    Ok(mount_line(&case.report()?, "/out")?.1)
}

fn private(case: &mut Case) -> Outcome {
    let tags = bind_tags(case, "private")?;
    let right = !tags.contains("shared:") && !tags.contains("master:");
    holds(right, "a private mount", format!("tags `{tags}`"))
}

fn propagation(case: &mut Case, option: &str, mark: &str) -> Outcome {
    let tags = bind_tags(case, option)?;
    let right = if mark.is_empty() { !tags.contains("shared:") } else { tags.contains(mark) };
    holds(right, &format!("a {option} mount"), format!("tags `{tags}`"))
}

fn idmap(case: &mut Case) -> Outcome {
    case.need_root("id-mapped mounts")?;
    let source = case.share().display().to_string();
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    case.push(
        "/mounts",
        json!({"destination": "/out", "type": "bind", "source": source,
        "options": ["bind", "idmap"], "uidMappings": map, "gidMappings": map}),
    );
    let answer = case.answer("stat:/out")?;
    holds(answer["uid"] == 5000 && answer["gid"] == 5000, "owner 5000:5000", answer.to_string())
}

fn idmap_nothing(case: &mut Case) -> Outcome {
    case.need_root("the container has a user namespace")?;
    case.bind_share(json!(["bind", "idmap"]));
    case.refuses()
}

fn idmap_half(case: &mut Case) -> Outcome {
    case.need_root("id-mapped mounts")?;
    let source = case.share().display().to_string();
    let mount = json!({"destination": "/out", "type": "bind", "source": source,
        "options": ["bind", "idmap"], "uidMappings": [{"containerID": 0, "hostID": 5000, "size": 10}]});
    half(case, mount, "gidMappings")
}

/// A mount without one of the two mappings, where it works with both.
pub(super) fn half(case: &mut Case, mount: Value, other: &str) -> Outcome {
    let mut whole = mount.clone();
    whole[other] = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    let place = format!("/mounts/{}", case.config["mounts"].as_array().map_or(0, Vec::len));
    case.push("/mounts", Value::Null);
    case.refuses_but(&place, whole, mount)
}
