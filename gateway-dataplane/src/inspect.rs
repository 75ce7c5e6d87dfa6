//! The data path as anybody with the right to see it finds it: read from the pins alone, whether
//! gatewayd runs or not. Nothing here changes anything.

use aya::maps::MapInfo;
use gateway_common::{
    Reason, for_each_map,
    map::{
        Allows, Backends, Clock, Counter, Counters, Current, Flow, FlowKey, Flows, Fragments, Kind,
        Map, Names, NatKey, Nats, OpeningNats, Openings, Outcome, Ports, Presences, Routes,
        Services, SettingsSlots, Slots, Usages,
    },
};
use std::{fmt::Debug, net::Ipv4Addr, path::Path};
use thiserror::Error;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    attach::{self, AttachError, FoundAttachment},
    flows, object,
    object::opening_capacity,
    pins::{BPFFS, Pins, PinsError},
    state::{Maps, Observed},
    table::{PerCpuTable, Shape, Table, TableError},
    trace::{self, PacketDescription, Trace, TraceError, TracePoint},
};

/// What can be wrong with an inspection.
#[derive(Debug, Error)]
pub enum InspectError {
    /// There is no data path, or another one.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// A map is not there or not ours.
    #[error(transparent)]
    Table(#[from] TableError),
    /// What is attached cannot be found out.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// No such map.
    #[error("there is no map {name:?}: the maps are {names}", names = map_names().join(", "))]
    NoMap {
        /// What was asked for.
        name: String,
    },
    /// No such key.
    #[error("{text:?} is no key of map {map}: give {wanted}")]
    Key {
        /// What was asked for.
        text: String,
        /// The map.
        map: &'static str,
        /// What would be one.
        wanted: String,
    },
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSummary {
    /// Its name.
    pub name: &'static str,
    /// Its type, sizes and capacity.
    pub shape: Shape,
    /// Entries in it: for arrays, those that are not all zeros.
    pub entries: usize,
}

/// An entry of a map, in words and in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// The key in words.
    pub key: String,
    /// The value in words.
    pub value: String,
    /// The key's bytes in hexadecimal.
    pub key_bytes: String,
    /// The value's bytes in hexadecimal; sums over all CPUs where each has its own.
    pub value_bytes: String,
}

/// An instance's pins, to be read.
pub struct Inspector {
    pins: Pins,
    maps: Maps,
    flow_capacity: u32,
}

impl Inspector {
    /// The data path of `instance`.
    pub fn open(instance: &str) -> Result<Self, InspectError> {
        Self::open_at(Path::new(BPFFS), instance)
    }

    /// The data path of `instance` below another root.
    pub fn open_at(root: &Path, instance: &str) -> Result<Self, InspectError> {
        let pins = Pins::new(root, instance)?;
        pins.require()?;
        let path = pins.map(Flows::NAME);
        let flow_capacity = MapInfo::from_pin(&path)
            .map_err(|source| TableError::Open { path, source })?
            .max_entries();
        let maps = Maps::open(&pins, flow_capacity)?;
        Ok(Self { pins, maps, flow_capacity })
    }

    /// What configuration determines, and the generation in force.
    pub fn observe(&self) -> Result<Observed, InspectError> {
        Ok(self.maps.observe()?)
    }

    /// Most flows there is room for.
    pub fn flow_capacity(&self) -> u32 {
        self.flow_capacity
    }

    /// All flows, ordered by the bytes of their keys.
    pub fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, InspectError> {
        Ok(flows::all_flows(&self.maps)?)
    }

    /// The flows one by one, unconfirmed ones first, without keeping them. While the programs add and
    /// remove some, one may come twice or be missed.
    pub fn each_flow(&self) -> impl Iterator<Item = Result<(FlowKey, Flow), InspectError>> {
        flows::each_flow(&self.maps).map(|entry| Ok(entry?))
    }

    /// The entry with this key as the programs would find it now: in a trie the longest match.
    pub fn entry<M: Map>(&self, key: &M::Key) -> Result<Option<M::Value>, InspectError> {
        let table = Table::<M>::open(&self.pins.map(M::NAME), self.capacity::<M>())?;
        Ok(table.find(key)?)
    }

    /// All reserved ports, ordered by the bytes of their keys.
    pub fn nats(&self) -> Result<Vec<(NatKey, FlowKey)>, InspectError> {
        Ok(flows::all_nats(&self.maps)?)
    }

    /// What became of all packets so far: outcomes first, then reasons, each with its count.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, InspectError> {
        let outcomes = Outcome::ALL.iter().map(|outcome| Counter::Outcome(*outcome));
        let reasons = Reason::ALL.iter().map(|reason| Counter::Refused(*reason));
        outcomes
            .chain(reasons)
            .map(|counter| Ok((counter, self.maps.counters.sum(counter.index())?)))
            .collect()
    }

    /// The programs on interfaces.
    pub fn attachments(&self) -> Result<Vec<FoundAttachment>, InspectError> {
        Ok(attach::found(&self.pins)?)
    }

    /// What the programs would do with a packet.
    pub fn trace(
        &self,
        point: TracePoint,
        packet: &PacketDescription,
    ) -> Result<Trace, TraceError> {
        trace::trace(&self.pins, point, packet)
    }

    /// All maps.
    pub fn maps(&self) -> Result<Vec<MapSummary>, InspectError> {
        map_names()
            .into_iter()
            .map(|name| {
                let (name, shape, entries) = self.with(name, Want::Count)?;
                let entries = match entries {
                    Found::Count(entries) => entries,
                    Found::Entries(entries) => entries.len(),
                };
                Ok(MapSummary { name, shape, entries })
            })
            .collect()
    }

    /// All entries of a map; of an array, those that are not all zeros.
    pub fn dump(&self, map: &str) -> Result<Vec<MapEntry>, InspectError> {
        match self.with(map, Want::All)? {
            (_, _, Found::Entries(entries)) => Ok(entries),
            (_, _, Found::Count(_)) => Ok(Vec::new()),
        }
    }

    /// The entry with a key: a number for arrays, an address for services, else the bytes in
    /// hexadecimal. A trie gives the longest match.
    pub fn lookup(&self, map: &str, key: &str) -> Result<Option<MapEntry>, InspectError> {
        match self.with(map, Want::One(key))? {
            (_, _, Found::Entries(entries)) => Ok(entries.into_iter().next()),
            (_, _, Found::Count(_)) => Ok(None),
        }
    }

    fn with(
        &self,
        name: &str,
        want: Want<'_>,
    ) -> Result<(&'static str, Shape, Found), InspectError> {
        macro_rules! dispatch {
            ($($map:ident),+) => {
                match name {
                    $($map::NAME => {
                        let capacity = self.capacity::<$map>();
                        let found = read::<$map>(&self.pins, capacity, want)?;
                        Ok(($map::NAME, Shape::of::<$map>(capacity), found))
                    })+
                    _ => Err(InspectError::NoMap { name: name.to_owned() }),
                }
            };
        }
        for_each_map!(dispatch)
    }

    /// Most entries of a map.
    fn capacity<M: Map>(&self) -> u32 {
        match M::NAME {
            Flows::NAME | Nats::NAME => self.flow_capacity,
            Openings::NAME | OpeningNats::NAME => opening_capacity(self.flow_capacity),
            _ => M::CAPACITY,
        }
    }
}

/// The declared maps' names.
pub fn map_names() -> Vec<&'static str> {
    object::map_names()
}

#[derive(Clone, Copy)]
enum Want<'a> {
    Count,
    All,
    One(&'a str),
}

enum Found {
    Count(usize),
    Entries(Vec<MapEntry>),
}

fn read<M: Map>(pins: &Pins, capacity: u32, want: Want<'_>) -> Result<Found, InspectError>
where
    M::Key: Debug,
    M::Value: Debug,
{
    let path = pins.map(M::NAME);
    if M::KIND == Kind::PerCpuArray {
        let table = PerCpuTable::<Counters>::open(&path)?;
        return sums(&table, want);
    }
    let table = Table::<M>::open(&path, capacity)?;
    let is_empty =
        |value: &M::Value| M::KIND == Kind::Array && value.as_bytes().iter().all(|byte| *byte == 0);
    let full = table.entries().filter(|entry| !matches!(entry, Ok((_, value)) if is_empty(value)));
    Ok(match want {
        Want::Count => {
            let mut count = 0;
            for entry in full {
                entry?;
                count += 1;
            }
            Found::Count(count)
        }
        Want::All => {
            let entries = full.map(|entry| entry.map(|(key, value)| describe(&key, &value)));
            Found::Entries(entries.collect::<Result<_, _>>()?)
        }
        Want::One(text) => {
            let key = parse::<M>(text)?;
            let value = table.find(&key)?;
            Found::Entries(value.map(|value| describe(&key, &value)).into_iter().collect())
        }
    })
}

fn sums(table: &PerCpuTable<Counters>, want: Want<'_>) -> Result<Found, InspectError> {
    let one = |index: u32| Ok::<_, TableError>((index, table.sum(index)?));
    if let Want::One(text) = want {
        let (index, sum) = one(parse::<Counters>(text)?)?;
        return Ok(Found::Entries(vec![describe(&index, &sum)]));
    }
    let all: Vec<(u32, u64)> = (0..Counters::CAPACITY).map(one).collect::<Result<_, _>>()?;
    let full = all.iter().filter(|(_, sum)| *sum != 0);
    Ok(match want {
        Want::Count => Found::Count(full.count()),
        Want::All | Want::One(_) => {
            Found::Entries(full.map(|(index, sum)| describe(index, sum)).collect())
        }
    })
}

fn describe<K, V>(key: &K, value: &V) -> MapEntry
where
    K: gateway_common::map::Plain + Debug,
    V: gateway_common::map::Plain + Debug,
{
    MapEntry {
        key: format!("{key:?}"),
        value: format!("{value:?}"),
        key_bytes: hexadecimal(key.as_bytes()),
        value_bytes: hexadecimal(value.as_bytes()),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key as an operator writes it.
fn parse<M: Map>(text: &str) -> Result<M::Key, InspectError> {
    let size = size_of::<M::Key>();
    let is_index = matches!(M::KIND, Kind::Array | Kind::PerCpuArray);
    let is_address = !is_index && size == 4;
    let bytes = if is_index {
        text.parse::<u32>()
            .ok()
            .filter(|index| *index < M::CAPACITY)
            .map(|n| n.to_ne_bytes().to_vec())
    } else if is_address {
        text.parse::<Ipv4Addr>().ok().map(|address| address.octets().to_vec())
    } else {
        None
    };
    let key = bytes.or_else(|| octets(text)).and_then(|bytes| M::Key::read_from_bytes(&bytes).ok());
    // An index beyond the end would read as a missing entry.
    key.ok_or_else(|| InspectError::Key {
        text: text.to_owned(),
        map: M::NAME,
        wanted: if is_index {
            format!("a number below {}", M::CAPACITY)
        } else if is_address {
            "an address".to_owned()
        } else {
            format!("{} digits in hexadecimal, as `map dump` shows them", 2 * size)
        },
    })
}

fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        assert_eq!(parse::<Presences>("200").expect("a number"), 200);
        assert!(parse::<Presences>("131072").is_err());
        let service = parse::<Services>("240.0.8.1").expect("an address");
        assert_eq!(service.to_string(), "240.0.8.1");
        assert!(parse::<Flows>("00").is_err());
        assert!(parse::<Flows>("0g").is_err());
        let key = "f0".repeat(size_of::<FlowKey>());
        assert_eq!(hexadecimal(parse::<Flows>(&key).expect("bytes").as_bytes()), key);
    }

    #[test]
    fn every_map_has_a_name_of_its_own() {
        let mut names = map_names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), map_names().len());
    }
}
