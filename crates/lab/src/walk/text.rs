//! Rows as aligned text.

/// The rows with their columns under each other, two blanks between them, each line indented by two.
pub fn columns<S: AsRef<str>>(rows: &[Vec<S>]) -> String {
    let width = |text: &S| text.as_ref().chars().count();
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(width).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell.as_ref());
            line.extend(std::iter::repeat_n(' ', wide - width(cell) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_stand_under_each_other_and_lines_have_no_tail() {
        let rows = [vec!["a", "bcd", "e"], vec!["abc", "", "é"], vec!["x"]];
        assert_eq!(columns(&rows), "  a    bcd  e\n  abc       é\n  x\n");
    }
}
