//! The parts of an allow rule.

use std::fmt;
use std::str::FromStr;

use ipnet::Ipv4Net;

use crate::{LabelError, RuleId, ServiceName, SiteName};

/// One permission: the clients of `subject` may use `service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowRule {
    /// What verdicts name.
    pub id: RuleId,
    /// Who is allowed.
    pub subject: Subject,
    /// What they may use.
    pub service: ServiceId,
}

/// Who a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The site the clients are in.
    pub site: SiteName,
    /// Which of its clients.
    pub clients: Clients,
}

/// Which clients of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Every client of the site.
    All,
    /// Those in one of these prefixes of the site's own addresses.
    In(Vec<Ipv4Net>),
}

/// A service and the site it is at, written `service.site`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// The site whose hosts serve it.
    pub site: SiteName,
    /// Its name there.
    pub name: ServiceName,
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.name, self.site))
    }
}

impl FromStr for ServiceId {
    type Err = ServiceIdError;

    fn from_str(text: &str) -> Result<Self, ServiceIdError> {
        let (name, site) = text.split_once('.').ok_or(ServiceIdError::NoSite)?;
        Ok(Self { site: site.parse()?, name: name.parse()? })
    }
}

/// Why a text is not a [`ServiceId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceIdError {
    /// There is no dot in it.
    #[error("it names no site; write SERVICE.SITE, for example rabbitmq.cloud")]
    NoSite,
    /// One half is not a name.
    #[error("it is not SERVICE.SITE: {0}")]
    Name(#[from] LabelError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_ids() {
        let id: ServiceId = "rabbitmq.cloud".parse().unwrap();
        assert_eq!((id.name.as_str(), id.site.as_str()), ("rabbitmq", "cloud"));
        assert_eq!(id.to_string(), "rabbitmq.cloud");
        assert_eq!("rabbitmq".parse::<ServiceId>(), Err(ServiceIdError::NoSite));
        assert_eq!(".cloud".parse::<ServiceId>(), Err(ServiceIdError::Name(LabelError::Empty)));
        let dotted = ServiceIdError::Name(LabelError::Character { found: '.' });
        assert_eq!("a.b.c".parse::<ServiceId>(), Err(dotted));
    }
}
