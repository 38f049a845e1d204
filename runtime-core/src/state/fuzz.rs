//! The state file, and what procfs says of processes.

use super::record::Record;
use super::status::Stat;

/// A state that is read says the same when it is written and read again.
pub(crate) fn state(bytes: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return };
    let text = serde_json::to_vec(&record).expect("a record is JSON");
    let again: Record = serde_json::from_slice(&text).expect("a record of its own text");
    assert_eq!(serde_json::to_vec(&again).expect("a record is JSON"), text);
}

/// proc_pid_stat(5), mountinfo and passwd, as the library and the init read them.
pub(crate) fn proc_files(bytes: &[u8]) {
    use runtime_init::parse::{lines::Lines, mountinfo, passwd};

    Stat::parse(bytes);
    let mut rest = bytes;
    let mut lines = Lines::<_, 64>::new(|room: &mut [u8]| {
        let (head, tail) = rest.split_at(rest.len().min(room.len()).min(7));
        room.iter_mut().zip(head).for_each(|(place, byte)| *place = *byte);
        rest = tail;
        Ok::<_, ()>(head.len())
    });
    let mut count = 0;
    while let Ok(Some(line)) = lines.next() {
        count += 1;
        assert!(line.len() <= 64 && !line.contains(&b'\n'));
        passwd::home_of(line, 0);
        let mut path = [0xaa; 16];
        let taken =
            mountinfo::mount(line).and_then(|mount| mountinfo::unescaped(mount.place, &mut path[..8]));
        assert!(taken.is_none_or(|len| len <= 8) && path[8..] == [0xaa; 8]);
    }
    assert!(count <= bytes.iter().filter(|byte| **byte == b'\n').count() + 1);
}
