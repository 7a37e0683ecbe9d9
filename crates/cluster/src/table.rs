//! Rows as aligned text, as `cargo xtask demo` prints them.

/// The rows with their columns under each other, two blanks between them, each line indented by two.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let width = |text: &String| text.chars().count();
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(width).max().unwrap_or_default()
    };
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate();
        let padded = cells.map(|(column, cell)| format!("  {cell:wide$}", wide = widest(column)));
        text.push_str(padded.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::columns;

    #[test]
    fn columns_stand_under_each_other_and_lines_have_no_tail() {
        let rows = ["a bcd e", "abc . é", "x"]
            .map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(columns(&rows), "  a    bcd  e\n  abc  .    é\n  x\n");
    }
}
