//! What a certificate's serial number says of its issue. A deployment's CA makes them, and nobody else can, so they
//! are as good as a signed statement.

use std::fmt;

/// Serial number of a leaf: which enrolment it is of, the how-manieth of that enrolment it is, and chance.
///
/// As octets: one that makes the number positive and of fixed length (RFC 5280 section 4.1.2.2), then the fields with
/// their most significant octets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    /// When its holder was enrolled, in seconds since 1970.
    pub epoch: u64,
    /// Counts renewals from 1.
    pub generation: u32,
    /// Chance, so that nobody can foretell a certificate's octets.
    pub random: u32,
}

/// A serial number that no CA of a deployment has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its serial number is none that a deployment gives")]
pub struct SerialError;

impl Serial {
    /// Octets of one.
    pub const LEN: usize = 17;
    const FIRST: u8 = 0x40;

    /// As a certificate has it.
    pub fn octets(self) -> [u8; Self::LEN] {
        let mut octets = [Self::FIRST; Self::LEN];
        octets[1..9].copy_from_slice(&self.epoch.to_be_bytes());
        octets[9..13].copy_from_slice(&self.generation.to_be_bytes());
        octets[13..].copy_from_slice(&self.random.to_be_bytes());
        octets
    }
}

impl TryFrom<&[u8]> for Serial {
    type Error = SerialError;

    fn try_from(octets: &[u8]) -> Result<Self, SerialError> {
        let [Self::FIRST, rest @ ..] = octets else { return Err(SerialError) };
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or(SerialError)?;
        let (generation, rest) = rest.split_first_chunk::<4>().ok_or(SerialError)?;
        let random: [u8; 4] = rest.try_into().map_err(|_| SerialError)?;
        Ok(Self {
            epoch: u64::from_be_bytes(*epoch),
            generation: u32::from_be_bytes(*generation),
            random: u32::from_be_bytes(random),
        })
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.octets().iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_say_the_same() {
        let serial = Serial { epoch: 1_763_000_000, generation: 7, random: u32::MAX };
        assert_eq!(Serial::try_from(serial.octets().as_slice()), Ok(serial));
        assert_eq!(serial.to_string().len(), 34);
        let mut octets = serial.octets();
        for wrong in [&octets[1..], &octets[..16], &[], &[octets.as_slice(), &[0]].concat()] {
            assert_eq!(Serial::try_from(wrong), Err(SerialError));
        }
        octets[0] = 0;
        assert_eq!(Serial::try_from(octets.as_slice()), Err(SerialError));
    }
}
