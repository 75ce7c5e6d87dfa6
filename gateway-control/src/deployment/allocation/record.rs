//! What is allocated, as the store keeps it: in one version of a notation, checked when it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use gateway_policy::{ServiceId, ServiceName, SiteName};
use serde::{Deserialize, Serialize};

use super::ledger::{Entry, Ledger, Range};

/// Everything that was ever allocated and is held, or cools off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Recorded {
    pub(super) cooling: u64,
    pub(super) transit: Ledger<SiteName>,
    pub(super) sites: BTreeMap<SiteName, SiteRecord>,
}

/// What is allocated at one site.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SiteRecord {
    pub(super) numbers: Ledger<ServiceName>,
    pub(super) presences: Ledger<Stands>,
}

/// What an address of a presence pool stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stands {
    /// Clients of other sites that have no presences of their own: written `clients`.
    Clients,
    /// The clients of a site at a service of this one: written `clients SITE at SERVICE`.
    ClientsOf(SiteName, ServiceName),
    /// A service of another site: written `service SERVICE.SITE`.
    Service(ServiceId),
}

impl fmt::Display for Stands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients => f.write_str("clients"),
            Self::ClientsOf(site, service) => write!(f, "clients {site} at {service}"),
            Self::Service(id) => write!(f, "service {id}"),
        }
    }
}

impl FromStr for Stands {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let wrong = || RecordError::Holder { found: crate::model::quoted(text) };
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            ["clients"] => Ok(Self::Clients),
            ["clients", site, "at", service] => Ok(Self::ClientsOf(
                site.parse().map_err(|_| wrong())?,
                service.parse().map_err(|_| wrong())?,
            )),
            ["service", id] => Ok(Self::Service(id.parse().map_err(|_| wrong())?)),
            _ => Err(wrong()),
        }
    }
}

/// Why a text is no record of allocations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another version of the notation.
    #[error(
        "the allocations are recorded in version {found} and this controller reads version {VERSION}; run \
         a controller of the version that wrote them"
    )]
    Version {
        /// As written.
        found: u32,
    },
    /// A holder that is none.
    #[error("{found} holds nothing; the record is damaged, restore it from a backup")]
    Holder {
        /// The text, quoted.
        found: String,
    },
    /// Ranges that cannot be.
    #[error(
        "allocations of {place} overlap or are out of shape; the record is damaged, restore it from a backup"
    )]
    Shape {
        /// Where.
        place: String,
    },
}

const VERSION: u32 = 1;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    cooling: u64,
    transit: Vec<WrittenEntry>,
    sites: BTreeMap<String, WrittenSite>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSite {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<WrittenEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    presences: Vec<WrittenEntry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    first: u32,
    size: u32,
    holder: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    freed: Option<u64>,
}

impl From<Recorded> for Written {
    fn from(recorded: Recorded) -> Self {
        let sites = recorded.sites.iter().map(|(name, site)| {
            let (numbers, presences) = (write(&site.numbers), write(&site.presences));
            (name.to_string(), WrittenSite { numbers, presences })
        });
        Self {
            version: VERSION,
            cooling: recorded.cooling,
            transit: write(&recorded.transit),
            sites: sites.collect(),
        }
    }
}

impl TryFrom<Written> for Recorded {
    type Error = RecordError;

    fn try_from(written: Written) -> Result<Self, RecordError> {
        if written.version != VERSION {
            return Err(RecordError::Version { found: written.version });
        }
        let mut sites = BTreeMap::new();
        for (name, site) in written.sites {
            let place = format!("site {name}");
            let numbers = read(site.numbers, &place)?;
            let presences = read(site.presences, &place)?;
            let wrong = |_| RecordError::Holder { found: crate::model::quoted(&name) };
            sites.insert(name.parse().map_err(wrong)?, SiteRecord { numbers, presences });
        }
        Ok(Self {
            cooling: written.cooling,
            transit: read(written.transit, "the transit pool")?,
            sites,
        })
    }
}

fn write<H: Ord + Clone + fmt::Display>(ledger: &Ledger<H>) -> Vec<WrittenEntry> {
    let entries = ledger.entries().map(|entry| WrittenEntry {
        first: entry.range.first,
        size: entry.range.size,
        holder: entry.holder.to_string(),
        freed: entry.freed,
    });
    entries.collect()
}

fn read<H: Ord + Clone + FromStr>(
    written: Vec<WrittenEntry>,
    place: &str,
) -> Result<Ledger<H>, RecordError> {
    let mut entries = Vec::with_capacity(written.len());
    for WrittenEntry { first, size, holder, freed } in written {
        let wrong = |_| RecordError::Holder { found: crate::model::quoted(&holder) };
        let holder = holder.parse().map_err(wrong)?;
        entries.push(Entry { range: Range { first, size }, holder, freed });
    }
    Ledger::of(entries).ok_or_else(|| RecordError::Shape { place: place.to_owned() })
}
