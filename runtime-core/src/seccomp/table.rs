//! What a profile says about each system call of one architecture.

use std::collections::BTreeMap;

use super::arch::{Architecture, i386_multiplexed};
use super::rule::{Condition, Entry};
use super::tables::{NONE, Row};

/// Numbers from here on are kept apart: Arm has private calls at 0xf0000.
const LOW: usize = 1024;

/// The entries of one architecture by number (x32 without its bit).
pub(super) struct Table {
    pub(super) architecture: Architecture,
    pub(super) low: Vec<Entry>,
    pub(super) high: BTreeMap<u32, Entry>,
    /// The largest number that the profile names, if calls beyond it are answered with ENOSYS.
    ///
    /// This is runc's rule: a profile cannot mean anything by a call that it was written before,
    /// and a C library falls back on ENOSYS but gives up on EPERM. Like runc, a profile that names
    /// nothing above 0 gets no such rule.
    pub(super) last: Option<u32>,
}

impl Table {
    pub(super) fn new(architecture: Architecture) -> Self {
        Self { architecture, low: Vec::with_capacity(512), high: BTreeMap::new(), last: None }
    }

    /// Counts a name of the profile for the ENOSYS rule. The calls that i386 multiplexes do not count
    /// there: libseccomp gives runc a pseudo number for them.
    pub(super) fn see(&mut self, row: &Row, multiplexed: bool) {
        let number = row.number(self.architecture);
        // With its bit, the number 0 of x32 is above 0.
        let least = if self.architecture == Architecture::X32 { 0 } else { 1 };
        if number >= least && !(multiplexed && self.architecture == Architecture::X86) {
            self.last = self.last.max(Some(number as u32));
        }
    }

    /// Adds a rule for a call; nothing happens if the architecture does not have it.
    pub(super) fn add(
        &mut self,
        row: &Row,
        conditions: &[Condition],
        action: u32,
    ) -> Result<(), &'static str> {
        let is_64_bit = self.architecture.is_64_bit();
        if self.architecture == Architecture::X86
            && let Some((multiplexer, call)) = i386_multiplexed(row.name)
        {
            // The call's own arguments are behind a pointer there (socketcall) or shifted (ipc); like
            // libseccomp the first is replaced and the others stay.
            let mut behind = vec![Condition::equals(0, call)];
            behind.extend(conditions.iter().filter(|condition| condition.argument != 0));
            self.entry(multiplexer).add(&behind, action, is_64_bit)?;
        }
        let number = row.number(self.architecture);
        if number == NONE {
            return Ok(());
        }
        self.entry(number as u32).add(conditions, action, is_64_bit)
    }

    #[expect(clippy::indexing_slicing, reason = "the list has just been made that long")]
    fn entry(&mut self, number: u32) -> &mut Entry {
        let index = number as usize;
        if index >= LOW {
            return self.high.entry(number).or_default();
        }
        let missing = index.saturating_add(1).saturating_sub(self.low.len());
        self.low.extend(std::iter::repeat_with(Entry::default).take(missing));
        &mut self.low[index]
    }
}
