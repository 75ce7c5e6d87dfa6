//! `cargo xtask docs`: `docs/reference/`, written by the programs themselves.
//!
//! `gatewayctl reference DIRECTORY` writes every page; a page in the tree that it would write otherwise,
//! or would not write at all, is out of date.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

const REFERENCE: &str = "docs/reference";

/// Writes the pages anew and removes those that are no longer written.
pub(crate) fn generate(workspace: &Path, gatewayctl: &Path, scratch: &Path) -> Result<()> {
    let pages = written(gatewayctl, scratch)?;
    let reference = workspace.join(REFERENCE);
    for path in read(&reference)?.keys().filter(|path| !pages.contains_key(*path)) {
        fs::remove_file(reference.join(path))?;
    }
    for (path, text) in &pages {
        let path = reference.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
    }
    println!("{} pages in {REFERENCE}", pages.len());
    Ok(())
}

/// Fails with every page that is not what the programs write.
pub(crate) fn check(workspace: &Path, gatewayctl: &Path, scratch: &Path) -> Result<()> {
    let pages = written(gatewayctl, scratch)?;
    let stale = differences(&pages, &read(&workspace.join(REFERENCE))?);
    if stale.is_empty() {
        return Ok(());
    }
    bail!("out of date in {REFERENCE}: {}; run `cargo xtask docs` and commit", stale.join(", "))
}

type Pages = BTreeMap<PathBuf, Vec<u8>>;

fn written(gatewayctl: &Path, scratch: &Path) -> Result<Pages> {
    if scratch.exists() {
        fs::remove_dir_all(scratch)?;
    }
    fs::create_dir_all(scratch)?;
    process::run(Command::new(gatewayctl).arg("reference").arg(scratch))?;
    let pages = read(scratch)?;
    if pages.is_empty() {
        bail!("`gatewayctl reference` wrote no page");
    }
    Ok(pages)
}

fn read(directory: &Path) -> Result<Pages> {
    let mut pages = Pages::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(next) = left.pop().filter(|next| next.exists()) {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                pages.insert(path.strip_prefix(directory)?.to_path_buf(), fs::read(&path)?);
            }
        }
    }
    Ok(pages)
}

fn differences(written: &Pages, found: &Pages) -> Vec<String> {
    let paths = written.keys().chain(found.keys().filter(|path| !written.contains_key(*path)));
    paths
        .filter(|path| written.get(*path) != found.get(*path))
        .map(|path| path.display().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let pages = |list: &[(&str, &str)]| -> Pages {
            list.iter()
                .map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()))
                .collect()
        };
        let written = pages(&[("a.md", "1"), ("b.md", "2"), ("c.md", "3")]);
        assert_eq!(differences(&written, &written), Vec::<String>::new());
        let found = pages(&[("a.md", "1"), ("b.md", "x"), ("d.md", "4")]);
        assert_eq!(differences(&written, &found), ["b.md", "c.md", "d.md"]);
    }
}
