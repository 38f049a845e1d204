//! The lists of mutants.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A protection that is taken out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    /// Its name, unique in all lists.
    pub(crate) name: String,
    /// The row of SECURITY.md that it belongs to.
    pub(crate) row: String,
    /// What the mutant takes out, as a sentence.
    pub(crate) removes: String,
    /// The file, from the root of the repository.
    pub(crate) file: PathBuf,
    /// A text that occurs once in the file.
    pub(crate) find: String,
    /// What stands there in the mutant.
    pub(crate) replace: String,
    /// The package of the tests that must notice.
    #[serde(default = "default_package")]
    pub(crate) package: String,
    /// Their binary: the name of an integration test, or `lib` or `bin` for the unit tests.
    pub(crate) test: String,
    /// Their exact names.
    pub(crate) filter: Vec<String>,
    /// Variables of their environment.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// The name of the list, which is that of its file.
    #[serde(skip)]
    pub(crate) list: String,
}

fn default_package() -> String {
    "runtime-core".to_owned()
}

/// A change that no test can notice, since another protection is behind it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Equivalent {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) find: String,
    /// Why it changes nothing that can be seen.
    pub(crate) reason: String,
}

/// The directory of the lists.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants")
}

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a repository")
}

/// All mutants, list by list.
pub(crate) fn all() -> Vec<Mutant> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory())
        .expect("the directory of the lists")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "equivalent"))
        .collect();
    files.sort();
    files.iter().flat_map(|file| read(file)).collect()
}

fn read(file: &Path) -> Vec<Mutant> {
    let text = std::fs::read_to_string(file).expect("a list");
    let mut mutants: Vec<Mutant> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let list = file.file_stem().expect("a name").to_string_lossy().into_owned();
    mutants.iter_mut().for_each(|mutant| mutant.list.clone_from(&list));
    mutants
}

/// The changes of `equivalent.json`.
pub(crate) fn equivalent() -> Vec<Equivalent> {
    let text = std::fs::read_to_string(directory().join("equivalent.json")).expect("a list");
    serde_json::from_str(&text).expect("equivalent.json")
}

/// How often a text occurs in a file of the repository.
fn occurrences(file: &Path, find: &str) -> usize {
    let text = std::fs::read_to_string(repository().join(file)).unwrap_or_default();
    if find.is_empty() { 0 } else { text.matches(find).count() }
}

/// A list that does not fit the source any more says nothing.
#[test]
fn every_mutant_fits_the_source() {
    let mutants = all();
    let mut wrong = Vec::new();
    let equivalent = equivalent();
    let places = mutants.iter().map(|mutant| (&mutant.name, &mutant.file, &mutant.find));
    for (name, file, find) in
        places.chain(equivalent.iter().map(|entry| (&entry.name, &entry.file, &entry.find)))
    {
        match occurrences(file, find) {
            1 => {}
            times => wrong.push(format!("{name}: its text occurs {times} times in {}", file.display())),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(names.len(), mutants.len(), "a name is used twice");
    for mutant in &mutants {
        assert!(mutant.find != mutant.replace && !mutant.filter.is_empty(), "{}", mutant.name);
        assert!(!mutant.removes.is_empty(), "{}", mutant.name);
    }
    assert!(equivalent.len() < 10 && equivalent.iter().all(|entry| entry.reason.len() > 40));
}

/// The tests that are named are there. Control: the lists name some.
#[test]
fn every_test_of_a_mutant_is_there() {
    let mut wrong = Vec::new();
    for mutant in all() {
        let tests = match mutant.package.as_str() {
            "runtime-core" => "runtime-core",
            "runtime-init" => "runtime-core/init",
            other => other,
        };
        let place = if matches!(mutant.test.as_str(), "lib" | "bin") {
            "src".to_owned()
        } else {
            format!("tests/{}", mutant.test)
        };
        let mut text = String::new();
        collect(&repository().join(tests).join(&place), &mut text);
        collect(&repository().join(tests).join(format!("{place}.rs")), &mut text);
        for filter in &mutant.filter {
            let name = filter.rsplit("::").next().unwrap_or(filter);
            // A test in several views is made by a macro, and its last part is the view.
            let above = filter.rsplit("::").nth(1).unwrap_or(name);
            let is_there = |name: &str| text.contains(&format!("fn {name}("));
            if !is_there(name) && !is_there(above) {
                wrong.push(format!("{}: {filter}", mutant.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The text of all Rust files at or below a path.
fn collect(path: &Path, text: &mut String) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory of tests") {
            collect(&entry.expect("an entry").path(), text);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
    }
}
