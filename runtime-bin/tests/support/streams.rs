//! Standard streams that survive a checkpoint.

use std::fs::File;
use std::process::Command;

use crate::support::finish;

/// Three pipes for a container that CRIU is to dump: a file of the image would have to be in the container.
pub(crate) struct Streams {
    pub(crate) stdin: File,
    pub(crate) stdout: File,
    pub(crate) theirs: [File; 3],
}

impl Streams {
    pub(crate) fn new() -> Self {
        let pipe = || {
            let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
            (File::from(read), File::from(write))
        };
        let (stdin, stdout) = (pipe(), pipe());
        let stderr = stdout.1.try_clone().expect("a descriptor");
        Self { stdin: stdin.1, stdout: stdout.0, theirs: [stdin.0, stdout.1, stderr] }
    }

    /// Runs a command whose container gets the pipes.
    #[track_caller]
    pub(crate) fn run(&self, command: &mut Command) -> i32 {
        let [stdin, stdout, stderr] =
            self.theirs.each_ref().map(|file| file.try_clone().expect("a descriptor"));
        let mut child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("the runtime");
        finish(&mut child)
    }
}
