//! `edit`: a resource in the operator's editor. What was written is not lost, whatever happens to it.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::api::wire::View;
use crate::ctl::print::yaml;

const HEAD: &str = "\
# Save it and leave the editor: it is applied then. Leave it as it is, and nothing is changed.
# With metadata.revision it is refused if somebody else has changed it meanwhile.
";

/// A resource as it can be applied, without what has become of it.
#[derive(Debug, Serialize)]
pub(super) struct Declaration<'a> {
    kind: &'a str,
    metadata: Metadata<'a>,
    spec: &'a Value,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    revision: u64,
}

impl<'a> Declaration<'a> {
    /// What is declared, with other labels.
    pub(super) fn with_labels(view: &'a View, labels: &'a BTreeMap<String, String>) -> Self {
        let View { kind, metadata, spec, status: _ } = view;
        let metadata = Metadata { name: &metadata.name, labels, revision: metadata.revision };
        Self { kind, metadata, spec }
    }

    /// What is declared.
    pub(super) fn of(view: &'a View) -> Self {
        Self::with_labels(view, &view.metadata.labels)
    }
}

/// What the operator made of a resource.
#[derive(Debug)]
pub(super) struct Edited {
    /// Where it stands.
    pub path: PathBuf,
    /// What it says; none if it is as it was.
    pub text: Option<String>,
}

/// Lets the operator edit what is declared of a resource.
pub(super) fn edit(view: &View) -> Result<Edited> {
    let text = format!("{HEAD}{}", yaml(&Declaration::of(view))?);
    let path = written(&text)?;
    let kept = || format!("what you wrote is in {}", path.display());
    open_editor(&path).with_context(kept)?;
    let edited = fs::read_to_string(&path).with_context(kept)?;
    let is_other = edited != text && !edited.trim().is_empty();
    Ok(Edited { text: is_other.then_some(edited), path })
}

/// A new file that only the operator may read.
fn written(text: &str) -> Result<PathBuf> {
    let directory = env::temp_dir();
    let process = std::process::id();
    for n in 0..1000 {
        let path = directory.join(format!("gatewayctl-edit-{process}-{n}.yaml"));
        let opened = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let failed = || format!("cannot write {}", path.display());
        match opened {
            Ok(mut file) => {
                file.write_all(text.as_bytes()).with_context(failed)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(failed),
        }
    }
    anyhow::bail!("{} is full of files of earlier edits; remove them", directory.display())
}

fn open_editor(path: &Path) -> Result<()> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| env::var(name).ok());
    let editor = named.into_iter().find(|editor| !editor.trim().is_empty());
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended = Command::new(program).args(words).arg(path).status();
    let ended = ended.with_context(|| {
        format!("cannot start the editor {program}; name another in $VISUAL or $EDITOR")
    })?;
    ensure!(ended.success(), "the editor {program} failed ({ended}), so nothing was applied");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn what_is_edited_is_what_is_declared() {
        let view = &sample::views()[1];
        let text = yaml(&Declaration::of(view)).unwrap();
        let read: Value = yaml_serde::from_str(&text).unwrap();
        assert_eq!(read["metadata"]["revision"], 7);
        assert_eq!(read["metadata"]["labels"]["tier"], "edge");
        assert_eq!(read["spec"], view.spec);
        assert!(read.get("status").is_none() && read["metadata"].get("managers").is_none());
        assert!(HEAD.lines().all(|line| line.starts_with('#')));
    }
}
