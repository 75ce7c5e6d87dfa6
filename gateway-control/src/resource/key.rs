//! What a resource is called: its kind and its name, which no two share.

use std::fmt;
use std::str::FromStr;

use gateway_policy::{ServiceId, SiteName};

use super::{ExposureName, PolicyName, TokenName};
use crate::model::{GatewayName, ValueError};

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Site`.
    Site,
    /// `Gateway`.
    Gateway,
    /// `Service`.
    Service,
    /// `Exposure`.
    Exposure,
    /// `Policy`.
    Policy,
    /// `Token`.
    Token,
}

impl Kind {
    /// All kinds, those that others refer to first.
    pub const ALL: [Self; 6] =
        [Self::Site, Self::Gateway, Self::Service, Self::Exposure, Self::Policy, Self::Token];

    /// The word of `kind`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Site => "Site",
            Self::Gateway => "Gateway",
            Self::Service => "Service",
            Self::Exposure => "Exposure",
            Self::Policy => "Policy",
            Self::Token => "Token",
        }
    }
}

impl FromStr for Kind {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.word() == text)
            .ok_or_else(|| ValueError::choice(text, &Self::ALL.map(Self::word)))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Kind and name. A service is named with its site, as two sites may have one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A site.
    Site(SiteName),
    /// A gateway.
    Gateway(GatewayName),
    /// A service, written `SERVICE.SITE`.
    Service(ServiceId),
    /// An exposure.
    Exposure(ExposureName),
    /// A policy.
    Policy(PolicyName),
    /// A token.
    Token(TokenName),
}

impl Key {
    /// The key of a resource of this kind.
    pub fn new(kind: Kind, name: &str) -> Result<Self, ValueError> {
        Ok(match kind {
            Kind::Site => Self::Site(name.parse()?),
            Kind::Gateway => Self::Gateway(name.parse()?),
            Kind::Service => Self::Service(name.parse()?),
            Kind::Exposure => Self::Exposure(name.parse()?),
            Kind::Policy => Self::Policy(name.parse()?),
            Kind::Token => Self::Token(name.parse()?),
        })
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Site(_) => Kind::Site,
            Self::Gateway(_) => Kind::Gateway,
            Self::Service(_) => Kind::Service,
            Self::Exposure(_) => Kind::Exposure,
            Self::Policy(_) => Kind::Policy,
            Self::Token(_) => Kind::Token,
        }
    }

    /// The name.
    pub fn name(&self) -> String {
        match self {
            Self::Site(name) => name.to_string(),
            Self::Gateway(name) => name.to_string(),
            Self::Service(id) => id.to_string(),
            Self::Exposure(name) => name.to_string(),
            Self::Policy(name) => name.to_string(),
            Self::Token(name) => name.to_string(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind() {
            Kind::Site => "site",
            Kind::Gateway => "gateway",
            Kind::Service => "service",
            Kind::Exposure => "exposure",
            Kind::Policy => "policy",
            Kind::Token => "token",
        };
        write!(f, "{kind} {}", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_and_write_the_same() {
        for (kind, name) in [
            (Kind::Site, "edge-a"),
            (Kind::Gateway, "gw"),
            (Kind::Service, "agent.edge-a"),
            (Kind::Exposure, "x"),
            (Kind::Policy, "p"),
            (Kind::Token, "t"),
        ] {
            assert_eq!(kind.word().parse(), Ok(kind));
            let key = Key::new(kind, name).unwrap();
            assert_eq!((key.kind(), key.name()), (kind, name.to_owned()));
        }
        assert!("site".parse::<Kind>().is_err());
        assert!(Key::new(Kind::Service, "agent").is_err());
        assert_eq!(Key::new(Kind::Service, "a.b").unwrap().to_string(), "service a.b");
    }
}
