//! The reference pages, `docs/reference/`: written by `gatewayctl reference DIRECTORY` from the code
//! they describe, compared with the committed ones by `cargo xtask docs --check`. Pure but for
//! [`write`].

mod cli;
mod configuration;
mod maps;
mod reasons;
mod resources;
mod roles;
mod seal;

use std::fs;
use std::io;
use std::path::Path;

use crate::api::document;

/// A page: its file name and its text.
pub type Page = (&'static str, String);

/// All pages.
pub fn pages() -> [Page; 7] {
    [
        ("cli.md", cli::page()),
        ("configuration.md", configuration::page()),
        ("maps.md", maps::page()),
        ("openapi.json", document()),
        ("reasons.md", reasons::page()),
        ("resources.md", resources::page()),
        ("roles.md", roles::page()),
    ]
}

/// Writes all pages into a directory, which is made if missing.
pub fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in pages() {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

/// What every page in Markdown says of itself.
const GENERATED: &str = "<!-- Written by `cargo xtask docs`; edit the code it describes. -->\n";

/// A text inside a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_pages_are_current() {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        for (name, text) in pages() {
            let found = fs::read_to_string(committed.join(name)).unwrap_or_default();
            assert!(found == text, "docs/reference/{name} is out of date: run `cargo xtask docs`");
        }
    }

    #[test]
    fn pages_end_in_one_line_break_and_hold_no_trailing_space() {
        for (name, text) in pages() {
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
            for line in text.lines() {
                assert_eq!(line.trim_end(), line, "{name}");
            }
        }
    }
}
