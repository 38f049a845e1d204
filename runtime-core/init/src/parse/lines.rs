//! A file by lines, through a buffer of a fixed size.

/// The lines of what `read` gives; `SIZE` is the longest line in bytes. A longer one is left out.
#[derive(Debug)]
pub struct Lines<R, const SIZE: usize> {
    read: R,
    buffer: [u8; SIZE],
    start: usize,
    end: usize,
    /// The rest of a line that is too long comes next.
    skips: bool,
}

impl<E, R: FnMut(&mut [u8]) -> Result<usize, E>, const SIZE: usize> Lines<R, SIZE> {
    /// The lines of a file: `read` fills a part of the given room and says how much; 0 is the end.
    pub fn new(read: R) -> Self {
        Self { read, buffer: [0; SIZE], start: 0, end: 0, skips: false }
    }

    /// The next line, without its end; `None` after the last one, which need not have an end.
    ///
    /// # Errors
    /// Those of `read`.
    #[allow(clippy::should_implement_trait, reason = "the line is in the buffer, and a read can fail")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, E> {
        loop {
            let held = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(len) = held.iter().position(|byte| *byte == b'\n') {
                let start = self.start;
                self.start = start.saturating_add(len).saturating_add(1);
                if !core::mem::take(&mut self.skips) {
                    return Ok(self.buffer.get(start..start.saturating_add(len)));
                }
                continue;
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
            if self.end == SIZE {
                (self.end, self.skips) = (0, true);
            }
            match (self.read)(self.buffer.get_mut(self.end..).unwrap_or_default())? {
                0 => return Ok(self.last()),
                len => self.end = SIZE.min(self.end.saturating_add(len)),
            }
        }
    }

    fn last(&mut self) -> Option<&[u8]> {
        let line = 0..core::mem::take(&mut self.end);
        self.buffer.get(line).filter(|line| !line.is_empty() && !self.skips)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a text that is read in pieces of `piece` bytes at most.
    fn lines<const SIZE: usize>(text: &str, piece: usize) -> Vec<String> {
        let mut rest = text.as_bytes();
        let mut lines = Lines::<_, SIZE>::new(|room: &mut [u8]| {
            let (head, tail) = rest.split_at(rest.len().min(piece).min(room.len()));
            room[..head.len()].copy_from_slice(head);
            rest = tail;
            Ok::<_, i32>(head.len())
        });
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(lines.next(), Ok(None), "the end stays the end");
        all
    }

    #[test]
    fn the_size_of_the_pieces_does_not_matter() {
        for piece in 1..=16 {
            assert_eq!(lines::<8>("one\ntwo\n\nthree\n", piece), ["one", "two", "", "three"], "{piece}");
            assert_eq!(lines::<8>("one\nlast", piece), ["one", "last"], "{piece}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_is_whole() {
        for piece in 1..=32 {
            assert_eq!(lines::<8>("a\n123456789012345678901\nb\n", piece), ["a", "b"], "{piece}");
            assert_eq!(lines::<8>("12345678\nb", piece), ["b"], "as long as the buffer, {piece}");
            assert_eq!(lines::<8>("1234567\nb", piece), ["1234567", "b"], "{piece}");
            assert_eq!(lines::<8>("a\n12345678901", piece), ["a"], "at the end, {piece}");
        }
    }

    #[test]
    fn nothing_has_no_lines() {
        assert!(lines::<8>("", 1).is_empty());
    }

    #[test]
    fn an_error_of_the_read_is_handed_on() {
        let mut lines = Lines::<_, 8>::new(|_: &mut [u8]| Err::<usize, _>(5));
        assert_eq!(lines.next(), Err(5));
    }
}
