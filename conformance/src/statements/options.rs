//! config.md: the mount options that `mounts` leaves, and those that reach the mounts below.

use super::mounts::{OPTIONS, cancel, flag, mount_line, tmpfs};
use super::{Statement, must, practice, should};
use crate::case::Case;
use crate::tree::Tree;
use crate::verdict::{Outcome, Stop, holds};
use nix::mount::MsFlags;
use serde_json::{Value, json};

/// MS_NOSYMFOLLOW, newer than the crate's list.
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

/// The table.
pub(super) const STATEMENTS: &[Statement] = &[
    must("mount-async", OPTIONS, "async after sync wins", |case| cancel_super(case, "sync", "async")),
    must("mount-atime", OPTIONS, "atime after noatime wins", |case| {
        cancel(case, "noatime", "atime", "noatime")
    }),
    must("mount-diratime", OPTIONS, "diratime after nodiratime wins", |case| {
        cancel(case, "nodiratime", "diratime", "nodiratime")
    }),
    must("mount-defaults", OPTIONS, "defaults is an option of the runtime's", |case| known(case, "defaults")),
    must("mount-loud", OPTIONS, "loud is an option of the runtime's", |case| known(case, "loud")),
    must("mount-silent", OPTIONS, "silent is an option of the runtime's", |case| known(case, "silent")),
    must("mount-lazytime", OPTIONS, "lazytime", |case| flag(case, "lazytime", false)),
    must("mount-nolazytime", OPTIONS, "nolazytime after lazytime wins", |case| {
        cancel_super(case, "lazytime", "nolazytime")
    }),
    must("mount-norelatime", OPTIONS, "norelatime is an option of the runtime's", |case| {
        known(case, "norelatime")
    }),
    must("mount-nostrictatime", OPTIONS, "nostrictatime after strictatime wins", |case| {
        cancel(case, "nostrictatime", "strictatime", "relatime")
    }),
    should("mount-symfollow", OPTIONS, "symfollow after nosymfollow wins", |case| {
        cancel(case, "nosymfollow", "symfollow", "nosymfollow")
    }),
    must("mount-rprivate", OPTIONS, "rprivate reaches the mounts below", |case| {
        below_tags(case, json!(["rbind", "rprivate"]), "no tag", |tags| tags.is_empty())
    }),
    must("mount-rshared", OPTIONS, "rshared reaches the mounts below", |case| {
        below_tags(case, json!(["rbind", "rshared"]), "shared", |tags| tags.contains("shared:"))
    }),
    must("mount-rslave", OPTIONS, "rslave reaches the mounts below", |case| {
        below_tags(case, json!(["rbind", "rslave"]), "not shared", |tags| !tags.contains("shared:"))
    }),
    must("mount-runbindable", OPTIONS, "runbindable reaches the mounts below", |case| {
        below_tags(case, json!(["rbind", "runbindable"]), "unbindable", |tags| tags.contains("unbindable"))
    }),
    should("mount-rnosuid", OPTIONS, "rnosuid reaches the mounts below", |case| {
        on(case, "rnosuid", "nosuid")
    }),
    // The table of the specification has all of its kind but this one.
    practice("mount-rnodev", OPTIONS, "rnodev reaches the mounts below", |case| on(case, "rnodev", "nodev")),
    should("mount-rnoexec", OPTIONS, "rnoexec reaches the mounts below", |case| {
        on(case, "rnoexec", "noexec")
    }),
    should("mount-rnoatime", OPTIONS, "rnoatime reaches the mounts below", |case| {
        on(case, "rnoatime", "noatime")
    }),
    should("mount-rnodiratime", OPTIONS, "rnodiratime reaches the mounts below", |case| {
        on(case, "rnodiratime", "nodiratime")
    }),
    should("mount-rnosymfollow", OPTIONS, "rnosymfollow reaches the mounts below", |case| {
        on(case, "rnosymfollow", "nosymfollow")
    }),
    should("mount-rrelatime", OPTIONS, "rrelatime reaches the mounts below", |case| {
        change(case, MsFlags::MS_NOATIME, "rrelatime", |words| has(words, "relatime"))
    }),
    should("mount-rstrictatime", OPTIONS, "rstrictatime reaches the mounts below", |case| {
        let strict = |words: &[String]| !has(words, "relatime") && !has(words, "noatime");
        change(case, MsFlags::MS_RELATIME, "rstrictatime", strict)
    }),
    should("mount-rrw", OPTIONS, "rrw reaches the mounts below", |case| {
        off(case, MsFlags::MS_RDONLY, "rrw", "ro")
    }),
    should("mount-rsuid", OPTIONS, "rsuid reaches the mounts below", |case| {
        off(case, MsFlags::MS_NOSUID, "rsuid", "nosuid")
    }),
    should("mount-rdev", OPTIONS, "rdev reaches the mounts below", |case| {
        off(case, MsFlags::MS_NODEV, "rdev", "nodev")
    }),
    should("mount-rexec", OPTIONS, "rexec reaches the mounts below", |case| {
        off(case, MsFlags::MS_NOEXEC, "rexec", "noexec")
    }),
    should("mount-ratime", OPTIONS, "ratime reaches the mounts below", |case| {
        off(case, MsFlags::MS_NOATIME, "ratime", "noatime")
    }),
    should("mount-rdiratime", OPTIONS, "rdiratime reaches the mounts below", |case| {
        off(case, MsFlags::MS_NODIRATIME, "rdiratime", "nodiratime")
    }),
    should("mount-rsymfollow", OPTIONS, "rsymfollow reaches the mounts below", |case| {
        off(case, NOSYMFOLLOW, "rsymfollow", "nosymfollow")
    }),
    should("mount-rnostrictatime", OPTIONS, "rnostrictatime reaches the mounts below", |case| {
        change(case, MsFlags::MS_STRICTATIME, "rnostrictatime", |words| has(words, "relatime"))
    }),
    should("mount-rnorelatime", OPTIONS, "rnorelatime is an option of the runtime's", |case| {
        known(case, "rnorelatime")
    }),
    should("mount-ridmap", OPTIONS, "a ridmap mount maps the owners of the mounts below too", ridmap),
    should(
        "mount-idmap-flat",
        "config.md#posix-platform-mounts",
        "an idmap mount leaves the mounts below it alone",
        idmap_flat,
    ),
    must(
        "mount-idmap-container",
        OPTIONS,
        "an idmap mount without a mapping has that of the container, or is an error",
        idmap_container,
    ),
    must("mount-ridmap-nothing", OPTIONS, "ridmap without any mapping is an error", ridmap_nothing),
    must("mount-idmap-own", OPTIONS, "an idmap mount uses its own mapping, not the container's", idmap_own),
    must(
        "mount-idmap-half-gid",
        "config.md#posix-platform-mounts",
        "gidMappings without uidMappings is an error",
        half_gid,
    ),
];

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|other| other == word)
}

/// An option that a file system would refuse when it were handed to it.
fn known(case: &mut Case, option: &str) -> Outcome {
    tmpfs(case, json!([option, "mode=711"]));
    let (_, _, tail) = mount_line(&case.report()?, "/tmp")?;
    holds(tail.contains("mode=711"), &format!("a tmpfs with {option}"), tail)
}

/// As `cancel`, for flags of the super block.
fn cancel_super(case: &mut Case, word: &str, opposite: &str) -> Outcome {
    tmpfs(case, json!([word, opposite]));
    let other = json!({"destination": "/out", "type": "tmpfs", "source": "t", "options": [opposite, word]});
    case.push("/mounts", other);
    let report = case.report()?;
    let words = |place| -> Result<Vec<String>, Stop> {
        Ok(mount_line(&report, place)?.2.split([' ', ',']).map(str::to_owned).collect())
    };
    let (open, shut) = (words("/tmp")?, words("/out")?);
    let expected = format!("{word} off when {opposite} is last, on when it is");
    holds(!has(&open, word) && has(&shut, word), &expected, format!("{open:?} and {shut:?}"))
}

/// The lower mount of a tree with these flags that is mounted at /out with these options.
fn below(case: &mut Case, flags: MsFlags, options: Value) -> Result<(Vec<String>, String), Stop> {
    let tree = Tree::new(case, flags)?;
    case.push("/mounts", tree.at_out(options));
    let (words, tags, _) = mount_line(&case.report()?, "/out/sub")?;
    Ok((words, tags))
}

fn below_tags(case: &mut Case, options: Value, expected: &str, right: fn(&str) -> bool) -> Outcome {
    let (_, tags) = below(case, MsFlags::empty(), options)?;
    holds(right(&tags), &format!("the mount below: {expected}"), format!("tags `{tags}`"))
}

fn change(case: &mut Case, flags: MsFlags, option: &str, right: fn(&[String]) -> bool) -> Outcome {
    let (words, _) = below(case, flags, json!(["rbind", option]))?;
    holds(right(&words), &format!("the mount below after {option}"), words.join(","))
}

/// The option sets a flag of the mount below.
fn on(case: &mut Case, option: &str, word: &str) -> Outcome {
    let (words, _) = below(case, MsFlags::empty(), json!(["rbind", option]))?;
    holds(has(&words, word), &format!("the mount below is {word}"), words.join(","))
}

/// The option takes a flag from the mount below.
fn off(case: &mut Case, flags: MsFlags, option: &str, word: &str) -> Outcome {
    let (words, _) = below(case, flags, json!(["rbind", option]))?;
    holds(!has(&words, word), &format!("the mount below is not {word}"), words.join(","))
}

fn mapped(case: &mut Case, mount: &Value, option: &str) {
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    let mut mount = mount.clone();
    mount["options"] = json!(["rbind", option]);
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    case.push("/mounts", mount);
}

fn ridmap(case: &mut Case) -> Outcome {
    let tree = Tree::new(case, MsFlags::empty())?;
    mapped(case, &tree.at_out(json!([])), "ridmap");
    let answer = case.answer("stat:/out/sub")?;
    holds(answer["uid"] == 5000 && answer["gid"] == 5000, "owner 5000:5000 below", answer.to_string())
}

fn idmap_flat(case: &mut Case) -> Outcome {
    let tree = Tree::new(case, MsFlags::empty())?;
    mapped(case, &tree.at_out(json!([])), "idmap");
    case.ask("stat:/out");
    case.ask("stat:/out/sub");
    let answers = case.report()?["answers"].clone();
    let (top, low) = (&answers["stat:/out"]["uid"], &answers["stat:/out/sub"]["uid"]);
    holds(*top == 5000 && *low == 0, "owner 5000, and 0 below", answers.to_string())
}

/// Root's file has no owner in a user namespace, unless the mount is mapped.
fn idmap_container(case: &mut Case) -> Outcome {
    case.need_root("id-mapped mounts")?;
    super::namespaces::with_user(case);
    case.bind_share(json!(["bind", "idmap"]));
    case.ask("stat:/out");
    let create = case.create()?;
    if create.refused() {
        return Ok(create.describe());
    }
    crate::case::must(create)?;
    crate::case::must(case.start()?)?;
    let answer = case.hear()?["answers"]["stat:/out"].clone();
    holds(answer["uid"] == 0 && answer["gid"] == 0, "owner 0:0 inside", answer.to_string())
}

fn ridmap_nothing(case: &mut Case) -> Outcome {
    case.need_root("the container has a user namespace")?;
    case.bind_share(json!(["rbind", "ridmap"]));
    case.refuses()
}

/// In a user namespace host id 100000 is 0: a mapping of the mount's own makes 0 of the file 100007.
fn idmap_own(case: &mut Case) -> Outcome {
    case.need_root("id-mapped mounts")?;
    super::namespaces::with_user(case);
    let source = case.share().display().to_string();
    let map = json!([{"containerID": 0, "hostID": 100_007, "size": 1}]);
    case.push(
        "/mounts",
        json!({"destination": "/out", "type": "bind", "source": source,
        "options": ["bind", "idmap"], "uidMappings": map, "gidMappings": map}),
    );
    let answer = case.answer("stat:/out")?;
    holds(answer["uid"] == 7 && answer["gid"] == 7, "owner 7:7 inside", answer.to_string())
}

fn half_gid(case: &mut Case) -> Outcome {
    case.need_root("id-mapped mounts")?;
    let source = case.share().display().to_string();
    let map = json!([{"containerID": 0, "hostID": 5000, "size": 10}]);
    let options = json!(["bind", "idmap"]);
    let mount = json!({"destination": "/out", "type": "bind", "source": source, "options": options,
        "gidMappings": map});
    super::mounts::half(case, mount, "uidMappings")
}
