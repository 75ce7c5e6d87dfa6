//! `gatewayctl map`: the kernel's maps, their keys and values put in words. Pure.
//!
//! The data path gives entries as bytes in hexadecimal; what they mean is declared in
//! [`gateway_common::map`], and written by [`super::entry`].

use gateway_common::for_each_map;
use gateway_common::map::{
    Allows, Backends, Clock, Counter, Counters, Current, Flows, Fragments, Kind, Map, Names, Nats,
    OpeningNats, Openings, Plain, Ports, Presences, Routes, Services, SettingsSlots, Slots, Usages,
};
use gateway_dataplane::{MapEntry, MapSummary};
use serde::Serialize;
use serde_json::Value;
use zerocopy::IntoBytes as _;

use super::entry::{KeyText, ValueFields, counter_label, counters, label};
use super::print::{Answer, table};

/// The maps.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct MapList(Vec<MapRow>);

/// One map.
#[derive(Debug, Serialize)]
pub(crate) struct MapRow {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: String,
    /// Octets of a key.
    pub key_size: u32,
    /// Octets of a value.
    pub value_size: u32,
    /// Most entries.
    pub capacity: u32,
    /// Entries; of arrays, those that are not zero.
    pub entries: usize,
}

/// Entries of a map.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Entries(Vec<Entry>);

/// One entry.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// Its key, as `map lookup` takes it.
    pub key: String,
    /// Its value, field by field.
    pub value: Value,
}

/// Why a map's entries cannot be shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MapError {
    /// No such map.
    #[error("there is no map {name:?}; the maps are {known}")]
    NoMap {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// Not a key of that map.
    #[error("{text:?} is no key of map {map}; write {form}")]
    Key {
        /// The text.
        text: String,
        /// The map.
        map: &'static str,
        /// How a key is written.
        form: &'static str,
    },
    /// The kernel's entry is none.
    #[error("map {map} holds an entry of another shape; it is of another version than this tool")]
    Shape {
        /// The map.
        map: &'static str,
    },
}

impl MapList {
    /// These maps, by name.
    pub(crate) fn of(maps: Vec<MapSummary>) -> Self {
        let mut rows: Vec<MapRow> = maps
            .into_iter()
            .map(|MapSummary { name, shape, entries }| MapRow {
                name,
                kind: kind(shape.kind).to_owned(),
                key_size: shape.key_size,
                value_size: shape.value_size,
                capacity: shape.capacity,
                entries,
            })
            .collect();
        rows.sort_by_key(|row| row.name);
        Self(rows)
    }
}

impl Answer for MapList {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            [
                row.name.to_owned(),
                row.kind.clone(),
                row.key_size.to_string(),
                row.value_size.to_string(),
                row.entries.to_string(),
                row.capacity.to_string(),
            ]
        });
        table(["name", "kind", "key", "value", "entries", "room"], rows, "no maps")
    }
}

impl Entries {
    /// These entries of the map `name`, in the order of their keys.
    pub(crate) fn of(name: &str, entries: &[MapEntry]) -> Result<Self, MapError> {
        macro_rules! dispatch {
            ($($map:ident),+) => {
                match name {
                    $($map::NAME => describe::<$map>(entries),)+
                    _ => Err(no_map(name)),
                }
            };
        }
        for_each_map!(dispatch)
    }
}

/// The kind of a map, for people.
pub(crate) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Array => "array",
        Kind::Hash => "hash, preallocated",
        Kind::SparseHash => "hash",
        Kind::LruHash => "hash, longest out of use goes first",
        Kind::LpmTrie => "longest prefix",
        Kind::PerCpuArray => "array per CPU",
    }
}

/// A key of the map `name`, written as `map dump` prints it, as the data path takes it.
pub(crate) fn key(name: &str, text: &str) -> Result<String, MapError> {
    if name == Counters::NAME {
        return counter_key(text);
    }
    macro_rules! dispatch {
        ($($map:ident),+) => {
            match name {
                $($map::NAME => read::<$map>(text),)+
                _ => Err(no_map(name)),
            }
        };
    }
    for_each_map!(dispatch)
}

fn read<M: Map<Key: KeyText>>(text: &str) -> Result<String, MapError> {
    let wrong = || MapError::Key { text: text.to_owned(), map: M::NAME, form: M::Key::FORM };
    let key = M::Key::read(text).ok_or_else(wrong)?;
    Ok(match M::KIND {
        Kind::Array | Kind::PerCpuArray => key.write(),
        Kind::Hash | Kind::SparseHash | Kind::LruHash | Kind::LpmTrie => {
            hexadecimal(key.as_bytes())
        }
    })
}

fn counter_key(text: &str) -> Result<String, MapError> {
    let named = counters().find(|counter| label(*counter) == text).map(Counter::index);
    match named.or_else(|| u32::read(text)) {
        Some(index) => Ok(index.to_string()),
        None => Err(MapError::Key {
            text: text.to_owned(),
            map: Counters::NAME,
            form: "a label, as `gatewayctl counters --all` lists them, or its number",
        }),
    }
}

fn describe<M>(entries: &[MapEntry]) -> Result<Entries, MapError>
where
    M: Map<Key: KeyText, Value: ValueFields>,
{
    let shape = || MapError::Shape { map: M::NAME };
    let mut described = Vec::with_capacity(entries.len());
    for entry in entries {
        let key: M::Key = value(&entry.key_bytes).ok_or_else(shape)?;
        let value: M::Value = value(&entry.value_bytes).ok_or_else(shape)?;
        let text = key.write();
        let text = match M::NAME {
            Counters::NAME => u32::read(&text).map_or(text, counter_label),
            _ => text,
        };
        described.push((key.as_bytes().to_vec(), Entry { key: text, value: value.fields() }));
    }
    described.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Entries(described.into_iter().map(|(_, entry)| entry).collect()))
}

impl Answer for Entries {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|entry| [entry.key.clone(), words(&entry.value)]);
        table(["key", "value"], rows, "no entries")
    }
}

/// Fields on one line.
fn words(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            });
            fields.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

fn no_map(name: &str) -> MapError {
    macro_rules! names {
        ($($map:ident),+) => { [$($map::NAME),+].join(", ") };
    }
    MapError::NoMap { name: name.to_owned(), known: for_each_map!(names) }
}

fn value<T: Plain>(hexadecimal: &str) -> Option<T> {
    let digits = hexadecimal.as_bytes().chunks(2);
    let octets = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    T::read_from_bytes(&octets.collect::<Option<Vec<u8>>>()?).ok()
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_common::map::{Allow, AllowKey, ClientAddress};

    fn entry<K: Plain, V: Plain>(key: &K, value: &V) -> MapEntry {
        MapEntry {
            key: String::new(),
            value: String::new(),
            key_bytes: hexadecimal(key.as_bytes()),
            value_bytes: hexadecimal(value.as_bytes()),
        }
    }

    #[test]
    fn entries_are_put_in_words() {
        let key = AllowKey::read("240.0.8.1,240.0.16.5/32").unwrap();
        let entries =
            Entries::of(Allows::NAME, &[entry(&key, &Allow::new(3, ClientAddress::Elsewhere))])
                .unwrap();
        assert_eq!(
            entries.text(),
            "KEY                      VALUE\n240.0.8.1,240.0.16.5/32  rule=3\n"
        );
        assert_eq!(
            serde_json::to_string(&entries).unwrap(),
            r#"[{"key":"240.0.8.1,240.0.16.5/32","value":{"rule":3}}]"#
        );
        let no_policy = Counter::Refused(gateway_common::Reason::NoPolicy).index();
        let counted = Entries::of(Counters::NAME, &[entry(&no_policy, &7u64)]).unwrap();
        assert_eq!(counted.text(), "KEY        VALUE\nno-policy  packets=7\n");
    }

    #[test]
    fn keys_go_back_the_way_they_came() {
        let text = "240.0.8.1,240.0.16.5/32";
        let bytes = hexadecimal(AllowKey::read(text).unwrap().as_bytes());
        assert_eq!(key(Allows::NAME, text), Ok(bytes));
        assert_eq!(key(Presences::NAME, "8"), Ok("8".into()));
        let no_policy = Counter::Refused(gateway_common::Reason::NoPolicy).index();
        assert_eq!(key(Counters::NAME, "no-policy"), Ok(no_policy.to_string()));
        let wrong = key(Flows::NAME, "x").unwrap_err().to_string();
        assert!(wrong.contains("flows4") && wrong.contains("tcp,240.0.16.5"), "{wrong}");
        let unknown = key("nothing", "x").unwrap_err().to_string();
        assert!(unknown.contains("\"nothing\"") && unknown.contains("flows4"), "{unknown}");
    }

    #[test]
    fn bytes_of_another_shape_are_no_entry() {
        let short = entry(&1u32, &1u32);
        assert_eq!(
            Entries::of(Flows::NAME, &[short]).unwrap_err(),
            MapError::Shape { map: Flows::NAME }
        );
    }
}
