//! A copy of the source, and one mutant at a time in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use crate::list::{Mutant, repository};

/// The copy, in the build directory.
pub(crate) struct Source {
    root: PathBuf,
    build: PathBuf,
    /// Held as long as the copy is used: another run would change it meanwhile.
    _lock: Flock<File>,
}

impl Source {
    /// Copies all tracked files that have changed since the last time: an unchanged file keeps its time, so that cargo does
    /// not compile it again.
    pub(crate) fn copied() -> Self {
        let target =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a build directory").join("mutants");
        std::fs::create_dir_all(&target).expect("the directory of the copy");
        let lock = File::create(target.join("lock")).expect("a lock");
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno);
        let lock = lock.expect("no other run uses the copy");
        let source = Self { root: target.join("source"), build: target.join("build"), _lock: lock };
        let files = tracked();
        for file in &files {
            let (from, to) = (repository().join(file), source.root.join(file));
            // A link of the repository, or a file that is deleted and not yet committed, is left out.
            let Ok(text) = std::fs::read(&from) else { continue };
            if std::fs::read(&to).is_ok_and(|old| old == text) {
                continue;
            }
            std::fs::create_dir_all(to.parent().expect("a directory")).expect("the copy's directory");
            std::fs::copy(&from, &to).expect("a copy");
            touch(&to);
        }
        remove_others(&source.root, &source.root, &files);
        source
    }

    /// The root of the copy.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of its builds.
    pub(crate) fn build(&self) -> &Path {
        &self.build
    }

    /// The copy with a mutant, until that is dropped.
    pub(crate) fn mutated(&self, mutant: &Mutant) -> Result<Mutated, String> {
        let path = self.root.join(&mutant.file);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if text.matches(&mutant.find).count() != 1 {
            return Err("does not apply".to_owned());
        }
        let changed = text.replacen(&mutant.find, &mutant.replace, 1);
        std::fs::write(&path, changed).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Mutated { path, text })
    }
}

/// A file with a mutant; dropping it takes the mutant out.
pub(crate) struct Mutated {
    path: PathBuf,
    text: String,
}

impl Drop for Mutated {
    fn drop(&mut self) {
        std::fs::write(&self.path, &self.text).expect("the source is restored");
    }
}

/// All files of the repository, by their paths in it: those that git knows, or, in a copy without git, those outside of the
/// directories that builds make.
fn tracked() -> BTreeSet<PathBuf> {
    // A checkout may belong to another user than the one who tests it.
    let words = ["-c", "safe.directory=*", "ls-files", "-z"];
    match Command::new("git").args(words).current_dir(repository()).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
            text.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
        }
        Ok(_) | Err(_) => {
            let mut files = BTreeSet::new();
            find(repository(), repository(), &mut files);
            files
        }
    }
}

fn find(root: &Path, directory: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        let is_built = path.ends_with("target") || path.ends_with(".git");
        match path.is_dir() && !path.is_symlink() {
            true if is_built => {}
            true => find(root, &path, files),
            false => {
                files.insert(path.strip_prefix(root).expect("below the root").to_owned());
            }
        }
    }
}

/// Gives a file the present time: cargo compares that with the time of its last build.
fn touch(file: &Path) {
    let opened = std::fs::OpenOptions::new().append(true).open(file);
    opened.and_then(|file| file.set_modified(std::time::SystemTime::now())).expect("the time of a copy");
}

/// Removes what the repository has no more.
fn remove_others(root: &Path, directory: &Path, files: &BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the copy") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            remove_others(root, &path, files);
        } else if path
            .strip_prefix(root)
            .is_ok_and(|name| !files.contains(name) && name != Path::new("Cargo.lock"))
        {
            std::fs::remove_file(&path).expect("an old file goes");
        }
    }
}
