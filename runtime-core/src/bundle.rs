//! A bundle: a directory with `config.json`.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::held::HeldNamespace;
use crate::spec::{Parsed, ValidSpec};

/// The largest `config.json` that is read, in bytes.
const CONFIG_LIMIT: u64 = 64 << 20;

/// Room for a common configuration, read in one call.
const CONFIG_EXPECTED: usize = 32 << 10;

/// A bundle (bundle.md): its directory and its configuration, parsed and checked. A clone is for another container of the same
/// configuration, which is not checked again; each has a cgroup of its own if the configuration names none.
///
/// ```no_run
/// use runtime_core::Bundle;
///
/// # fn main() -> runtime_core::Result<()> {
/// let bundle = Bundle::open("/bundle")?;
/// for warning in bundle.spec().warnings() {
///     eprintln!("{warning}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    directory: PathBuf,
    /// With the names of fields as the specification has them.
    config: Vec<u8>,
    spec: ValidSpec,
}

impl Bundle {
    /// Opens the bundle in `directory`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or the configuration is invalid; the error then has everything that
    /// is wrong with it, each with its JSON path.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::with_config(directory.as_ref(), &directory.as_ref().join("config.json"))
    }

    /// Opens the bundle in `directory` with the configuration of another file.
    pub fn with_config(directory: &Path, config: &Path) -> Result<Self> {
        UnparsedBundle::read(directory, config)?.parse()
    }

    /// The configuration `config` (the bytes of a `config.json`) without a file. `directory` is what the container's state
    /// names as its bundle, what a relative `root.path` begins at, and where hooks of the host begin; it need hold nothing.
    ///
    /// # Errors
    ///
    /// The configuration is invalid; the error has everything that is wrong with it, each with its JSON path.
    pub fn from_bytes(directory: impl AsRef<Path>, config: impl Into<Vec<u8>>) -> Result<Self> {
        let directory = directory.as_ref();
        let absolute = std::path::absolute(directory)
            .map_err(|error| Error::io(format!("find {directory:?}"), &error))?;
        UnparsedBundle { directory: absolute.components().collect(), config: config.into() }.parse()
    }

    /// As [`from_bytes`](Self::from_bytes), with the configuration as a value of the `oci_spec` crate
    /// ([`oci_spec`](crate::oci_spec)).
    ///
    /// # Errors
    ///
    /// Those of [`from_bytes`](Self::from_bytes).
    pub fn from_spec(directory: impl AsRef<Path>, spec: &Parsed) -> Result<Self> {
        let config = serde_json::to_vec(spec)
            .map_err(|error| Error::invalid("config.json", format!("cannot be written: {error}")))?;
        Self::from_bytes(directory, config)
    }

    /// The absolute path of the bundle.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration.
    pub fn spec(&self) -> &ValidSpec {
        &self.spec
    }

    /// Has it take namespaces that are open already, of those that it joins.
    pub(crate) fn holding(mut self, held: &[HeldNamespace]) -> Self {
        self.spec.namespaces.hold(held);
        self
    }

    pub(crate) fn into_parts(self) -> (PathBuf, Vec<u8>, ValidSpec) {
        (self.directory, self.config, self.spec)
    }
}

/// A bundle whose configuration has been read and not yet parsed.
///
/// ```no_run
/// use std::path::Path;
///
/// use runtime_core::UnparsedBundle;
///
/// # fn main() -> runtime_core::Result<()> {
/// let bundle = UnparsedBundle::read(Path::new("/bundle"), Path::new("/bundle/config.json"))?;
/// println!("{} bytes", bundle.config().len()); // for Runtime::head_start, which needs no more
/// let bundle = bundle.parse()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UnparsedBundle {
    directory: PathBuf,
    config: Vec<u8>,
}

impl UnparsedBundle {
    /// Reads the configuration `config` of the bundle in `directory`.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read(directory: &Path, config: &Path) -> Result<Self> {
        let failed = |error: &std::io::Error| Error::io(format!("open {config:?}"), error);
        let absolute = std::path::absolute(directory).map_err(|error| failed(&error))?;
        let mut bytes = Vec::with_capacity(CONFIG_EXPECTED);
        let file = std::fs::File::open(config).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::io(format!("JSON specification file {config:?} not found"), &error)
                    .kind_of(ErrorKind::NotFound)
                    .with_hint("the directory of a bundle has to hold one")
            }
            _ => failed(&error),
        })?;
        file.take(CONFIG_LIMIT).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        // Without a slash at the end of the path: engines compare it with theirs.
        Ok(Self { directory: absolute.components().collect(), config: bytes })
    }

    /// The bytes of the configuration.
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// Parses and checks the configuration.
    ///
    /// # Errors
    ///
    /// The configuration is invalid; the error has everything that is wrong with it, each with its JSON path.
    pub fn parse(self) -> Result<Bundle> {
        let (spec, text) = ValidSpec::parse_canonical(&self.config)?;
        let config = match text {
            Cow::Borrowed(_) => None,
            Cow::Owned(changed) => Some(changed),
        };
        Ok(Bundle { directory: self.directory, config: config.unwrap_or(self.config), spec })
    }
}
