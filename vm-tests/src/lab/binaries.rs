//! Where the programs of this workspace are: beside the one that runs, or where
//! `PRESENCE_BIN_DIR` says.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The path of one of the workspace's programs.
pub fn locate(program: &str) -> Result<PathBuf> {
    let directories = match env::var_os("PRESENCE_BIN_DIR") {
        Some(directory) => vec![PathBuf::from(directory)],
        None => {
            let own = env::current_exe().context("find this program's own path")?;
            // A test program lies in deps/, one below the others.
            own.ancestors().skip(1).take(2).map(PathBuf::from).collect()
        }
    };
    match directories.iter().map(|directory| directory.join(program)).find(|it| it.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "{program} is not in {}; build it with `cargo xtask build`, or set PRESENCE_BIN_DIR \
             to the directory it is in",
            directories[0].display()
        ),
    }
}
