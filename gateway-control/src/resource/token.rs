//! Tokens: leave for somebody to join the deployment. Only the hash of a token's secret is ever declared, so
//! whoever reads the resources can join nothing with them.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use gateway_policy::{SiteName, label_newtype};
use jiff::Timestamp;

use super::Labels;
use crate::model::{ValueError, quoted};

label_newtype!(
    /// Name of a token.
    TokenName
);

/// Leave for somebody to join the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub name: TokenName,
    /// What it is selected by.
    pub labels: Labels,
    /// As what.
    pub role: TokenRole,
    /// How often it may be used.
    pub uses: TokenUses,
    /// Until when.
    pub expires: Expiry,
    /// Whether an operator has to accept who joined with it.
    pub approve: bool,
    /// What its secret hashes to.
    pub secret_hash: SecretHash,
}

/// As what a token lets somebody join.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenRole {
    /// As the gateway of this site.
    Gateway(SiteName),
    /// As a controller.
    Controller,
    /// As an operator.
    Operator,
}

/// The word of a role; the default is a gateway's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenRoleWord {
    /// `gateway`.
    #[default]
    Gateway,
    /// `controller`.
    Controller,
    /// `operator`.
    Operator,
}

/// How often a token may be used: once to a million times, once by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenUses(NonZeroU32);

/// When a token expires: a second of UTC, from 1970 to 9999, in the notation of RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(Timestamp);

/// SHA-256 of a token's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretHash([u8; Self::LEN]);

/// Why a value of a token makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a time.
    #[error("{found} is no time; write one in UTC, for example 2030-01-31T18:00:00Z")]
    Expiry {
        /// The text, quoted.
        found: String,
    },
    /// Not a hash. What was found may be the secret itself, so it is not shown.
    #[error("it is no SHA-256 hash; write 64 lowercase hexadecimal digits")]
    SecretHash,
    /// A gateway without a site.
    #[error("a gateway joins a site; name it, or write another role")]
    NoSite,
    /// Somebody else with a site.
    #[error("only gateways join a site; remove it, or write role: gateway")]
    NeedlessSite,
}

impl TokenRole {
    /// Of a word and a site, if there is one.
    pub fn new(word: TokenRoleWord, site: Option<SiteName>) -> Result<Self, TokenFault> {
        match (word, site) {
            (TokenRoleWord::Gateway, Some(site)) => Ok(Self::Gateway(site)),
            (TokenRoleWord::Gateway, None) => Err(TokenFault::NoSite),
            (TokenRoleWord::Controller, None) => Ok(Self::Controller),
            (TokenRoleWord::Operator, None) => Ok(Self::Operator),
            (TokenRoleWord::Controller | TokenRoleWord::Operator, Some(_)) => {
                Err(TokenFault::NeedlessSite)
            }
        }
    }

    /// As a word.
    pub fn word(&self) -> TokenRoleWord {
        match self {
            Self::Gateway(_) => TokenRoleWord::Gateway,
            Self::Controller => TokenRoleWord::Controller,
            Self::Operator => TokenRoleWord::Operator,
        }
    }

    /// The site to join.
    pub fn site(&self) -> Option<&SiteName> {
        match self {
            Self::Gateway(site) => Some(site),
            Self::Controller | Self::Operator => None,
        }
    }
}

impl FromStr for TokenRoleWord {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "gateway" => Ok(Self::Gateway),
            "controller" => Ok(Self::Controller),
            "operator" => Ok(Self::Operator),
            _ => Err(ValueError::choice(text, &["gateway", "controller", "operator"])),
        }
    }
}

impl fmt::Display for TokenRoleWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gateway => "gateway",
            Self::Controller => "controller",
            Self::Operator => "operator",
        })
    }
}

impl TokenUses {
    const MOST: u32 = 1_000_000;

    /// The number.
    pub fn number(self) -> u32 {
        self.0.get()
    }
}

impl Default for TokenUses {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

impl TryFrom<i64> for TokenUses {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        u32::try_from(number)
            .ok()
            .filter(|number| *number <= Self::MOST)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(ValueError::Number { found: number, least: 1, most: Self::MOST.into() })
    }
}

impl Expiry {
    /// Seconds since 1970.
    pub fn seconds(self) -> u64 {
        u64::try_from(self.0.as_second()).expect("no expiry is before 1970")
    }
}

impl TryFrom<u64> for Expiry {
    type Error = TokenFault;

    /// From seconds since 1970.
    fn try_from(seconds: u64) -> Result<Self, TokenFault> {
        let timestamp = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
        timestamp.map(Self).ok_or_else(|| TokenFault::Expiry { found: seconds.to_string() })
    }
}

impl FromStr for Expiry {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<Self, TokenFault> {
        const SHAPE: &[u8] = b"0000-00-00T00:00:00Z";
        let alike = |(found, shape): (u8, &u8)| match shape {
            b'0' => found.is_ascii_digit(),
            _ => found == *shape,
        };
        let is_shaped = text.len() == SHAPE.len() && text.bytes().zip(SHAPE).all(alike);
        text.parse()
            .ok()
            .filter(|time| is_shaped && *time >= Timestamp::UNIX_EPOCH)
            .map(Self)
            .ok_or_else(|| TokenFault::Expiry { found: quoted(text) })
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SecretHash {
    const LEN: usize = 32;

    /// Of the hash's octets.
    pub fn new(octets: [u8; Self::LEN]) -> Self {
        Self(octets)
    }

    /// The octets.
    pub fn octets(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl FromStr for SecretHash {
    type Err = TokenFault;

    fn from_str(text: &str) -> Result<Self, TokenFault> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut octets = [0; Self::LEN];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != Self::LEN || !rest.is_empty() {
            return Err(TokenFault::SecretHash);
        }
        for (octet, [high, low]) in octets.iter_mut().zip(pairs) {
            let (high, low) = (digit(*high), digit(*low));
            *octet =
                high.zip(low).map(|(high, low)| high << 4 | low).ok_or(TokenFault::SecretHash)?;
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_seconds_of_utc() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2030-01-31T18:00:00Z", 1_896_112_800),
            ("9999-12-30T22:00:00Z", 253_402_207_200),
        ] {
            let expiry: Expiry = text.parse().unwrap();
            assert_eq!((expiry.seconds(), expiry.to_string()), (seconds, text.to_owned()));
            assert_eq!(Expiry::try_from(seconds), Ok(expiry));
        }
        for text in [
            "",
            "never",
            "1969-12-31T23:59:59Z",
            "2030-02-30T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "2030-01-01T00:00:00",
            "2030-01-01T00:00:00z",
            "2030-01-01 00:00:00Z",
            "2030-01-01T00:00Z",
            "2030-01-01T00:00:00+01:00",
            "2030-01-01T00:00:00.5Z",
            "9999-12-31T23:59:59Z",
            "+12030-01-01T00:00:0",
            "２030-01-01T00:00Z",
        ] {
            let said = text.parse::<Expiry>().unwrap_err().to_string();
            assert!(
                said.ends_with("is no time; write one in UTC, for example 2030-01-31T18:00:00Z")
            );
        }
        assert!(Expiry::try_from(u64::MAX).is_err());
        let [early, late] = ["2030-01-31T17:59:59Z", "2030-01-31T18:00:00Z"];
        assert!(early.parse::<Expiry>().unwrap() < late.parse().unwrap());
    }

    #[test]
    fn hashes_are_hexadecimal() {
        let text = format!("{}00ff", "0123456789abcdef".repeat(4).split_at(60).0);
        let hash: SecretHash = text.parse().unwrap();
        assert_eq!((hash.octets()[0], hash.octets()[31]), (0x01, 0xff));
        assert_eq!(hash.to_string(), text);
        assert_eq!(SecretHash::new(*hash.octets()), hash);
        let upper = text.to_uppercase();
        for wrong in ["", "secret", &text[1..], &format!("{text}00"), &upper, &"é".repeat(32)] {
            let said = wrong.parse::<SecretHash>().unwrap_err().to_string();
            assert!(
                said == "it is no SHA-256 hash; write 64 lowercase hexadecimal digits",
                "{said}"
            );
        }
    }

    #[test]
    fn uses_are_counted() {
        for right in [1, 2, 1_000_000] {
            assert_eq!(i64::from(TokenUses::try_from(right).unwrap().number()), right);
        }
        for wrong in [i64::MIN, -1, 0, 1_000_001, i64::from(u32::MAX) + 2] {
            assert!(TokenUses::try_from(wrong).is_err(), "{wrong}");
        }
        assert_eq!(TokenUses::default().number(), 1);
    }
}
