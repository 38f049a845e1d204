//! What getdents64(2) fills a buffer with: records of inode (8 bytes), offset (8), length (2), type (1) and name.

use core::ffi::CStr;

const LENGTH: usize = 16;
const NAME: usize = 19;

/// The names in a buffer, without "." and "..". A record that is not whole ends them.
#[derive(Debug, Clone)]
pub struct Names<'a>(&'a [u8]);

impl<'a> Names<'a> {
    /// Those of the bytes that the kernel has filled.
    pub fn new(filled: &'a [u8]) -> Self {
        Self(filled)
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a CStr;

    #[inline]
    fn next(&mut self) -> Option<&'a CStr> {
        loop {
            let [low, high] = *self.0.get(LENGTH..)?.first_chunk()?;
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let name = CStr::from_bytes_until_nul(self.0.get(NAME..length)?).ok()?;
            self.0 = self.0.get(length..)?;
            if name != c"." && name != c".." {
                return Some(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> Vec<u8> {
        let length = (NAME + name.len() + 1).next_multiple_of(8);
        let mut record = vec![0u8; length];
        record[LENGTH..LENGTH + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        record[NAME..NAME + name.len()].copy_from_slice(name.as_bytes());
        record
    }

    #[test]
    fn names_come_in_order_without_the_directory_and_its_parent() {
        let filled =
            [record("."), record("a"), record(".."), record("a longer name"), record("...")].concat();
        let names: Vec<_> = Names::new(&filled).map(|name| name.to_str().unwrap()).collect();
        assert_eq!(names, ["a", "a longer name", "..."]);
    }

    #[test]
    fn a_record_that_is_not_whole_ends_them() {
        let whole = record("a");
        for cut in 0..whole.len() {
            assert_eq!(Names::new(&whole[..cut]).count(), 0, "{cut}");
        }
        let mut without_length = record("a");
        without_length[LENGTH..LENGTH + 2].fill(0);
        assert_eq!(Names::new(&without_length).count(), 0);
        let mut without_end = record("a");
        without_end[NAME..].fill(b'x');
        assert_eq!(Names::new(&without_end).count(), 0);
    }
}
