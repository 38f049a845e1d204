//! Finding the number of a system call: one hash look-up a name gives the numbers of every
//! architecture.

mod numbers;

use super::Architecture;
use numbers::ROWS;

/// No such call on this architecture.
pub(super) const NONE: i32 = -1;

/// A name and its numbers, in the order of [`super::arch::Architecture`].
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) numbers: [i32; 6],
}

impl Row {
    /// The number of an architecture.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a number for each: the last is asked for by a test"
    )]
    pub(super) fn number(&self, architecture: Architecture) -> i32 {
        self.numbers[architecture as usize]
    }
}

const SLOTS: usize = 2048;
const EMPTY: u16 = u16::MAX;

/// The hash table, filled by the compiler: open addressing, one slot in four used, so that a look-up
/// compares about 1.1 names (a binary search compares 9).
static INDEX: [u16; SLOTS] = index();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a fault in it does not compile"
)]
const fn index() -> [u16; SLOTS] {
    let mut slots = [EMPTY; SLOTS];
    let mut row = 0;
    while row < ROWS.len() {
        let mut slot = hash(ROWS[row].name.as_bytes());
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = row as u16;
        row += 1;
    }
    slots
}

/// FNV-1a, folded to the size of the table.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "as far as the name is long")]
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (hash ^ (hash >> 16)) as usize % SLOTS
}

/// The row of a system call; `None` for a name that no architecture here has.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    let mut slot = hash(name.as_bytes());
    loop {
        // An empty slot has a number that no row has.
        let row = ROWS.get(usize::from(*INDEX.get(slot)?))?;
        if row.name == name {
            return Some(row);
        }
        slot = slot.wrapping_add(1) % SLOTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_all_found() {
        assert!(ROWS.is_sorted_by(|a, b| a.name < b.name));
        for row in &ROWS {
            assert_eq!(find(row.name).map(|found| found.numbers), Some(row.numbers));
        }
        assert!(find("").is_none());
        assert!(find("no_such_call").is_none());
    }

    #[test]
    fn known_numbers() {
        assert_eq!(find("read").map(|row| row.numbers), Some([0, 3, 0, 63, 3, 63]));
        assert_eq!(find("execve").map(|row| row.numbers), Some([59, 11, 520, 221, 11, 221]));
        assert_eq!(find("file_setattr").map(|row| row.numbers), Some([469; 6]));
    }
}
