//! The public interface of the library, as rustdoc sees it, is the one that `docs/interface.txt` lists: a change of it is
//! seen in review. `UPDATE_DOCS=1` writes the list anew.

mod render;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use render::{list, text};
use serde_json::Value;

/// The version of rustdoc's JSON that is read here: it changes with the compiler.
const FORMAT: u64 = 57;

pub(crate) struct Crate {
    json: Value,
}

/// A public item: where it is, its line in the list, and what its documentation says.
struct Item {
    path: String,
    line: String,
    docs: String,
}

impl Crate {
    /// Documents the library; `None` with a compiler whose JSON is another one.
    fn document() -> Option<Self> {
        let rustdoc = wrapper();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["rustdoc", "--quiet", "--locked", "-p", "runtime-core", "--lib", "--target-dir"])
            .arg(&target);
        cargo.args(["--", "-Z", "unstable-options", "--output-format", "json"]);
        let status =
            cargo.current_dir(root()).env("RUSTDOC", &rustdoc).env_remove("RUSTDOCFLAGS").status().unwrap();
        assert!(status.success(), "{cargo:?}");
        let bytes = fs::read(target.join("doc/runtime_core.json")).unwrap();
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        (json["format_version"] == FORMAT).then_some(Self { json })
    }

    fn item(&self, id: &Value) -> &Value {
        &self.json["index"][id.to_string()]
    }

    /// All that another crate can name, and the traits that it can rely on.
    fn public(&self) -> Vec<Item> {
        let mut items = Vec::new();
        self.module(&self.json["root"], "runtime_core", &mut items);
        items.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.line.cmp(&b.line)));
        items.dedup_by(|a, b| a.line == b.line);
        items
    }

    fn module(&self, id: &Value, path: &str, items: &mut Vec<Item>) {
        for id in list(&self.item(id)["inner"]["module"]["items"]) {
            self.member(id, path, None, items);
        }
    }

    /// An item of a module, by its own name or by that of the `use` that shows it.
    fn member(&self, id: &Value, outer: &str, shown_as: Option<&str>, items: &mut Vec<Item>) {
        let item = self.item(id);
        let Some((kind, inner)) = item["inner"].as_object().and_then(|inner| inner.iter().next()) else {
            return;
        };
        let name = shown_as.unwrap_or(text(&item["name"]));
        let path = format!("{outer}::{name}");
        let mut add = |line: String| {
            items.push(Item { path: path.clone(), line, docs: text(&item["docs"]).to_owned() });
        };
        let grows = list(&item["attrs"]).iter().any(|attribute| attribute == "non_exhaustive");
        let grows = if grows { "#[non_exhaustive] " } else { "" };
        match kind.as_str() {
            "module" => {
                add(format!("mod {path}"));
                self.module(id, &path, items);
            }
            "use" if inner["is_glob"] == true => self.module(&inner["id"], outer, items),
            "use" if self.item(&inner["id"]).is_null() => {
                add(format!("use {outer}::{}", text(&inner["name"])))
            }
            "use" => self.member(&inner["id"], outer, inner["name"].as_str(), items),
            "struct" | "enum" | "union" => {
                add(format!("{grows}{kind} {path}{}", self.generics(&inner["generics"])));
                for id in list(&inner["variants"]) {
                    self.variant(id, &path, items);
                }
                self.fields(&inner["kind"], &path, items);
                self.implementations(inner, &path, items);
            }
            "trait" => {
                add(format!("trait {path}{}", self.generics(&inner["generics"])));
                for id in list(&inner["items"]) {
                    self.member(id, &path, None, items);
                }
            }
            "function" => add(self.function(&path, inner)),
            "constant" | "assoc_const" => add(format!("const {path}: {}", self.ty(&inner["type"]))),
            "type_alias" => {
                add(format!(
                    "type {path}{} = {}",
                    self.generics(&inner["generics"]),
                    self.ty(&inner["type"])
                ));
            }
            "macro" => add(format!("macro {path}")),
            other => panic!("an item that is new in rustdoc: {other}"),
        }
    }

    fn variant(&self, id: &Value, outer: &str, items: &mut Vec<Item>) {
        let item = self.item(id);
        let path = format!("{outer}::{}", text(&item["name"]));
        let line = format!("variant {path}");
        items.push(Item { path: path.clone(), line, docs: text(&item["docs"]).to_owned() });
        self.fields(&item["inner"]["variant"]["kind"], &path, items);
    }

    fn fields(&self, kind: &Value, outer: &str, items: &mut Vec<Item>) {
        let named = kind.get("plain").or_else(|| kind.get("struct")).map(|kind| &kind["fields"]);
        for id in list(named.or_else(|| kind.get("tuple")).unwrap_or(&Value::Null)) {
            let item = self.item(id);
            let Some(field) = item["inner"].get("struct_field") else { continue };
            let path = format!("{outer}::{}", text(&item["name"]));
            let line = format!("field {path}: {}", self.ty(field));
            items.push(Item { path, line, docs: text(&item["docs"]).to_owned() });
        }
    }

    /// Methods; and the traits, those without arguments in one line.
    fn implementations(&self, inner: &Value, path: &str, items: &mut Vec<Item>) {
        let mut plain = BTreeSet::new();
        let behind = format!("{path} impl");
        for id in list(&inner["impls"]) {
            let implementation = &self.item(id)["inner"]["impl"];
            if implementation["is_synthetic"] == true || !implementation["blanket_impl"].is_null() {
                continue;
            }
            if implementation["trait"].is_null() {
                for id in list(&implementation["items"]) {
                    self.member(id, path, None, items);
                }
                continue;
            }
            let name = self.path(&implementation["trait"]);
            let whole = implementation["for"].get("resolved_path").is_some() && !name.contains('<');
            match whole {
                _ if name.starts_with("Structural") => {}
                true => _ = plain.insert(name),
                false => {
                    let line = format!("impl {name} for {}", self.ty(&implementation["for"]));
                    items.push(Item { path: behind.clone(), line, docs: String::new() });
                }
            }
        }
        if !plain.is_empty() {
            let names: Vec<String> = plain.into_iter().collect();
            let line = format!("impl {} for {path}", names.join(" + "));
            items.push(Item { path: behind, line, docs: String::new() });
        }
    }
}

/// A rustdoc that takes what is not stable yet. The variable that allows it reaches nothing else, so that no crate is
/// built again for it.
fn wrapper() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rustdoc");
    // Another run may be executing it.
    let new = path.with_extension(std::process::id().to_string());
    fs::write(&new, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn the_public_interface_is_listed_and_explained() {
    let Some(library) = Crate::document() else {
        println!("skipped: the JSON of this rustdoc has another format");
        return;
    };
    let items = library.public();
    assert_explained(&items);
    assert_listed(&items);
}

fn assert_listed(items: &[Item]) {
    let lines: Vec<String> = items.iter().map(|item| format!("{}\n", item.line)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/interface.txt");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, lines.concat()).unwrap();
        return;
    }
    let listed = fs::read_to_string(&path).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    let found: BTreeSet<&str> = lines.iter().map(|line| line.trim_end()).collect();
    let missing: Vec<_> = listed.difference(&found).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(
        missing.is_empty() && new.is_empty(),
        "the interface differs from docs/interface.txt (UPDATE_DOCS=1 writes it anew)\ngone: {missing:#?}\nnew: {new:#?}"
    );
}

/// The documentation of a type, a function or a constant has an example or names its source, or that of the type or the
/// module around it has.
fn assert_explained(items: &[Item]) {
    let explained: BTreeSet<&str> =
        items.iter().filter(|item| explains(&item.docs)).map(|item| item.path.as_str()).collect();
    let is_explained = |mut path: &str| {
        while let Some((outer, _)) = path.rsplit_once("::") {
            if explained.contains(path) {
                return true;
            }
            path = outer;
        }
        false
    };
    // Modules are as good as what is in them.
    let counted = |item: &&Item| {
        !["mod ", "field ", "variant ", "impl ", "use "].iter().any(|kind| item.line.starts_with(kind))
    };
    let all = items.iter().filter(counted).count();
    let bare: Vec<&str> = items
        .iter()
        .filter(counted)
        .map(|item| item.path.as_str())
        .filter(|path| !is_explained(path))
        .collect();
    println!("counted: {all} public items, {} of them without an example or a source", bare.len());
    assert!(all > 300 && bare.is_empty(), "{bare:#?}");
}

/// Whether a text has code, a manual page such as `clone(2)`, or the name of a document.
fn explains(docs: &str) -> bool {
    let page = docs.as_bytes().windows(4).any(|part| {
        part[0].is_ascii_lowercase() || part[0].is_ascii_digit() || part[0] == b'_'
    } && part[1] == b'(' && (b'1'..=b'9').contains(&part[2]) && part[3] == b')');
    page || ["```", "specification", "config.json", "config-linux", "kernel's documentation", "runc", "RFC "]
        .iter()
        .any(|word| docs.contains(word))
}
