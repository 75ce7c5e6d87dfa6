//! The programs that the shipped ones are measured against, written by hand: the least that a program of
//! their kind can do, with no compiler between the text and the count. Given as object files, which
//! aya loads.

/// A program under construction. Jumps lead to its end alone.
#[derive(Debug, Default)]
pub struct Code {
    words: Vec<u64>,
    /// Indices of jumps whose distance is not known yet.
    leaving: Vec<usize>,
    /// Indices of loads that name the map.
    uses_of_map: Vec<usize>,
}

/// Numbers of registers.
pub const R0: u8 = 0;
/// First argument.
pub const R1: u8 = 1;
/// Second argument.
pub const R2: u8 = 2;
/// Third argument.
pub const R3: u8 = 3;
/// Survives calls.
pub const R6: u8 = 6;
/// Survives calls.
pub const R7: u8 = 7;
/// Survives calls.
pub const R8: u8 = 8;
/// Where the stack ends.
pub const FRAME: u8 = 10;

/// `bpf_map_lookup_elem`.
pub const LOOKUP: i32 = 1;
/// `bpf_redirect`.
pub const REDIRECT: i32 = 23;

/// How many octets a load or a store moves, as instructions encode it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// One.
    Octet,
    /// Two.
    Half,
    /// Four.
    Word,
    /// Eight.
    Double,
}

impl Width {
    const fn bits(self) -> u8 {
        match self {
            Self::Word => 0x00,
            Self::Half => 0x08,
            Self::Octet => 0x10,
            Self::Double => 0x18,
        }
    }
}

impl Code {
    /// `to = number`.
    pub fn set(self, to: u8, number: i32) -> Self {
        self.put(0xb7, to, 0, 0, number)
    }

    /// `to = from`.
    pub fn copy(self, to: u8, from: u8) -> Self {
        self.put(0xbf, to, from, 0, 0)
    }

    /// `to += number`.
    pub fn add(self, to: u8, number: i32) -> Self {
        self.put(0x07, to, 0, 0, number)
    }

    /// `to = *(from + offset)`.
    pub fn load(self, width: Width, to: u8, from: u8, offset: i16) -> Self {
        self.put(0x61 | width.bits(), to, from, offset, 0)
    }

    /// `*(to + offset) = from`.
    pub fn store(self, width: Width, to: u8, offset: i16, from: u8) -> Self {
        self.put(0x63 | width.bits(), to, from, offset, 0)
    }

    /// `to = the map`.
    pub fn map(mut self, to: u8) -> Self {
        self.uses_of_map.push(self.words.len());
        self.put(0x18, to, 0, 0, 0).put(0, 0, 0, 0, 0)
    }

    /// Calls a helper.
    pub fn call(self, helper: i32) -> Self {
        self.put(0x85, 0, 0, 0, helper)
    }

    /// Leaves for the end if `left > right`.
    pub fn leave_if_greater(mut self, left: u8, right: u8) -> Self {
        self.leaving.push(self.words.len());
        self.put(0x2d, left, right, 0, 0)
    }

    /// Leaves for the end if `left != number`.
    pub fn leave_unless(mut self, left: u8, number: i32) -> Self {
        self.leaving.push(self.words.len());
        self.put(0x55, left, 0, 0, number)
    }

    /// Leaves for the end if `left == number`.
    pub fn leave_if(mut self, left: u8, number: i32) -> Self {
        self.leaving.push(self.words.len());
        self.put(0x15, left, 0, 0, number)
    }

    /// Returns what is in the first register.
    pub fn exit(self) -> Self {
        self.put(0x95, 0, 0, 0, 0)
    }

    /// Where those who left arrive: `return number`.
    pub fn end(mut self, number: i32) -> Self {
        let end = self.words.len();
        for jump in std::mem::take(&mut self.leaving) {
            let distance = u64::try_from(end - jump - 1).expect("a program is short");
            self.words[jump] |= distance << 16;
        }
        self.set(R0, number).exit()
    }

    fn put(mut self, code: u8, to: u8, from: u8, offset: i16, number: i32) -> Self {
        let [a, b] = offset.to_le_bytes();
        let [c, d, e, f] = number.to_le_bytes();
        self.words.push(u64::from_le_bytes([code, to | from << 4, a, b, c, d, e, f]));
        self
    }
}

/// What kind of program it is, by the section it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Traffic control.
    Classifier,
    /// XDP.
    Xdp,
}

/// The one map of a program, named [`MAP`].
#[derive(Debug, Clone, Copy)]
pub struct MapPlan {
    /// `BPF_MAP_TYPE_HASH` (1) or `BPF_MAP_TYPE_ARRAY` (2).
    pub kind: u32,
    /// Octets of a key.
    pub key: u32,
    /// Octets of a value.
    pub value: u32,
    /// Entries.
    pub entries: u32,
}

/// Name of the program in an object.
pub const PROGRAM: &str = "bare";
/// Name of the map in an object.
pub const MAP: &str = "table";

const HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;
/// Number of the section of names: the null section is 0.
const STRINGS: u32 = 5;

/// A relocatable ELF file with the program, and with the map if there is one.
pub fn object(hook: Hook, code: &Code, map: Option<MapPlan>) -> Vec<u8> {
    const ALLOCATED: u64 = 2;
    const EXECUTABLE: u64 = 4;
    const PROGBITS: u32 = 1;
    const SYMTAB: u32 = 2;
    const STRTAB: u32 = 3;
    const REL: u32 = 9;
    const FUNCTION: u8 = 0x12;
    const OBJECT: u8 = 0x11;
    // A section's number is its place in the list below, from 1.
    const SYMBOLS: u32 = 4;
    const LAST: u8 = 6;
    let section = match hook {
        Hook::Classifier => "classifier",
        Hook::Xdp => "xdp",
    };
    let program: Vec<u8> = code.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut names = Names::default();
    let mut symbols =
        [symbol(0, 0, 0, 0), symbol(names.place(PROGRAM), FUNCTION, 1, program.len())].concat();
    let relocations: Vec<u8> = code
        .uses_of_map
        .iter()
        .flat_map(|index| [8 * *index as u64, 2 << 32 | 1].map(u64::to_le_bytes).concat())
        .collect();
    // Symbol 2 is the map, in the last section.
    let maps = map.map(|map| {
        let definition: Vec<u8> = [map.kind, map.key, map.value, map.entries, 0]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        symbols.extend(symbol(names.place(MAP), OBJECT, LAST, definition.len()));
        Section::new("maps", PROGBITS, ALLOCATED, definition)
    });
    let mut sections = vec![
        Section::new(section, PROGBITS, ALLOCATED | EXECUTABLE, program),
        Section::new("license", PROGBITS, ALLOCATED, b"GPL\0".to_vec()),
        Section { link: SYMBOLS, info: 1, entry: 16, ..Section::new(".rel", REL, 0, relocations) },
        Section {
            link: STRINGS,
            info: 1,
            entry: SYMBOL as u64,
            ..Section::new(".symtab", SYMTAB, 0, symbols)
        },
        Section::new(".strtab", STRTAB, 0, Vec::new()),
    ];
    sections.extend(maps);
    let places: Vec<u32> = sections.iter().map(|section| names.place(section.name)).collect();
    sections[STRINGS as usize - 1].content = names.0;
    assemble(&sections, &places)
}

#[derive(Clone)]
struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    content: Vec<u8>,
    link: u32,
    info: u32,
    entry: u64,
}

impl Section {
    fn new(name: &'static str, kind: u32, flags: u64, content: Vec<u8>) -> Self {
        Self { name, kind, flags, content, link: 0, info: 0, entry: 0 }
    }
}

fn assemble(sections: &[Section], places: &[u32]) -> Vec<u8> {
    const BPF: u16 = 247;
    const RELOCATABLE: u16 = 1;
    let mut body = Vec::new();
    let mut offsets = Vec::new();
    for section in sections {
        offsets.push((HEADER + body.len()) as u64);
        body.extend(&section.content);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u32| elf.extend(value.to_le_bytes());
    let long = |elf: &mut Vec<u8>, value: u64| elf.extend(value.to_le_bytes());
    half(&mut elf, RELOCATABLE);
    half(&mut elf, BPF);
    word(&mut elf, 1);
    long(&mut elf, 0);
    long(&mut elf, 0);
    long(&mut elf, (HEADER + body.len()) as u64);
    word(&mut elf, 0);
    let count = sections.len() as u16;
    for value in [HEADER as u16, 0, 0, SECTION_HEADER as u16, count + 1, STRINGS as u16] {
        half(&mut elf, value);
    }
    elf.extend(body);
    elf.extend([0; SECTION_HEADER]);
    for ((section, place), offset) in sections.iter().zip(places).zip(offsets) {
        word(&mut elf, *place);
        word(&mut elf, section.kind);
        long(&mut elf, section.flags);
        long(&mut elf, 0);
        long(&mut elf, offset);
        long(&mut elf, section.content.len() as u64);
        word(&mut elf, section.link);
        word(&mut elf, section.info);
        long(&mut elf, 8);
        long(&mut elf, section.entry);
    }
    elf
}

fn symbol(name: u32, kind: u8, section: u8, size: usize) -> Vec<u8> {
    let mut symbol = name.to_le_bytes().to_vec();
    symbol.extend([kind, 0, section, 0]);
    symbol.extend(0u64.to_le_bytes());
    symbol.extend((size as u64).to_le_bytes());
    symbol
}

/// A table of strings: each at its place, ended by a zero; place 0 is the empty one.
struct Names(Vec<u8>);

impl Default for Names {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Names {
    fn place(&mut self, name: &str) -> u32 {
        let place = self.0.len() as u32;
        self.0.extend(name.bytes());
        self.0.push(0);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_to_the_end() {
        let code = Code::default().leave_if(R0, 0).set(R0, 1).exit().end(2);
        assert_eq!(code.words.len(), 5);
        assert_eq!(code.words[0] >> 16 & 0xffff, 2);
        assert!(code.leaving.is_empty());
    }

    #[test]
    fn the_section_headers_are_where_the_header_says() {
        let map = MapPlan { kind: 1, key: 4, value: 16, entries: 1 };
        let code = Code::default().map(R1).end(0);
        let elf = object(Hook::Classifier, &code, Some(map));
        let at = usize::from_le_bytes(elf[40..48].try_into().unwrap());
        assert_eq!(elf.len(), at + 7 * SECTION_HEADER);
        assert_eq!(elf[HEADER..HEADER + 8], code.words[0].to_le_bytes());
    }
}
