//! Frames: four octets of length, the most significant first, then an envelope with the frame's number and its
//! content, which may be compressed.
//!
//! Both ends count frames from 0. A frame that is announced longer than it may be is refused before anything of it
//! is kept, and of one that is kept there is as much in memory as has come.

use std::io::Read as _;

use prost::Message as _;

/// What an envelope takes at most beside its content, in octets.
const ENVELOPE_LEN: usize = 32;
/// Content from this length on is compressed, in octets.
const COMPRESSED_FROM: usize = 1 << 10;
const LEVEL: i32 = 3;
/// The largest window that a compressed content may ask for, as a power of two of octets: what [`LEVEL`] uses.
const WINDOW: u32 = 21;

/// Why octets are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too long.
    #[error("a frame of {length} octets, of {most} at most")]
    TooLong {
        /// How many octets were announced.
        length: usize,
        /// How many there may be.
        most: usize,
    },
    /// No envelope.
    #[error("no frame of this protocol: {0}")]
    Envelope(String),
    /// A frame is missing, or came twice.
    #[error("frame {found} where frame {expected} is due")]
    Number {
        /// The number that came.
        found: u64,
        /// The number that was due.
        expected: u64,
    },
    /// Compressed content where there may be none.
    #[error("compressed content, which only a controller sends")]
    Compressed,
    /// Compressed content that is damaged or too long.
    #[error("compressed content: {0}")]
    Content(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(oneof = "Content", tags = "2, 3")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(bytes, tag = "2")]
    Plain(Vec<u8>),
    #[prost(bytes, tag = "3")]
    Zstd(Vec<u8>),
}

/// What one end may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Longest content, in octets.
    pub(super) content: usize,
    /// Whether it may be compressed.
    pub(super) compressed: bool,
}

/// A frame as octets.
pub(super) fn write(number: u64, content: Vec<u8>, limits: Limits) -> Vec<u8> {
    let content = match limits.compressed && content.len() >= COMPRESSED_FROM {
        true => match zstd::bulk::compress(&content, LEVEL) {
            Ok(shorter) if shorter.len() < content.len() => Content::Zstd(shorter),
            Ok(_) | Err(_) => Content::Plain(content),
        },
        false => Content::Plain(content),
    };
    let envelope = Envelope { number, content: Some(content) };
    let length = envelope.encoded_len();
    let mut octets = Vec::with_capacity(4 + length);
    let announced = u32::try_from(length).expect("contents are bounded far below 4 GiB");
    octets.extend_from_slice(&announced.to_be_bytes());
    envelope.encode(&mut octets).expect("a vector grows");
    octets
}

/// Reads frames of a stream that comes in pieces.
#[derive(Debug)]
pub(super) struct Reader {
    limits: Limits,
    /// The number of the frame that is due.
    expected: u64,
    /// The part of a frame that has come, its length included.
    part: Vec<u8>,
}

impl Reader {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, expected: 0, part: Vec::new() }
    }

    /// Takes the next frame off the octets, or all of them if it does not end there. Gives its number and content.
    pub(super) fn read(
        &mut self,
        octets: &mut &[u8],
    ) -> Result<Option<(u64, Vec<u8>)>, FrameError> {
        if !self.fill(octets, 4) {
            return Ok(None);
        }
        let length = self.part.first_chunk().map_or(0, |length| u32::from_be_bytes(*length));
        let most = self.limits.content + ENVELOPE_LEN;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > most {
            return Err(FrameError::TooLong { length, most });
        }
        if !self.fill(octets, 4 + length) {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.part);
        self.open(&frame[4..]).map(Some)
    }

    /// How much of a frame has come, in octets.
    pub(super) fn come(&self) -> usize {
        self.part.len()
    }

    /// Drops what has come of a frame.
    pub(super) fn forget(&mut self) {
        self.part = Vec::new();
    }

    /// Whether that much of the frame has come.
    fn fill(&mut self, octets: &mut &[u8], length: usize) -> bool {
        let missing = length.saturating_sub(self.part.len());
        let (taken, rest) = octets.split_at(missing.min(octets.len()));
        self.part.extend_from_slice(taken);
        *octets = rest;
        self.part.len() >= length
    }

    fn open(&mut self, frame: &[u8]) -> Result<(u64, Vec<u8>), FrameError> {
        let envelope = Envelope::decode(frame);
        let envelope = envelope.map_err(|error| FrameError::Envelope(error.to_string()))?;
        if envelope.number != self.expected {
            return Err(FrameError::Number { found: envelope.number, expected: self.expected });
        }
        self.expected += 1;
        let content = match envelope.content {
            Some(Content::Plain(content)) => content,
            Some(Content::Zstd(_)) if !self.limits.compressed => {
                return Err(FrameError::Compressed);
            }
            Some(Content::Zstd(content)) => decompress(&content, self.limits.content)?,
            None => Vec::new(),
        };
        Ok((envelope.number, content))
    }
}

/// Grows with what comes out of it, up to `most` octets.
fn decompress(content: &[u8], most: usize) -> Result<Vec<u8>, FrameError> {
    let fault = |error: std::io::Error| FrameError::Content(error.to_string());
    let mut decoder = zstd::stream::read::Decoder::with_buffer(content).map_err(fault)?;
    decoder.window_log_max(WINDOW).map_err(fault)?;
    let mut octets = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bound).read_to_end(&mut octets).map_err(fault)?;
    if octets.len() > most {
        return Err(FrameError::Content(format!("more than {most} octets")));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { content: 100_000, compressed: true };

    fn read(octets: &[u8]) -> Result<Option<(u64, Vec<u8>)>, FrameError> {
        Reader::new(LIMITS).read(&mut &*octets)
    }

    #[test]
    fn frames_read_back_however_they_are_cut() {
        let contents = [vec![], vec![7], vec![9; 5000], (0..=255).collect()];
        let mut octets = Vec::new();
        for (n, content) in (0..).zip(&contents) {
            octets.extend(write(n, content.clone(), LIMITS));
        }
        assert!(octets.len() < 1000, "nothing is compressed");
        for cut in 1..octets.len() {
            let mut reader = Reader::new(LIMITS);
            let mut found = Vec::new();
            for mut piece in octets.chunks(cut) {
                while let Some((_, content)) = reader.read(&mut piece).unwrap() {
                    found.push(content);
                }
                assert!(piece.is_empty());
            }
            assert_eq!(found, contents, "{cut}");
            assert_eq!(reader.part.capacity(), 0, "something is held in silence");
        }
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut reader = Reader::new(LIMITS);
        let length = u32::try_from(LIMITS.content).unwrap().to_be_bytes();
        assert_eq!(reader.read(&mut &length[..]), Ok(None));
        assert!(reader.part.capacity() < 100, "{}", reader.part.capacity());
        let too_long = u32::try_from(LIMITS.content + ENVELOPE_LEN + 1).unwrap().to_be_bytes();
        assert!(matches!(read(&too_long), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn numbers_have_no_gap_and_none_comes_twice() {
        let frames = [0, 1, 3].map(|number| write(number, vec![1], LIMITS));
        let mut reader = Reader::new(LIMITS);
        for frame in &frames[..2] {
            assert!(reader.read(&mut frame.as_slice()).unwrap().is_some());
        }
        let again = reader.read(&mut frames[1].as_slice());
        assert_eq!(again, Err(FrameError::Number { found: 1, expected: 2 }));
        let gap = reader.read(&mut frames[2].as_slice());
        assert_eq!(gap, Err(FrameError::Number { found: 3, expected: 2 }));
    }

    #[test]
    fn what_is_compressed_is_bounded() {
        let framed = |content: &[u8]| {
            let content = Some(Content::Zstd(content.to_vec()));
            let octets = Envelope { number: 0, content }.encode_to_vec();
            [&u32::try_from(octets.len()).unwrap().to_be_bytes()[..], &octets].concat()
        };
        let bomb = zstd::bulk::compress(&vec![0; 100 * LIMITS.content], LEVEL).unwrap();
        assert!(bomb.len() < 2000);
        // What is behind the bound is not looked at, so it does not matter that it is cut.
        let error = read(&framed(&bomb[..bomb.len() - 3])).unwrap_err();
        assert_eq!(error.to_string(), "compressed content: more than 100000 octets");
        // A frame header of zstd (RFC 8878, section 3.1.1.1) that asks for a window of 2^25 octets, and nothing in it.
        let wide = framed(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x78, 1, 0, 0]);
        assert!(matches!(read(&wide), Err(FrameError::Content(_))));
        assert_eq!(read(&wide[..wide.len() - 1]), Ok(None));
        let plain = Limits { compressed: false, ..LIMITS };
        let squeezed = write(0, vec![0; 5000], LIMITS);
        let refused = Reader::new(plain).read(&mut squeezed.as_slice());
        assert_eq!(refused, Err(FrameError::Compressed));
        assert!(write(0, vec![0; 5000], plain).len() > 5000);
    }
}
