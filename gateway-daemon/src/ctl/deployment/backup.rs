//! `backup` and `restore` of what the controller keeps.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::api::client::{Client, Stream};
use crate::ctl::print::{Answer, octets};
use crate::store::sqlite;

/// A backup that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Written {
    file: String,
    octets: u64,
}

impl Answer for Written {
    fn text(&self) -> String {
        format!("{} written, {}\n", self.file, octets(self.octets))
    }
}

/// A backup that is the store now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Restored {
    store: String,
    revision: u64,
    revision_of_backup: u64,
    replaced: Option<String>,
}

impl Answer for Restored {
    fn text(&self) -> String {
        let Self { store, revision, revision_of_backup, replaced } = self;
        let replaced = match replaced {
            Some(path) => format!("What was there is kept as {path}.\n"),
            None => String::new(),
        };
        format!(
            "{store} is what the backup holds, of revision {revision_of_backup}. Revisions go on behind \
             {revision}, far above any that was given out since, so that none is given out twice.\n\
             {replaced}Start the controller.\n"
        )
    }
}

/// Writes a backup to a new file, which is there whole or not at all.
pub(super) async fn backup(client: &Client, file: &Path) -> Result<Written> {
    if file.exists() {
        bail!("{}: there is such a file already; choose another name", file.display());
    }
    let part = beside(file);
    let failed = |path: &Path| format!("cannot write {}", path.display());
    let stream = client.backup().await?;
    let opened = File::options().write(true).create_new(true).mode(0o600).open(&part);
    let mut target = opened.with_context(|| failed(&part))?;
    let written = async {
        let octets = copy(stream, &mut target, &part).await?;
        target.sync_all().with_context(|| failed(&part))?;
        // Unlike renaming, this takes nobody's place.
        fs::hard_link(&part, file).with_context(|| failed(file))?;
        Ok(octets)
    };
    let written: Result<u64> = written.await;
    let removed =
        fs::remove_file(&part).with_context(|| format!("cannot remove {}", part.display()));
    let octets = written?;
    removed?;
    let directory = file.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    File::open(directory).and_then(|it| it.sync_all()).with_context(|| failed(directory))?;
    Ok(Written { file: file.display().to_string(), octets })
}

async fn copy(mut stream: Stream, target: &mut File, path: &Path) -> Result<u64> {
    // Draws nothing where standard error is no terminal.
    let (bar, template) = match stream.length() {
        Some(length) => {
            (ProgressBar::new(length), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let mut octets = 0;
    while let Some(part) = stream.next_part().await? {
        target.write_all(&part).with_context(|| format!("cannot write {}", path.display()))?;
        octets += part.len() as u64;
        bar.set_position(octets);
    }
    bar.finish_and_clear();
    Ok(octets)
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    file.with_file_name(name)
}

/// Makes a backup the store at this path.
pub(super) fn restore(file: &Path, store: &Path) -> Result<Restored> {
    let restored = sqlite::restore(file, store)?;
    Ok(Restored {
        store: store.display().to_string(),
        revision: restored.revision.number(),
        revision_of_backup: restored.of.number(),
        replaced: restored.replaced.map(|path| path.display().to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_name_files_and_revisions() {
        let written = Written { file: "x".into(), octets: 2048 };
        assert_eq!(written.text(), "x written, 2.0 KiB\n");
        let restored = Restored {
            store: "/s".into(),
            revision: 1_000_000_007,
            revision_of_backup: 7,
            replaced: Some("/s-replaced-1".into()),
        };
        let text = restored.text();
        for part in ["of revision 7.", "1000000007", "kept as /s-replaced-1"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!Restored { replaced: None, ..restored }.text().contains("kept"));
        assert_eq!(beside(Path::new("/a/b")).parent(), Some(Path::new("/a")));
    }
}
