//! Tables of text, aligned as runc's are.

/// The least width of a column, with its padding.
const LEAST: usize = 12;
/// The spaces after the widest cell of a column.
const PADDING: usize = 3;

/// Aligns the cells of each column; the last column is not padded.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.saturating_add(PADDING).max(LEAST)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let Some((last, others)) = row.split_last() else { continue };
        for (cell, width) in others.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let text = align(&[row(["ID", "PID", "OWNER"]), row(["a-rather-long-id", "1", "root"])]);
        assert_eq!(text, "ID                 PID         OWNER\na-rather-long-id   1           root\n");
    }
}
