//! Writes the archive format that Linux unpacks as its first root file system.
//!
//! The "newc" layout of `Documentation/driver-api/early-userspace/buffer-format.rst`: a header of
//! hexadecimal numbers, the name, the content, each padded to four bytes, and a closing entry. Parents
//! are written before what lies in them, each once.

use std::collections::BTreeSet;
use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;
const REGULAR: u32 = 0o100_000;
const LAST: &str = "TRAILER!!!";

/// An archive in the making; every path is relative to the root and has no leading slash.
#[derive(Debug)]
pub(crate) struct Archive<W> {
    out: W,
    next_inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, next_inode: 1, directories: BTreeSet::new() }
    }

    /// A directory and the directories above it; one that is there already stays as it is.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.parents(path)?;
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, (0, 0), &[])?;
        }
        Ok(())
    }

    /// A regular file with its permission bits.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, REGULAR | permissions, (0, 0), content)
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, SYMLINK, (0, 0), target.as_bytes())
    }

    pub(crate) fn character_device(
        &mut self,
        path: &str,
        major: u32,
        minor: u32,
    ) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Writes the closing entry and gives the writer back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry(LAST, 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{path} is too large for a newc archive")))?;
        let name_size = path.len() + 1;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        write!(self.out, "070701{:08x}{mode:08x}{:08x}{:08x}", self.next_inode, 0, 0)?;
        write!(self.out, "{links:08x}{:08x}{size:08x}{:08x}{:08x}", 0, 0, 0)?;
        write!(self.out, "{:08x}{:08x}{name_size:08x}{:08x}", device.0, device.1, 0)?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        // The header of 110 bytes is padded together with the name.
        self.pad(110 + name_size)?;
        self.out.write_all(content)?;
        self.pad(content.len())?;
        self.next_inode += 1;
        Ok(())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode, device and content.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    /// Every entry, read by the format's description.
    fn read(archive: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut at = 0;
        loop {
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                let text = std::str::from_utf8(&archive[start..start + 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&archive[at..at + 6], b"070701");
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let name = &archive[at + 110..at + 110 + name_size];
            assert_eq!(name.last(), Some(&0));
            let name = String::from_utf8(name[..name_size - 1].to_vec()).unwrap();
            let content = (at + 110 + name_size).next_multiple_of(4);
            if name == LAST {
                assert_eq!(content, archive.len());
                return entries;
            }
            entries.push((
                name,
                field(1),
                (field(9), field(10)),
                archive[content..content + size].to_vec(),
            ));
            at = (content + size).next_multiple_of(4);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut archive = Archive::new(Vec::new());
        archive.file("a/b/one", 0o755, b"12345").unwrap();
        archive.file("a/b/two", 0o644, b"").unwrap();
        archive.directory("a").unwrap();
        archive.symlink("bin", "usr/bin").unwrap();
        archive.character_device("dev/console", 5, 1).unwrap();
        let entries = read(&archive.finish().unwrap());
        assert_eq!(
            entries,
            [
                ("a".to_owned(), DIRECTORY, (0, 0), vec![]),
                ("a/b".to_owned(), DIRECTORY, (0, 0), vec![]),
                ("a/b/one".to_owned(), REGULAR | 0o755, (0, 0), b"12345".to_vec()),
                ("a/b/two".to_owned(), REGULAR | 0o644, (0, 0), vec![]),
                ("bin".to_owned(), SYMLINK, (0, 0), b"usr/bin".to_vec()),
                ("dev".to_owned(), DIRECTORY, (0, 0), vec![]),
                ("dev/console".to_owned(), CHARACTER_DEVICE, (5, 1), vec![]),
            ]
        );
    }

    #[test]
    fn every_length_of_name_and_content_is_padded() {
        for length in 0..9 {
            let mut archive = Archive::new(Vec::new());
            let name = "n".repeat(length + 1);
            archive.file(&name, 0o600, &vec![7; length]).unwrap();
            let entries = read(&archive.finish().unwrap());
            assert_eq!(entries[0].0, name);
            assert_eq!(entries[0].3, vec![7; length]);
        }
    }
}
