//! Faults of a site file as an operator reads them: line, column, message, the line and a caret.

use std::fmt;

use super::{FaultKind, Span};
use crate::excerpt::{Excerpt, excerpt};

/// Everything that is wrong with a site file, in the order of the text; at least one fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SiteFileError {
    faults: Vec<Fault>,
    more: usize,
}

impl SiteFileError {
    /// How many faults are kept; further ones are counted.
    const SHOWN: usize = 100;

    /// The faults.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(super) fn one(text: &str, span: Span, kind: FaultKind) -> Self {
        Self::new(text, vec![(span, kind)])
    }

    pub(super) fn new(text: &str, mut found: Vec<(Span, FaultKind)>) -> Self {
        found.sort_by_key(|(span, _)| span.start);
        let more = found.len().saturating_sub(Self::SHOWN);
        let faults = found.into_iter().take(Self::SHOWN);
        Self { faults: faults.map(|(span, kind)| Fault::new(text, span, kind)).collect(), more }
    }
}

impl fmt::Display for SiteFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\n\nand {} more; correct these first", self.more)?;
        }
        Ok(())
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: FaultKind,
    excerpt: Excerpt,
}

impl Fault {
    fn new(text: &str, span: Span, kind: FaultKind) -> Self {
        let (line, column, excerpt) = excerpt(text, span);
        Self { line, column, kind, excerpt }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}, column {}: {}", self.line, self.column, self.kind)?;
        self.excerpt.draw(f, self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, span: Span) -> Fault {
        Fault::new(text, span, FaultKind::Notation("wrong".to_owned()))
    }

    #[test]
    fn caret_stands_under_the_value() {
        let text = "a = 1\nb = \"x\"\nc = 2\n";
        let shown = fault(text, 10..13).to_string();
        assert_eq!(shown, "line 2, column 5: wrong\n  |\n2 | b = \"x\"\n  |     ^^^");
    }

    #[test]
    fn places_at_the_edges() {
        for (text, span, line, column) in [
            ("", 0..0, 1, 1),
            ("a", 1..1, 1, 2),
            ("a\n", 2..2, 2, 1),
            ("é=é", 3..5, 1, 3),
            ("é", 1..2, 1, 1),
            ("a", 7..9, 1, 2),
        ] {
            let fault = fault(text, span.clone());
            assert_eq!((fault.line, fault.column), (line, column), "{text:?} {span:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let shown = fault(&text, 5000..5001).to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[2].len() < 120);
        assert_eq!(lines[2].find('X'), lines[3].find('^'));
    }

    #[test]
    fn many_faults_are_counted() {
        let found = (0..150).map(|n| (n..n, FaultKind::Notation(String::new()))).collect();
        let error = SiteFileError::new("", found);
        assert_eq!(error.faults().len(), 100);
        assert!(error.to_string().ends_with("and 50 more; correct these first"));
    }
}
