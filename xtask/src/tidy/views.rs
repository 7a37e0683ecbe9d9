//! Takes a Rust source apart into code and comments, so that a rule about code does not trip over a sentence about it.
//!
//! Both views have the lines and columns of the source; what belongs to the other view is blank, and the content of
//! literals is blank in both. This follows the lexical part of the Rust Reference as far as that needs: it is no parser,
//! and takes anything for code that it does not know.

/// One source, seen twice.
pub(super) struct Views {
    pub(super) code: String,
    pub(super) comments: String,
}

enum Kind {
    Code,
    Comment,
    Literal,
}

/// Takes `source` apart.
pub(super) fn split(source: &str) -> Views {
    let mut views = Views {
        code: String::new(),
        comments: String::new(),
    };
    let mut rest = source;
    while !rest.is_empty() {
        let (kind, length) = token(rest, views.code.ends_with(is_word));
        let (piece, behind) = rest.split_at(length);
        let nothing = blank(piece);
        let (code, comment) = match kind {
            Kind::Code => (piece, nothing.as_str()),
            Kind::Comment => (nothing.as_str(), piece),
            Kind::Literal => (nothing.as_str(), nothing.as_str()),
        };
        views.code.push_str(code);
        views.comments.push_str(comment);
        rest = behind;
    }
    views
}

/// The identifiers, keywords and numbers of a view.
pub(super) fn words(view: &str) -> impl Iterator<Item = &str> {
    view.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn blank(piece: &str) -> String {
    piece
        .chars()
        .map(|c| if c == '\n' { '\n' } else { ' ' })
        .collect()
}

/// What stands at the start of `rest`, and how long it is. `in_word`: the character before belongs to a word.
fn token(rest: &str, in_word: bool) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    let literal = match rest.as_bytes() {
        [b'"', ..] => Some(quoted(rest, '"')),
        [b'\'', ..] => character(rest),
        [b'r', ..] if !in_word => raw_string(rest, 1),
        [b'b' | b'c', b'r', ..] if !in_word => raw_string(rest, 2),
        _ => None,
    };
    match literal {
        Some(length) => (Kind::Literal, length),
        None => (Kind::Code, rest.chars().next().map_or(1, char::len_utf8)),
    }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_u32);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// From an opening quote to behind the closing one.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// A character, unless the quote begins a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut inside = rest.chars().skip(1);
    let (first, second) = (inside.next()?, inside.next()?);
    (first == '\\' || second == '\'').then(|| quoted(rest, '\''))
}

/// `r#"..."#` behind a prefix of `prefix` bytes, unless it is a raw identifier.
fn raw_string(rest: &str, prefix: usize) -> Option<usize> {
    let behind = &rest[prefix..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let content = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content
        .find(&end)
        .map_or(content.len(), |at| at + end.len());
    Some(prefix + hashes + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_words(source: &str) -> Vec<String> {
        words(&split(source).code).map(ToOwned::to_owned).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        for source in [
            "// out\nin",
            "/* out /* out */ out */ in",
            r#""out \" out" in"#,
            r##"r#"out " out"# in"##,
            r#""out
                out" in"#,
            "'\"' in '\\'' // out",
        ] {
            assert_eq!(code_words(source), ["in"], "{source}");
        }
    }

    #[test]
    fn lifetimes_raw_identifiers_and_prefixes_are_code() {
        assert_eq!(
            code_words("&'a str, r#type, bar\"out\""),
            ["a", "str", "r", "type", "bar"]
        );
        assert_eq!(code_words("for<'r> &'r"), ["for", "r", "r"]);
    }

    #[test]
    fn both_views_keep_the_lines_of_the_source() {
        let source = "let a = \"x\ny\"; // é\n/* 1\n2 */ end";
        let views = split(source);
        assert_eq!(views.code.lines().count(), source.lines().count());
        assert_eq!(views.comments.lines().nth(1).map(str::trim), Some("// é"));
        assert_eq!(views.code.lines().last().map(str::trim), Some("end"));
    }

    #[test]
    fn an_unfinished_source_ends_where_it_ends() {
        for source in ["/* a", "\"a", "r#\"a", "'", "'a", "'\\"] {
            assert_eq!(
                split(source).code.chars().count(),
                source.chars().count(),
                "{source}"
            );
        }
    }
}
