//! Which key was meant, when one is misspelled.

/// Most letters that a misspelling differs by.
const SLIPS: usize = 2;

/// The known word that is close enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|known| (distance(word, known), *known));
    near.filter(|(slips, known)| *slips <= SLIPS && *slips < known.len())
        .min()
        .map(|(_, known)| known)
}

/// How many letters have to be put, taken or changed to make `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_word_is_known_and_a_strange_one_is_not() {
        let known = ["name", "addresses", "ranges"];
        assert_eq!(nearest("adresses", &known), Some("addresses"));
        assert_eq!(nearest("range", &known), Some("ranges"));
        assert_eq!(nearest("Name", &known), Some("name"));
        assert_eq!(nearest("mtu", &known), None);
    }
}
