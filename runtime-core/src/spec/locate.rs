//! Finds the JSON path of a place in a text, for errors that know only line and column.

/// The JSON path of the value that `line` and `column` (from 1, in bytes) are in or just behind.
pub(super) fn path_at(text: &[u8], line: usize, column: usize) -> String {
    let start: usize =
        text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    let mut rest = text.get(..start.saturating_add(column)).unwrap_or(text);
    let mut walk = Walk::default();
    while let Some(first) = rest.first() {
        let taken = walk.step(*first, rest);
        rest = rest.get(taken..).unwrap_or_default();
    }
    walk.path()
}

/// The containers that are open.
#[derive(Default)]
struct Walk {
    open: Vec<Container>,
    /// A container that the last byte closed: an error about it is found there.
    closed: bool,
}

enum Container {
    Object { key: String, expects_key: bool },
    Array { index: usize },
}

impl Walk {
    /// Takes one token, and returns its length.
    fn step(&mut self, first: u8, rest: &[u8]) -> usize {
        if self.closed {
            self.open.pop();
            self.closed = false;
        }
        match first {
            b'{' => self.open.push(Container::Object { key: String::new(), expects_key: true }),
            b'[' => self.open.push(Container::Array { index: 0 }),
            b'}' | b']' => {
                // The path is that of the container itself.
                match self.open.last_mut() {
                    Some(Container::Object { key, .. }) => key.clear(),
                    Some(Container::Array { index }) => *index = usize::MAX,
                    None => {}
                }
                self.closed = true;
            }
            b',' => self.next(),
            b':' => {
                if let Some(Container::Object { expects_key, .. }) = self.open.last_mut() {
                    *expects_key = false;
                }
            }
            b'"' => return self.string(rest),
            _ => {}
        }
        1
    }

    fn next(&mut self) {
        match self.open.last_mut() {
            Some(Container::Array { index }) => *index = index.saturating_add(1),
            Some(Container::Object { expects_key, .. }) => *expects_key = true,
            None => {}
        }
    }

    fn string(&mut self, rest: &[u8]) -> usize {
        let mut at = 1usize;
        while let Some(byte) = rest.get(at).filter(|byte| **byte != b'"') {
            at = at.saturating_add(if *byte == b'\\' { 2 } else { 1 });
        }
        let inside = rest.get(1..at).or(rest.get(1..)).unwrap_or_default();
        if let Some(Container::Object { key, expects_key: true }) = self.open.last_mut() {
            *key = String::from_utf8_lossy(inside).into_owned();
        }
        at.saturating_add(1)
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for container in &self.open {
            match container {
                Container::Object { key, .. } if key.is_empty() => {}
                Container::Object { key, .. } if path.is_empty() => path.push_str(key),
                Container::Object { key, .. } => {
                    path.push('.');
                    path.push_str(key);
                }
                Container::Array { index: usize::MAX } => {}
                Container::Array { index } => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::path_at;

    #[test]
    fn the_path_of_a_place() {
        let text = br#"{"a": {"b": [1, {"c": "x"}, true], "d": 5},
"e": 7}"#;
        let at = |needle: &str| {
            let offset = text.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap();
            path_at(text, 1, offset + needle.len())
        };
        assert_eq!(at("\"x\""), "a.b[1].c");
        assert_eq!(at("true"), "a.b[2]");
        assert_eq!(at("5"), "a.d");
        assert_eq!(at("true]"), "a.b");
        assert_eq!(at("5}"), "a");
        assert_eq!(path_at(text, 2, 6), "e");
        assert_eq!(path_at(b"", 1, 1), "");
    }
}
