//! An XDP program that passes everything, for the far end of a veth. Written by hand, so that no
//! compiler is needed where the lab runs.
//!
//! What a program sends back with XDP_TX on a veth waits in the far end's ring until that end polls,
//! and the sender wakes it only if it has an XDP program of its own: drivers/net/veth.c,
//! veth_xdp_flush, up to at least 6.18. A network card needs no such thing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::namespace::Namespace;

/// Attaches the program to a device, by way of an object file in `directory`.
pub fn attach(namespace: &Namespace, device: &str, directory: &Path) -> Result<()> {
    let file = directory.join("pass.o");
    fs::write(&file, object()).with_context(|| format!("write {}", file.display()))?;
    namespace.ip(&format!("link set dev {device} xdp object {} section xdp", file.display()))?;
    Ok(())
}

const HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;

const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;

/// The names of sections and symbols, each ended by a zero.
const NAMES: &[u8] = b"\0xdp\0license\0.symtab\0.strtab\0pass\0";

/// `r0 = XDP_PASS; exit`.
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const LICENCE: &[u8; 8] = b"GPL\0\0\0\0\0";

/// A relocatable ELF file with that one program.
fn object() -> Vec<u8> {
    const SECTIONS: u16 = 5;
    const STRINGS: u16 = 4;
    const BPF: u16 = 247;
    let contents: [Vec<u8>; 4] =
        [PROGRAM.to_vec(), LICENCE.to_vec(), symbols(), padded(NAMES.to_vec())];
    let length: usize = contents.iter().map(Vec::len).sum();

    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    halves(&mut elf, &[1, BPF]);
    words(&mut elf, &[1]);
    longs(&mut elf, &[0, 0, HEADER + length]);
    words(&mut elf, &[0]);
    halves(&mut elf, &[64, 0, 0, 64, SECTIONS, STRINGS]);
    let mut offsets = Vec::new();
    for content in &contents {
        offsets.push(elf.len());
        elf.extend(content);
    }
    elf.extend([0; SECTION_HEADER]);
    const ALLOCATED: usize = 2;
    const EXECUTABLE: usize = 4;
    let headers: [(&[u8], u32, usize); 4] = [
        (b"xdp", PROGBITS, ALLOCATED | EXECUTABLE),
        (b"license", PROGBITS, ALLOCATED),
        (b".symtab", SYMTAB, 0),
        (b".strtab", STRTAB, 0),
    ];
    for (index, (title, kind, flags)) in headers.into_iter().enumerate() {
        // Of the symbols: where their names are, the first global one, the size of one.
        let (link, first_global, entry) =
            if kind == SYMTAB { (u32::from(STRINGS), 1, SYMBOL) } else { (0, 0, 0) };
        words(&mut elf, &[name(title), kind]);
        longs(&mut elf, &[flags, 0, offsets[index], contents[index].len()]);
        words(&mut elf, &[link, first_global]);
        longs(&mut elf, &[8, entry]);
    }
    elf
}

/// The null symbol and the function `pass`, global, in section 1.
fn symbols() -> Vec<u8> {
    const GLOBAL_FUNCTION: u8 = 0x12;
    let mut table = vec![0; SYMBOL];
    words(&mut table, &[name(b"pass")]);
    table.extend([GLOBAL_FUNCTION, 0]);
    halves(&mut table, &[1]);
    longs(&mut table, &[0, PROGRAM.len()]);
    table
}

fn name(title: &[u8]) -> u32 {
    let found = NAMES.windows(title.len() + 1).position(|at| {
        let (text, end) = at.split_at(title.len());
        text == title && end == [0]
    });
    u32::try_from(found.expect("every name is in the list")).expect("the list is short")
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn halves(bytes: &mut Vec<u8>, values: &[u16]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn words(bytes: &mut Vec<u8>, values: &[u32]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn longs(bytes: &mut Vec<u8>, values: &[usize]) {
    bytes.extend(values.iter().flat_map(|value| (*value as u64).to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole() {
        for title in [&b"xdp"[..], b"license", b".symtab", b".strtab", b"pass"] {
            let start = name(title) as usize;
            assert_eq!(&NAMES[start..start + title.len()], title);
            assert_eq!((NAMES[start - 1], NAMES[start + title.len()]), (0, 0));
        }
    }

    #[test]
    fn the_section_headers_are_where_the_header_says() {
        let elf = object();
        let at = usize::from_le_bytes(elf[40..48].try_into().unwrap());
        assert_eq!(elf.len(), at + 5 * SECTION_HEADER);
        assert_eq!(elf[HEADER..HEADER + PROGRAM.len()], PROGRAM);
    }
}
