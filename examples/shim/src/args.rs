//! The command line, as containerd writes it: flags with one dash, then the action.

use std::path::PathBuf;

/// What containerd wants of this program.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Action {
    /// Start a shim, or find the one of the pod, and print its address.
    Start,
    /// Remove what a shim that has gone has left.
    Delete,
    /// Print what this runtime is.
    Info,
    /// Print the version.
    Version,
    /// Be the shim: no action is named.
    Serve,
}

/// The flags.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) action: Action,
    /// containerd's namespace.
    pub(crate) namespace: String,
    /// The container's or the pod's id.
    pub(crate) id: String,
    /// containerd's own socket.
    pub(crate) address: String,
    /// The bundle; containerd may leave it out, since it is the working directory.
    pub(crate) bundle: Option<PathBuf>,
    /// Diagnostic notes go to the log.
    pub(crate) debug: bool,
}

impl Args {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            action: Action::Serve,
            namespace: String::new(),
            id: String::new(),
            address: String::new(),
            bundle: None,
            debug: false,
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix('-') else {
                args.action = action(&word)?;
                continue;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            args.take(name, value.map(str::to_owned), &mut words)?;
        }
        args.check()
    }

    fn take(
        &mut self,
        name: &str,
        value: Option<String>,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), String> {
        let on = value.as_deref() != Some("false");
        let mut text =
            || value.clone().or_else(|| words.next()).ok_or_else(|| format!("flag -{name} has no value"));
        match name {
            "debug" => self.debug = on,
            "v" | "version" => self.action = Action::Version,
            "info" => self.action = Action::Info,
            "namespace" => self.namespace = text()?,
            "id" => self.id = text()?,
            "address" => self.address = text()?,
            "bundle" => self.bundle = Some(text()?.into()).filter(|path: &PathBuf| path.as_os_str() != ""),
            // Events go to containerd's ttrpc socket, never through a program; the socket is handed over as a descriptor.
            "publish-binary" | "socket" => drop(text()?),
            _ => return Err(format!("flag -{name} is not known")),
        }
        Ok(())
    }

    fn check(self) -> Result<Self, String> {
        let needs_names = match self.action {
            Action::Start | Action::Delete | Action::Serve => true,
            Action::Info | Action::Version => false,
        };
        for (name, value) in [("namespace", &self.namespace), ("id", &self.id)] {
            if needs_names && value.is_empty() {
                return Err(format!(
                    "flag -{name} is missing: containerd starts this program, see README.md"
                ));
            }
        }
        Ok(self)
    }
}

fn action(word: &str) -> Result<Action, String> {
    match word {
        "start" => Ok(Action::Start),
        "delete" => Ok(Action::Delete),
        _ => Err(format!("action {word:?} is not known: `start` and `delete` are")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Args, String> {
        Args::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn as_containerd_writes_it() {
        let args = parse(
            "-namespace k8s.io -address /run/c.sock -publish-binary /usr/bin/containerd -id a -debug start",
        );
        let args = args.unwrap();
        assert_eq!((args.action, args.debug), (Action::Start, true));
        assert_eq!([&args.namespace, &args.address, &args.id], ["k8s.io", "/run/c.sock", "a"]);
        let args = parse("-namespace=n -id=a -bundle /b -debug=false delete").unwrap();
        assert_eq!((args.action, args.debug, args.bundle), (Action::Delete, false, Some("/b".into())));
        assert_eq!(parse("-v").unwrap().action, Action::Version);
        assert_eq!(parse("-namespace n -id a").unwrap().action, Action::Serve);
    }

    #[test]
    fn refused() {
        assert!(parse("-id a start").unwrap_err().contains("-namespace"));
        assert!(parse("-namespace n -id a stop").unwrap_err().contains("\"stop\""));
        assert!(parse("-namespace n -id").unwrap_err().contains("no value"));
        assert!(parse("-other").unwrap_err().contains("-other"));
    }
}
