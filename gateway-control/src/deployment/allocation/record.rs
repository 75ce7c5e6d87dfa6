//! What is allocated, as the store keeps it: a record for each range, checked when they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use gateway_policy::{ServiceId, ServiceName, SiteName};
use serde::{Deserialize, Serialize};

use super::ledger::{Entry, Ledger, Range};

/// Everything that was ever allocated and is held, or cools off.
#[derive(Clone, Debug, PartialEq)]
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

/// Which numbers a range is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// Transit addresses; sites hold them.
    Transit,
    /// Numbers of a site's services.
    Numbers(SiteName),
    /// Addresses of a site's presence pool.
    Presences(SiteName),
}

/// Names a record: by its space and its first number. Written `transit/240.0.16.0`, `numbers/SITE/1` or
/// `presences/SITE/10.0.0.200`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey {
    space: Space,
    first: u32,
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { space, first } = self;
        match space {
            Space::Transit => write!(f, "transit/{}", Ipv4Addr::from(*first)),
            Space::Numbers(site) => write!(f, "numbers/{site}/{first}"),
            Space::Presences(site) => write!(f, "presences/{site}/{}", Ipv4Addr::from(*first)),
        }
    }
}

impl FromStr for RecordKey {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let wrong = || RecordError::Key { found: crate::model::quoted(text) };
        let site = |name: &str| name.parse().map_err(|_| wrong());
        let address = |text: &str| text.parse::<Ipv4Addr>().map(u32::from).map_err(|_| wrong());
        let (space, first) = match text.split('/').collect::<Vec<_>>()[..] {
            ["transit", first] => (Space::Transit, address(first)?),
            ["numbers", name, first] => {
                (Space::Numbers(site(name)?), first.parse().map_err(|_| wrong())?)
            }
            ["presences", name, first] => (Space::Presences(site(name)?), address(first)?),
            _ => return Err(wrong()),
        };
        Ok(Self { space, first })
    }
}

/// A range that is held, or cools off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    size: u32,
    holder: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    freed: Option<u64>,
}

/// Why records are none of allocations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A key that names nothing.
    #[error("{found} names no allocation; the record is damaged, restore it from a backup")]
    Key {
        /// The text, quoted.
        found: String,
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

impl Recorded {
    /// All records, in the order of their keys.
    pub fn records(&self) -> impl Iterator<Item = (RecordKey, Record)> + '_ {
        let transit = written(Space::Transit, &self.transit);
        let numbers = self
            .sites
            .iter()
            .flat_map(|(name, site)| written(Space::Numbers(name.clone()), &site.numbers));
        let presences = self
            .sites
            .iter()
            .flat_map(|(name, site)| written(Space::Presences(name.clone()), &site.presences));
        transit.chain(numbers).chain(presences)
    }

    /// One record, if there is one.
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        match &key.space {
            Space::Transit => self.transit.entry(key.first).map(record),
            Space::Numbers(site) => self.sites.get(site)?.numbers.entry(key.first).map(record),
            Space::Presences(site) => self.sites.get(site)?.presences.entry(key.first).map(record),
        }
    }

    /// What these records say. What is freed cools off for `cooling` seconds.
    pub fn read(
        cooling: u64,
        records: impl IntoIterator<Item = (RecordKey, Record)>,
    ) -> Result<Self, RecordError> {
        let mut transit = Vec::new();
        let mut numbers: BTreeMap<SiteName, Vec<_>> = BTreeMap::new();
        let mut presences: BTreeMap<SiteName, Vec<_>> = BTreeMap::new();
        for (RecordKey { space, first }, record) in records {
            match space {
                Space::Transit => transit.push(entry(first, record)?),
                Space::Numbers(site) => {
                    numbers.entry(site).or_default().push(entry(first, record)?);
                }
                Space::Presences(site) => {
                    presences.entry(site).or_default().push(entry(first, record)?);
                }
            }
        }
        let mut sites: BTreeMap<SiteName, SiteRecord> = BTreeMap::new();
        for (name, entries) in numbers {
            let numbers = ledger(entries, || format!("service numbers of site {name}"))?;
            sites.entry(name).or_default().numbers = numbers;
        }
        for (name, entries) in presences {
            let presences = ledger(entries, || format!("presences of site {name}"))?;
            sites.entry(name).or_default().presences = presences;
        }
        Ok(Self { cooling, transit: ledger(transit, || "the transit pool".to_owned())?, sites })
    }

    /// Records that were touched since the last settling of these sites began.
    pub(super) fn touched(&self, sites: &BTreeSet<SiteName>) -> BTreeSet<RecordKey> {
        let transit =
            self.transit.touched().map(|first| RecordKey { space: Space::Transit, first });
        let of_sites = sites.iter().filter_map(|name| Some((name, self.sites.get(name)?)));
        let of_sites = of_sites.flat_map(|(name, site)| {
            let numbers = site.numbers.touched();
            let numbers = numbers.map(|first| (Space::Numbers(name.clone()), first));
            let presences = site.presences.touched();
            let presences = presences.map(|first| (Space::Presences(name.clone()), first));
            numbers.chain(presences).map(|(space, first)| RecordKey { space, first })
        });
        transit.chain(of_sites).collect()
    }
}

fn written<H: Ord + Clone + fmt::Display>(
    space: Space,
    ledger: &Ledger<H>,
) -> impl Iterator<Item = (RecordKey, Record)> + '_ {
    ledger.entries().map(move |entry| {
        (RecordKey { space: space.clone(), first: entry.range.first }, record(entry))
    })
}

fn record<H: fmt::Display>(entry: &Entry<H>) -> Record {
    Record { size: entry.range.size, holder: entry.holder.to_string(), freed: entry.freed }
}

fn entry<H: FromStr>(first: u32, record: Record) -> Result<Entry<H>, RecordError> {
    let Record { size, holder, freed } = record;
    let wrong = |_| RecordError::Holder { found: crate::model::quoted(&holder) };
    Ok(Entry { range: Range { first, size }, holder: holder.parse().map_err(wrong)?, freed })
}

fn ledger<H: Ord + Clone>(
    entries: Vec<Entry<H>>,
    place: impl FnOnce() -> String,
) -> Result<Ledger<H>, RecordError> {
    Ledger::of(entries).ok_or_else(|| RecordError::Shape { place: place() })
}
