//! A place in a text as an operator reads it: line, column, the line itself and a caret. The readers of
//! site files and of resources show their faults by it.

use std::fmt;

use crate::lowering::Span;

/// Line and column of a place, both counted from 1, the column in characters, and what to show of it.
pub(crate) fn excerpt(text: &str, span: Span) -> (usize, usize, Excerpt) {
    let start = floor(text, span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let column = text[line_start..start].chars().count() + 1;
    let end = floor(text, span.end).clamp(start, line_end.max(start));
    let line = &text[line_start..line_end.max(line_start)];
    let shown = Excerpt::new(line, column, text[start..end].chars().count());
    (text[..start].matches('\n').count() + 1, column, shown)
}

/// The nearest place at or before `at` where a character starts.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The part of a line that is shown, and where the caret stands under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    line: String,
    before: usize,
    marked: usize,
}

impl Excerpt {
    const WIDTH: usize = 100;
    const LEAD: usize = 60;

    fn new(line: &str, column: usize, marked: usize) -> Self {
        let skipped = (column - 1).saturating_sub(Self::LEAD);
        // Anything but printable characters would move the caret, or the terminal's cursor.
        let shown = line.trim_end_matches('\r').chars().skip(skipped).take(Self::WIDTH);
        let line: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let before = column - 1 - skipped;
        let most = Self::WIDTH.saturating_sub(before);
        Self { line, before, marked: marked.clamp(1, most.max(1)) }
    }

    /// The line with its number, and the caret under it.
    pub(crate) fn draw(&self, f: &mut fmt::Formatter<'_>, line: usize) -> fmt::Result {
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.line)?;
        write!(f, "{gutter} | {}{}", " ".repeat(self.before), "^".repeat(self.marked))
    }
}
