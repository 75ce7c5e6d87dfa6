//! Rust text without its comments and without what stands in its literals.
//!
//! Used by the lint, so that a banned word in a sentence or a message is no offence. Lines stay lines.

/// What the scanner is inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// The code alone; comments and the contents of string and character literals become nothing.
pub(crate) fn code(source: &str) -> String {
    let characters: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut state = State::Code;
    let mut at = 0;
    while let Some(current) = characters.get(at).copied() {
        let rest = &characters[at..];
        let mut taken = 1;
        match state {
            State::Code if starts(rest, "//") => state = State::LineComment,
            State::Code if starts(rest, "/*") => {
                state = State::BlockComment { depth: 1 };
                taken = 2;
            }
            State::Code if current == '"' => {
                state = State::Text;
                out.push('"');
            }
            State::Code if raw_text(rest).is_some() && !ends_in_word(&out) => {
                let hashes = raw_text(rest).unwrap_or_default();
                state = State::RawText { hashes };
                taken = hashes + 2;
                out.push('"');
            }
            State::Code if current == '\'' => {
                taken = character(rest);
                out.push('\'');
            }
            State::Code if current != '\n' => out.push(current),
            State::LineComment if current == '\n' => state = State::Code,
            State::BlockComment { depth } if starts(rest, "/*") => {
                state = State::BlockComment { depth: depth + 1 };
                taken = 2;
            }
            State::BlockComment { depth } if starts(rest, "*/") => {
                taken = 2;
                state = match depth {
                    1 => State::Code,
                    depth => State::BlockComment { depth: depth - 1 },
                };
            }
            State::Text if current == '\\' => taken = 2,
            State::Text if current == '"' => {
                state = State::Code;
                out.push('"');
            }
            State::RawText { hashes } if current == '"' && closes(rest, hashes) => {
                state = State::Code;
                taken = hashes + 1;
                out.push('"');
            }
            State::Code
            | State::LineComment
            | State::BlockComment { .. }
            | State::Text
            | State::RawText { .. } => {}
        }
        // Every line of the source is a line of the code, whatever it was a part of.
        out.extend(rest.iter().take(taken).filter(|character| **character == '\n'));
        at += taken;
    }
    out
}

/// Does the word stand in the code, not as a part of a longer one?
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_of_word) && !after.is_some_and(is_of_word)
    })
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn ends_in_word(out: &str) -> bool {
    out.chars().next_back().is_some_and(is_of_word)
}

fn starts(rest: &[char], text: &str) -> bool {
    text.chars().enumerate().all(|(index, character)| rest.get(index) == Some(&character))
}

/// The number of hashes if a raw literal begins here.
fn raw_text(rest: &[char]) -> Option<usize> {
    let hashes =
        rest.strip_prefix(&['r'])?.iter().take_while(|character| **character == '#').count();
    (rest.get(1 + hashes) == Some(&'"')).then_some(hashes)
}

fn closes(rest: &[char], hashes: usize) -> bool {
    rest[1..].iter().take_while(|character| **character == '#').count() >= hashes
}

/// The length of a character literal, or 1 for the tick of a lifetime.
fn character(rest: &[char]) -> usize {
    match rest.get(1) {
        Some('\\') => {
            let end = rest.iter().skip(3).position(|character| *character == '\'');
            end.map_or(1, |end| end + 4)
        }
        Some(_) if rest.get(2) == Some(&'\'') => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_vanish_and_lines_stay() {
        for (source, expected) in [
            ("a // b\nc", "a \nc"),
            ("a /* b /* c */ d\n */ e", "a \n e"),
            (r#"a("b \" // c") d"#, r#"a("") d"#),
            ("a(r#\"b \" c\"#) d", "a(\"\") d"),
            ("a(\"b\nc\") d", "a(\"\n\") d"),
            ("var\"x\"", "var\"\""),
            (r"f('x', '\'', '\\', '\u{7f}', '\n') g", "f(', ', ', ', ') g"),
            ("fn f<'a>(x: &'a str) {}\n", "fn f<'a>(x: &'a str) {}\n"),
            ("'\"' b \"c\"", "' b \"\""),
        ] {
            assert_eq!(code(source), expected, "{source}");
        }
    }

    #[test]
    fn an_open_end_is_no_trouble() {
        for source in ["\"abc", "/* abc", "r##\"abc\"#", "'", "'\\", "\"\\"] {
            code(source);
        }
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("x unsafe {", "unsafe"));
        assert!(!has_word("forbid(unsafe_code)", "unsafe"));
        assert!(has_word("fn get_x", "fn") && !has_word("fnord", "fn"));
    }
}
