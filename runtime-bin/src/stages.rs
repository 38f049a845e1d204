//! The stages of a start in the debug log, in the words of runc's: who looks for the stage that a
//! start hangs or fails in looks for these.

use crate::log::Log;

/// Before the first process of a container, or one more, is cloned.
pub(crate) fn setup(log: &Log) {
    log.debug(|| "nsexec container setup".to_owned());
}

/// The first process of a container has become what it is to be.
pub(crate) fn init_done(log: &Log) {
    log.debug(|| "child process in init()".to_owned());
    log.debug(|| "init: closing the pipe to signal completion".to_owned());
}

/// The CPUs that one more process is bound to until it is in the container's cgroup.
pub(crate) fn affinity(log: &Log, mask: &[u8]) {
    if !mask.is_empty() {
        log.debug(|| format!("nsexec: affinity: {}", hexadecimal(mask)));
    }
}

/// One more process runs its program.
pub(crate) fn exec_done(log: &Log) {
    log.debug(|| "child process in init()".to_owned());
    log.debug(|| "setns_init: about to exec".to_owned());
}

/// A mask with the lowest byte first as a number.
fn hexadecimal(mask: &[u8]) -> String {
    let digits: String = mask.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    match digits.trim_start_matches('0') {
        "" => "0x0".to_owned(),
        digits => format!("0x{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::hexadecimal;

    #[test]
    fn masks_are_numbers() {
        assert_eq!(hexadecimal(&[2, 0, 0, 0, 0, 0, 0, 0]), "0x2");
        assert_eq!(hexadecimal(&[0xff, 1]), "0x1ff");
        assert_eq!(hexadecimal(&[0]), "0x0");
    }
}
