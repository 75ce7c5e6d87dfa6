//! Trust domains and IDs, as the SPIFFE ID specification has them (SPIFFE-ID.md, sections 2.1 to 2.4), and the paths
//! that a deployment gives out.

use std::fmt;
use std::str::FromStr;

use gateway_policy::{LabelError, SiteName, label_newtype};

use crate::model::{GatewayName, quoted};

label_newtype!(
    /// Name of a controller.
    ControllerName
);
label_newtype!(
    /// Name of an operator.
    OperatorName
);

const SCHEME: &str = "spiffe://";

/// The namespace of a deployment's identities: 1 to 255 lower-case letters, digits, `.`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Box<str>);

/// Who somebody is within a trust domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// `/site/SITE/gateway/NAME`
    Gateway(SiteName, GatewayName),
    /// `/controller/NAME`
    Controller(ControllerName),
    /// `/operator/NAME`
    Operator(OperatorName),
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    /// The deployment.
    pub trust_domain: TrustDomain,
    /// Who in it.
    pub subject: Subject,
}

/// Why a text is no identity of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// No trust domain.
    #[error(
        "{found} is no trust domain; write 1 to 255 lower-case letters, digits, '.', '-' or '_', for example \
         presence.example"
    )]
    TrustDomain {
        /// The text, quoted.
        found: String,
    },
    /// Another scheme.
    #[error("{found} is no SPIFFE ID; one begins with spiffe://")]
    Scheme {
        /// The text, quoted.
        found: String,
    },
    /// A path that no part of a deployment has.
    #[error(
        "{found} names no part of a deployment; those are /site/SITE/gateway/NAME, /controller/NAME and \
         /operator/NAME"
    )]
    Path {
        /// The path, quoted.
        found: String,
    },
    /// A name in the path that is none.
    #[error("{found} in a SPIFFE ID: {error}")]
    Name {
        /// The name, quoted.
        found: String,
        /// What is wrong with it.
        error: LabelError,
    },
}

impl TrustDomain {
    const MAX_LEN: usize = 255;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ID of somebody in it.
    pub fn id(&self, subject: Subject) -> SpiffeId {
        SpiffeId { trust_domain: self.clone(), subject }
    }

    /// The ID of the domain itself, which is that of its CA (X509-SVID.md, section 3.1).
    pub fn own_id(&self) -> String {
        format!("{SCHEME}{self}")
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(SpiffeError::TrustDomain { found: quoted(text) })
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Subject {
    type Err = SpiffeError;

    fn from_str(path: &str) -> Result<Self, SpiffeError> {
        fn name<T: FromStr<Err = LabelError>>(text: &str) -> Result<T, SpiffeError> {
            text.parse().map_err(|error| SpiffeError::Name { found: quoted(text), error })
        }
        let parts: Vec<&str> = path.splitn(6, '/').collect();
        match parts.as_slice() {
            ["", "site", site, "gateway", gateway] => {
                Ok(Self::Gateway(name(site)?, name(gateway)?))
            }
            ["", "controller", controller] => Ok(Self::Controller(name(controller)?)),
            ["", "operator", operator] => Ok(Self::Operator(name(operator)?)),
            _ => Err(SpiffeError::Path { found: quoted(path) }),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(site, name) => write!(f, "/site/{site}/gateway/{name}"),
            Self::Controller(name) => write!(f, "/controller/{name}"),
            Self::Operator(name) => write!(f, "/operator/{name}"),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let rest =
            text.strip_prefix(SCHEME).ok_or_else(|| SpiffeError::Scheme { found: quoted(text) })?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Self { trust_domain: domain.parse()?, subject: path.parse()? })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.trust_domain, self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_as_they_are_written() {
        for text in [
            "spiffe://presence.example/site/edge-a/gateway/edge-a-gw1",
            "spiffe://a_b-c.9/controller/main",
            "spiffe://x/operator/ada",
        ] {
            let id: SpiffeId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "https://x/operator/ada",
            "SPIFFE://x/operator/ada",
            "spiffe://",
            "spiffe:///operator/ada",
            "spiffe://X/operator/ada",
            "spiffe://x:443/operator/ada",
            "spiffe://u@x/operator/ada",
            "spiffe://x",
            "spiffe://x/",
            "spiffe://x/operator",
            "spiffe://x/operator/",
            "spiffe://x/operator/ada/",
            "spiffe://x//operator/ada",
            "spiffe://x/operator/Ada",
            "spiffe://x/operator/a%20b",
            "spiffe://x/operator/ada?q",
            "spiffe://x/operator/ada#f",
            "spiffe://x/operator/..",
            "spiffe://x/site/a/gateway/b/c",
            "spiffe://x/site/a/gateway/b/",
            "spiffe://x/site/a/../b",
            "spiffe://x/site//gateway/b",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
        assert!(format!("spiffe://{}/operator/a", "x".repeat(256)).parse::<SpiffeId>().is_err());
    }
}
