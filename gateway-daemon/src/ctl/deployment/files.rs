//! The files that `-f` names: one text for the controller, whose lines are found again in the files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use gateway_control::resource::{self, MAX_LEN, Resource, ResourceError};

use super::usage::{FilesError, Refused};
use crate::api::client::ClientError;
use crate::api::wire::{ErrorWord, ProblemView, Refusal};

/// What stands between the texts of two files.
const BETWEEN: &str = "---\n";

/// Files with their texts, in the order of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Files(Vec<Text>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    name: String,
    text: String,
}

impl Files {
    /// Reads files, those of directories, and standard input for `-`.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, FilesError> {
        let mut files = Self::default();
        let mut input_seen = false;
        for path in paths {
            if path == Path::new("-") {
                if std::mem::replace(&mut input_seen, true) {
                    return Err(FilesError::InputTwice);
                }
                files.add(path, "standard input".to_owned(), io::stdin())?;
            } else if path.is_dir() {
                for path in inside(path)? {
                    files.open(&path)?;
                }
            } else {
                files.open(path)?;
            }
        }
        Ok(files)
    }

    /// A file that was read already.
    pub(super) fn one(name: String, text: String) -> Self {
        Self(vec![Text { name, text: with_end(text) }])
    }

    fn open(&mut self, path: &Path) -> Result<(), FilesError> {
        let opened = File::open(path);
        let file = opened.map_err(|reason| FilesError::Read { path: path.to_owned(), reason })?;
        self.add(path, path.display().to_string(), file)
    }

    fn add(&mut self, path: &Path, name: String, from: impl io::Read) -> Result<(), FilesError> {
        let taken: usize = self.0.iter().map(|file| file.text.len() + BETWEEN.len()).sum();
        let room = MAX_LEN.saturating_sub(taken);
        let mut text = String::new();
        let limited = from.take(room as u64 + 1).read_to_string(&mut text);
        limited.map_err(|reason| FilesError::Read { path: path.to_owned(), reason })?;
        if text.len() > room {
            return Err(FilesError::TooLong { most: MAX_LEN });
        }
        self.0.push(Text { name, text: with_end(text) });
        Ok(())
    }

    /// All of them as one text.
    pub(super) fn body(&self) -> String {
        let texts: Vec<_> = self.0.iter().map(|file| file.text.as_str()).collect();
        texts.join(BETWEEN)
    }

    /// The file that a line of the body is of, and the line in it.
    pub(super) fn place(&self, line: usize) -> Option<(&str, usize)> {
        let mut before = 0;
        for Text { name, text } in &self.0 {
            let lines = text.lines().count();
            if line <= before + lines {
                return Some((name, line.checked_sub(before).filter(|line| *line > 0)?));
            }
            before += lines + 1;
        }
        None
    }

    /// The resources of the files.
    pub(super) fn resources(&self) -> Result<Vec<Resource>, FilesError> {
        let (mut resources, mut faults) = (Vec::new(), Vec::new());
        for Text { name, text } in &self.0 {
            match resource::read(text) {
                Ok(declared) => resources.extend(declared.into_iter().map(|it| it.resource)),
                Err(error) => faults.push(with_places(name, &error)),
            }
        }
        let mut seen = BTreeSet::new();
        for key in resources.iter().map(Resource::key) {
            if !seen.insert(key.clone()) {
                faults.push(format!("{key} is declared in two files; remove one of the two"));
            }
        }
        match faults.is_empty() {
            true => Ok(resources),
            false => Err(FilesError::Faults(faults.join("\n"))),
        }
    }

    /// Why what these files say was refused, with their places.
    pub(super) fn refused(&self, error: ClientError) -> anyhow::Error {
        let ClientError::Refused(refusal) = error else { return error.into() };
        let is_content = refusal.error == ErrorWord::Invalid;
        if is_content && let Err(faults) = self.resources() {
            // The same faults, each with its line; and an open bracket is not looked for in the next file.
            return faults.into();
        }
        let Refusal { error, message, problems } = refusal;
        let told: Vec<_> = problems.iter().map(|problem| self.told(problem)).collect();
        let text = if told.is_empty() { message } else { told.join("\n") };
        let is_outrun =
            problems.iter().any(|problem| problem.field.as_deref() == Some("metadata.revision"));
        Refused { text, error, is_outrun }.into()
    }

    fn told(&self, problem: &ProblemView) -> String {
        let ProblemView { kind, name, field, message, line, column, document: _ } = problem;
        let place = line.and_then(|line| self.place(line)).map(|(file, line)| match column {
            Some(column) => format!("{file}:{line}:{column}: "),
            None => format!("{file}:{line}: "),
        });
        let subject = match (kind, name) {
            (Some(kind), Some(name)) => Some(format!("{} {name}", kind.to_lowercase())),
            _ => None,
        };
        let lacking = |text: &Option<String>| match text {
            Some(text) if !message.contains(text.as_str()) => format!("{text}: "),
            _ => String::new(),
        };
        let place = place.unwrap_or_default();
        format!("{place}{}{}{message}", lacking(&subject), lacking(field))
    }
}

/// The files of a directory that hold resources, by name.
fn inside(directory: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let failed = |reason| FilesError::Read { path: directory.to_owned(), reason };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(|it| it.to_str());
        if matches!(ending, Some("yaml" | "yml" | "json")) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    match paths.is_empty() {
        true => Err(FilesError::Empty { path: directory.to_owned() }),
        false => Ok(paths),
    }
}

fn with_end(text: String) -> String {
    // A mark of the encoding has no place inside of a text.
    let mut text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn with_places(name: &str, error: &ResourceError) -> String {
    let faults = error.faults().iter().map(|fault| {
        let kind = fault.kind.to_string();
        let drawn = fault.to_string();
        let excerpt: Vec<_> = drawn.lines().skip(kind.lines().count()).collect();
        let end =
            if excerpt.is_empty() { String::new() } else { format!("\n{}", excerpt.join("\n")) };
        format!("{name}:{}:{}: {kind}{end}", fault.line, fault.column)
    });
    faults.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> Files {
        let text = |(name, text): &(&str, &str)| Text {
            name: (*name).to_owned(),
            text: with_end((*text).to_owned()),
        };
        Files(texts.iter().map(text).collect())
    }

    #[test]
    fn lines_of_the_whole_are_lines_of_files() {
        let files = files(&[("a", "1\n2"), ("empty", ""), ("b", "\u{feff}1\n2\n3\n")]);
        let body = files.body();
        for (n, line) in (1..).zip(body.lines()) {
            match line {
                "---" => assert_eq!(files.place(n).filter(|(_, line)| *line > 0), None, "{n}"),
                line => assert_eq!(files.place(n).map(|it| it.1.to_string()), Some(line.into())),
            }
        }
        assert_eq!(files.place(1), Some(("a", 1)));
        assert_eq!(files.place(5), Some(("b", 1)), "{body}");
        assert_eq!(files.place(99), None);
    }

    #[test]
    fn faults_name_file_and_line() {
        let site = "kind: Site\nmetadata: {name: a}\nspec: {role: hub}\n";
        let told = files(&[("x.yaml", "# nothing\n"), ("y.yaml", site)]).resources().unwrap_err();
        let told = told.to_string();
        assert!(told.contains("y.yaml:3:") && told.contains("cloud, edge"), "{told}");
        assert!(!told.contains("document"), "{told}");
        let policy =
            "kind: Policy\nmetadata: {name: p}\nspec: {rules: [{from: {site: a}, to: b.c}]}\n";
        let told = files(&[("x", policy), ("y", policy)]).resources().unwrap_err().to_string();
        assert!(told.contains("policy p is declared in two files"), "{told}");
    }

    #[test]
    fn an_open_bracket_ends_with_its_file() {
        let refusal = Refusal {
            error: ErrorWord::Invalid,
            message: "notation".into(),
            problems: vec![ProblemView { line: Some(3), ..ProblemView::default() }],
        };
        let files = files(&[("x.yaml", "kind: [Site\n"), ("y.yaml", "kind: Site\n")]);
        let told = files.refused(ClientError::Refused(refusal)).to_string();
        assert!(told.contains("x.yaml:1:") || told.contains("x.yaml:2:"), "{told}");
    }

    #[test]
    fn problems_are_told_with_what_they_lack() {
        let files = files(&[("x.yaml", "kind: Site\n")]);
        let problem = |message: &str| ProblemView {
            kind: Some("Site".into()),
            name: Some("a".into()),
            field: Some("spec.hub".into()),
            message: message.into(),
            line: Some(1),
            column: Some(2),
            ..ProblemView::default()
        };
        assert_eq!(files.told(&problem("no")), "x.yaml:1:2: site a: spec.hub: no");
        assert_eq!(
            files.told(&problem("site a: spec.hub: no")),
            "x.yaml:1:2: site a: spec.hub: no"
        );
        let refusal =
            Refusal { error: ErrorWord::InUse, message: "all of it".into(), problems: Vec::new() };
        assert_eq!(files.refused(ClientError::Refused(refusal)).to_string(), "all of it");
    }
}
