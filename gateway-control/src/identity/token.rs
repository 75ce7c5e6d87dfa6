//! The string that lets somebody join: where the controllers are, how their CA is known, and a secret.
//!
//! It is the only thing that goes from the deployment to a new host by an operator's hand, and it is worth a place in
//! the deployment until it is used or expires.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use super::{ControllerAddress, KeyPin, SpiffeError, TrustDomain};
use crate::resource::SecretHash;

/// What a token proves that its bearer may join by.
///
/// Cleared from memory when it is dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; Self::LEN]>);

/// What a token's string says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// The deployment.
    pub trust_domain: TrustDomain,
    /// Where its controllers are: one at least.
    pub controllers: Vec<ControllerAddress>,
    /// The key of its CA.
    pub authority: KeyPin,
    /// What proves that its bearer may join.
    pub secret: Secret,
}

/// Why a text is no token. It does not say what was found, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenStringError {
    /// Something else altogether.
    #[error(
        "it is no token; one begins with {} and is made by `gatewayctl token create`",
        JoinToken::PREFIX
    )]
    NoToken,
    /// Some characters are missing or were changed.
    #[error(
        "the token is damaged; copy all of it, from {} to its last character",
        JoinToken::PREFIX
    )]
    Damaged,
    /// Made by another version.
    #[error("the token is of another version of this program; make it and use it with the same")]
    Version,
    /// No deployment.
    #[error("the token's trust domain: {0}")]
    TrustDomain(#[from] SpiffeError),
    /// Nobody to join.
    #[error(
        "the token names no controller, or too many; make it with one --address at least and {} at most",
        JoinToken::MOST_CONTROLLERS
    )]
    Controllers,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TokenMessage {
    #[prost(string, tag = "1")]
    trust_domain: String,
    #[prost(string, repeated, tag = "2")]
    controllers: Vec<String>,
    #[prost(bytes, tag = "3")]
    authority: Vec<u8>,
    #[prost(bytes, tag = "4")]
    secret: Vec<u8>,
}

impl Secret {
    /// Octets of one.
    pub const LEN: usize = 32;

    /// Of these octets, which are to be random.
    pub fn new(octets: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// From octets; `None` if they are not as many as a secret has.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self::new)
    }

    /// The octets.
    pub fn octets(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::new(Sha256::digest(self.octets()).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl JoinToken {
    /// What every token begins with.
    pub const PREFIX: &str = "presence1_";
    /// Longest text of a token, in octets.
    pub const MAX_LEN: usize = 8192;
    /// Most controllers that one names.
    pub const MOST_CONTROLLERS: usize = 16;
    const SUM_LEN: usize = 4;

    /// As the text that an operator carries.
    pub fn text(&self) -> Zeroizing<String> {
        let mut message = TokenMessage {
            trust_domain: self.trust_domain.to_string(),
            controllers: self.controllers.iter().map(ToString::to_string).collect(),
            authority: self.authority.octets().to_vec(),
            secret: self.secret.octets().to_vec(),
        };
        let mut octets = Zeroizing::new(message.encode_to_vec());
        message.secret.zeroize();
        let sum = Sha256::digest(&*octets);
        octets.extend_from_slice(&sum[..Self::SUM_LEN]);
        Zeroizing::new(format!("{}{}", Self::PREFIX, BASE64.encode(&*octets)))
    }
}

impl FromStr for JoinToken {
    type Err = TokenStringError;

    fn from_str(text: &str) -> Result<Self, TokenStringError> {
        let text = text.trim();
        let coded = text.strip_prefix(Self::PREFIX).ok_or(TokenStringError::NoToken)?;
        if text.len() > Self::MAX_LEN {
            return Err(TokenStringError::Damaged);
        }
        let octets = BASE64.decode(coded).map_err(|_| TokenStringError::Damaged)?;
        let octets = Zeroizing::new(octets);
        let (message, sum) = octets
            .len()
            .checked_sub(Self::SUM_LEN)
            .map(|end| octets.split_at(end))
            .ok_or(TokenStringError::Damaged)?;
        if Sha256::digest(message)[..Self::SUM_LEN] != *sum {
            return Err(TokenStringError::Damaged);
        }
        let mut message = TokenMessage::decode(message).map_err(|_| TokenStringError::Version)?;
        let secret = Secret::from_octets(&message.secret);
        message.secret.zeroize();
        let authority = message.authority.as_slice().try_into().map(KeyPin::new);
        let controllers: Result<Vec<_>, _> =
            message.controllers.iter().map(|it| it.parse()).collect();
        let controllers = controllers.map_err(|_| TokenStringError::Controllers)?;
        if !(1..=Self::MOST_CONTROLLERS).contains(&controllers.len()) {
            return Err(TokenStringError::Controllers);
        }
        Ok(Self {
            trust_domain: message.trust_domain.parse()?,
            controllers,
            authority: authority.map_err(|_| TokenStringError::Version)?,
            secret: secret.ok_or(TokenStringError::Version)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            trust_domain: "presence.example".parse().unwrap(),
            controllers: vec!["c1.example".parse().unwrap(), "192.0.2.1:8443".parse().unwrap()],
            authority: KeyPin::of(b"key"),
            secret: Secret::new([7; 32]),
        }
    }

    #[test]
    fn a_token_reads_as_it_was_written() {
        let text = token().text();
        assert!(text.starts_with("presence1_") && text.len() < 250, "{}", text.len());
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!("  {}\n", *text).parse(), Ok(token()));
    }

    #[test]
    fn a_damaged_token_is_known() {
        let text = token().text();
        assert_eq!("".parse::<JoinToken>(), Err(TokenStringError::NoToken));
        assert_eq!("hello".parse::<JoinToken>(), Err(TokenStringError::NoToken));
        for end in JoinToken::PREFIX.len()..text.len() {
            assert_eq!(text[..end].parse::<JoinToken>(), Err(TokenStringError::Damaged), "{end}");
        }
        for at in JoinToken::PREFIX.len()..text.len() {
            let other = if text.as_bytes()[at] == b'A' { 'B' } else { 'A' };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(changed.parse::<JoinToken>().is_err(), "{at}");
        }
        let long = format!("{}{}", JoinToken::PREFIX, "A".repeat(JoinToken::MAX_LEN));
        assert_eq!(long.parse::<JoinToken>(), Err(TokenStringError::Damaged));
    }

    #[test]
    fn a_token_needs_a_controller() {
        let none = JoinToken { controllers: Vec::new(), ..token() };
        assert_eq!(none.text().parse::<JoinToken>(), Err(TokenStringError::Controllers));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", token().secret), "Secret(..)");
        assert_eq!(token().secret.hash(), Secret::new([7; 32]).hash());
    }
}
